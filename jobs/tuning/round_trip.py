"""Whether a question finds the passage that it was written from.

A question that does not is too vague to train on. Words or vectors may find it, and the passage beside it counts: what
one encoder alone must find would be easy for that encoder. Source: Alberti et al. 2019, arXiv:1906.05416.
"""

from __future__ import annotations

from collections.abc import Collection

from jobs.retrieval.searcher import Query, Searcher

MODES = ("bm25", "dense")


def finds_again(searcher: Searcher, query: Query, chunk_ids: Collection[str], k: int) -> bool:
    """Whether one of the chunks, or a neighbour of one, is among the first `k` by words or by vectors."""
    wanted = {near for chunk_id in chunk_ids for near in _with_neighbours(chunk_id)}
    for mode in MODES:
        found = searcher.find(query, k, mode=mode).passages
        if any(passage.chunk_id in wanted for passage in found):
            return True
    return False


def _with_neighbours(chunk_id: str) -> list[str]:
    """The ids of a chunk and of those before and behind it in its document."""
    stem, _, ordinal = chunk_id.rpartition("#")
    return [f"{stem}#{int(ordinal) + step}" for step in (-1, 0, 1)]
