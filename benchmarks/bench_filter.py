"""Filtering metadata: our Spark scan beside DuckDB, polars and `spark.read.json`, and 52 windows beside one.

Snapshots are generated; every tool must find as many papers as the generator made. A least-squares line through whole
processes over the sizes gives the marginal rate and the fixed cost. `spark_json` infers its schema, `spark_schema` is
given it. Run: python -m benchmarks.bench_filter [--gb 0.2 …]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, cost_of, jobs_cost, line_through, rate, write_result
from benchmarks.peers import python_with
from benchmarks.snapshots import CATEGORY, YEAR, write_snapshot
from jobs.core.lake import Lake, Part
from jobs.core.manifest import Counts

PEERS = {"duckdb": "duckdb==2.0.0", "polars": "polars==2.1.0"}  # not in our lock: nothing but this file wants them
ALL_PEERS = (*PEERS, "spark_json", "spark_schema")
PEER_SCRIPT = Path(__file__).with_name("peers_filter.py")
SIZES_GB = (0.2, 0.5)
WEEKS = ("--from", f"{YEAR}-01-01", "--to", f"{YEAR}-12-29")  # 52 whole weeks: 2024 begins on a Monday
ONE_WEEK = ("--window", f"{YEAR}-01-01_{YEAR}-01-08")


def main() -> None:
    """Measure every tool on every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, nargs="+", default=SIZES_GB, help="sizes of the snapshots; 2 is a long run")
    parser.add_argument("--peers", nargs="*", default=ALL_PEERS, help="which to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-filter-") as folder:
        root = Path(folder)
        pythons = {name: python for name in options.peers if (python := _python_of(name, root))}
        costs: dict[str, list[tuple[float, Cost]]] = {name: [] for name in ("ours", *pythons)}
        windows: dict[str, Cost] = {}
        for gb in sorted(options.gb):
            path = root / "snapshot.jsonl"
            n_wanted = write_snapshot(path, int(gb * 1e9))
            mb = path.stat().st_size / 1e6
            for name, python in pythons.items():
                costs[name].append((mb, _peer_cost(name, python, path, root, n_wanted)))
            costs["ours"].append((mb, _year_cost(path, root / "year", n_wanted)))
            if gb == min(options.gb):
                windows = _windows_costs(path, root / "weeks")
    figures: dict[str, Any] = {name: _figures(points) for name, points in costs.items()}
    figures |= {f"not_installed_{name}": PEERS[name] for name in options.peers if name not in pythons}
    one, many = windows["one"], windows["many"]
    figures["windows_52_of_1"] = {"cpu": many.cpu_s / one.cpu_s, "wall": many.wall_s / one.wall_s}
    write_result("filter", {"gb": " ".join(f"{gb:g}" for gb in sorted(options.gb))} | figures)


def _year_cost(path: Path, lake: Path, n_wanted: int) -> Cost:
    _fetch(path, lake, "year")
    cost = jobs_cost("filter_papers", "--lake", lake, "--from", f"{YEAR}-01-01", "--to", f"{YEAR}-12-31", *_master())
    counts = Counts.total(part.manifest.counts for part in _parts(lake))
    n_found = counts.kept + counts.dropped.get("superseded", 0)
    if n_found != n_wanted:
        raise RuntimeError(f"filter_papers found {n_found} papers, the generator made {n_wanted}")
    shutil.rmtree(lake)
    return cost


def _parts(lake: Path) -> list[Part]:
    opened = Lake.open(lake)
    return [part for name in opened.parts("papers") if (part := opened.current("papers", name))]


def _windows_costs(path: Path, lake: Path) -> dict[str, Cost]:
    _fetch(path, lake, "week")
    costs = {}
    for name, words in (("one", ONE_WEEK), ("many", WEEKS)):
        costs[name] = jobs_cost("filter_papers", "--lake", lake, *words, *_master())
        shutil.rmtree(lake / "papers")
    shutil.rmtree(lake)
    return costs


def _fetch(path: Path, lake: Path, grid: str) -> None:
    span = ONE_WEEK if grid == "week" else ("--from", f"{YEAR}-01-01", "--to", f"{YEAR}-12-31")
    jobs_cost("fetch_snapshot", "--lake", lake, "--metadata", path, "--categories", CATEGORY, "--grid", grid, *span)


def _master() -> tuple[str, str]:
    return "--spark-master", "local[2]"


def _peer_cost(name: str, python: Path, path: Path, root: Path, n_wanted: int) -> Cost:
    out = root / f"{name}.parquet"
    cost = cost_of([python, PEER_SCRIPT, name, path, out])
    if int(cost.stdout.split()[-1]) != n_wanted:
        raise RuntimeError(f"{name} found {cost.stdout.split()[-1]} papers, the generator made {n_wanted}")
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return cost


def _python_of(name: str, root: Path) -> Path | None:
    """A Python that has the peer: ours for Spark, a throw-away environment for others; None if it cannot be made."""
    return python_with(PEERS[name], root / name) if name in PEERS else Path(sys.executable)


def _figures(points: list[tuple[float, Cost]]) -> dict[str, float | None]:
    """Marginal MB a CPU-second and fixed CPU-seconds; with a single size only what that cost."""
    largest = points[-1][1]
    figures: dict[str, float | None] = {
        "cpu_s_at_largest": largest.cpu_s,
        "wall_s_at_largest": largest.wall_s,
        "peak_mb": largest.peak_mb,
    }
    if len(points) > 1:
        slope, fixed = line_through([(mb, cost.cpu_s) for mb, cost in points])
        figures |= {"mb_per_cpu_s": rate(slope), "fixed_cpu_s": fixed}
    return figures


if __name__ == "__main__":
    main()
