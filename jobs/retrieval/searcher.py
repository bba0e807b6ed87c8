"""Find passages that answer a question, and say how likely it is that they do.

One call serves evaluation, chat and `POST /search` alike.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import tables
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Part
from jobs.core.manifest import Manifest
from jobs.retrieval import follow_ups, passages, ranking, support, twins
from jobs.retrieval.encoder import Encoder, load_encoder
from jobs.retrieval.index_view import View
from jobs.retrieval.indexed_papers import NO_FILTERS, Filters, IndexedPapers
from jobs.retrieval.named_papers import NamedPapers, Titled
from jobs.retrieval.passages import Passage, to_passage, words_text
from jobs.retrieval.reranker import Reranker, load_reranker
from jobs.retrieval.vector_index import VectorIndex
from jobs.retrieval.word_index import WordIndex
from jobs.retrieval.words import words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

N_CANDIDATES = 100  # of each kind
MAX_VECTORS = 1024  # questions whose vectors are kept: 1.5 MB at 384 numbers each


@dataclass(frozen=True)
class Query:
    """A question as the index sees it. `vector` float32 [dim], unit norm; `paper_id`: the only paper to look into.

    `text` is what a reranker reads; without it there is no reranking.
    """

    words: tuple[str, ...]
    vector: np.ndarray
    paper_id: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Found:
    """Passages, best first, and an estimate of 0 to 1 that they can answer the question at all."""

    support_01: float
    passages: tuple[Passage, ...]


class Searcher:
    """An index and the encoder of its questions. Reads only, so threads may share it."""

    def __init__(
        self,
        table: pyarrow.Table,
        vectors: VectorIndex,
        words: WordIndex,
        encoder: Encoder,
        view: View,
        reranker: Reranker | None = None,
    ) -> None:
        self.encoder = encoder
        self.reranker = reranker
        # A question is compared, asked again and searched in several modes: one costs more to encode than to search.
        self._vector_of = functools.lru_cache(maxsize=MAX_VECTORS)(encoder.encode_question)
        self.view = view
        self._table = table
        self._vectors = vectors
        self._words = words
        self._papers = IndexedPapers(table)
        self._named = NamedPapers(self._papers.named)

    @property
    def papers(self) -> Sequence[Titled]:
        """All papers of the index."""
        return self._papers.named

    @classmethod
    def open(cls, index: Path | Part, encoder: Encoder | None = None, reranker: Reranker | None = None) -> Searcher:
        """Load an index part, or its folder, after its files are verified.

        `encoder`, `reranker`: such as are loaded already; a reranker that the index does not name is left out.

        Raises IntegrityError for a damaged file, ContractError if the encoder is not the one of the vectors, or the
        reranker not the one that the index names.
        """
        part = index if isinstance(index, Part) else Part(index, Manifest.read(index))
        view = View.read(part)
        encoder = encoder or load_encoder(view.encoder)
        if (encoder.card.revision, encoder.card.dim) != (view.revision, view.dim):
            raise ContractError(
                f"{part.folder} was embedded by {view.encoder} {view.revision[:12]} ({view.dim} numbers), here is "
                f"{encoder.card.name} {encoder.card.revision[:12]} ({encoder.card.dim}). Run embed_chunks over all "
                "windows, then build_index."
            )
        table = tables.read_table(part.file(passages.FILE))
        vectors, words = VectorIndex.open(part), WordIndex.open(part)
        return cls(table, vectors, words, encoder, view, _reranker_of(view, reranker))

    def search(
        self,
        question: str,
        k: int = 8,
        *,
        mode: str = ranking.DEFAULT_MODE,
        paper_id: str | None = None,
        categories: Collection[str] | None = None,
        submitted_before: datetime | None = None,
        without: Collection[str] = frozenset(),
        per_paper: int | None = None,
        before: Sequence[str] = (),
    ) -> Found:
        """The `k` best passages, at most `per_paper` of one paper unless the question is about one paper alone.

        Without `per_paper` there is no cap: the answer is often the fourth passage of the right paper. Of passages that
        say the same only the best is given (see `twins`); where the index names a reranker, it orders the first ones.

        A paper that the question names (see `named_papers`) is the only one searched. `before`: what was asked earlier
        in the conversation, oldest first; a question that goes on from it (see `follow_ups`) is searched together with
        it. Raises UsageError for an unknown mode or a `k` below 1.
        """
        query = self.to_query(question, paper_id, before)
        filters = Filters(categories, submitted_before, without)
        return self.find(query, k, mode=mode, filters=filters, per_paper=per_paper)

    def to_query(self, question: str, paper_id: str | None = None, before: Sequence[str] = ()) -> Query:
        """Encode a question; the name of a paper in it becomes a filter and is cut from it.

        So does the name in a question that it goes on from, unless it names another one.
        """
        turns = [self._without_name(turn) for turn in follow_ups.thread(question, before)]
        named_id = next((named for named, _ in reversed(turns) if named is not None), None)
        text, rest = " ".join(words for _, words in turns), turns[-1][1]
        vector = self._vector_of(text) if len(turns) == 1 else _between(self._vector_of(text), self._vector_of(rest))
        return Query(tuple(words_of(text)), vector, paper_id or named_id, text)

    def to_queries(self, questions: Sequence[str]) -> list[Query]:
        """As `to_query`, encoded together, many times faster for many, and never reranked.

        For stages that ask whether words or vectors find something.
        """
        named = [self._without_name(question) for question in questions]
        vectors = self.encoder.encode_questions([rest for _, rest in named])
        return [
            Query(tuple(words_of(rest)), vector, paper_id)
            for (paper_id, rest), vector in zip(named, vectors, strict=True)
        ]

    def _without_name(self, question: str) -> tuple[str | None, str]:
        named = self._named.find(question)
        return named.paper_id, named.question if words_of(named.question) else question

    def find(
        self,
        query: Query,
        k: int = 8,
        *,
        mode: str = ranking.DEFAULT_MODE,
        filters: Filters = NO_FILTERS,
        per_paper: int | None = None,
    ) -> Found:
        """As `search`, from the question's vector and words."""
        if mode not in ranking.MODES or k < 1:
            raise UsageError(f"mode={mode!r} k={k}: expected one of {', '.join(ranking.MODES)}, and k at least 1.")
        allowed = self._papers.allowed(query.paper_id, filters)
        ranked, top_cosine = self._rank(query, mode, allowed, max(N_CANDIDATES, 4 * k))
        is_reranked = self.reranker is not None and bool(query.text)
        n_wanted = max(k, ranking.N_RERANKED) if is_reranked else k
        ranked = self._without_twins(ranked, n_wanted if per_paper is None else len(ranked))
        ranked = self._reranked(query.text, ranked, n_wanted) if is_reranked else ranked
        chosen = ranking.cap(ranked, self._papers.number_of_row, k, None if query.paper_id else per_paper)
        rows = [self._table.slice(row, 1).to_pylist()[0] for row, _ in chosen]
        support_01 = self._support(query, top_cosine, rows) if rows else 0.0
        return Found(support_01, tuple(to_passage(row, score) for row, (_, score) in zip(rows, chosen, strict=True)))

    def _rank(self, query: Query, mode: str, allowed: np.ndarray | None, n: int) -> tuple[ranking.Ranked, float]:
        """At most `n` candidates from each side in order, and the best cosine."""
        import numpy as np

        by_meaning = self._vectors.nearest(query.vector, n, allowed)
        worded = self._words.scores(query.words if mode != "dense" else ())
        by_words = ranking.best_rows(worded, n, allowed)
        sides = {"dense": by_meaning, "bm25": by_words, "hybrid": np.union1d(by_meaning, by_words)}
        rows = sides[mode]
        top_cosine = self._vectors.scores(query.vector, by_meaning[:1]).max(initial=-1.0)
        ranked = ranking.rank(mode, rows, self._vectors.scores(query.vector, rows), worded[rows])
        return ranked, float(top_cosine)

    def _without_twins(self, ranked: ranking.Ranked, n: int) -> ranking.Ranked:
        import numpy as np

        table = self._table.select(twins.COLUMNS)
        return twins.without_twins(
            ranked,
            n,
            lambda rows: self._vectors.vectors(np.array(rows, dtype=np.int64)),
            lambda rows: [table.slice(row, 1).to_pylist()[0] for row in rows],  # `take` copies a table of many chunks
        )

    def _reranked(self, question: str, ranked: ranking.Ranked, n: int) -> ranking.Ranked:
        """The first `n` in the reranker's order."""
        assert self.reranker is not None
        rows = [self._table.slice(row, 1).to_pylist()[0] for row, _ in ranked[:n]]
        scores = self.reranker.scores(question, [_words_text(row) for row in rows])
        return ranking.reordered(ranked, scores) if rows else ranked

    def coverage_01(self, words: Sequence[str], texts: Iterable[str]) -> float:
        """Largest share of a question's words that one text has, rare words of the index counting more."""
        return support.coverage(words, self._words.n_rows_with, len(self._table), texts)

    def _support(self, query: Query, top_cosine: float, rows: Sequence[dict[str, Any]]) -> float:
        texts = [_words_text(row) for row in rows[: support.N_PASSAGES]]
        return support.estimate(top_cosine, self.coverage_01(query.words, texts))


def _between(together: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """The vector half way between a follow-up read with the questions before it and read alone.

    Together alone finds the subject, but what is asked of it drowns: evidence in the first 10 for 22 follow-ups on 11
    papers held out .50 alone, .59 together, .68 half way (bench_retrieval, November 2026).
    """
    import numpy as np

    both = together + alone
    unit: np.ndarray = both / max(float(np.linalg.norm(both)), np.finfo(np.float32).tiny)
    return unit


def _reranker_of(view: View, loaded: Reranker | None) -> Reranker | None:
    if view.reranker is None or (loaded is not None and loaded.card == view.reranker):
        return loaded if view.reranker else None
    return load_reranker(view.reranker)


def _words_text(row: dict[str, Any]) -> str:
    return words_text(row["title"], row["section_path"], row["text"])
