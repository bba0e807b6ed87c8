"""Building an index and searching it: the stage on a lake, every mode of search, and the vectors' ways side by side.

Words and vectors are synthetic (`synthetic.py`); questions lie as far from them as people's do. `week` is the stage
again after the last of the windows was added. Wall times on a busy machine mean little: CPU-milliseconds stand beside.
Run: python -m benchmarks.bench_search [--passages 87000] [--hnsw true] [--folder DIR]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks import synthetic
from benchmarks.measuring import jobs_cost, write_result
from benchmarks.synthetic import Size
from jobs.core.lake import Lake, Part
from jobs.retrieval import cells, vector_index
from jobs.retrieval.encoder import load_encoder
from jobs.retrieval.ranking import MODES
from jobs.retrieval.searcher import Query, Searcher
from jobs.retrieval.vector_index import VectorIndex

N_PASSAGES = 87_000
N_QUESTIONS = 200
QUESTION_WORDS = 8
N_WINDOWS = 52
QUESTION = "Why does QLoRA store the weights in NF4, and what does double quantization add to it?"
HNSW_LINKS, HNSW_BUILD = 32, 80  # faiss' usual 32 links; a width of 200 costs 2.5 times as much to build
HNSW_WIDTHS = (64, 256)

Figures = dict[str, Any]


def main() -> None:
    """Make the lake, build the index twice, search it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=N_PASSAGES)
    parser.add_argument("--hnsw", choices=("true", "false"), default="true", help="build one beside: minutes at 87,000")
    parser.add_argument("--week", choices=("true", "false"), default="true", help="build again with one window more")
    parser.add_argument(
        "--folder", type=Path, help="where the lake lies, kept and used again; default: a temporary one"
    )
    options = parser.parse_args()
    size = Size(options.passages, N_WINDOWS)
    with tempfile.TemporaryDirectory(prefix="bench-search-") as temporary:
        lake, built = build(options.folder or Path(temporary), size, with_week=options.week == "true")
        part = lake.current("indexes", "all")
        if part is None:
            raise RuntimeError(f"{lake.address} has no index although build_index ended with 0")
        figures = {"n_passages": options.passages, **built, **searched(part)}
        figures["vectors"] = side_by_side(part, with_hnsw=options.hnsw == "true")
    write_result("search", figures)


def build(folder: Path, size: Size, *, with_week: bool) -> tuple[Lake, Figures]:
    """The lake with its index, and what that cost: from nothing, and if asked again after the last window came."""
    root = folder / f"lake-{size.n_passages}"
    if (root / "indexes").is_dir():
        return Lake.open(root), {}
    n_windows = size.n_windows - with_week
    lake = synthetic.make_lake(root, size, n_windows)
    figures: Figures = {"build": _cost_of_build(lake)}
    if with_week:
        synthetic.add_window(lake, size, n_windows)
        figures["week"] = _cost_of_build(lake)
    return lake, figures


def _cost_of_build(lake: Lake) -> Figures:
    cost = jobs_cost("build_index", "--lake", lake.address)
    part = lake.current("indexes", "all")
    chosen = {} if part is None else part.manifest.extra
    names = ("n_cells", "n_probes", "recall_10", "centres_taken_over")
    costs = {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}
    return costs | {name: chosen[name] for name in names if name in chosen}


def searched(part: Part) -> Figures:
    """Every mode of the searcher from a question's vector and words, memory it holds, and encoding apart."""
    model = load_encoder(part.manifest.extra["encoder"])
    begun = time.perf_counter(), time.process_time(), resident_mb()
    searcher = Searcher.open(part, model)
    figures: Figures = {"open_s": time.perf_counter() - begun[0], "open_cpu_s": time.process_time() - begun[1]}
    random = np.random.default_rng(1)
    asked = synthetic.questions_of(halves(part), N_QUESTIONS, random)
    worded = synthetic.words(random, N_QUESTIONS, QUESTION_WORDS)
    questions = [Query(tuple(f"w{word}" for word in some), vector) for some, vector in zip(worded, asked, strict=True)]
    for mode in MODES:
        figures[mode] = timed(lambda q, mode=mode: searcher.find(q, 8, mode=mode), questions)
    anonymous, mapped = resident_mb()
    figures |= {"anonymous_mb": anonymous - begun[2][0], "mapped_mb": mapped - begun[2][1]}
    figures["encode_question"] = timed(searcher.encoder.encode_question, [f"{QUESTION} {i}" for i in range(50)])
    return figures


def side_by_side(part: Part, *, with_hnsw: bool) -> Figures:
    """The vectors alone: all compared, by cells, by HNSW; the share of the nearest ten that each finds."""
    matrix = halves(part)
    asked = synthetic.questions_of(matrix, N_QUESTIONS, np.random.default_rng(2))
    nearest = cells.exact_nearest(asked, matrix, 10)
    cosine = float(np.median((asked * matrix[nearest[:, 0]].astype(np.float32)).sum(axis=1)))
    figures: Figures = {"cosine_of_nearest": cosine}

    def judged(search: Callable[[np.ndarray], np.ndarray]) -> Figures:
        hits = [np.isin(best, search(one)).mean() for best, one in zip(nearest, asked, strict=True)]
        return {"recall_10": float(np.mean(hits))} | timed(search, list(asked))

    flat = faiss.read_index(str(part.file(vector_index.FILE)), faiss.IO_FLAG_MMAP_IFC)
    figures["flat"] = judged(lambda one: VectorIndex(flat).nearest(one, 100)) | _size_of(part, vector_index.FILE)
    if vector_index.CELLS_FILE in part.manifest.files:
        found = faiss.read_index(str(part.file(vector_index.CELLS_FILE)), faiss.IO_FLAG_MMAP_IFC)
        by_cells = VectorIndex(flat, found)
        figures["cells"] = judged(lambda one: by_cells.nearest(one, 100)) | _size_of(part, vector_index.CELLS_FILE)
    if with_hnsw:
        begun = time.perf_counter(), time.process_time()
        graph = hnsw_of(matrix)
        built = {"build_s": time.perf_counter() - begun[0], "build_cpu_s": time.process_time() - begun[1]}
        for width in HNSW_WIDTHS:
            graph.hnsw.efSearch = width
            figures[f"hnsw_{width}"] = judged(lambda one: graph.search(one[None, :], 100)[1][0]) | built
    return figures


def hnsw_of(matrix: np.ndarray) -> Any:
    """Malkov and Yashunin 2016, arXiv:1603.09320, over 16-bit floats as the flat index has them."""
    graph = faiss.IndexHNSWSQ(matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = HNSW_BUILD
    graph.train(matrix[:1].astype(np.float32))
    for start in range(0, len(matrix), cells.BLOCK):
        graph.add(matrix[start : start + cells.BLOCK].astype(np.float32))
    return graph


def halves(part: Part) -> np.ndarray:
    """The vectors of an index part, float16 [n, dim], mapped from the disk: they are the end of the flat file."""
    n, dim = part.manifest.rows, part.manifest.extra["dim"]
    path = part.file(vector_index.FILE)
    start = path.stat().st_size - n * dim * 2
    return np.memmap(path, np.float16, "r", start, (n, dim))


def _size_of(part: Part, name: str) -> Figures:
    return {"file_mb": part.manifest.files[name]["bytes"] / 1e6}


def resident_mb() -> tuple[float, float]:
    """Memory of this process: its own, and pages of mapped files, which the system may take back."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


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
    return {"p50_ms": float(p50), "p95_ms": float(p95), "cpu_p50_ms": float(np.median(cpu_ms))}


if __name__ == "__main__":
    main()
