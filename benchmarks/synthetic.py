"""Lakes of many embedded passages that no text was written for: words by Zipf's law, vectors as those of real papers.

Vectors are sums of Gaussians, of papers and of passages within them, whose variances fall with the direction's number
as those of real passages do. Evenly spread ones would be too easy or too hard: in 384 free directions nothing is near
anything, in few subjects everything is found at once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.windows import window_of
from jobs.retrieval import encoder, vectors
from jobs.retrieval.cells import QUESTION_NOISE

PASSAGES_A_PAPER = 87  # DESIGN's 87,000 of 1,000 papers
N_WORDS = 150  # of a passage
VOCABULARY = 60_000
ZIPF = 1.15
# As 1,489 passages of 29 real papers have it, embedded by all-MiniLM-L6-v2 (30 November 2026): the share of the squared
# length that is common to all (.15), differs between papers (.26) and within one (.59, here parted among sections of
# four passages and passages), and how it falls with the direction. Their nearest neighbours have cosines of .52, .71
# and .85 (5, 50 and 95 % of passages), these of .63, .71 and .78: less of both what is easy and what is hard.
COMMON, OF_PAPER, OF_SECTION, OF_PASSAGE = 0.15, 0.26, 0.27, 0.32
FALL_OF_PAPER, FALL_WITHIN = 1.17, 0.7
PASSAGES_A_SECTION = 4

_BLOCK = 10_000


@dataclass(frozen=True)
class Size:
    """How many passages in how many windows; `n_papers` follows."""

    n_passages: int
    n_windows: int

    @property
    def n_papers(self) -> int:
        """Papers, each in one window; ids grow with the windows."""
        return max(self.n_windows, self.n_passages // PASSAGES_A_PAPER)

    def papers_of(self, window: int) -> range:
        """Numbers of the papers of a window."""
        first, last = (number * self.n_papers // self.n_windows for number in (window, window + 1))
        return range(first, last)


def spread(n: int, dim: int, fall: float, random: np.random.Generator) -> np.ndarray:
    """float32 [n, dim] of mean squared length 1, direction i with a variance of i ** -fall."""
    variance = np.arange(1, dim + 1) ** -fall
    deviation = np.sqrt(variance / variance.sum()).astype(np.float32)
    found: np.ndarray = random.standard_normal((n, dim), np.float32) * deviation
    return found


def vectors_of(papers: range, n_passages: int, dim: int, random: np.random.Generator) -> np.ndarray:
    """float32 [n_passages, dim] of unit norm, evenly over the papers, paper after paper."""
    of_papers = np.sqrt(OF_PAPER) * spread(len(papers), dim, FALL_OF_PAPER, random)
    of_sections = np.sqrt(OF_SECTION) * spread(n_passages // PASSAGES_A_SECTION + 1, dim, FALL_WITHIN, random)
    number = np.arange(n_passages)
    turned = np.random.default_rng(7).permutation(dim)  # what passages differ in is not what papers differ in
    matrix = np.sqrt(OF_PASSAGE) * spread(n_passages, dim, FALL_WITHIN, random)
    matrix = (matrix + of_sections[number // PASSAGES_A_SECTION])[:, turned]
    matrix += of_papers[number * len(papers) // n_passages] + np.float32(np.sqrt(COMMON / dim))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


def words(random: np.random.Generator, n: int, n_words: int) -> list[list[int]]:
    """Word numbers by Zipf's law, frequent ones small."""
    found: list[list[int]] = np.minimum(random.zipf(ZIPF, (n, n_words)), VOCABULARY).tolist()
    return found


def texts_of(n: int, random: np.random.Generator) -> Iterator[str]:
    """Texts of N_WORDS words."""
    for start in range(0, n, _BLOCK):
        for row in words(random, min(_BLOCK, n - start), N_WORDS):
            yield " ".join(f"w{word}" for word in row)


