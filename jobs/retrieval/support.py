"""How likely it is that the passages found can answer the question at all.

A cosine alone cannot tell: a question about the right subject that no passage answers is as near as one that is
answered. What tells them apart is whether one passage has the question's rare words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from jobs.retrieval.words import words_of

N_PASSAGES = 5

# Logistic regression (ridge 1) on tests/retrieval/questions.jsonl over the sample, embedded by all-MiniLM-L6-v2: 26
# questions that its notes answer, 26 that they do not, half of these about the notes' own subjects. Leaving one out:
# area under the curve 0.92, against 0.87 for the cosine alone and 0.90 with the words of all passages together.
# Another embedder has other cosines: there the number orders questions, it is not calibrated. November 2026.
INTERCEPT, COSINE_WEIGHT, COVERAGE_WEIGHT = -6.70, 9.75, 4.55


def coverage(words: Sequence[str], n_rows_with: Callable[[str], int], n_rows: int, texts: Iterable[str]) -> float:
    """Largest share of the question's words that one text has, each weighed by how rare it is; 1 without any word.

    `n_rows_with` says in how many of the `n_rows` passages of the index a word occurs.
    """
    weights = {word: math.log(1 + n_rows / (n_rows_with(word) + 0.5)) for word in dict.fromkeys(words)}
    if not weights:
        return 1.0
    there = (weights.keys() & set(words_of(text)) for text in texts)
    # the same order of addition above and below, so that all words give exactly 1
    most = max((sum(weight for word, weight in weights.items() if word in some) for some in there), default=0.0)
    return most / sum(weights.values())


def estimate(top_cosine: float, coverage_01: float) -> float:
    """0 to 1 from the best cosine and the coverage."""
    score = INTERCEPT + COSINE_WEIGHT * top_cosine + COVERAGE_WEIGHT * coverage_01
    return 1 / (1 + math.exp(-score))
