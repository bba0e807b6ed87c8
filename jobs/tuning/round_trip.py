"""Whether a question finds the passages that it was written from, and one without an answer finds none that answers.

A question that does not is too vague to train on. Words or vectors may find it, and the passage beside it counts: what
one encoder alone must find would be easy for that encoder. Source: Alberti et al. 2019, arXiv:1906.05416.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobs.core.progress import Progress
from jobs.retrieval import support
from jobs.retrieval.searcher import Query, Searcher
from jobs.retrieval.sentences import sentences

MODES = ("bm25", "dense")
ASKED_AT_ONCE = 256  # questions encoded together
N_READ = 5  # passages of each mode that are looked at for an answer
# A question is taken for answered at this support, or if two neighbouring sentences have this share of its words. Of
# 187 questions that people asked and papers answer, 175 are above (24 of them in the notes of the sample, 161 in 29
# papers); of 26 about the sample’s subjects that nothing answers, 21 are below; of 87 that rules made, 68 (37 of 39 in
# the sample). All of 269 pairs with evidence are above. all-MiniLM-L6-v2, November 2026.
ANSWERED_SUPPORT_01 = 0.4
ANSWERED_COVERAGE_01 = 0.6


Row = dict[str, Any]


def not_found_again(k: int, searcher: Searcher, rows: Sequence[Row], refused: Mapping[str, str]) -> dict[str, str]:
    """Of the train split only: a test that the searcher passes by construction would flatter it."""
    asked = [row for row in rows if row["qa_id"] not in refused and row["split"] == "train" and row["is_answerable"]]
    return {
        row["qa_id"]: "not_found_again"
        for row, query in asked_again(searcher, asked if k else [])
        if not finds_again(searcher, query, row["chunk_ids"], k)
    }


def answered_after_all(
    support_01: float,
    searcher: Searcher,
    rows: Sequence[Row],
    refused: Mapping[str, str],
    texts: Mapping[str, str],
) -> dict[str, str]:
    """The reverse, of every split: a wrong label is worse than a test that is a little easier. `texts` by chunk id."""
    asked = [row for row in rows if row["qa_id"] not in refused and not row["is_answerable"]]
    return {
        row["qa_id"]: "answered_after_all"
        for row, query in asked_again(searcher, asked)
        if seems_answered(searcher, query, row["paper_id"], [texts[one] for one in row["chunk_ids"]], support_01)
    }


def asked_again(searcher: Searcher, asked: Sequence[Row]) -> Iterator[tuple[Row, Query]]:
    """Each pair with its question as the searcher takes it."""
    progress = Progress("questions asked again", len(asked))
    for start in range(0, len(asked), ASKED_AT_ONCE):
        block = asked[start : start + ASKED_AT_ONCE]
        yield from zip(block, searcher.to_queries([row["question"] for row in block]), strict=True)
        progress.step(len(block))


def finds_again(searcher: Searcher, query: Query, chunk_ids: Collection[str], k: int) -> bool:
    """Whether each of the chunks, or a neighbour of it, is among the first, `k` a chunk, by words or by vectors."""
    n = k * len(chunk_ids)
    found = {passage.chunk_id for mode in MODES for passage in searcher.find(query, n, mode=mode).passages}
    return all(found.intersection(_with_neighbours(chunk_id)) for chunk_id in chunk_ids)


def seems_answered(
    searcher: Searcher, query: Query, paper_id: str, own_texts: Iterable[str], support_01: float
) -> bool:
    """Whether its own passages, or what is found for it in its paper or among all papers, seem to answer a question.

    All papers, because the chat searches all: a question is only without an answer if none of them has it.
    """
    texts = list(own_texts)
    for scope in (dataclasses.replace(query, paper_id=paper_id), query):
        if searcher.find(scope, support.N_PASSAGES).support_01 >= support_01:
            return True
        texts += [passage.text for mode in MODES for passage in searcher.find(scope, N_READ, mode=mode).passages]
    windows = (window for text in texts for window in _neighbouring_sentences(text))
    return searcher.coverage_01(query.words, windows) >= ANSWERED_COVERAGE_01


def _neighbouring_sentences(text: str) -> Iterator[str]:
    found = sentences(text)
    return (" ".join(found[i : i + 2]) for i in range(len(found)))


def _with_neighbours(chunk_id: str) -> list[str]:
    """The ids of a chunk and of those before and behind it in its document."""
    stem, _, ordinal = chunk_id.rpartition("#")
    return [f"{stem}#{int(ordinal) + step}" for step in (-1, 0, 1)]
