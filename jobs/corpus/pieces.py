"""Paragraphs, captions, tables, footnotes and formulas: runs of lines cut into pieces, each with its kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from jobs.corpus.cleaning import count_letters
from jobs.corpus.columns import Run
from jobs.corpus.fonts import is_italic, is_monospaced
from jobs.corpus.lines import Line

CAPTION = re.compile(
    r"(?:Supplementary |Extended Data )?(Fig(?:ure|s?\.)|FIG(?:URE|\.)|T(?:able|ABLE)|Tab\."
    r"|Algorithm|ALGORITHM|Listing|Scheme|Box|Exhibit)"
    r"\s*((?:\d|[A-Z]\b|[A-Z]\.?\d|[IVX]+\b)(?:\.?\d)*[a-z]?)\s*(?P<mark>[.:|—–])?"
)
_CAPTION_INITIALS = frozenset("ABEFLST")
_NAMES = (
    "abstract|introduction|background|preliminaries|related work|related works|method|methods|methodology"
    "|experiments|experimental setup|experimental results|results|evaluation|analysis|discussion|conclusion"
    "|conclusions|concluding remarks|conclusion and future work|conclusions and future work|limitations"
    "|future work|broader impact|acknowledgment|acknowledgments|acknowledgement|acknowledgements|references"
    "|bibliography|literature cited|appendix|appendices|supplementary material|supplementary materials"
    "|supplemental material|ethics statement|reproducibility statement"
)
SECTION_NAMES = frozenset(_NAMES.split("|"))
BULLET = re.compile(r"(?:[•◦▪■●‣⋄∗*–—-]|\(?(?:[ivx]{1,5}|\d{1,2}|[a-z])[).]|\[\d{1,3}\])\s")
STATEMENT = re.compile(
    r"(?:Theorem|Lemma|Proposition|Corollary|Definition|Remark|Proof|Example|Claim|Conjecture|Assumption|Fact|Problem"
    r"|Observation|Notation|Keywords?|THEOREM|LEMMA|PROPOSITION|COROLLARY|DEFINITION|REMARK|PROOF)\b[^a-z]{0,12}(?:\(|\.|:|$)"
)
SECTION_NUMBER = re.compile(r"(?:Appendix )?(?:\d{1,2}(?:\.\d{1,2})*|[A-Z](?:\.\d{1,2})+|[IVX]+\.)\.?\s+[A-Z]")
TITLE_NUMBER = re.compile(r"(?:\d{1,2}(?:\.\d{1,2})*|[A-Z]|[IVX]+)[.)]?\s+[A-Z]")
TERMINAL = frozenset(".?!:;")
FOOTNOTE_SIZE = 0.93  # of the size of prose, at most
CODE_GAP = 3.0  # font sizes between two lines of one listing, at most
_FUNCTION_NAMES = (
    "log exp min max arg sup inf lim sin cos tan det dim ker diag subject and for all otherwise if where such that"
)
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
WORD = re.compile(r"[^\W\d_]{3,}")
_PLAIN_WORD = re.compile("[A-Za-z]{3,}")  # the same in ASCII, in half the time
_RELATION = re.compile("[=<>≤≥≈≃≡∼∝∈⊂⊆∑∏∫√±×→←↦∂∇∞⊕⊗∀∃∥⟨⟩∗·≜:+−/]")
_EQUATION = re.compile("[=<>≤≥≈≃≡∼∝∈⊂⊆∑∏∫√±×→←↦∂∇∞]")
_CLOSERS = "\"'”’)]}»"


class Style(NamedTuple):
    """What is normal in the document: size of its prose, distance of its lines (points), indents, fonts."""

    size: float
    leading: float
    is_indented: bool
    fonts: frozenset[str]
    is_typewritten: bool = False  # then a typewriter's font is no sign of program text


class Piece(NamedTuple):
    """Lines that belong together, with the kind of block they become (or `debris`).

    `is_indented` and `is_full` say how it begins and ends: its first line stands in from the column's edge, its last
    one reaches the other edge. `gap` is the distance to the piece above it, in lines.
    """

    kind: str
    lines: list[Line]
    is_indented: bool
    is_full: bool
    gap: float
    title: str = ""
    level: int = 0


def measure(runs: Iterable[Run]) -> Style:
    """The style of a document's prose, from all its runs."""
    sizes: Counter[float] = Counter()
    gaps: Counter[float] = Counter()
    fonts: Counter[str] = Counter()
    pairs: list[tuple[Line, Line, float]] = []
    for run in runs:
        for a, b in pairwise(run.lines):
            n, size = len(b.text), b.size
            sizes[size] += n
            fonts[b.font] += n
            if n > 25 and abs(a.size - size) < 0.5:
                step = b.base - a.base
                if 0 < step < 3 * size and abs(a.x0 - run.left) < 0.3 * size:
                    gaps[round(step / size, 2)] += 1
                    pairs.append((a, b, run.left))
    halves: Counter[float] = Counter()
    for size, n in sizes.items():
        halves[round(size * 2) / 2] += n
    size = halves.most_common(1)[0][0] if halves else 10.0
    leading = _smoothed_mode(gaps) if gaps else 1.2
    n_indented = sum(0.8 * b.size < b.x0 - left < 3 * b.size for _, b, left in pairs)
    n_spaced = sum(b.base - a.base > 1.25 * leading * b.size and b.x0 - left < 0.3 * b.size for a, b, left in pairs)
    total = sum(fonts.values())
    common = frozenset(font for font, n in fonts.items() if n > 0.02 * total)
    is_typewritten = bool(fonts) and is_monospaced(fonts.most_common(1)[0][0])
    return Style(size, leading * size, n_spaced <= 2 * n_indented + 3, common, is_typewritten)


