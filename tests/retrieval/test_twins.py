"""Which passages say the same, and what is left of an order without the worse of two."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from jobs.retrieval.twins import Row, say_the_same, without_twins

THEOREM = "Assume that the gradients are bounded and the decay is slow; then the regret of the optimizer is sublinear."
AGAIN = f"Theorem 10. {THEOREM}"
TABLE = "Method 128 256 512 Dense 1.2 3.4 5.6"
OTHER_TABLE = "Method 128 256 512 Dense 9.8 7.6 5.4"


def row(text: str, kind: str = "text") -> Row:
    return {"kind": kind, "text": text, "text_hash": hashlib.sha256(text.encode()).hexdigest()}


def unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], dtype=np.float32)


def test_running_text_that_shares_its_words_says_the_same() -> None:
    assert say_the_same(row(THEOREM), row(AGAIN))
    assert not say_the_same(row(THEOREM), row("Assume that the gradients are bounded: the proof follows from it."))


def test_tables_of_one_form_say_different_things() -> None:
    assert not say_the_same(row(TABLE, "table"), row(OTHER_TABLE, "table"))
    assert say_the_same(row(TABLE, "table"), row(TABLE, "table"))


def test_captions_that_differ_in_a_word_say_different_things() -> None:
    forward, backward = (f"Runtime of the {word} pass in ms by sequence length" for word in ("forward", "backward"))
    assert not say_the_same(row(forward, "caption"), row(backward, "caption"))


class Shelf:
    """Rows with their vectors, and what of them was read."""

    def __init__(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        self.rows = rows
        self.vectors = vectors
        self.read_rows: list[int] = []

    def first(self, n: int) -> list[int]:
        ranked = [(place, 1.0 - place / 10) for place in range(len(self.rows))]
        return [place for place, _ in without_twins(ranked, n, lambda rows: self.vectors[list(rows)], self.read)]

    def read(self, rows: Sequence[int]) -> list[Row]:
        self.read_rows += rows
        return [self.rows[place] for place in rows]


def test_better_one_stays_and_the_next_takes_the_place() -> None:
    shelf = Shelf([row(THEOREM), row("a"), row(AGAIN), row("b"), row(THEOREM), row("c")], unit(0, 1, 0.01, 2, 0, 3))
    assert shelf.first(3) == [0, 1, 3]
    assert shelf.first(4) == [0, 1, 3, 5]
    assert shelf.first(10) == [0, 1, 3, 5]


def test_texts_are_read_only_of_what_is_near() -> None:
    shelf = Shelf([row("a"), row("b"), row(TABLE, "table"), row(OTHER_TABLE, "table")], unit(0, 1, 2, 2.01))
    assert shelf.first(4) == [0, 1, 2, 3]
    assert shelf.read_rows == [2, 3]


def test_same_words_of_another_meaning_are_not_compared() -> None:
    """Far apart, though their words are the same: what a vector tells apart is told apart."""
    assert Shelf([row(THEOREM), row(AGAIN)], unit(0, 1)).first(2) == [0, 1]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_nothing_and_one_have_no_twin(n_rows: int) -> None:
    assert Shelf([row("a")] * n_rows, unit(*[0.0] * n_rows)).first(5) == list(range(n_rows))
