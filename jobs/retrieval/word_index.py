"""BM25 over passages: scores of all of them for a question's words, and how rare a word is.

Source: Robertson and Zaragoza 2009, in the form of Lucene; scores are computed once, when the index is made (bm25s,
Lu 2024, arXiv:2407.03618).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.retrieval.words import words_of

if TYPE_CHECKING:
    import bm25s
    import numpy as np

    from jobs.core.lake import Part

FOLDER = "bm25"
BLOCK = 10_000  # texts whose words are sorted together


@dataclass(frozen=True)
class _Postings:
    """Which words a block of texts has: `words` int32 ascending, each `n_rows` times in `rows` with its `counts`.

    `lengths` int32, a text each.
    """

    words: np.ndarray
    n_rows: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


def build(texts: Iterable[str], folder: Path) -> None:
    """Index texts in their order into `folder`/bm25; without texts nothing is written.

    The files are those of bm25s' own `index`, which keeps a Python list of every text's words and counts them text by
    text: for 200,000 texts 27 CPU-seconds and 890 MB at its peak beside 16 and 400 (30 November 2026).
    """
    import bm25s

    vocabulary: dict[str, int] = {}
    blocks = list(_blocks(texts, vocabulary))
    if vocabulary:
        index = bm25s.BM25(method="lucene")
        index.scores = _scores(blocks, len(vocabulary), index.k1, index.b)
        index.vocab_dict = vocabulary
        index.nonoccurrence_array = None
        index.save(folder / FOLDER, show_progress=False)


def _blocks(texts: Iterable[str], vocabulary: dict[str, int]) -> Iterator[_Postings]:
    import numpy as np

    waiting, n_before = iter(texts), 0
    while block := list(itertools.islice(waiting, BLOCK)):
        numbered = [
            np.array([vocabulary.setdefault(word, len(vocabulary)) for word in words_of(text)], np.int64)
            for text in block
        ]
        lengths = np.array([len(numbers) for numbers in numbered], np.int32)
        row_of = np.repeat(np.arange(n_before, n_before + len(block)), lengths)
        pairs, counts = np.unique((np.concatenate(numbered) << 32) | row_of, return_counts=True)
        words, n_rows = np.unique(pairs >> 32, return_counts=True)
        rows = (pairs & 0xFFFFFFFF).astype(np.int32)
        yield _Postings(words.astype(np.int32), n_rows, rows, counts.astype(np.int32), lengths)
        n_before += len(block)


def _scores(blocks: list[_Postings], n_words: int, k1: float, b: float) -> dict[str, np.ndarray | int]:
    """What bm25s holds: for every word the rows that have it, ascending, and its score in each. Empties `blocks`."""
    import numpy as np

    n_texts = sum(len(block.lengths) for block in blocks)
    mean_length = np.concatenate([block.lengths for block in blocks]).mean()
    with_word = np.zeros(n_words, np.int64)
    for block in blocks:
        with_word[block.words] += block.n_rows
    idf = np.array([math.log(1 + (n_texts - n + 0.5) / (n + 0.5)) for n in with_word.tolist()], np.float32)
    ends = np.cumsum(with_word)
    scores, rows = np.empty(ends[-1], np.float32), np.empty(ends[-1], np.int32)
    free = ends - with_word  # where each word's next row goes
    n_before = 0
    while blocks:
        block = blocks.pop(0)
        first = np.cumsum(block.n_rows) - block.n_rows
        places = np.repeat(free[block.words] - first, block.n_rows) + np.arange(len(block.rows))
        free[block.words] += block.n_rows
        long = k1 * ((1 - b) + b * block.lengths[block.rows - n_before] / mean_length)
        scores[places] = np.repeat(idf[block.words], block.n_rows) * (block.counts / (long + block.counts))
        rows[places] = block.rows
        n_before += len(block.lengths)
    return {"data": scores, "indices": rows, "indptr": np.concatenate([[0], ends]), "num_docs": n_texts}


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
