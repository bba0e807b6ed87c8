"""Every stage over the sample from nothing: wall, CPU, peak memory, rows in and out; then a second run.

Also writes benchmarks/rates.json, from which `python -m jobs plan` forecasts until a lake has figures of its own.
Run: python -m benchmarks.bench_stages [--goal papers]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, jobs_cost, write_result
from jobs.core.lake import Lake, Part
from jobs.core.stages import GOALS, Stage, wanted

RATES = Path(__file__).with_name("rates.json")
ONE_PAPER = "sample/2401001"


def main() -> None:
    """Walk the sample stage by stage, then one paper alone for the fixed costs, then the whole by `run`, twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goal", choices=GOALS, default="papers", help="how far to go")
    parser.add_argument("--no-rates", action="store_true", help="leave rates.json as it is")
    options = parser.parse_args()
    stages = wanted(options.goal, None)
    with tempfile.TemporaryDirectory(prefix="bench-stages-") as folder:
        sample, single, whole = (Path(folder) / name for name in ("sample", "single", "whole"))
        many = _walk(sample, stages, options.goal)
        one = _walk(single, stages, options.goal, "--ids", ONE_PAPER)
        run = ("run", "--goal", options.goal, "--lake", whole)
        first, second = jobs_cost(*run), jobs_cost(*run)
        figures = {stage.name: _figures(sample, stage, many[stage.name]) for stage in stages}
        if not options.no_rates:
            rates = {stage.name: _rates(sample, stage, one[stage.name], many[stage.name]) for stage in stages}
            known = json.loads(RATES.read_text()) if RATES.is_file() else {}
            RATES.write_text(json.dumps(known | rates, indent=2) + "\n")
    write_result("stages", figures | {"run": _cost(first), "second_run": _cost(second)})


def _walk(lake: Path, stages: list[Stage], goal: str, *settings: str) -> dict[str, Cost]:
    return {stage.name: jobs_cost(stage.name, "--goal", goal, "--lake", lake, *settings) for stage in stages}


def _figures(lake: Path, stage: Stage, cost: Cost) -> dict[str, Any]:
    made = _parts(lake, [stage.dataset])
    read = _parts(lake, stage.reads)
    rows = {"rows_in": sum(part.manifest.rows for part in read), "rows_out": sum(part.manifest.rows for part in made)}
    return _cost(cost) | rows


def _cost(cost: Cost) -> dict[str, Any]:
    return {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}


def _rates(lake: Path, stage: Stage, one: Cost, many: Cost) -> dict[str, float]:
    """A line through a run of one paper and a run of all: its slope a paper, its rest what starting costs."""
    n_papers = _n_papers(lake)
    seconds_per_paper = max(0.0, (many.wall_s - one.wall_s) / (n_papers - 1))
    made = _parts(lake, [stage.dataset])
    size_bytes = sum(file["bytes"] for part in made for file in part.manifest.files.values())
    if stage.dataset == "pdfs":
        size_bytes += sum(path.stat().st_size for path in Lake.open(lake).pdf_files.rglob("*.pdf"))
    return {
        "seconds_per_paper": round(seconds_per_paper, 4),
        "fixed_seconds": round(max(0.0, one.wall_s - seconds_per_paper), 2),
        "bytes_per_paper": round(size_bytes / n_papers),
    }


def _n_papers(lake: Path) -> int:
    return sum(part.manifest.rows for part in _parts(lake, ["papers"]))


def _parts(lake: Path, datasets: Iterable[str]) -> list[Part]:
    opened = Lake.open(lake)
    return [part for dataset in datasets for name in opened.parts(dataset) if (part := opened.current(dataset, name))]


if __name__ == "__main__":
    main()
