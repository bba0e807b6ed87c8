"""Reading PDFs: pages a CPU-second of our reader beside its peers, and of the Spark stage beside a plain process pool.

What reads how: `readers`. The stage and the pool read the same lake by the same function, two sizes each: the
slope between them is what a page costs, without what starting costs. They take turns too, `--stage-rounds` times: one
run of each on a busy machine says nothing about a tenth. What Spark's Java machine spends on a page is told apart: its
workers do what the pool's do.
Run: python -m benchmarks.bench_extract [--rounds 3] [--copies 1 4] [--cores 1 2] [--stage-rounds 2] [--only-readers]
[--peers pypdfium2]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import readers
from benchmarks.lakes import WINDOW, lake_of_pdfs, task_of
from benchmarks.measuring import Cost, corpus_pdfs, cost_of, jobs_cost, line_through, rate, write_result
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake
from jobs.corpus import extract_text
from jobs.corpus.pdf import Limits


def main() -> None:
    """Measure the readers in this process, then the stage and the pool as processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, nargs=2, default=(1, 4), help="how often each PDF is in the two lakes")
    parser.add_argument("--rounds", type=int, default=3, help="how often each reader reads each PDF")
    parser.add_argument("--cores", type=int, nargs="+", default=(1, 2), help="how many cores Spark and the pool use")
    parser.add_argument("--stage-rounds", type=int, default=2, help="how often each of the two reads each lake")
    parser.add_argument("--only-readers", action="store_true", help="leave out the stage and the pool")
    parser.add_argument("--peers", nargs="*", default=list(readers.PEERS), help="readers of others to compare with")
    parser.add_argument("--pdfs", type=int, default=None, help="only so many of the PDFs")
    parser.add_argument("--pool", nargs=2, metavar=("LAKE", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pool:
        read_by_pool(Path(options.pool[0]), int(options.pool[1]))
        return
    pdfs = corpus_pdfs()[: options.pdfs]
    n_pages = readers.count_pages(pdfs)
    rates = {name: n_pages / cpu_s for name, cpu_s in readers.cpu_s_here(pdfs, options.rounds).items()}
    peers = {name: readers.peer_rate(name, pdfs, options.rounds) for name in options.peers}
    rates |= {name: found for name, found in peers.items() if found}
    figures: dict[str, Any] = {"n_pdfs": len(pdfs), "n_pages": n_pages, "pages_per_cpu_s": rates}
    figures |= {f"not_here_{name}": True for name, found in peers.items() if not found}
    figures["read_document_over_bare_dict_01"] = rates["read_document"] / rates["bare_dict"]
    if not options.only_readers:
        costs = _process_costs(pdfs, options.copies, options.cores, options.stage_rounds)
        figures |= {"copies": f"{options.copies[0]} {options.copies[1]}"} | _stages(costs, options.cores, n_pages)
    write_result("extract", figures)


def _stages(costs: dict[str, list[tuple[int, Cost]]], cores: Sequence[int], n_pages: int) -> dict[str, Any]:
    """Rates of the stage and of the pool, and what a page costs more in Spark."""
    stages = {name: _slope(points, n_pages) for name, points in costs.items()}
    overhead = {f"{n}_cores": _overhead(stages[f"spark_{n}"], stages[f"pool_{n}"]) for n in cores}
    return {**stages, "spark_over_pool_01": overhead} | _scaling(stages, cores)


def _scaling(stages: dict[str, dict[str, float | None]], cores: Sequence[int]) -> dict[str, dict[str, float | None]]:
    """How many times as many pages a second of wall the most cores read as the fewest do."""
    few, many = min(cores), max(cores)
    if few == many:
        return {}
    pairs = {way: [stages[f"{way}_{n}"]["pages_per_s"] for n in (many, few)] for way in ("spark", "pool")}
    return {f"scaling_{few}_to_{many}_cores": {way: a / b if a and b else None for way, (a, b) in pairs.items()}}


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
    return extract_text._read_bucket(limits, (), bucket)


def _process_costs(
    pdfs: list[Path], copies: tuple[int, int], cores: Sequence[int], rounds: int
) -> dict[str, list[tuple[int, Cost]]]:
    """Way -> (copies, least cost in CPU) of the stage and of the pool, on lakes that are made anew for each."""
    costs: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as folder:
        lakes = {number: Path(folder) / str(number) for number in copies}
        for number, root in lakes.items():
            lake_of_pdfs(root, pdfs, number)
        for _, n, (number, root) in product(range(rounds), cores, lakes.items()):
            stage = ("extract_text", "--lake", root, "--window", WINDOW, "--spark-master", f"local[{n}]")
            costs[f"spark_{n}", number].append(jobs_cost(*stage, "--min-yield-01", "0"))
            shutil.rmtree(root / "documents")
            pool = [sys.executable, "-m", "benchmarks.bench_extract", "--pool", str(root), str(n)]
            costs[f"pool_{n}", number].append(cost_of(pool))
            shutil.rmtree(root / "documents")
    least = {key: min(found, key=lambda cost: cost.cpu_s) for key, found in costs.items()}
    ways = [f"{way}_{n}" for way in ("spark", "pool") for n in cores]
    return {way: [(number, least[way, number]) for number in copies] for way in ways}


def _slope(points: list[tuple[int, Cost]], n_pages: int) -> dict[str, float | None]:
    cpu, fixed = line_through([(n_pages * copies, cost.cpu_s) for copies, cost in points])
    wall, _ = line_through([(n_pages * copies, cost.wall_s) for copies, cost in points])
    return {
        "pages_per_cpu_s": rate(cpu),
        "pages_per_s": rate(wall),
        "fixed_cpu_s": fixed,
        "peak_mb": points[-1][1].peak_mb,
        "jvm_ms_a_page": 1e3 * line_through([(n_pages * copies, cost.jvm_s) for copies, cost in points])[0],
    }


def _overhead(spark: dict[str, float | None], pool: dict[str, float | None]) -> float | None:
    """What a page costs more in Spark than in the pool, as a share of the pool's."""
    ours, plain = spark["pages_per_cpu_s"], pool["pages_per_cpu_s"]
    return plain / ours - 1 if ours and plain else None


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
