"""Pieces of a column, and what is normal in a document, from lines made by hand."""

from __future__ import annotations

import pytest

from jobs.corpus import pieces
from jobs.corpus.columns import Run
from jobs.corpus.lines import Line


def line(base: float, *, size: float = 10.0, text: str = "a line of prose as long as most others") -> Line:
    return Line(70.0, 300.0, base, size, text, False, False, 0.0, False, 0, 0, "CMR10")


def test_style_is_that_of_most_characters() -> None:
    prose = [line(12.0 * i) for i in range(20)]
    notes = [line(300.0 + 9.0 * i, size=8.2) for i in range(5)]
    style = pieces.measure([Run(prose, 70.0, 300.0), Run(notes, 70.0, 300.0)])
    assert (style.size, style.leading) == (10.0, 12.0)


def test_distances_that_differ_by_little_are_one() -> None:
    steps = [12.0] * 4 + [14.0, 14.1, 14.2] * 3
    bases = [sum(steps[:i]) for i in range(len(steps) + 1)]
    style = pieces.measure([Run([line(base) for base in bases], 70.0, 300.0)])
    assert style.leading == pytest.approx(14.1, abs=0.11)


@pytest.mark.parametrize(("text", "n"), [("an MLP of 3 layers", 2), ("für naïve Mähren", 3), ("a_bc def", 1), ("", 0)])
def test_words_have_three_letters_and_more(text: str, n: int) -> None:
    assert len(pieces.find_words(text)) == n
