"""From pieces to text: what breaks tore apart is joined, floats stand behind the paragraph they interrupt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from jobs.corpus import cleaning, sections
from jobs.corpus.pieces import Piece, Style, ends_sentence

FLOATING = ("caption", "table", "footnote", "debris")
_ABSTRACT = re.compile(r"abstract\b", re.IGNORECASE)
_ENTRY = re.compile(r"\[[\w+\-’', .]{1,30}\]|\d{1,3}\.\s|•\s")
_FOOTNOTE_MARK = re.compile(r"[∗*⋆†‡§¶]|\d{1,2}\s?[A-Z]")
LONG_PARAGRAPH = 300  # characters: on a first page without any heading, prose begins here


@dataclass
class Written:
    """Text with its sections (title, level, start, end), blocks (kind, start, end) and starts of pages."""

    text: str = ""
    sections: list[tuple[str, int, int, int]] = field(default_factory=list)
    blocks: list[tuple[str, int, int]] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)


def write(
    found: Sequence[Piece], style: Style, bookmarks: Sequence[tuple[int, str, int]], counts: Counter[str], n_pages: int
) -> Written:
    """The document's text. Adds to `counts` what was dropped and joined."""
    if cleaning.is_off(counts, "float_debris"):
        found = [piece._replace(kind="paragraph") if piece.kind == "debris" else piece for piece in found]
    counts["float_debris"] += sum(piece.kind == "debris" for piece in found)
    kept = [piece for piece in found if piece.kind != "debris"]
    cleaned = [_clean_lines(piece, counts) for piece in kept]
    kept = [piece for piece, texts in zip(kept, cleaned, strict=True) if texts]
    cleaned = [texts for texts in cleaned if texts]
    words = cleaning.vocabulary([text for texts in cleaned for text in texts])
    texts = [cleaning.join_lines(lines, words, counts) for lines in cleaned]
    headings = sections.find_headings(kept, texts, style, bookmarks)
    marked = _mark(kept, texts, headings)
    return _compose(_joined(marked, texts, style, counts), words, counts, n_pages)


def _clean_lines(piece: Piece, counts: Counter[str]) -> list[str]:
    texts = []
    for line in piece.lines:
        text = line.text
        clean = cleaning.clean_characters(text, counts)
        texts.append(f"{clean}-" if "\u00ad" in text and text.rstrip()[-1] == "\u00ad" else clean)
    return [text for text in texts if text]


def _mark(kept: list[Piece], texts: Sequence[str], headings: dict[int, tuple[int, str]]) -> list[Piece]:
    """Pieces with headings, references and front matter marked by kind."""
    start = _body_start(kept, texts, headings)
    headings = {i: heading for i, heading in headings.items() if i >= start}
    references = sections.references_span(headings, texts)
    marked = []
    for i, piece in enumerate(kept):
        if i < start:
            piece = piece._replace(kind="footnote" if piece.kind == "footnote" else "front_matter")
        elif i in headings:
            level, title = headings[i]
            piece = piece._replace(kind="heading", level=level, title=title)
        elif references and references[0] <= i < references[1] and piece.kind in ("paragraph", "formula"):
            piece = piece._replace(kind="references")
        marked.append(piece)
    return marked


def _body_start(kept: Sequence[Piece], texts: Sequence[str], headings: dict[int, tuple[int, str]]) -> int:
    """The first piece behind title, authors and affiliations; 0 if the first page does not show where they end."""
    first_page = [i for i, piece in enumerate(kept) if piece.lines[0].page == 0]
    for i in first_page:
        name = sections.bare_name(headings[i][1]) if i in headings else ""
        if _ABSTRACT.match(texts[i]) or name in ("abstract", "introduction"):
            return i
    for i in first_page:
        if i in headings and i > 1 and headings[i][1][:1].isdigit():
            return i
    return next((i for i in first_page if len(texts[i]) > LONG_PARAGRAPH), 0)


Item = tuple[Piece, str]
Chain = list[Item]


def _joined(marked: list[Piece], texts: list[str], style: Style, counts: Counter[str]) -> list[Chain]:
    """Chains of pieces that are one block each, in order; floats between two halves come behind them."""
    items = list(zip(marked, texts, strict=True))
    if cleaning.is_off(counts, "breaks_joined"):
        return [[item] for item in items]
    chains: list[Chain] = []
    used = [False] * len(items)
    for i, item in enumerate(items):
        if used[i]:
            continue
        chain, waiting, j = [item], [], i + 1
        while item[0].kind in ("paragraph", "references", "formula", "table", "footnote") and j < len(items):
            if used[j]:
                j += 1
                continue
            if _goes_on(chain[-1], items[j], style):
                counts["breaks_joined"] += items[j][0].lines[0].page != chain[-1][0].lines[-1].page
                chain.append(items[j])
                used[j] = True
            elif items[j][0].kind in FLOATING and item[0].kind in ("paragraph", "references"):
                waiting.append(j)
            else:
                break
            j += 1
        chains.append(chain)
        if len(chain) == 1:
            continue
        for k in waiting:
            if k < j and not used[k] and _lies_inside(k, chain, items):
                chains.append([items[k]])
                used[k] = True
    return chains