def _smoothed_mode(counts: Counter[float]) -> float:
    order = sorted(counts)
    totals = dict.fromkeys(counts, 0)
    for i, key in enumerate(order):
        for step in (1, -1):
            j = i if step == 1 else i - 1
            while 0 <= j < len(order) and abs(order[j] - key) < 0.03:
                totals[key] += counts[order[j]]
                j += step
    return max(totals, key=totals.__getitem__)


def cut_run(run: Run, style: Style) -> list[Piece]:
    """The pieces of one run, top to bottom, all of kind `paragraph` or `formula` until `classify` looks at them."""
    pieces: list[Piece] = []
    group: list[Line] = []
    was_formula = False
    for line in run.lines:
        goes_on = bool(group) and not style.is_typewritten and _is_next_line_of_code(group[-1], line)
        formula = was_formula if goes_on else is_formula(line, run)
        if group and not goes_on and (formula != was_formula or _begins_piece(group, line, run, style, formula)):
            pieces.append(_piece(group, was_formula, pieces, run, style))
            group = []
        group.append(line)
        was_formula = formula
    if group:
        pieces.append(_piece(group, was_formula, pieces, run, style))
    return [part for piece in _with_inline(pieces, style) for part in _parted_at_title(piece)]


def _is_next_line_of_code(before: Line, line: Line) -> bool:
    """However far it is set in: only an empty line or two part a listing."""
    if not is_monospaced(line.font) or not is_monospaced(before.font):
        return False
    is_like_it = line.size == before.size and not line.is_raised and not BULLET.match(line.text)
    return is_like_it and abs(line.base - before.base) < CODE_GAP * line.size


def _parted_at_title(piece: Piece) -> list[Piece]:
    """A numbered title and the prose that follows it on the same line, as two pieces."""
    first = piece.lines[0]
    if not first.run_in or piece.kind != "paragraph":
        return [piece]
    title = replace(first, text=first.text[: first.run_in].rstrip(), is_bold=True, run_in=0)
    rest = replace(first, text=first.text[first.run_in :].lstrip(), is_lead_bold=False, run_in=0)
    return [
        piece._replace(lines=[title], is_full=False),
        piece._replace(lines=[rest, *piece.lines[1:]], is_indented=True, gap=1.0),
    ]


def _with_inline(pieces: list[Piece], style: Style) -> list[Piece]:
    """Fractions and stacked indices inside a sentence put back: no space was left for them as for a display."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and _is_middle_of_sentence(merged[-1], piece, style):
            merged[-1] = merged[-1]._replace(lines=merged[-1].lines + piece.lines, is_full=piece.is_full)
            continue
        if piece.kind == "paragraph" and len(merged) > 1 and merged[-1].kind == "formula":
            before, inline = merged[-2], merged[-1]
            step = piece.lines[0].base - before.lines[-1].base
            if before.kind == "paragraph" and step <= 1.6 * style.leading and len(inline.lines) < 5:
                lines = inline.lines + piece.lines
                if before.is_full or len(before.lines) > 1:
                    merged[-2:] = [before._replace(lines=before.lines + lines, is_full=piece.is_full)]
                else:  # what stands above is a heading: the signs belong to the line below
                    merged[-1] = piece._replace(lines=lines, gap=inline.gap)
                continue
        merged.append(piece)
    return merged


def _is_middle_of_sentence(before: Piece, piece: Piece, style: Style) -> bool:
    """A cut where a tall formula pushed lines apart: a full line that ends no sentence, then a small letter."""
    if before.kind != "paragraph" or piece.kind != "paragraph" or not before.is_full:
        return False
    last, first = before.lines[-1], piece.lines[0]
    is_near = 0 < first.base - last.base < 2.3 * style.leading and abs(first.size - last.size) < 0.1 * last.size
    return (
        is_near
        and first.x0 < last.x0 + last.size
        and first.text.lstrip()[:1].islower()
        and not ends_sentence(last.text)
    )


def _piece(group: list[Line], formula: bool, before: list[Piece], run: Run, style: Style) -> Piece:
    first, last = group[0], group[-1]
    gap = (first.base - before[-1].lines[-1].base) / style.leading if before else 9.0
    kind = "formula" if formula else "paragraph"
    is_indented = first.x0 - run.left > 0.7 * first.size
    is_full = last.x1 > run.right - 0.06 * (run.right - run.left)
    return Piece(kind, group, is_indented, is_full, gap)


def is_formula(line: Line, run: Run) -> bool:
    """A displayed formula or a part of one: few words, many signs, away from the column's left edge."""
    is_inset = line.x0 - run.left > 1.2 * line.size
    if line.math_01 == 0 and not is_inset:
        return False
    text = line.text.strip()
    if len(text) > 90:
        return False
    n_words = sum([word not in _FUNCTIONS for word in find_words(text.lower())])
    if n_words > 2 and (n_words > 4 or line.math_01 < 0.3 or not _RELATION.search(text)):
        return False
    n_letters = count_letters(text)
    is_signs = n_letters < 0.5 * (len(text) - text.count(" "))
    if line.math_01 > 0.3 or (is_signs and line.math_01 > 0):
        return is_inset or (n_words == 0 and len(text) > 12)  # less is the last word of a paragraph
    return is_inset and n_words <= 1 and len(text) > 2 and bool(_EQUATION.search(text))


