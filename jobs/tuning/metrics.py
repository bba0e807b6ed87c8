"""Scores of answers and of retrieval, and how sure they are: plain functions of texts and numbers.

An undefined score is NaN and is counted as missing, never as right or wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE_01 = 0.95
# Of fewer papers nothing is sure: though all of five differ in one direction, that happens by chance in 6 of 100 cases
# (sign test, two-sided: 2 ** (1 - n)), and an interval drawn from so few is too narrow.
LEAST_PAPERS = 6
_CITATION = re.compile(r"\[\d+\]")
_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % interval over papers; `n` rows had a value, `n_missing` had none."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    n_missing: int

    def to_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """The mean of a - b over rows that have both, with its 95 % interval over papers."""

    diff: float | None
    low: float | None
    high: float | None
    n_rows: int
    n_papers: int

    def to_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return asdict(self)


def words_of(text: str) -> list[str]:
    """Words in lower case without articles, punctuation and citations such as [2]."""
    return [word for word in _WORD.findall(without_citations(text).lower()) if word not in _ARTICLES]


def without_citations(text: str) -> str:
    """A text without marks such as [2], blanks collapsed."""
    return " ".join(_CITATION.sub(" ", text).split())


def token_f1(answer: str, expected: str) -> float:
    """Overlap of words, 0 to 1, as SQuAD measures it (Rajpurkar et al. 2016, arXiv:1606.05250)."""
    said, wanted = words_of(answer), words_of(expected)
    common = sum((Counter(said) & Counter(wanted)).values())
    return _f1(common, len(said), len(wanted))


def rouge_l(answer: str, expected: str) -> float:
    """F1 over the longest common subsequence of words, 0 to 1 (Lin 2004, ROUGE: W04-1013)."""
    said, wanted = words_of(answer), words_of(expected)
    return _f1(longest_common(said, wanted), len(said), len(wanted))


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, in time len(a) * len(b) and one row of memory."""
    lengths = [0] * (len(b) + 1)
    for one in a:
        diagonal = 0
        for place, other in enumerate(b, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if one == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def rank_of(found: Sequence[str], wanted: Collection[str]) -> int | None:
    """Place, from 1, of the first of `wanted` among what was found; None if it is not there."""
    return next((place for place, one in enumerate(found, start=1) if one in wanted), None)


def recall_at(rank: int | None, k: int) -> float:
    """1 if what was wanted is among the first k."""
    return float(rank is not None and rank <= k)


def reciprocal_rank(rank: int | None) -> float:
    """1 / rank; 0 if it was not found."""
    return 1 / rank if rank else 0.0


def score(values: Sequence[float], papers: Sequence[str], *, draws: int, seed: int = 0) -> Score:
    """Mean and interval of values [n], drawn again paper by paper: rows of one paper are not independent."""
    kept = [(value, paper) for value, paper in zip(values, papers, strict=True) if math.isfinite(value)]
    n_missing = len(values) - len(kept)
    if not kept:
        return Score(None, None, None, 0, n_missing)
    low, high = _interval(kept, draws, seed)
    return Score(sum(value for value, _ in kept) / len(kept), low, high, len(kept), n_missing)


def difference(
    a: Sequence[float], b: Sequence[float], papers: Sequence[str], *, draws: int, seed: int = 0
) -> Difference:
    """Mean of a - b and its interval, row by row. a, b, papers: [n], of the same rows in the same order."""
    found = score([x - y for x, y in zip(a, b, strict=True)], papers, draws=draws, seed=seed)
    n_papers = len({paper for x, y, paper in zip(a, b, papers, strict=True) if math.isfinite(x - y)})
    return Difference(found.mean, found.low, found.high, found.n, n_papers)


def _f1(common: int, n_said: int, n_wanted: int) -> float:
    """Harmonic mean of precision and recall; two empty answers agree, one empty does not."""
    if not n_said or not n_wanted:
        return float(n_said == n_wanted)
    return 2 * common / (n_said + n_wanted)


def _interval(kept: Sequence[tuple[float, str]], draws: int, seed: int) -> tuple[float, float]:
    """Percentiles of the mean over papers drawn with replacement (Efron 1979)."""
    import numpy as np

    sums, counts = _by_paper(kept)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 50 * (1 - CONFIDENCE_01)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _by_paper(kept: Sequence[tuple[float, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of values of each paper, both float64 [n_papers]."""
    import numpy as np

    names, places = np.unique([paper for _, paper in kept], return_inverse=True)
    sums = np.zeros(len(names))
    np.add.at(sums, places, [value for value, _ in kept])
    return sums, np.bincount(places).astype(float)


def shown(found: dict[str, Any]) -> str:
    """A score as a table has it; a dash where nothing was measured."""
    if found["mean"] is None:
        return "–"
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] n={found['n']}"
