"""Headings by number, name, type and bookmark, on pieces made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobs.corpus import sections
from jobs.corpus.lines import Line
from jobs.corpus.pieces import Piece, Style

STYLE = Style(size=10.0, leading=12.0, is_indented=True, fonts=frozenset({"CMR10"}))


def piece(text: str, *, size: float = 10.0, bold: bool = False, page: int = 0, gap: float = 2.0) -> Piece:
    """A piece of one line."""
    line = Line(70.0, 300.0, 100.0, size, text, bold, bold, 0.0, False, 0, page, "CMR10")
    return Piece("paragraph", [line], False, False, gap)


def found(pieces: Sequence[Piece], bookmarks: Sequence[tuple[int, str, int]] = ()) -> list[tuple[int, str]]:
    """Level and title of the headings among the pieces, in order."""
    texts = [piece.lines[0].text for piece in pieces]
    headings = sections.find_headings(pieces, texts, STYLE, bookmarks)
    return [headings[i] for i in sorted(headings)]


def test_numbers_give_the_levels() -> None:
    names = ["1 Introduction", "2 Method", "2.1 Setting", "2.1.1 Rooms", "2.2 Clocks", "3 Results", "A Proofs"]
    assert [level for level, _ in found([piece(name, bold=True) for name in names])] == [1, 1, 2, 3, 2, 1, 1]


def test_roman_numbers_are_levels_of_their_own() -> None:
    names = ["I. INTRODUCTION", "II. METHOD", "III. RESULTS", "IV. DISCUSSION"]
    assert found([piece(name) for name in names]) == [(1, name) for name in names]


@pytest.mark.parametrize(
    "text",
    [
        "7 Clocks were read",  # no 2 to 6 before it
        "A general field is of the form",
        "In 1999 we read the clock.",
        "Theorem 3",
        "and so on",
    ],
)
def test_prose_that_looks_like_a_heading_is_none(text: str) -> None:
    assert found([piece("1 Introduction", bold=True), piece(text, gap=1.0)]) == [(1, "1 Introduction")]


def test_known_name_needs_no_number() -> None:
    assert found([piece("Acknowledgments", bold=True), piece("Bibliography", size=12.0)]) == [
        (1, "Acknowledgments"),
        (1, "Bibliography"),
    ]


def test_column_of_a_table_is_no_heading() -> None:
    row = piece("Method", bold=True)
    table = piece("Adam 12.1")._replace(kind="table")
    assert found([row, table]) == []


def test_unnumbered_heading_has_the_level_of_its_type() -> None:
    pieces = [
        piece("1 Introduction", size=14.0, bold=True),
        piece("1.1 Clocks", size=12.0, bold=True),
        piece("Further Clocks", size=12.0, bold=True),
        piece("Outlook", size=14.0, bold=True),
    ]
    assert found(pieces)[2:] == [(2, "Further Clocks"), (1, "Outlook")]


def test_bookmarks_win_over_type() -> None:
    pieces = [
        piece("Clocks", page=0),
        piece("Towers", page=0),
        piece("Kitchens", page=1),
        piece("Bold words", bold=True),
    ]
    bookmarks = [(1, "Clocks", 1), (2, "Towers", 1), (2, "Kitchens", 2)]
    assert found(pieces, bookmarks) == [(1, "Clocks"), (2, "Towers"), (2, "Kitchens")]


def test_bookmarks_that_are_not_on_their_pages_are_not_believed() -> None:
    pieces = [piece("1 Introduction", bold=True), piece("2 Results", bold=True)]
    bookmarks = [(1, "page 1", 1), (1, "page 2", 2), (1, "Introduction", 1)]
    assert found(pieces, bookmarks) == [(1, "1 Introduction"), (1, "2 Results")]


def test_bookmark_that_lost_its_formula_is_found_by_number() -> None:
    pieces = [piece("1 Clocks"), piece("1.1 The case x = 2"), piece("2 Towers")]
    bookmarks = [(1, "1 Clocks", 1), (2, "1.1 The case .", 1), (1, "2 Towers", 1)]
    assert (2, "1.1 The case x = 2") in found(pieces, bookmarks)


def test_references_end_at_the_next_heading() -> None:
    texts = ["1 Introduction", "prose " * 50, "References", "[1] Mill.", "[2] Stone.", "A Proofs", "proof " * 10]
    headings = {0: (1, texts[0]), 2: (1, texts[2]), 5: (1, texts[5])}
    assert sections.references_span(headings, texts) == (3, 5)


def test_references_without_a_heading_behind_run_to_the_end() -> None:
    texts = ["1 Introduction", "prose " * 50, "5. Bibliography", "[1] Mill."]
    assert sections.references_span({0: (1, texts[0]), 2: (1, texts[2])}, texts) == (3, 4)


def test_document_without_references_has_none() -> None:
    assert sections.references_span({0: (1, "1 Introduction")}, ["1 Introduction", "prose"]) is None


def test_letters_below_roman_numbers_are_sections_of_them() -> None:
    names = ["I. INTRODUCTION", "II. METHOD", "A. Setting", "1. Rooms", "B. Clocks", "III. RESULTS", "A. Hours"]
    assert [level for level, _ in found([piece(name, bold=True) for name in names])] == [1, 1, 2, 3, 2, 1, 2]


def test_appendix_by_name_needs_no_bold_type() -> None:
    names = ["1 Introduction", "2 Method", "Appendix A. Proofs of all theorems"]
    assert [level for level, _ in found([piece(name) for name in names])] == [1, 1, 1]


@pytest.mark.parametrize("heading", ["I. Introduction", "1 INTRODUCTION", "Introduction"])
def test_name_of_a_heading_is_bare_of_its_number(heading: str) -> None:
    assert sections.bare_name(heading) == "introduction"
