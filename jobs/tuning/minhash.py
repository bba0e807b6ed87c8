"""Texts that share most of their word triples, found without comparing each with each.

MinHash signatures in bands find candidates (Broder 1997, "On the resemblance and containment of documents"); what
counts is then the exact share of triples that two texts have in common (Jaccard).
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SHINGLE_WORDS = 3
# Of two texts that share 0.6 of their triples, 1 - (1 - 0.6^4)^32 = 0.988 meet in a band, at 0.7 0.9998, at 0.3 0.23.
BANDS, ROWS = 32, 4


@dataclass(frozen=True)
class Sketch:
    """A text's word triples, and the buckets that it falls into, one a band."""

    shingles: frozenset[str]
    buckets: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, text: str) -> Sketch:
        """The sketch of a text; one of fewer than three words is one whole."""
        words = text.split()
        starts = range(len(words) - SHINGLE_WORDS + 1)
        shingles = frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in starts) or frozenset([text])
        return cls(shingles, _buckets(shingles))

    def jaccard(self, other: Sketch) -> float:
        """Shared triples by all triples of two texts, 0 to 1."""
        return len(self.shingles & other.shingles) / len(self.shingles | other.shingles)


class NearTexts:
    """Texts that were added, by number, and those of them that are close to another one."""

    def __init__(self, threshold: float) -> None:
        """`threshold`: least Jaccard of word triples to count as close."""
        self._threshold = threshold
        self._sketches: dict[int, Sketch] = {}
        self._buckets: dict[tuple[int, bytes], list[int]] = {}

    def add(self, number: int, sketch: Sketch) -> None:
        """Remember a text under its number."""
        self._sketches[number] = sketch
        for bucket in sketch.buckets:
            self._buckets.setdefault(bucket, []).append(number)

    def close_to(self, sketch: Sketch) -> list[int]:
        """Numbers of the texts that are close to this one, sorted."""
        candidates = {number for bucket in sketch.buckets for number in self._buckets.get(bucket, ())}
        return sorted(n for n in candidates if self._sketches[n].jaccard(sketch) >= self._threshold)


def _buckets(shingles: frozenset[str]) -> tuple[tuple[int, bytes], ...]:
    import numpy as np

    hashes = np.array([_hash(shingle) for shingle in shingles], dtype=np.uint64)
    factors, offsets = _functions()
    # multiply-shift (Dietzfelbinger et al. 1997): the upper half of a product modulo 2^64 serves as a permutation
    signature = ((hashes[:, None] * factors + offsets) >> np.uint64(32)).min(axis=0).reshape(BANDS, ROWS)
    return tuple((band, row.tobytes()) for band, row in enumerate(signature))


@functools.cache
def _functions() -> tuple[np.ndarray, np.ndarray]:
    """Factors (odd) and offsets of the hash functions, the same in every run and on every machine."""
    import numpy as np

    n = BANDS * ROWS
    factors, offsets = ([_hash(f"{name} {i}") for i in range(n)] for name in ("factor", "offset"))
    return np.array(factors, np.uint64) | np.uint64(1), np.array(offsets, np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
