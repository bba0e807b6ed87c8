"""Headings, their levels, and where the references begin and end.

Bookmarks are the tree where a PDF has them and they agree with its pages; else numbers, size, weight and a closed list
of names decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from jobs.corpus.cleaning import count_letters
from jobs.corpus.fonts import is_italic
from jobs.corpus.pieces import SECTION_NAMES, STATEMENT, Piece, Style, match_caption

REFERENCES = frozenset(("references", "bibliography", "literature cited", "references and notes"))
_APPENDIX = re.compile(r"appendi|supplement", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?:(?:Appendix|APPENDIX|Section|Chapter)\s+)?(?P<n>\d{1,2}(?:\.\d{1,2})*|[IVX]{1,5}(?=\.)|[A-Z](?:\.\d{1,2})*)\.?\s+(?=[^\W\d_]|[“\"‘(ℓ$])"
)
_JUNK = re.compile(r"[\W_]+")
_JUNK_IN_ASCII = {code: None for code in range(128) if not chr(code).isalnum()}
MAX_HEADING_CHARS = 130
MIN_BOOKMARKS_FOUND_01 = 0.6


class Heading:
    """A piece that may be a heading: how it is numbered and set."""

    __slots__ = ("index", "is_bold", "is_caps", "is_italic", "level", "name", "number", "size", "text")

    def __init__(self, index: int, text: str, piece: Piece) -> None:
        match = _NUMBER.match(text)
        self.index = index
        self.text = text
        self.number = match["n"] if match else ""
        self.name = (text[match.end() :] if match else text).strip(" .:—-").lower()
        self.size = max(line.size for line in piece.lines)
        self.is_bold = all(line.is_bold for line in piece.lines)
        self.is_caps = text.isupper()
        self.is_italic = all(is_italic(line.font) for line in piece.lines)
        self.level = 0

    @property
    def is_named(self) -> bool:
        """Its name, without number, is one that papers give their sections."""
        return self.name in SECTION_NAMES


def squeeze(text: str) -> str:
    """Letters and digits alone, lower case, without accents: what a bookmark and its heading share."""
    if text.isascii():
        return text.lower().translate(_JUNK_IN_ASCII)
    return _JUNK.sub("", unicodedata.normalize("NFKD", text).lower())


def bare_name(text: str) -> str:
    """A heading without its number, squeezed: introduction for `I. Introduction` and `1 INTRODUCTION`."""
    return squeeze(_NUMBER.sub("", text, count=1))


def find_headings(
    pieces: Sequence[Piece], texts: Sequence[str], style: Style, bookmarks: Sequence[tuple[int, str, int]]
) -> dict[int, tuple[int, str]]:
    """Level and title of each piece that is a heading, by its place in `pieces`.

    `texts` are the clean texts of the pieces; bookmarks are (level, title, page from 1).
    """
    candidates = [
        Heading(i, text, piece)
        for i, (piece, text) in enumerate(zip(pieces, texts, strict=True))
        if piece.kind == "paragraph" and _may_be_heading(text, piece)
    ]
    marked = match_bookmarks(pieces, texts, bookmarks)
    if marked:
        names = {
            h.index: (1, h.text) for h in candidates if h.index not in marked and _is_named_heading(h, pieces, style)
        }
        return {**names, **marked}
    found = _numbered(candidates, style) or []
    numbered = {h.index for h in found}
    min_size = 0.97 if numbered else 0.88  # of the prose: without numbers, bold sans serif may be cut to its look
    levels = {(round(h.size), h.is_bold, h.is_caps): h.level for h in reversed(found)}
    for heading in candidates:
        if heading.index in numbered:
            continue
        piece = pieces[heading.index]
        if _is_named_heading(heading, pieces, style):
            heading.level = 1
        elif _is_plain_heading(heading, piece, style, min_size) and not _heads_float(pieces, heading.index):
            heading.level = _level_by_style(heading, levels)
        if heading.level:
            found.append(heading)
    return {h.index: (h.level, h.text) for h in found}


def _may_be_heading(text: str, piece: Piece) -> bool:
    if not 2 < len(text) <= MAX_HEADING_CHARS or len(piece.lines) > 3 or match_caption(text):
        return False
    name = _NUMBER.sub("", text, count=1)
    n_letters = count_letters(name)
    return n_letters > 0.5 * len(name.replace(" ", "")) and not text.endswith((",", ";"))


def _stands_out(heading: Heading, style: Style) -> bool:
    if heading.number and heading.text[:8].lower() == "appendix":
        return not heading.text.endswith(".")
    return heading.is_bold or heading.is_caps or heading.size > 1.07 * style.size


def _is_named_heading(heading: Heading, pieces: Sequence[Piece], style: Style) -> bool:
    """A name of the closed list that is set apart; in lower case or above a float it heads a column of a table."""
    if not heading.is_named or heading.text[0].islower() or _heads_float(pieces, heading.index):
        return False
    return _stands_out(heading, style) or (pieces[heading.index].gap > 1.2 and heading.size > 0.95 * style.size)


def _is_plain_heading(heading: Heading, piece: Piece, style: Style, min_size: float) -> bool:
    """No number and no known name: larger, or bold and apart from what stands above it; a sentence never is."""
    if (
        heading.text.endswith((".", ":", "?", "!"))
        or STATEMENT.match(heading.text)
        or not heading.text[0].isupper()
        or len(heading.text) < 4
    ):
        return False
    families = {font[:2] for font in style.fonts}
    if heading.size > 1.12 * style.size and (heading.is_bold or piece.lines[0].font[:2] in families):
        return True
    return heading.is_bold and piece.gap > 1.25 and heading.size > min_size * style.size


def _heads_float(pieces: Sequence[Piece], index: int) -> bool:
    """The first row of a table or the title of a picture: a float follows at once."""
    is_row = any(line.cells > 1 for line in pieces[index].lines)
    return is_row or (index + 1 < len(pieces) and pieces[index + 1].kind in ("table", "debris", "caption"))


def _numbered(candidates: Sequence[Heading], style: Style) -> list[Heading]:
    """Candidates whose numbers go on where the last one stopped: lists and formulas rarely do."""
    found: list[Heading] = []
    last: tuple[int, ...] = ()
    in_appendix = False
    is_roman = any(heading.number in ("II", "III", "IV") and _stands_out(heading, style) for heading in candidates)
    styles: dict[int, tuple[float, bool]] = {}
    for heading in candidates:
        if not heading.number or (heading.text.endswith(".") and len(heading.text) > 70):
            continue
        if is_roman:
            parts = _roman_parts(heading, last)
        else:
            parts = _parts(heading.number, is_letter_next=in_appendix or (len(last) > 0 and last[0] > 100))
        if parts is None or not _follows(last, parts):
            continue
        is_letter = heading.number[0].isalpha()
        if not (_stands_out(heading, style) or heading.is_italic) and (
            is_letter or not (heading.is_named or _is_title_like(heading))
        ):
            continue
        known = styles.setdefault(len(parts), (heading.size, heading.is_bold))
        if known[1] and not heading.is_bold and abs(known[0] - heading.size) > 0.5:
            continue
        heading.level, last = len(parts), parts
        found.append(heading)
    return found


def _roman_parts(heading: Heading, last: tuple[int, ...]) -> tuple[int, ...] | None:
    """Where sections have roman numbers: IV as (4,), B below it as (4, 2), 1 below that as (4, 2, 1)."""
    number = heading.number
    is_ninth = number == "I" and last[1:2] == (8,)  # the letter, behind H
    if heading.text[:8].lower() == "appendix":
        return (101 + ord(number[0]) - ord("A"),) if len(number) == 1 else None
    if number.isdigit():
        return (*last[:2], int(number)) if len(last) > 1 else None
    if all(char in "IVX" for char in number) and not is_ninth:
        return _parts(number, is_letter_next=False)
    return (*last[:1], 1 + ord(number) - ord("A")) if last and len(number) == 1 else None


def _is_title_like(heading: Heading) -> bool:
    """Set like the prose, so only a short title without a verb's look passes: capitals first, no full stop."""
    return len(heading.text) < 70 and heading.name[:1].isalpha() and not heading.text.endswith((".", ":"))


