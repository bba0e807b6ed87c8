"""What a piece is: caption, footnote, table, formula, label of a picture, or prose."""

from __future__ import annotations

import math
import re

from jobs.corpus.cleaning import count_letters
from jobs.corpus.fonts import family, is_monospaced
from jobs.corpus.lines import Line
from jobs.corpus.pieces import (
    BULLET,
    FOOTNOTE_SIZE,
    SECTION_NAMES,
    SECTION_NUMBER,
    TITLE_NUMBER,
    Piece,
    Style,
    ends_sentence,
    find_words,
    match_caption,
)

PROSE_CHARS = 300  # a block that long, of long lines, is prose without a closer look
STEP = re.compile(
    r"\d{1,2}:|•|(?:Require|Ensure|Input|Inputs|Output|Outputs|Data|Result|Parameters?|Initiali[sz]e|Given|For|While|If|Else"
    r"|End|Return|Repeat|Until|Do|Set|Compute|Sample|Update)\b(?!,)",
    re.IGNORECASE,
)
STEP_GAP = 1.9  # lines between two steps, at most: more parts an algorithm from the text below
FRONT_01 = 0.4  # of the height of a first page: where authors and their addresses stand
TINY_SIZE = 0.55  # numbers that small are those of an axis
LEADING = 1.2  # of the font size: single-spaced
CAPTION_GAP = 3.0  # lines between a table's caption and its first row, at most
ROW_GAP = 2.2  # lines between the rows of a table, at most
CODE_LINES = 3  # of program text, at least
LISTINGS = ("fig", "lis", "alg", "cod", "pro")  # how captions of floats with program text begin
LABEL_SIZE = 0.75  # of the size of prose: smaller text is a label unless it ends as a sentence does


def classify(pieces: list[Piece], style: Style, height: float) -> list[Piece]:
    """The pieces of one run with their kinds: caption, footnote, table, formula, debris or paragraph."""
    kinds = [_kind(piece, style) for piece in pieces]
    _mark_footnotes(pieces, kinds, style, height)
    _mark_labels(pieces, kinds, style)
    _mark_front_matter(pieces, kinds, style, height)
    _mark_tables(pieces, kinds, style)
    _mark_parts_of_formulas(pieces, kinds)
    _keep_signs_of_text(pieces, kinds, style)
    _mark_steps(pieces, kinds, style)
    _mark_code(pieces, kinds)
    return [
        piece if piece.kind == kind else piece._replace(kind=kind) for piece, kind in zip(pieces, kinds, strict=True)
    ]


def _kind(piece: Piece, style: Style) -> str:
    first = piece.lines[0]
    match = match_caption(first.text.lstrip())
    if match and (match["mark"] or first.is_lead_bold or first.size < 0.96 * style.size):
        return "caption"
    if _is_code(piece, style):
        return "code"
    if piece.kind == "formula":
        return "formula"
    if _is_table(piece.lines):
        return "table"
    lengths = [len(line.text) for line in piece.lines]
    main = piece.lines[lengths.index(max(lengths))]  # the first line may be the index of a formula
    n_chars = sum(lengths)
    if n_chars > PROSE_CHARS and n_chars > 30 * len(piece.lines) and main.size > LABEL_SIZE * style.size:
        return "paragraph"
    text = " ".join([line.text for line in piece.lines])
    is_name = text.strip(" .:").lower() in SECTION_NAMES
    return "paragraph" if is_name or BULLET.match(text) or _is_readable(text, main, style) else "debris"


def _is_code(piece: Piece, style: Style) -> bool:
    """Most lines in a typewriter's font, in a document that is not typewritten; less may be labels of a picture."""
    if len(piece.lines) < CODE_LINES or piece.lines[0].size < LABEL_SIZE * style.size:
        return False
    n_mono = sum([is_monospaced(line.font) for line in piece.lines])
    return n_mono > 0.5 * len(piece.lines) and not style.is_typewritten


def _is_table(lines: list[Line]) -> bool:
    """Most lines have several cells, and few have signs of formulas."""
    cells = [line.cells for line in lines]
    if sum(cells) < 2.4 * len(lines) or sum([n > 1 for n in cells]) < 0.6 * len(lines):
        return False
    return sum([line.math_01 for line in lines]) <= 0.2 * len(lines)


