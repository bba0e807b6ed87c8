"""What a piece is: caption, footnote, table, formula, label of a picture, or prose."""

from __future__ import annotations

import re

from jobs.corpus.lines import Line
from jobs.corpus.pieces import (
    BULLET,
    CAPTION,
    FOOTNOTE_SIZE,
    SECTION_NAMES,
    SECTION_NUMBER,
    WORD,
    Piece,
    Style,
    ends_sentence,
)

PROSE_CHARS = 300  # a block that long, of long lines, is prose without a closer look
TINY_SIZE = 0.55  # numbers that small are those of an axis
LABEL_SIZE = 0.75  # of the size of prose: smaller text is a label unless it ends as a sentence does


def classify(pieces: list[Piece], style: Style, height: float) -> list[Piece]:
    """The pieces of one run with their kinds: caption, footnote, table, formula, debris or paragraph."""
    kinds = [_kind(piece, style) for piece in pieces]
    _mark_footnotes(pieces, kinds, style, height)
    _mark_labels(pieces, kinds, style)
    _mark_tables(pieces, kinds, style)
    _mark_parts_of_formulas(pieces, kinds)
    return [piece._replace(kind=kind) for piece, kind in zip(pieces, kinds, strict=True)]


def _kind(piece: Piece, style: Style) -> str:
    first = piece.lines[0]
    match = CAPTION.match(first.text.lstrip())
    if match and (match["mark"] or first.is_bold or first.size < 0.96 * style.size):
        return "caption"
    if piece.kind == "formula":
        return "formula"
    n_rows = sum(line.cells > 1 for line in piece.lines)
    is_math = sum(line.math_01 for line in piece.lines) > 0.2 * len(piece.lines)
    if (
        not is_math
        and n_rows >= 0.6 * len(piece.lines)
        and sum(line.cells for line in piece.lines) >= 2.4 * len(piece.lines)
    ):
        return "table"
    main = max(piece.lines, key=lambda line: len(line.text))  # the first line may be the index of a formula
    n_chars = sum(len(line.text) for line in piece.lines)
    if n_chars > PROSE_CHARS and n_chars > 30 * len(piece.lines) and main.size > LABEL_SIZE * style.size:
        return "paragraph"
    text = " ".join([line.text for line in piece.lines])
    is_name = text.strip(" .:").lower() in SECTION_NAMES
    return "paragraph" if is_name or BULLET.match(text) or _is_readable(text, main, style) else "debris"


def _is_readable(text: str, main: Line, style: Style) -> bool:
    """Prose, or short text in the size of prose; labels of axes are small and say little."""
    n_letters = sum(map(str.isalpha, text))
    n_words = len(WORD.findall(text))
    n_chars = len(text.replace(" ", ""))
    if n_words >= 7 and n_letters > 0.6 * n_chars:
        return main.size > LABEL_SIZE * style.size or ends_sentence(text)
    if main.is_bold and n_words > 0 and n_letters > 0.6 * n_chars and main.size > 0.85 * style.size:
        return True
    return main.size > FOOTNOTE_SIZE * style.size and (n_letters >= 0.5 * n_chars or n_words > 1) and n_words > 0


def _mark_footnotes(pieces: list[Piece], kinds: list[str], style: Style, height: float) -> None:
    """From the bottom of the run upwards: small text in the lower half, down from the highest one with a mark."""
    start = len(pieces)
    for i in range(len(pieces) - 1, -1, -1):
        first = pieces[i].lines[0]
        if (
            kinds[i] not in ("paragraph", "formula", "debris")
            or first.size > FOOTNOTE_SIZE * style.size
            or first.top < 0.45 * height
        ):
            break
        if first.is_raised or re.match(r"[∗*⋆†‡§¶]|\d{1,2}\s?[A-Zh]", first.text):
            start = i
    for i in range(start, len(pieces)):
        kinds[i] = "footnote"


def _mark_labels(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """Words in a foreign font between labels of a picture are labels too, however large."""
    for i, piece in enumerate(pieces):
        first = piece.lines[0]
        is_foreign = first.font not in style.fonts and not first.is_bold and first.size < 1.15 * style.size
        is_label = is_foreign and len(piece.lines) < 4 and not ends_sentence(piece.lines[-1].text)
        if kinds[i] == "paragraph" and is_label and {"debris", "caption"} & set(kinds[max(0, i - 1) : i + 2]):
            kinds[i] = "debris"
        elif kinds[i] == "formula" and set(kinds[:i]) <= {"debris"} and _caption_near(pieces, kinds, i) == "fig":
            kinds[i] = "debris"  # signs in a picture at the top of a column


def _mark_tables(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """Short pieces between the rows of a table belong to it; rows beside a caption of a figure are its labels."""
    for i, kind in enumerate(kinds):
        is_tiny = pieces[i].lines[0].size < TINY_SIZE * style.size
        if kind == "table" and (is_tiny or _caption_near(pieces, kinds, i) == "fig"):
            kinds[i] = "debris"
    for i in (*range(len(kinds)), *reversed(range(len(kinds)))):
        if kinds[i] not in ("formula", "paragraph", "debris") or "table" not in kinds[max(0, i - 1) : i + 2]:
            continue
        first = pieces[i].lines[0]
        if kinds[i] == "debris" or (
            _is_cell(pieces[i], style) and (first.size < 0.95 * style.size or _caption_near(pieces, kinds, i) == "tab")
        ):
            kinds[i] = "table"


def _is_cell(piece: Piece, style: Style) -> bool:
    """Short lines that end no sentence and are no heading."""
    first, last = piece.lines[0], piece.lines[-1]
    is_heading = first.size > 1.05 * style.size or (first.is_bold and bool(SECTION_NUMBER.match(first.text)))
    return not is_heading and all(len(line.text) < 60 for line in piece.lines) and not ends_sentence(last.text)


def _mark_parts_of_formulas(pieces: list[Piece], kinds: list[str]) -> None:
    """Denominators, cases and remarks beside a displayed formula are a part of it."""
    for i, piece in enumerate(pieces):
        text = piece.lines[0].text
        is_short = len(piece.lines) == 1 and len(text) < 40 and len(WORD.findall(text)) < 4 and piece.is_indented
        if kinds[i] not in ("paragraph", "debris") or not is_short or BULLET.match(text):
            continue
        after = pieces[i + 1].gap if i + 1 < len(pieces) and kinds[i + 1] == "formula" else 9.0
        above = piece.gap if i and kinds[i - 1] == "formula" else 9.0
        if min(abs(above), abs(after)) < 1.7:
            kinds[i] = "formula"


def _caption_near(pieces: list[Piece], kinds: list[str], i: int) -> str:
    """First letters of the caption that the float at i belongs to: the next one, else the one just above."""
    for steps in (range(i + 1, len(kinds)), range(i - 1, -1, -1)):
        for j in steps:
            if kinds[j] == "caption":
                return pieces[j].lines[0].text.lstrip()[:3].lower()
            if kinds[j] not in ("table", "debris", "formula") and len(pieces[j].lines) > 3:
                break
    return ""
