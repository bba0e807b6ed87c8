"""Reading PDFs: pages a CPU-second of PyMuPDF bare, of our reader, and of the Spark stage beside a plain process pool.

The stage and the pool read the same lake by the same function, two sizes each: the slope between them is what a page
costs, without what starting costs. Run: python -m benchmarks.bench_extract [--copies 1 4]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pymupdf

from benchmarks.lakes import WINDOW, lake_of_pdfs, task_of
from benchmarks.measuring import Cost, corpus_pdfs, cost_of, jobs_cost, line_through, rate, write_result
from jobs.core import durable
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake
from jobs.corpus import extract_text
from jobs.corpus.layout import read_document
from jobs.corpus.pdf import Limits, PdfReader

CORES = (1, 2)


def main() -> None:
    """Measure the readers in this process, then the stage and the pool as processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, nargs=2, default=(1, 4), help="how often each PDF is in the two lakes")
    parser.add_argument("--pdfs", type=int, default=None, help="only so many of the PDFs")
    parser.add_argument("--pool", nargs=2, metavar=("LAKE", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pool:
        read_by_pool(Path(options.pool[0]), int(options.pool[1]))
        return
    pdfs = corpus_pdfs()[: options.pdfs]
    n_pages = sum(_n_pages(path) for path in pdfs)
    ways: dict[str, Callable[[list[Path]], None]] = {
        "bare_text": partial(_read_bare, "text"),
        "bare_dict": partial(_read_bare, "dict"),
        "read_document": _read_in_process,
        "pdf_reader": _read_in_child,
    }
    in_process = {name: n_pages / _cpu_s_of(way, pdfs) for name, way in ways.items()}
    stages = {name: _slope(points, n_pages) for name, points in _process_costs(pdfs, options.copies).items()}
    figures = {"n_pdfs": len(pdfs), "n_pages": n_pages, "copies": f"{options.copies[0]} {options.copies[1]}"}
    overhead = {f"{n}_cores": _overhead(stages[f"spark_{n}"], stages[f"pool_{n}"]) for n in CORES}
    write_result("extract", figures | {"pages_per_cpu_s": in_process, **stages, "spark_over_pool_01": overhead})


def read_by_pool(root: Path, n: int) -> None:
    """What the stage does, by a plain pool of processes: same buckets, same function, same batches."""
    lake = Lake.open(root)
    with lake.attempt(task_of(lake, "extract_text")) as attempt:
        buckets = extract_text.deal(list(extract_text._to_read(lake, attempt, set())), extract_text.BUCKETS_A_CORE * n)
        with ProcessPoolExecutor(n) as pool:
            if problems := [one for found in pool.map(partial(_read_bucket, Limits()), buckets) for one in found]:
                raise RuntimeError(" ".join(problems))
        extract_text._write(attempt, DATASETS["documents"].schema().empty_table(), 1.0)


def _read_bucket(limits: Limits, bucket: list[extract_text.PdfToRead]) -> list[str]:
    return extract_text._read_bucket(limits, bucket)


def _process_costs(pdfs: list[Path], copies: tuple[int, int]) -> dict[str, list[tuple[int, Cost]]]:
    """Way -> (copies, cost) of the stage and of the pool, on lakes that are made anew for each."""
    costs: dict[str, list[tuple[int, Cost]]] = {f"{way}_{n}": [] for way in ("spark", "pool") for n in CORES}
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as folder:
        for number in copies:
            root = Path(folder) / str(number)
            lake_of_pdfs(root, pdfs, number)
            for n in CORES:
                stage = ("extract_text", "--lake", root, "--window", WINDOW, "--spark-master", f"local[{n}]")
                costs[f"spark_{n}"].append((number, jobs_cost(*stage, "--min-yield-01", "0")))
                shutil.rmtree(root / "documents")
                pool = [sys.executable, "-m", "benchmarks.bench_extract", "--pool", str(root), str(n)]
                costs[f"pool_{n}"].append((number, cost_of(pool)))
                shutil.rmtree(root / "documents")
    return costs


def _slope(points: list[tuple[int, Cost]], n_pages: int) -> dict[str, float | None]:
    cpu, fixed = line_through([(n_pages * copies, cost.cpu_s) for copies, cost in points])
    wall, _ = line_through([(n_pages * copies, cost.wall_s) for copies, cost in points])
    return {
        "pages_per_cpu_s": rate(cpu),
        "pages_per_s": rate(wall),
        "fixed_cpu_s": fixed,
        "peak_mb": points[-1][1].peak_mb,
    }


def _overhead(spark: dict[str, float | None], pool: dict[str, float | None]) -> float | None:
    """What a page costs more in Spark than in the pool, as a share of the pool's."""
    ours, plain = spark["pages_per_cpu_s"], pool["pages_per_cpu_s"]
    return plain / ours - 1 if ours and plain else None


def _n_pages(path: Path) -> int:
    with pymupdf.open(path) as document:
        return len(document)


def _read_bare(kind: str, pdfs: list[Path]) -> None:
    for path in pdfs:
        with pymupdf.open(path) as document:
            for page in document:
                # Without images: with them `dict` decodes every picture and is six times slower.
                page.get_text(kind, flags=pymupdf.TEXTFLAGS_TEXT)


def _read_in_process(pdfs: list[Path]) -> None:
    for path in pdfs:
        with pymupdf.open(path) as document:
            read_document(document)


def _read_in_child(pdfs: list[Path]) -> None:
    with PdfReader() as reader:
        for path in pdfs:
            durable.sha256_file(path)
            reader.read(path)


def _cpu_s_of(way: Callable[[list[Path]], None], pdfs: list[Path]) -> float:
    """CPU-seconds of the second pass, with those of children that ended in it."""
    way(pdfs[:2])
    begun = time.process_time() + _children_s()
    way(pdfs)
    return time.process_time() + _children_s() - begun


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