def make_lake(root: Path, size: Size, n_windows: int | None = None) -> Lake:
    """A lake of chunks, papers and embeddings of the first `n_windows` windows, as the stages publish them."""
    lake = Lake.create(root, LakeFile("bench", Definition(), Source("oai"), "demo"))
    for window in range(size.n_windows if n_windows is None else n_windows):
        add_window(lake, size, window)
    return lake


def add_window(lake: Lake, size: Size, window: int) -> None:
    """Publish one window; the same number makes the same rows."""
    random = np.random.default_rng(window)
    papers = size.papers_of(window)
    first, last = (number * size.n_passages // size.n_windows for number in (window, window + 1))
    chunks = _chunks(papers, last - first, random)
    name = window_of(dt.date(2024, 1, 1) + dt.timedelta(weeks=window), "week").name
    made = [
        _publish(lake, "chunk_documents", "chunks", name, chunks),
        _publish(lake, "filter_papers", "papers", name, _papers(papers)),
    ]
    card = encoder.read_card(lake.definition.embedder)
    matrix = vectors_of(papers, last - first, card.dim, random)
    rows = pa.table([chunks["chunk_id"], chunks["text_hash"], vectors.to_column(matrix)], _schema("embeddings"))
    extra = {"encoder": card.name, "revision": card.revision, "dim": card.dim}
    extra |= {"pooling": card.pooling, "max_tokens": card.max_tokens}
    _publish(lake, "embed_chunks", "embeddings", name, rows, tuple(made), extra)


def questions_of(matrix: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """float32 [n, dim] of unit norm, as far from the passages as people's questions are."""
    noise = random.standard_normal((n, matrix.shape[1])) * QUESTION_NOISE / matrix.shape[1] ** 0.5
    asked = matrix[random.integers(0, len(matrix), n)] + noise
    unit: np.ndarray = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _schema(dataset: str) -> pa.Schema:
    return DATASETS[dataset].schema()


def _paper_id(number: int) -> str:
    return f"2401.{number:05d}"


def _chunks(papers: range, n: int, random: np.random.Generator) -> pa.Table:
    paper_ids = [_paper_id(papers[row * len(papers) // n]) for row in range(n)]
    texts = list(texts_of(n, random))
    columns: dict[str, Any] = {
        "chunk_id": [f"{paper_id}v1#{row}" for row, paper_id in enumerate(paper_ids)],
        "paper_id": paper_ids,
        "text": texts,
        "text_hash": [hashlib.sha256(text.encode()).hexdigest() for text in texts],
        "section_path": [["Method"]] * n,
    }
    same = {"version": 1, "start": 0, "end": 900, "kind": "text", "page_first": 1, "page_last": 1, "n_tokens": 220}
    columns |= {name: [value] * n for name, value in same.items()}
    columns |= {name: [None] * n for name in _schema("chunks").names if name not in columns}
    return pa.table({name: columns[name] for name in _schema("chunks").names}, _schema("chunks"))


def _papers(papers: range) -> pa.Table:
    same = {"version": 1, "authors": [], "categories": ["cs.LG"], "is_withdrawn": False, "submitted_at": 0}
    rows = [{"paper_id": _paper_id(number), "title": f"Paper number {number}"} | same for number in papers]
    return pa.Table.from_pylist(rows, schema=_schema("papers"))


def _publish(
    lake: Lake,
    stage: str,
    dataset: str,
    window: str,
    rows: pa.Table,
    inputs: tuple[Part, ...] = (),
    extra: dict[str, Any] | None = None,
) -> Part:
    key = hashlib.sha256(f"{dataset} {window} {len(rows)}".encode()).hexdigest()
    named = tuple(part.as_input for part in inputs)
    task = PartTask(stage, 1, dataset, window, key, named, {}, {}, "to do", "")
    with lake.attempt(task) as attempt:
        tables.write_tables(attempt.folder / tables.ROWS_FILE, rows.schema, [rows])
        attempt.finish(Counts(len(rows), len(rows)), rows=len(rows), digest=key, extra=extra)
    return lake.published(dataset, window, key)