def _parts(number: str, *, is_letter_next: bool) -> tuple[int, ...] | None:
    """2.1 as (2, 1); appendix B.2 as (102, 2); roman IV as (4,)."""
    head, *rest = number.split(".")
    if head.isdigit():
        first = int(head)
    elif rest or is_letter_next or head == "A" or (len(head) == 1 and head not in "IVX"):
        if len(head) > 1:
            return None
        first = 101 + ord(head) - ord("A")
    else:
        values = {"I": 1, "V": 5, "X": 10}
        numbers = [values[char] for char in head]
        first = sum(-v if v < max(numbers[i + 1 :], default=0) else v for i, v in enumerate(numbers))
    return (first, *(int(part) for part in rest))


def _follows(last: tuple[int, ...], parts: tuple[int, ...]) -> bool:
    """Whether a number may come after another: the next one at its depth, or one that was skipped over unseen."""
    if not last:
        return parts[0] in (0, 1, 2) and all(part <= 1 for part in parts[1:])
    if parts[0] > 100 >= last[0]:
        return parts[0] == 101 and all(part <= 1 for part in parts[1:])
    shared = 0
    while shared < min(len(last), len(parts)) and last[shared] == parts[shared]:
        shared += 1
    if shared == len(parts):
        return False
    step = parts[shared] - (last[shared] if shared < len(last) else 0)
    return 1 <= step <= 2 and all(part <= 1 for part in parts[shared + 1 :])


