"""Two passages of one paper that belong together: they share words that few others of its passages have.

The partner of a passage stands behind it in the paper, so no two passages are asked about together twice. A pure
function of a paper's chunks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from jobs.retrieval.words import words_of
from jobs.tuning.asking import Chunk

MIN_LETTERS = 4  # shorter words are letters of formulas as often as names
RARE_01 = 0.2  # share of a paper's passages that may have a word that ties two of them
LEAST_RARE = 3  # passages that may have it however short the paper is
MIN_SHARED = 2  # such words that two passages share


def partners(chunks: Iterable[Chunk]) -> dict[str, Chunk]:
    """chunk_id -> the later passage of the same paper that shares most; the farther it is, the more it must share."""
    by_paper: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        by_paper[chunk.paper_id].append(chunk)
    return {chunk_id: one for paper in by_paper.values() for chunk_id, one in _of_paper(paper).items()}


def _of_paper(chunks: Sequence[Chunk]) -> dict[str, Chunk]:
    ordered = sorted(chunks, key=lambda chunk: (chunk.ordinal, chunk.chunk_id))
    places: dict[str, list[int]] = defaultdict(list)
    for place, chunk in enumerate(ordered):
        for word in {word for word in words_of(chunk.text) if len(word) >= MIN_LETTERS and word.isalpha()}:
            places[word].append(place)
    shared: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    most = max(LEAST_RARE, RARE_01 * len(ordered))
    for word in sorted(places):  # floats add up to the same in one order alone
        there = places[word]
        if 2 <= len(there) <= most:
            weight = math.log(len(ordered) / len(there)) + 1
            for i, first in enumerate(there):
                for second in there[i + 1 :]:
                    shared[first][second].append(weight)
    return {ordered[first].chunk_id: ordered[best] for first in shared if (best := _best(first, shared[first])) >= 0}


def _best(first: int, shared: dict[int, list[float]]) -> int:
    """The place with most shared weight for its distance, the nearest of equals; -1 if none shares enough words."""
    ranked = [
        (-sum(weights) / (1 + math.log(place - first)), place)
        for place, weights in shared.items()
        if len(weights) >= MIN_SHARED
    ]
    return min(ranked)[1] if ranked else -1
