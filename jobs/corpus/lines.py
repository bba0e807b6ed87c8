"""Lines of a PDF page with their geometry: what the eye can see, in the order of the file.

MuPDF cuts a printed line wherever the gap is wide or the baseline moves; such pieces are called lines here too until
`columns.py` joins them. Coordinates are points from the page's top left corner. Heights are taken from baseline and
font size, because the boxes of math fonts are several lines tall.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.corpus import glyphs, scripts
from jobs.corpus.looks import MIN_VISIBLE_SIZE, PAINTED, Look, Looks, is_white

if TYPE_CHECKING:
    import pymupdf

GAP = 0.2  # of the font size: a blank between words, where kerning and italics stay below
UPRIGHT = 0.98  # cosine of the writing direction
RUN_IN_NUMBER = re.compile(r"(?:\d{1,2}(?:\.\d{1,2})+|[A-Z](?:\.\d{1,2})+)\.?(?=\s|$)")
TITLE_END = re.compile(r"[.:?!](?=\s+[A-Z])")

Box = tuple[float, float, float, float]

_PLACED_TEXT = itemgetter("text", "bbox")


@dataclass(slots=True, eq=False)
class Line:
    """A piece of one printed line. Slots are read three times as fast as the fields of a tuple.

    `math_01` is the share of its characters in math fonts, `cells` the number of parts with wide gaps between them,
    `block` MuPDF's block, `is_raised` whether it begins with a superscript, `is_lead_bold` with a bold word, `run_in`
    how many characters at its start are a section's number and bold title that prose follows, `n_raised` how many at
    its end are small and raised.
    """

    x0: float
    x1: float
    base: float
    size: float
    text: str
    is_bold: bool
    is_lead_bold: bool
    math_01: float
    is_raised: bool
    block: int
    page: int
    font: str
    cells: int = 1
    run_in: int = 0
    n_raised: int = 0

    @property
    def top(self) -> float:
        """Upper edge of its lower-case-and-ascender zone, in points."""
        return self.base - 0.75 * self.size

    @property
    def bottom(self) -> float:
        """Lower edge with descenders, in points."""
        return self.base + 0.22 * self.size


class Page(NamedTuple):
    """The visible upright lines of a page in the order of the file. `number` counts from 0; `rotated` are texts that
    run in another direction."""

    number: int
    width: float
    height: float
    lines: list[Line]
    rotated: list[str]


@contextmanager
def plain_boxes() -> Iterator[None]:
    """MuPDF's own boxes and font names inside the block.

    PyMuPDF otherwise mends the height of each character and cuts the prefix off the name of its font: a quarter of what
    its `dict` costs (2.7 to 2.1 ms a page), for heights that are not used here; its boxes also lose blanks.
    """
    import pymupdf

    tools: Any = pymupdf.TOOLS
    boxes, names = tools.unset_quad_corrections(), tools.set_subset_fontnames()
    tools.unset_quad_corrections(True)
    tools.set_subset_fontnames(True)
    try:
        yield
    finally:
        tools.unset_quad_corrections(boxes)
        tools.set_subset_fontnames(names)


def read_page(page: pymupdf.Page, number: int, counts: Counter[str]) -> Page:
    """What can be seen on one page. Adds to `counts` what was left out. Raises what MuPDF raises."""
    import pymupdf

    flags = (
        pymupdf.TEXTFLAGS_DICT
        & ~pymupdf.TEXT_PRESERVE_IMAGES  # decoding them costs 6 to 8 times the whole page
        & ~pymupdf.TEXT_PRESERVE_LIGATURES
        & ~pymupdf.TEXT_USE_CID_FOR_UNKNOWN_UNICODE  # keeps U+FFFD, so that garbage can be counted
    )
    raw: dict[str, Any] = page.get_text("dict", flags=flags)  # type: ignore[no-untyped-call]
    blocks = [(number_, line) for number_, block in enumerate(raw["blocks"]) for line in block["lines"]]
    rotated: list[str] = []
    blocks = _upright(blocks, raw, rotated, counts)
    width, height = raw["width"], raw["height"]
    known = Looks()
    spots: list[Box] | None = None
    kept = []
    for block, line in blocks:
        spans = line["spans"]
        looks = known.of(spans)
        is_uniform = looks.count(looks[0]) == len(looks) if looks else False
        x0, y0, x1, y1 = line["bbox"]
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height or (known.suspects and not known.suspects.isdisjoint(looks)):
            if spots is None:
                spots = _painted_spots(page)
            spans = _visible(spans, raw, spots, counts)
            looks = known.of(spans)
        made = make_line(spans, looks, is_uniform, block, number, counts)
        if made is not None:
            kept.append(made)
    return Page(number, width, height, kept, rotated)


def _upright(
    lines: list[tuple[int, Any]], raw: dict[str, Any], rotated: list[str], counts: Counter[str]
) -> list[tuple[int, Any]]:
    """Drop lines that do not run from left to right; a page that is mostly sideways is turned instead."""
    upright = [item for item in lines if item[1]["dir"][0] >= UPRIGHT]
    if len(upright) == len(lines):
        return lines
    sideways = [item for item in lines if abs(item[1]["dir"][1]) >= UPRIGHT]
    if len(sideways) > 0.6 * len(lines) and len(sideways) > 5:
        rising = sum(item[1]["dir"][1] < 0 for item in sideways) * 2 > len(sideways)
        counts["lines_turned"] += len(sideways)
        turned = [(block, _turn(line, raw, rising)) for block, line in sideways if (line["dir"][1] < 0) == rising]
        raw["width"], raw["height"] = raw["height"], raw["width"]
        return turned
    counts["rotated_lines"] += len(lines) - len(upright)
    rotated += ["".join(s["text"] for s in line["spans"]) for _, line in lines if line["dir"][0] < UPRIGHT]
    return upright


def _turn(line: dict[str, Any], raw: dict[str, Any], rising: bool) -> dict[str, Any]:
    """The same line on a page turned by a quarter, so that it runs from left to right."""
    width, height = raw["width"], raw["height"]

    def move(x: float, y: float) -> tuple[float, float]:
        return (height - y, x) if rising else (y, width - x)

    spans = []
    for span in line["spans"]:
        x0, y0, x1, y1 = span["bbox"]
        (xa, ya), (xb, yb) = move(x0, y0), move(x1, y1)
        box = (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb))
        spans.append({**span, "bbox": box, "origin": move(*span["origin"])})
    return {**line, "spans": spans}


def _painted_spots(page: pymupdf.Page) -> list[Box]:
    """Boxes of what is painted on the page besides text: white text on them can be seen."""
    painted = page.get_bboxlog()  # type: ignore[no-untyped-call]
    return [box for kind, box in painted if kind in ("fill-path", "fill-image", "fill-shade")]


def _visible(spans: list[dict[str, Any]], raw: dict[str, Any], spots: list[Box], counts: Counter[str]) -> list[Any]:
    """The spans that a reader of the page can see."""
    kept = []
    for span in spans:
        if _is_hidden(span, raw, spots):
            counts["hidden_chars"] += len(span["text"].replace(" ", ""))
        else:
            kept.append(span)
    return kept


def _is_hidden(span: dict[str, Any], raw: dict[str, Any], spots: list[Box]) -> bool:
    """Transparent, unpainted, tiny, off the page, or white where nothing is painted beneath."""
    if span["alpha"] == 0 or not span["char_flags"] & PAINTED or span["size"] < MIN_VISIBLE_SIZE:
        return True
    x0, y0, x1, y1 = span["bbox"]
    if x1 <= 0 or y1 <= 0 or x0 >= raw["width"] or y0 >= raw["height"]:
        return True
    if not is_white(span["color"]):
        return False
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return not any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for box in spots)


def make_line(
    spans: list[dict[str, Any]], looks: list[Look], is_uniform: bool, block: int, page: int, counts: Counter[str]
) -> Line | None:
    """One line from its spans, measured by the font size that has most of its characters; None if it is blank.

    `looks` are those of the spans; `is_uniform`: all are the same.
    """
    if not spans:
        return None
    look = looks[0]
    first = spans[0]
    if is_uniform:
        text = first["text"] if len(spans) == 1 else "".join([span["text"] for span in spans])
        main, size, bold_01, math_01 = first, look.size, float(look.is_bold), float(look.is_math)
    else:
        text, main, size, bold_01, math_01 = _mixed(spans, looks, counts)
    if not text or text.isspace():
        return None
    if math_01 and glyphs.UNKNOWN in text:
        spans = glyphs.named(spans, counts)
        text, main, *_ = _mixed(spans, looks, counts)
        if not text or text.isspace():
            return None
    return Line(
        first["bbox"][0],
        spans[-1]["bbox"][2],
        main["origin"][1] + glyphs.hang(text, size) if math_01 else main["origin"][1],
        size,
        text,
        bold_01 > 0.85,
        look.is_bold,
        math_01,
        look.is_raised or look.size < 0.8 * size,
        block,
        page,
        main["font"].split("+")[-1],
        run_in=_run_in(spans, looks, text) if 0.0 < bold_01 < 0.85 and RUN_IN_NUMBER.match(text) else 0,
        n_raised=0 if is_uniform else scripts.n_raised(spans[-1], main["origin"][1], size),
    )


def _run_in(spans: list[dict[str, Any]], looks: list[Look], text: str) -> int:
    """Characters of a section's number and bold title, if the line goes on in another weight; else 0."""
    n = end = 0
    for span, look in zip(spans, looks, strict=True):
        if not look.is_bold and not end and RUN_IN_NUMBER.sub("", span["text"]).strip():
            return 0
        n += len(span["text"])
        end = n if look.is_bold else end  # symbols between bold words are a part of the title
    if end and text[:end].rstrip()[-1:] not in tuple(".:?!"):  # it ends in symbols
        match = TITLE_END.search(text, end)
        end = match.end() if match else 0
    return end if end < len(text.rstrip()) else 0


