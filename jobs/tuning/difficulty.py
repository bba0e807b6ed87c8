"""How hard a pair is, from 0 to 1, by two things that need no model: finding its passage, and reading the answer off.

One half is how badly the question's words find the passage: 1 minus one by its rank in BM25, 1 beyond the first ten.
The other half is the share of the answer's words that its evidence does not have: 0 for an answer that is copied. A
question in the passage's own words with a copied answer is 0; one in other words whose answer has to be put together is
near 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs.retrieval.searcher import Query, Searcher
from jobs.tuning.qa_checks import meaningful_words

DEPTH = 10  # passages looked at
SCORE = "difficulty_01"


def difficulty_01(rank: int | None, answer: str, evidence: Sequence[str]) -> float:
    """The score from the passage's rank by words, counted from 1 (None: not among the first), and the texts."""
    unfound = 1.0 - (1.0 / rank if rank else 0.0)
    said, quoted = meaningful_words(answer), meaningful_words(" ".join(evidence))
    unread = len(said - quoted) / len(said) if said else 0.0
    return round((unfound + unread) / 2, 3)


def rank_by_words(searcher: Searcher, query: Query, chunk_ids: Sequence[str]) -> int | None:
    """At which place BM25 finds the first of the chunks, from 1; None beyond the first DEPTH."""
    found = searcher.find(query, DEPTH, mode="bm25").passages
    return next((place for place, passage in enumerate(found, 1) if passage.chunk_id in chunk_ids), None)
