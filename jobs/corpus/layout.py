"""Clean, ordered, structured text of a PDF of a paper.

Two passes: the first reads every page and learns what is normal in the document (columns, size of prose, running
heads), the second puts lines in reading order, cuts them into pieces, joins what page and column breaks tore apart,
and writes the text with its sections and blocks.
"""

from __future__ import annotations

import gc
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.corpus import cleaning, columns, flow, furniture, kinds, lines, pieces

if TYPE_CHECKING:
    import pymupdf

log = logging.getLogger(__name__)

MIN_CHARS_A_PAGE = 20  # fewer on average: a scan, or pages of pictures
MIN_CHARS = 12
MAX_BAD_01 = 0.1  # share of characters without meaning in a text that can still be read
SAMPLED_CHARS = 10_000
MIN_LETTERS_01 = 0.3  # math papers have 0.6, tables of numbers less

# What MuPDF says when memory is used up: "code=2: calloc (4104 x 1 bytes) failed".
_OUT_OF_MEMORY = re.compile(r"\b(?:m|c|re)alloc \(.*\) failed")


class Rejected(Exception):  # noqa: N818 - says what became of the document; nothing went wrong here
    """The document is no text; `reason` is one of DOCUMENT_REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Section:
    """A section of `Document.text`: heading, own text and sub-sections are text[start:end]; levels count from 1."""

    title: str
    level: int
    start: int
    end: int


@dataclass(frozen=True)
class Block:
    """text[start:end] is of one of `contracts.BLOCK_KINDS`."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """What was read. `pages[i]` is the character of `text` where page i + 1 begins; `cleaned` counts what was done."""

    text: str
    sections: list[Section]
    blocks: list[Block]
    pages: list[int]
    n_pages: int
    quality_01: float
    cleaned: dict[str, int]
    stamp: str | None


def read_document(doc: pymupdf.Document, *, max_text_chars: int | None = None, without: Iterable[str] = ()) -> Document:
    """The document's text in reading order with its structure; `without` names `cleaning.STEPS` that are left out.

    Raises Rejected with no_text, garbled, hidden_text, text_too_long or parse_error.
    """
    with _collector_paused():
        return _read(doc, max_text_chars, cleaning.StepCounter(without))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No search for cycles inside the block: a document leaves five objects in them, and makes a million that are not.

    The search would cost 5 % of the reading; the next one after the block finds what is left.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(doc: pymupdf.Document, max_text_chars: int | None, counts: Counter[str]) -> Document:
    n_pages = len(doc)  # once: MuPDF may repair a damaged file on the way and lose pages
    with lines.plain_boxes():
        pages = _read_pages(doc, n_pages, counts, max_text_chars)
    _check_visible(pages, counts, n_pages)
    stamp = furniture.find_stamp(pages[0], pages[0].rotated) if pages else None
    pages = _without_furniture(pages, counts)
    flowed, style = _pieces_in_order(pages, counts)
    text = flow.write(flowed, style, _bookmarks(doc), counts, n_pages=n_pages)
    quality = _check_readable(text.text, n_pages)
    return Document(
        text.text,
        [Section(*section) for section in text.sections],
        [Block(*block) for block in text.blocks],
        text.pages,
        n_pages,
        quality,
        {name: n for name, n in sorted(counts.items()) if n},
        stamp,
    )


def page_errors() -> tuple[type[Exception], ...]:
    """What PyMuPDF raises on a page or an outline that is damaged."""
    import pymupdf

    return (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError, IndexError)


def _read_pages(
    doc: pymupdf.Document, n_pages: int, counts: Counter[str], max_text_chars: int | None
) -> list[lines.Page]:
    """All pages that can be read. A page that raises is counted; Rejected if none is left."""
    pages, n_chars, error = [], 0, ""
    for number in range(n_pages):
        try:
            page = lines.read_page(doc[number], number, counts)
        except page_errors() as e:
            if _OUT_OF_MEMORY.search(str(e)):  # no fault of the page: the document needs more than it may have
                raise
            counts["pages_failed"] += 1
            error = f"page {number + 1}: {type(e).__name__}: {e}"
            log.info("page skipped: %s", error)
            continue
        pages.append(page)
        n_chars += sum([len(line.text) for line in page.lines])
        if max_text_chars is not None and n_chars > max_text_chars:
            raise Rejected("text_too_long", f"more than {max_text_chars} characters on {number + 1} of {n_pages} pages")
    if error and not pages:
        raise Rejected("parse_error", f"no page can be read; {error}")
    return pages


def _check_visible(pages: list[lines.Page], counts: Counter[str], n_pages: int) -> None:
    seen = sum([len(line.text) - line.text.count(" ") for page in pages for line in page.lines])
    if counts["hidden_chars"] > max(seen, MIN_CHARS):
        raise Rejected("hidden_text", f"{counts['hidden_chars']} characters cannot be seen, {seen} can")
    if seen < MIN_CHARS or seen < MIN_CHARS_A_PAGE * n_pages:
        raise Rejected("no_text", f"{seen} characters on {n_pages} pages")


def _without_furniture(pages: list[lines.Page], counts: Counter[str]) -> list[lines.Page]:
    heads = furniture.running_heads(pages)
    pages = [furniture.drop_line_numbers(page, counts) for page in pages]
    cleaned = []
    for page in furniture.drop_numbered_rows(pages, counts):
        if page.number == 0:
            page = furniture.drop_stamp(page, counts)
        cleaned.append(furniture.drop_heads(page, heads, counts))
    return cleaned


def _pieces_in_order(pages: list[lines.Page], counts: Counter[str]) -> tuple[list[pieces.Piece], pieces.Style]:
    """All pieces of the document in reading order, and what is normal in it."""
    gutters = [columns.find_gutter(page) for page in pages]
    common = columns.document_gutter(gutters)
    runs = []
    for page, own in zip(pages, gutters, strict=True):
        for run in columns.read_in_order(page, columns.page_gutter(page, own, common)):
            kept = furniture.drop_contents(run.lines, counts)
            if kept:
                runs.append((page, run._replace(lines=kept)))
    style = pieces.measure(run for _, run in runs)
    found: list[pieces.Piece] = []
    for page, run in runs:
        found += kinds.classify(pieces.cut_run(run, style), style, page.height)
    return found, style


def _bookmarks(doc: pymupdf.Document) -> list[tuple[int, str, int]]:
    try:
        return [(level, title, page) for level, title, page, *_ in doc.get_toc()]
    except page_errors() as e:
        log.info("bookmarks skipped: %s: %s", type(e).__name__, e)
        return []


def _check_readable(text: str, n_pages: int) -> float:
    """How much the text looks like prose, 0 to 1. Raises Rejected for empty and garbled text."""
    dense = text.replace(" ", "").replace("\n", "")
    if len(dense) < MIN_CHARS:
        raise Rejected("no_text", f"{len(dense)} characters on {n_pages} pages after cleaning")
    bad = cleaning.bad_share_01(text)
    sample = dense[:: max(1, len(dense) // SAMPLED_CHARS)]
    letters = sum(map(str.isalpha, sample)) / len(sample)
    if bad > MAX_BAD_01:
        raise Rejected("garbled", f"{bad:.0%} of the characters stand for nothing")
    if letters < MIN_LETTERS_01:
        raise Rejected("garbled", f"{letters:.0%} of the characters are letters")
    return round(max(0.0, min(1.0, letters / 0.8) - 5 * bad), 3)