def _level_by_style(heading: Heading, levels: dict[tuple[int, bool, bool], int]) -> int:
    key = (round(heading.size), heading.is_bold, heading.is_caps)
    if key in levels:
        return levels[key]
    larger = [level for (size, _, _), level in levels.items() if size >= round(heading.size)]
    return max(larger) + 1 if larger else 1


def match_bookmarks(
    pieces: Sequence[Piece], texts: Sequence[str], bookmarks: Sequence[tuple[int, str, int]]
) -> dict[int, tuple[int, str]]:
    """Pieces that bookmarks name, with the bookmarks' levels; empty if too few are found on their pages."""
    wanted = [(level, bare_name(title), page, title) for level, title, page in bookmarks if title.strip()]
    if not wanted:
        return {}
    named = _by_name(pieces, texts)
    found: dict[int, tuple[int, str]] = {}
    after = -1
    for level, title, page, wanted_title in wanted:
        if len(title) < 3:
            continue
        places = [
            (abs(at + 1 - page), not _has_mark(pieces[i], texts[i]), i)
            for i, at in named.get(title, ())
            if i > after and abs(at + 1 - page) <= 1
        ]
        places = places or [
            (abs(piece.lines[0].page + 1 - page), False, i)
            for i, piece in enumerate(pieces)
            if i > after and abs(piece.lines[0].page + 1 - page) <= 1 and _shares_number(texts[i], wanted_title)
        ]
        if places:
            after = min(places)[2]
            found[after] = (level, texts[after])
    n_wanted = sum(len(title) >= 3 for _, title, _, _ in wanted)
    return found if n_wanted and len(found) >= MIN_BOOKMARKS_FOUND_01 * n_wanted and len(found) > 2 else {}


def _by_name(pieces: Sequence[Piece], texts: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """Places in `pieces`, and pages from 0, of all texts that are short enough for a title, by their bare names."""
    named: dict[str, list[tuple[int, int]]] = {}
    for i, (piece, text) in enumerate(zip(pieces, texts, strict=True)):
        if len(text) < 2 * MAX_HEADING_CHARS and piece.kind in ("paragraph", "formula"):
            named.setdefault(bare_name(text), []).append((i, piece.lines[0].page))
    return named


def _shares_number(text: str, title: str) -> bool:
    """Same section number and first letters: formulas and symbols of a title are lost in its bookmark."""
    mine, theirs = _NUMBER.match(text), _NUMBER.match(title)
    if not mine or not theirs or mine["n"] != theirs["n"] or len(text) > len(title) + 12:
        return False
    return text[mine.end() : mine.end() + 3] == title[theirs.end() : theirs.end() + 3]


def _has_mark(piece: Piece, text: str) -> bool:
    """A number or bold type tells a heading from a list item of the same words."""
    return bool(_NUMBER.match(text)) or piece.lines[0].is_bold


def references_span(headings: dict[int, tuple[int, str]], texts: Sequence[str]) -> tuple[int, int] | None:
    """Pieces of the list of references, as [start, end), with its heading apart; None if there is none.

    The list is the last one so named in the last six tenths of the text. It ends at the next heading, or at the end.
    """
    n_chars = sum(map(len, texts))
    start, seen = None, 0
    for i, text in enumerate(texts):
        if i in headings and bare_name(text) in {squeeze(name) for name in REFERENCES}:
            start = i if seen > 0.3 * n_chars or start is None else start
        seen += len(text)
    if start is None:
        return None
    end = next((i for i in sorted(headings) if i > start), len(texts))
    return start + 1, end