def _mixed(
    spans: list[dict[str, Any]], looks: list[Look], counts: Counter[str]
) -> tuple[str, dict[str, Any], float, float, float]:
    """(text, span that stands for the line, font size, share of bold, share of math) of a line of several looks."""
    parts: list[str] = []
    n_of: dict[Look, int] = {}
    longest: dict[float, tuple[int, dict[str, Any]]] = {}  # of each size: characters, and the first span of so many
    end, before = math.inf, " "
    for span, look in zip(spans, looks, strict=True):
        text, (x0, _, x1, _) = _PLACED_TEXT(span)
        size, n = look.size, len(text)
        if x0 - end > GAP * size and text[:1] != " " and before[-1:] != " ":
            text = f" {text}"  # MuPDF leaves it out behind a letter of a formula
        parts.append(text)
        end, before = x1, text
        n_of[look] = n_of.get(look, 0) + n
        if look.is_math and text in glyphs.HANGING:
            n = 0  # its origin is not on the baseline
        if size not in longest or n > longest[size][0]:
            longest[size] = n, span
    sizes: dict[float, int] = {}
    for look, n in n_of.items():
        sizes[look.size] = sizes.get(look.size, 0) + n
    text = "".join(parts)
    size = _main_size(sizes, text) if len(sizes) > 1 else next(iter(sizes))
    main = longest[size][1]  # a blank after a subscript keeps its baseline, so the longest one of the size
    if len(sizes) > 1:
        text = scripts.written(parts, spans, looks, main["origin"][1], size, counts)
    n_chars = max(1, len(text))
    bold = sum([n for look, n in n_of.items() if look.is_bold])
    in_math = sum([n for look, n in n_of.items() if look.is_math])
    return text, main, size, bold / n_chars, in_math / n_chars


def _main_size(sizes: dict[float, int], text: str) -> float:
    """The size that has most characters, or a larger one that has half as many: long indices are no line of their own.

    Small capitals are capitals of a smaller size: what counts is the size that they are set in.
    """
    if len(text) > 2 and text.isupper():
        return max(sizes)
    most = max(sizes.values())
    return max([size for size, n in sizes.items() if n >= 0.5 * most])