def match_caption(text: str) -> re.Match[str] | None:
    """The beginning of a caption, with its `mark`; a look at the first letter spares most texts the search."""
    return CAPTION.match(text) if text[:1] in _CAPTION_INITIALS else None


def find_words(text: str) -> list[str]:
    """Runs of three letters and more."""
    return (_PLAIN_WORD if text.isascii() else WORD).findall(text)


def ends_sentence(text: str) -> bool:
    """Whether the text ends with the mark of a finished sentence or clause."""
    return text.rstrip().rstrip(_CLOSERS)[-1:] in TERMINAL


def _begins_piece(group: list[Line], line: Line, run: Run, style: Style, formula: bool) -> bool:
    last = group[-1]
    size = line.size if line.size > last.size else last.size
    gap = line.base - last.base
    if formula:
        return abs(gap) > 2.6 * size
    if gap < -0.5 * size or abs(line.size - last.size) > 0.1 * size:
        return True
    leading = style.leading * max(1.0, size / style.size) if size > 0.95 * style.size else 1.32 * size
    if gap > 1.42 * leading:
        return True
    if _changes_emphasis(last, line, run) or (len(group) < 3 and _ends_italic_heading(group, line, run)):
        return True
    if line.is_raised and size < FOOTNOTE_SIZE * style.size:
        return True
    return _begins_by_text(last, line, gap > 1.05 * leading) or _begins_by_edges(group, line, run)


def _changes_emphasis(last: Line, line: Line, run: Run) -> bool:
    """A heading above prose or prose above a heading: bold against not bold, capitals against not."""
    if last.is_bold and abs(last.size - line.size) > 0.04 * last.size:
        return True
    if last.is_bold != line.is_bold:
        is_full = last.x1 > run.right - 0.2 * (run.right - run.left)
        return not (last.is_bold and line.is_lead_bold and is_full)  # bold that goes on and ends inside the next line
    return last.text.isupper() and len(last.text) > 6 and not line.text.isupper() and len(line.text) > 6


def _ends_italic_heading(group: list[Line], line: Line, run: Run) -> bool:
    """A numbered title in italics, then prose: the only sign of a heading in styles that set none bold."""
    last = group[-1]
    return (
        is_italic(last.font)
        and not is_italic(line.font)
        and last.x1 < run.right - 0.12 * (run.right - run.left)
        and bool(TITLE_NUMBER.match(group[0].text))
    )


def _begins_by_text(last: Line, line: Line, is_apart: bool) -> bool:
    text = line.text.lstrip()
    if not text[:1].isupper():  # as all captions and statements are
        return False
    match = match_caption(text)
    if match and match["mark"]:  # "as is shown in / Figure 1. Then": a full stop may end a sentence of prose
        return match["mark"] != "." or is_apart or ends_sentence(last.text)
    return is_apart and bool(STATEMENT.match(text))


def _begins_by_edges(group: list[Line], line: Line, run: Run) -> bool:
    last, size = group[-1], line.size
    if last.is_bold and line.is_bold:
        return bool(SECTION_NUMBER.match(line.text)) or abs(last.size - line.size) > 0.04 * size
    inset, last_inset = line.x0 - run.left, last.x0 - run.left
    ended = ends_sentence(last.text)
    is_short = last.x1 < run.right - 0.12 * (run.right - run.left)
    if BULLET.match(line.text) and (ended or is_short or inset > last_inset + 0.5 * size):
        return True
    if BULLET.match(group[0].text) or _is_hanging(group):
        return (is_short and ended) or (inset < group[0].x0 - run.left - 0.4 * size)
    if line.is_lead_bold and not line.is_bold and ended and not last.is_lead_bold:
        return True
    if inset > 0.8 * size and last_inset < 0.5 * size and (ended or is_short):
        return True
    return is_short and ended


def _is_hanging(group: list[Line]) -> bool:
    """The second line stands further in than the first, as in lists and references."""
    return len(group) > 1 and group[1].x0 > group[0].x0 + 0.6 * group[0].size
