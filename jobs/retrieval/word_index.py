"""BM25 over passages: scores of all of them for a question's words, and how rare a word is.

Source: Robertson and Zaragoza 2009, in the form of Lucene; scores are computed once, when the index is made (bm25s,
Lu 2024, arXiv:2407.03618).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.retrieval.words import words_of

if TYPE_CHECKING:
    import bm25s
    import numpy as np

    from jobs.core.lake import Part

FOLDER = "bm25"


def build(texts: Iterable[str], folder: Path) -> None:
    """Index texts in their order into `folder`/bm25; without texts nothing is written."""
    import bm25s

    vocabulary: dict[str, int] = {}
    rows = [[vocabulary.setdefault(word, len(vocabulary)) for word in words_of(text)] for text in texts]
    if vocabulary:
        index = bm25s.BM25(method="lucene")
        index.index((rows, vocabulary), create_empty_token=False, show_progress=False)
        index.save(folder / FOLDER, show_progress=False)


class WordIndex:
    """A loaded index, its arrays mapped from the disk."""

    def __init__(self, index: bm25s.BM25 | None, n_rows: int) -> None:
        self.n_rows = n_rows
        self._index = index

    @classmethod
    def open(cls, part: Part) -> WordIndex:
        """Load the files of an index part after they are verified."""
        import bm25s

        names = [name for name in part.manifest.files if name.startswith(f"{FOLDER}/")]
        paths = [part.file(name) for name in names]
        index = bm25s.BM25.load(paths[0].parent, mmap=True) if paths else None
        return cls(index, part.manifest.rows)

    def scores(self, words: Sequence[str]) -> np.ndarray:
        """BM25 of every row: float32 [n_rows]; 0 for rows that hold none of the words."""
        import numpy as np

        if self._index is None or not (known := self._index.get_tokens_ids(list(dict.fromkeys(words)))):
            return np.zeros(self.n_rows, dtype=np.float32)
        scores: np.ndarray = self._index.get_scores_from_ids(known)
        return scores

    def n_rows_with(self, word: str) -> int:
        """In how many rows the word occurs."""
        known = self._index.get_tokens_ids([word]) if self._index is not None else []
        if not known:
            return 0
        starts = self._index.scores["indptr"]  # type: ignore[union-attr]
        return int(starts[known[0] + 1] - starts[known[0]])
