"""What column and page breaks tore apart, on pieces made by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from jobs.corpus import flow
from jobs.corpus.lines import Line
from jobs.corpus.pieces import Piece, Style

STYLE = Style(size=10.0, leading=12.0, is_indented=True, fonts=frozenset({"CMR10"}))


def piece(text: str, page: int, kind: str = "paragraph") -> Piece:
    """A full line of prose at the bottom of page 0 or at the top of a later one."""
    base = 100.0 if page else 700.0
    line = Line(70.0, 300.0, base, 10.0, text, False, False, 0.0, False, 0, page, "CMR10")
    return Piece(kind, [line], False, True, 9.0)


def paragraphs(*pieces: Piece) -> list[str]:
    """The texts that are written for the pieces, without floats."""
    written = flow.write(pieces, STYLE, [], Counter(), n_pages=3)
    return [written.text[start:end] for kind, start, end in written.blocks if kind == "paragraph"]


def test_sentence_past_the_steps_of_an_algorithm_is_one() -> None:
    torn = (piece("the words of a sentence", 0), piece("1: wind the clock", 1, "caption"), piece("go on here.", 2))
    assert paragraphs(*torn) == ["the words of a sentence go on here."]


@pytest.mark.parametrize(
    ("tail", "head", "n"),
    [
        ("publishing is idempotent:", "a repeated run finds it done.", 1),
        ("the first half is known;", "the second one is not.", 1),
        ("there are two reasons:", "a) the first of them.", 2),
        ("there are two reasons:", "The first of them.", 2),
    ],
)
def test_sentence_goes_on_behind_a_colon_unless_a_list_begins(tail: str, head: str, n: int) -> None:
    assert len(paragraphs(piece(tail, 0), piece(head, 1))) == n
