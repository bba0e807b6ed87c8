"""Passages that say the same, in two papers or twice in one: of those found, only the best one is shown.

Vectors alone cannot tell. Among 2,587 passages of 29 real papers 102 pairs have a cosine of .98 and more: 84 are tables
of one form with other numbers (up to .998), 17 are captions that differ in the word that counts, and one pair, a
theorem and where its proof repeats it, says the same. So the texts decide: equal ones, or running text that shares its
words. November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jobs.retrieval.words import words_of

if TYPE_CHECKING:
    import numpy as np

    from jobs.retrieval.ranking import Ranked

SAME_COSINE = 0.98  # below this no texts are compared
SAME_WORDS_01 = 0.8  # words that two texts share, of all that they have: the theorem's .87; the next running text .6

Row = dict[str, Any]
Rows = Sequence[int]
COLUMNS = ["kind", "text", "text_hash"]


def without_twins(
    ranked: Ranked, n: int, vectors_of: Callable[[Rows], np.ndarray], read: Callable[[Rows], list[Row]]
) -> Ranked:
    """The first `n` without those that say what a better one says; what is left out makes room for the next.

    `vectors_of` gives float32 [len(rows), dim], unit norm, `read` the COLUMNS of rows that have another one near.
    """
    n_seen = n
    while True:
        seen = ranked[:n_seen]
        kept = _kept(seen, vectors_of([row for row, _ in seen]), read) if len(seen) > 1 else seen
        if len(kept) >= n or n_seen >= len(ranked):
            return kept[:n]
        n_seen *= 2


def _kept(ranked: Ranked, vectors: np.ndarray, read: Callable[[Rows], list[Row]]) -> Ranked:
    import numpy as np

    firsts, seconds = np.nonzero(np.triu(vectors @ vectors.T >= SAME_COSINE, 1))
    places = sorted({*firsts.tolist(), *seconds.tolist()})
    texts = dict(zip(places, read([ranked[place][0] for place in places]) if places else (), strict=True))
    dropped: set[int] = set()
    for first, second in zip(firsts.tolist(), seconds.tolist(), strict=True):
        if first not in dropped and second not in dropped and say_the_same(texts[first], texts[second]):
            dropped.add(second)
    return [one for place, one in enumerate(ranked) if place not in dropped]


def say_the_same(one: Row, other: Row) -> bool:
    """Whether two passages whose vectors are near say the same."""
    if one["text_hash"] == other["text_hash"]:
        return True
    if one["kind"] != "text" or other["kind"] != "text":
        return False
    words, others = set(words_of(one["text"])), set(words_of(other["text"]))
    return len(words & others) >= SAME_WORDS_01 * max(1, len(words | others))
