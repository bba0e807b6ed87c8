"""Search at 87,000 passages: from a question's vector and words to results, and what encoding it costs beside that.

Prints one JSON line. Passages are synthetic: words drawn by Zipf's law in 1,000 subjects, vectors around their
subject's. Run: python benchmarks/bench_search.py [N_PASSAGES]
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS
from jobs.core.manifest import MANIFEST_FILE, Counts, Manifest
from jobs.retrieval import encoder, index_view, passages, vector_index, word_index
from jobs.retrieval.index_view import View
from jobs.retrieval.ranking import MODES
from jobs.retrieval.searcher import Query, Searcher
from jobs.retrieval.vector_index import VectorIndex

N_PASSAGES = 87_000
N_PAPERS = 1_000
N_WORDS = 150  # of a passage
VOCABULARY = 60_000
N_QUESTIONS = 200
QUESTION_WORDS = 8
MODEL = "all-MiniLM-L6-v2"
QUESTION = "Why does QLoRA store the weights in NF4, and what does double quantization add to it?"


def main() -> None:
    """Build the index in a temporary folder, then time."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N_PASSAGES
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        begun_at = time.perf_counter()
        matrix, chosen = build(Path(folder), n, random)
        build_s = time.perf_counter() - begun_at
        begun_at = time.perf_counter()
        searcher = Searcher.open(Path(folder))
        open_s = time.perf_counter() - begun_at
        questions = [question(matrix, random) for _ in range(N_QUESTIONS)]
        figures = {mode: timed(lambda q, mode=mode: searcher.find(q, 8, mode=mode), questions) for mode in MODES}
        figures |= compared(Path(folder), questions)
    encode = timed(searcher.encoder.encode_question, [f"{QUESTION} {i}" for i in range(50)])
    line = {"bench": "search", "n_passages": n, **figures, "encode_question": encode, **chosen}
    line |= {"build_s": round(build_s, 1), "open_s": round(open_s, 2), "machine": platform.machine()}
    sys.stdout.write(json.dumps(line) + "\n")


def compared(folder: Path, questions: list[Query]) -> dict[str, Any]:
    """The vectors alone, all of them compared and by cells, and the share of the nearest ten that cells find."""
    flat = faiss.read_index(str(folder / vector_index.FILE))
    exact = VectorIndex(flat)
    figures: dict[str, Any] = {"all_vectors": timed(lambda q: exact.nearest(q.vector, 100), questions)}
    if (cells := folder / vector_index.CELLS_FILE).is_file():
        quick = VectorIndex(flat, faiss.read_index(str(cells)))
        figures["cells"] = timed(lambda q: quick.nearest(q.vector, 100), questions)
        hits = [np.isin(exact.nearest(q.vector, 10), quick.nearest(q.vector, 100)).mean() for q in questions]
        figures["recall_10_of_questions"] = round(float(np.mean(hits)), 4)
    return figures


def build(folder: Path, n: int, random: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
    """An index part as build_index publishes it; its vectors are returned, and what was chosen for them."""
    card = encoder.read_card(MODEL)
    paper_of = np.sort(random.integers(0, N_PAPERS, n))
    subjects = random.normal(size=(N_PAPERS, card.dim))
    matrix = (subjects[paper_of] + 0.7 * random.normal(size=(n, card.dim))).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    texts = [" ".join(f"w{word}" for word in row) for row in zipf(random, (n, N_WORDS))]
    tables.write_tables(folder / passages.FILE, DATASETS["indexes"].schema(), [table_of(paper_of, texts)])
    chosen = vector_index.build(matrix, folder)
    word_index.build(texts, folder)
    view = View({}, MODEL, card.revision, card.dim)
    (folder / index_view.FILE).write_bytes(view.to_json())
    write_manifest(folder, n)
    return matrix, chosen


def zipf(random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Word numbers, frequent ones small."""
    return np.minimum(random.zipf(1.15, shape), VOCABULARY)


def table_of(paper_of: np.ndarray, texts: list[str]) -> pa.Table:
    """Rows of passages.parquet; what the search does not read is the same everywhere."""
    rows = [
        {
            **dict.fromkeys(DATASETS["indexes"].columns),
            "chunk_id": f"2401.{paper:05d}v1#{row}",
            "paper_id": f"2401.{paper:05d}",
            "version": 1,
            "title": f"Paper {paper}",
            "authors": [],
            "section_path": ["Method"],
            "page_first": 1,
            "categories": ["cs.LG"],
            "submitted_at": 0,
            "text": text,
        }
        for row, (paper, text) in enumerate(zip(paper_of.tolist(), texts, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=DATASETS["indexes"].schema())


def write_manifest(folder: Path, n: int) -> None:
    """What a reader verifies the files against."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": durable.sha256_file(path)}
        for path in paths
    }
    made = Manifest("indexes", "all", "build_index", 1, "0" * 64, "0" * 64, "0" * 64, n, Counts(n, n), files, (), {})
    (folder / MANIFEST_FILE).write_bytes(made.to_json())


def question(matrix: np.ndarray, random: np.random.Generator) -> Query:
    """A vector near some passage, and words as frequent as they come."""
    vector = matrix[random.integers(len(matrix))] + 0.02 * random.normal(size=matrix.shape[1])
    words = tuple(f"w{word}" for word in zipf(random, (1, QUESTION_WORDS))[0])
    return Query(words, (vector / np.linalg.norm(vector)).astype(np.float32))


def timed(call: Callable[[Any], object], arguments: list[Any]) -> dict[str, float]:
    """Milliseconds of a call, after a tenth of the calls for warming up; on a busy machine only CPU time means much."""
    for argument in arguments[: len(arguments) // 10]:
        call(argument)
    took_ms, cpu_ms = [], []
    for argument in arguments:
        begun = time.perf_counter(), time.process_time()
        call(argument)
        took_ms.append(1000 * (time.perf_counter() - begun[0]))
        cpu_ms.append(1000 * (time.process_time() - begun[1]))
    p50, p95 = np.percentile(took_ms, [50, 95])
    figures = {"p50_ms": p50, "p95_ms": p95, "cpu_p50_ms": np.median(cpu_ms)}
    return {name: round(float(value), 2) for name, value in figures.items()}


if __name__ == "__main__":
    main()
