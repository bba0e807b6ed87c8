"""An encoder that needs no model: words and their letter trigrams, hashed into a vector.

Deterministic and quick to start, so tests and the smallest installations have a retrieval that means something. It
knows spelling, not meaning. Source of the hashing: Weinberger et al. 2009, arXiv:0902.2206.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.corpus.token_counter import BUILTIN
from jobs.retrieval.model_files import Card
from jobs.retrieval.words import words_of

if TYPE_CHECKING:
    import numpy as np

NAME = "builtin:hashed"
DIM = 256
TRIGRAM_WEIGHT = 0.3  # a word's trigrams together weigh about as much as the word


class HashedEncoder:
    """See the module. Every text has at least one feature, so that every vector has unit norm."""

    card = Card(NAME, hashlib.sha256(b"words and trigrams, 1").hexdigest(), DIM, "sum", BUILTIN[NAME])
    precision = "float32"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """texts [n] -> float32 [n, 256], unit norm."""
        import numpy as np

        vectors = np.zeros((len(texts), DIM), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in words_of(text) or [""]:
                for place, weight in _features(word):
                    vector[place] += weight
            norm = float(np.linalg.norm(vector))
            if norm:
                vector /= norm
            else:  # features that cancel each other out, or no word at all
                vector[0] = 1.0
        return vectors

    def encode_question(self, text: str) -> np.ndarray:
        """float32 [256], unit norm."""
        vector: np.ndarray = self.encode([text])[0]
        return vector

    def encode_questions(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, 256], unit norm."""
        return self.encode(texts)

    def count_truncated(self, texts: Sequence[str]) -> int:  # noqa: ARG002 - it reads texts of any length
        """None is ever truncated."""
        return 0


@functools.lru_cache(maxsize=1 << 16)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    padded = f"<{word}>"
    trigrams = [padded[i : i + 3] for i in range(len(padded) - 2)] if word else []
    return (_place(f"w {word}", 1.0), *(_place(f"t {part}", TRIGRAM_WEIGHT) for part in trigrams))


def _place(feature: str, weight: float) -> tuple[int, float]:
    number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
    return number % DIM, weight if (number >> 32) & 1 else -weight
