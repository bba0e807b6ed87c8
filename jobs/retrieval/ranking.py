"""From scores of passages to an order: by meaning, by words, or both.

Hybrid is a convex combination of cosine and BM25, each scaled to 0..1 over the candidates of both. Source: Bruch et
al. 2022, arXiv:2210.11934, where it beats reciprocal rank fusion.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

MODES = ("hybrid", "dense", "bm25")
DEFAULT_MODE: Literal["hybrid"] = "hybrid"  # by measurement: bench_retrieval, figures in benchmarks/RESULTS.md
DENSE_WEIGHT = 0.6
N_RERANKED = 50  # pairs that a cross-encoder reads a question
ONE_IN = 16  # scores that are looked at before all are

Ranked = list[tuple[int, float]]  # (row, score), best first


def rank(mode: str, rows: np.ndarray, cosines: np.ndarray, bm25: np.ndarray) -> Ranked:
    """Candidates in order, from their two scores: rows int64 [n], cosines and bm25 float32 [n]."""
    if mode == "hybrid":
        return in_order(rows, DENSE_WEIGHT * scaled(cosines) + (1 - DENSE_WEIGHT) * scaled(bm25))
    return in_order(rows, cosines if mode == "dense" else bm25)


def best_rows(scores: np.ndarray, n: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """Rows of the `n` highest scores above 0 among the allowed ones, in no order; 0 is BM25 of no common word."""
    import numpy as np

    scores = scores if allowed is None else scores * allowed
    rows = np.flatnonzero(scores >= floor) if (floor := _floor(scores, n)) > 0 else np.flatnonzero(scores)
    if len(rows) <= n:
        return rows
    best: np.ndarray = rows[np.argpartition(scores[rows], -n)[-n:]]
    return best


def _floor(scores: np.ndarray, n: int) -> float:
    """What the `n` highest are not below: the lowest of the `n` highest of some. 0 where these are too few.

    A common word gives nearly every row a score: ordering a million of them took 12 CPU-milliseconds, this and what
    then is left 0.6 (30 November 2026).
    """
    import numpy as np

    some = scores[::ONE_IN]
    return float(np.partition(some, -n)[-n]) if len(some) > n else 0.0


def scaled(scores: np.ndarray) -> np.ndarray:
    """Scores moved and stretched to 0..1; all 0 if they are equal, for then they say nothing."""
    import numpy as np

    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    stretched: np.ndarray = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    return stretched


def in_order(rows: np.ndarray, scores: np.ndarray) -> Ranked:
    """Rows with their scores, best first; equal scores in order of row, so that a search repeats exactly."""
    import numpy as np

    order = np.lexsort((rows, -scores))
    return list(zip(rows[order].tolist(), scores[order].tolist(), strict=True))


def reordered(ranked: Ranked, scores: np.ndarray) -> Ranked:
    """The first by other scores, float32 [up to len(ranked)]; equal ones keep their order.

    What stands behind them keeps its order, and gets their lowest score, so that scores never rise.
    """
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    lowest = float(scores.min())
    return [(ranked[place][0], float(scores[place])) for place in order] + [
        (row, lowest) for row, _ in ranked[len(scores) :]
    ]


def cap(ranked: Ranked, paper_of_row: np.ndarray, k: int, per_paper: int | None) -> Ranked:
    """The first `k`, passing over passages of papers that have had their `per_paper`; None caps nothing."""
    if per_paper is None:
        return ranked[:k]
    taken: Counter[int] = Counter()
    chosen: Ranked = []
    for row, score in ranked:
        paper = int(paper_of_row[row])
        if taken[paper] < per_paper:
            taken[paper] += 1
            chosen.append((row, score))
            if len(chosen) == k:
                break
    return chosen