def _lies_inside(k: int, chain: Chain, items: list[Item]) -> bool:
    last = next(j for j, item in enumerate(items) if item is chain[-1])
    return k < last


def _goes_on(before: Item, after: Item, style: Style) -> bool:
    """Whether a piece continues the one before it: a sentence over a break, parts of a formula, rows of a table."""
    a, b = before[0], after[0]
    if a.kind != b.kind:
        return False
    same_place = a.lines[-1].page == b.lines[0].page and b.lines[0].base - a.lines[-1].base >= 0
    if a.kind in ("formula", "table"):
        return a.lines[-1].page == b.lines[0].page and abs(b.gap) < 3
    if a.kind == "footnote":
        return same_place and not _FOOTNOTE_MARK.match(after[1]) and 0 < b.gap < 1.2 and not ends_sentence(before[1])
    if a.kind == "references" and _ENTRY.match(after[1]):
        return False
    if a.kind == "references" and same_place and 0.5 * a.lines[0].size < b.lines[0].x0 - a.lines[0].x0 < 60:
        return True  # the rest of an entry whose first line hangs out
    if same_place and a.lines[-1].x0 < b.lines[0].x1 and b.lines[0].x0 < a.lines[-1].x1 and a.gap < 9 and b.gap < 9:
        return False  # one column, nothing torn: the cut was a new paragraph
    return _is_torn(a, b, before[1], after[1], style)


def _is_torn(a: Piece, b: Piece, tail: str, head: str, style: Style) -> bool:
    """Whether b, behind a column or page break, is the rest of a."""
    if abs(a.lines[-1].size - b.lines[0].size) > 0.1 * a.lines[-1].size:
        return False
    if tail[-1] in cleaning.HYPHENS and head[0].islower():
        return True
    if tail[-1] in ":;" and head[0].islower() and len(head) > 1 and head[1] not in ").":  # no item of a list: a) or i.
        return True
    if ends_sentence(tail):
        return style.is_indented and a.is_full and not b.is_indented and tail[-1] != ":"
    return head[0].islower() or not b.is_indented or not head[0].isupper()


def _compose(chains: list[Chain], words: Counter[str], counts: Counter[str], n_pages: int) -> Written:
    written = Written()
    starts: dict[int, int] = {}
    open_sections: list[tuple[str, int, int]] = []
    parts: list[str] = []
    position = 0
    for chain in chains:
        kind = chain[0][0].kind
        text, page_starts = _text_of(chain, words, counts)
        if not text:
            continue
        position += 2 if parts else 0
        for page, offset in page_starts:
            starts.setdefault(page, position + offset)
        if kind == "heading":
            _close(written, open_sections, chain[0][0].level, position)
            open_sections.append((text, chain[0][0].level, position))
        parts.append(text)
        written.blocks.append((kind, position, position + len(text)))
        position += len(text)
    _close(written, open_sections, 0, position)
    written.text = "\n\n".join(parts)
    # Sections end where the next begins; the blank line between belongs to neither.
    written.sections.sort(key=lambda section: (section[2], section[1]))
    written.pages = _page_starts(starts, n_pages, position)
    return written


def _close(written: Written, open_sections: list[tuple[str, int, int]], level: int, position: int) -> None:
    end = position - 2 if level else position
    while open_sections and open_sections[-1][1] >= level:
        title, own, start = open_sections.pop()
        written.sections.append((title, own, start, end))


def _text_of(chain: Chain, words: Counter[str], counts: Counter[str]) -> tuple[str, list[tuple[int, int]]]:
    """The chain's text, and (page, character) where each page begins in it."""
    pages: list[tuple[int, int]] = []
    text = ""
    for piece, part in chain:
        page = piece.lines[0].page
        if not pages or pages[-1][0] != page:
            pages.append((page, len(text)))
        text = cleaning.join_lines([text, part], words, counts)
    return text, pages


def _page_starts(starts: dict[int, int], n_pages: int, end: int) -> list[int]:
    """Where each page begins: a page without text of its own begins with the next one that has some."""
    pages, later = [0] * n_pages, end
    for number in range(n_pages - 1, -1, -1):
        later = min(later, starts.get(number, later))
        pages[number] = later
    if pages:
        pages[0] = 0
    return pages