def _is_readable(text: str, main: Line, style: Style) -> bool:
    """Prose, or short text in the size of prose; labels of axes are small and say little."""
    n_letters = count_letters(text)
    n_words = len(find_words(text))
    n_chars = len(text) - text.count(" ")
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
            kinds[i] not in ("paragraph", "formula", "debris", "code")
            or first.size > FOOTNOTE_SIZE * style.size
            or first.top < 0.45 * height
        ):
            break
        if first.is_raised or re.match(r"[∗*⋆†‡§¶]|\d{1,2}\s?[A-Zh]", first.text):
            start = i
    # Affiliations and permissions stand unmarked under the first column, after prose of full size.
    while start > 1 and _is_unmarked_note(pieces[start - 1], kinds[start - 1], style, height):
        start -= 1
    for i in range(start, len(pieces)):
        kinds[i] = "footnote"


def _is_unmarked_note(piece: Piece, kind: str, style: Style, height: float) -> bool:
    first = piece.lines[0]
    return (
        first.page == 0
        and kind in ("paragraph", "debris")
        and first.size <= FOOTNOTE_SIZE * style.size
        and first.top > 0.6 * height
        and not match_caption(first.text)
    )


def _mark_labels(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """Words in a foreign font between labels of a picture are labels too, however large."""
    for i, piece in enumerate(pieces):
        if kinds[i] == "paragraph":
            if _is_foreign(piece, style) and {"debris", "caption"} & set(kinds[max(0, i - 1) : i + 2]):
                kinds[i] = "debris"
        elif kinds[i] == "formula" and set(kinds[:i]) <= {"debris"} and _caption_near(pieces, kinds, i, style) == "fig":
            kinds[i] = "debris"  # signs in a picture at the top of a column


def _is_foreign(piece: Piece, style: Style) -> bool:
    """A few words in a font that the prose does not have, and no title."""
    first = piece.lines[0]
    if first.font in style.fonts or first.is_bold or first.size >= 1.15 * style.size or len(piece.lines) > 3:
        return False
    is_title = first.size > FOOTNOTE_SIZE * style.size and bool(TITLE_NUMBER.match(first.text))  # italic, small caps
    return not is_title and not ends_sentence(piece.lines[-1].text)


def _mark_front_matter(pieces: list[Piece], kinds: list[str], style: Style, height: float) -> None:
    """Small names and addresses below the title on a first page are no labels of a picture."""
    has_title = False
    for i, piece in enumerate(pieces):
        first = piece.lines[0]
        if first.page or first.base > FRONT_01 * height:
            return
        has_title = has_title or first.size > 1.15 * style.size
        if (
            has_title
            and kinds[i] == "debris"
            and len(find_words(first.text)) > 1
            and not _caption_near(pieces, kinds, i, style)
        ):
            kinds[i] = "paragraph"


def _mark_tables(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """Short pieces between the rows of a table belong to it; rows beside a caption of a figure are its labels."""
    for i, kind in enumerate(kinds):
        if kind == "table":
            is_tiny = pieces[i].lines[0].size < TINY_SIZE * style.size or _is_label(pieces[i], style)
            if is_tiny or _caption_near(pieces, kinds, i, style) == "fig":
                kinds[i] = "debris"
        elif kind == "paragraph" and _is_row_like(pieces[i]) and _is_under_its_title(pieces, kinds, i, style):
            kinds[i] = "table"
    if "table" not in kinds:
        return
    for i in (*range(len(kinds)), *reversed(range(len(kinds)))):
        if kinds[i] not in ("formula", "paragraph", "debris") or not _is_beside_table(pieces, kinds, i, style):
            continue
        is_small = pieces[i].lines[0].size < 0.95 * style.size
        if kinds[i] == "debris":
            kinds[i] = "debris" if _is_label(pieces[i], style) else "table"
        elif _is_cell(pieces[i], style) and (is_small or _caption_near(pieces, kinds, i, style) == "tab"):
            kinds[i] = "table"


def _is_label(piece: Piece, style: Style) -> bool:
    """Small and in another type than the prose: words inside a picture."""
    first = piece.lines[0]
    return not _is_of_prose(first, style) and first.size < LABEL_SIZE * style.size


def _is_of_prose(line: Line, style: Style) -> bool:
    """Set in a type that the prose has, in whatever size or weight."""
    return family(line.font) in {family(font) for font in style.fonts}


def _is_row_like(piece: Piece) -> bool:
    """Most lines have gaps as wide as between two cells."""
    n_rows = sum(line.cells > 1 for line in piece.lines)
    return n_rows >= 0.8 * len(piece.lines) and all(len(line.text) < 90 for line in piece.lines)


def _is_beside_table(pieces: list[Piece], kinds: list[str], i: int, style: Style) -> bool:
    """Rows of a table above or below; what may be a label of another float must be close to them."""
    max_gap = ROW_GAP if kinds[i] == "debris" else math.inf
    if i and kinds[i - 1] == "table" and _gap(pieces[i], style) < max_gap:
        return True
    return i + 1 < len(kinds) and kinds[i + 1] == "table" and _gap(pieces[i + 1], style) < max_gap


def _gap(piece: Piece, style: Style) -> float:
    """Its distance in single-spaced lines: floats are not set wider where the prose is."""
    return piece.gap * style.leading / (LEADING * style.size)


def _is_cell(piece: Piece, style: Style) -> bool:
    """Short lines that end no sentence and are no heading."""
    first, last = piece.lines[0], piece.lines[-1]
    is_heading = first.size > 1.05 * style.size or (first.is_bold and bool(SECTION_NUMBER.match(first.text)))
    return not is_heading and all(len(line.text) < 60 for line in piece.lines) and not ends_sentence(last.text)


def _mark_parts_of_formulas(pieces: list[Piece], kinds: list[str]) -> None:
    """Denominators, cases and remarks beside a displayed formula are a part of it."""
    for i, piece in enumerate(pieces):
        text = piece.lines[0].text
        is_short = len(piece.lines) == 1 and len(text) < 40 and len(find_words(text)) < 4 and piece.is_indented
        if kinds[i] not in ("paragraph", "debris") or not is_short or BULLET.match(text):
            continue
        after = pieces[i + 1].gap if i + 1 < len(pieces) and kinds[i + 1] == "formula" else 9.0
        above = piece.gap if i and kinds[i - 1] == "formula" else 9.0
        if min(abs(above), abs(after)) < 1.7:
            kinds[i] = "formula"


def _keep_signs_of_text(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """Signs and single words set like the text, with no figure near, are parts of formulas and ends of sentences."""
    for i, piece in enumerate(pieces):
        main = max(piece.lines, key=lambda line: len(line.text))
        is_set_like_text = main.size > FOOTNOTE_SIZE * style.size and (main.math_01 > 0 or _is_of_prose(main, style))
        if kinds[i] == "debris" and is_set_like_text and _caption_near(pieces, kinds, i, style) != "fig":
            has_words = bool(find_words(main.text)) and not piece.is_indented
            kinds[i] = "paragraph" if has_words else "formula"


def _mark_steps(pieces: list[Piece], kinds: list[str], style: Style) -> None:
    """The steps of an algorithm below its title: they float with it, so that a sentence may go on behind them."""
    is_inside = False
    for i, piece in enumerate(pieces):
        if kinds[i] == "caption":
            is_inside = piece.lines[0].text.lstrip()[:9].lower() == "algorithm"
        elif is_inside and _gap(piece, style) < STEP_GAP and (kinds[i] in ("formula", "debris") or _is_step(pieces, i)):
            kinds[i] = "caption"
        else:
            is_inside = False


def _is_step(pieces: list[Piece], i: int) -> bool:
    """It begins as steps do, or goes on with one that a tall formula cut."""
    is_rest = pieces[i].gap < 1.4 and not ends_sentence(pieces[i - 1].lines[-1].text)
    return is_rest or bool(STEP.match(pieces[i].lines[0].text.lstrip()))


def _mark_code(pieces: list[Piece], kinds: list[str]) -> None:
    """Program text next to the caption of a float floats with it; elsewhere it is a paragraph."""
    for i, kind in enumerate(kinds):
        if kind == "code":
            beside = [j for j in (i - 1, i + 1) if 0 <= j < len(kinds) and kinds[j] == "caption"]
            is_afloat = any(pieces[j].lines[0].text.lstrip()[:3].lower() in LISTINGS for j in beside)
            kinds[i] = "caption" if is_afloat else "paragraph"


def _caption_near(pieces: list[Piece], kinds: list[str], i: int, style: Style) -> str:
    """First letters of the caption that the float at i belongs to: a table's just above it, the next one, any above."""
    if _is_under_its_title(pieces, kinds, i, style):
        return "tab"
    for steps in (range(i + 1, len(kinds)), range(i - 1, -1, -1)):
        for j in steps:
            if kinds[j] == "caption":
                return pieces[j].lines[0].text.lstrip()[:3].lower()
            if kinds[j] not in ("table", "debris", "formula", "code") and len(pieces[j].lines) > 3:
                break
    return ""


def _is_under_its_title(pieces: list[Piece], kinds: list[str], i: int, style: Style) -> bool:
    """Rows close below the caption of a table: a figure that follows them has a caption of its own."""
    while i > 0 and kinds[i - 1] in ("table", "debris", "formula") and _gap(pieces[i], style) < ROW_GAP:
        i -= 1
    return (
        i > 0
        and kinds[i - 1] == "caption"
        and pieces[i - 1].lines[0].text.lstrip()[:3].lower() == "tab"
        and _gap(pieces[i], style) < CAPTION_GAP
    )
