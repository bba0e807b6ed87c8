"""`python -m jobs plan`: before the hours begin, what would run and why, what it needs, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from dataclasses import dataclass, field
from typing import Any

from jobs.core.cli import stage_parser, write_line
from jobs.core.config import REPOSITORY, resolve
from jobs.core.definition import REMOTE_KINDS
from jobs.core.errors import EXIT_DONE, InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.core.request import make_request, papers_by_day
from jobs.core.runner import Request, survey
from jobs.core.spark import SparkConfig, find_java_home, spark_home, submission
from jobs.core.stages import STAGES, Stage, load, wanted

log = logging.getLogger(__name__)

RATES_FILE = REPOSITORY / "benchmarks" / "rates.json"
SPARE_GB = 1.0  # the disk must keep this much beside what the run writes


@dataclass(frozen=True)
class StagePlan:
    """One stage of a plan. `hours` and `gb` are forecasts from rates; None where nothing is known."""

    stage: str
    done: int
    to_do: int
    why: dict[str, int]
    older_version: int = 0
    hours: float | None = None
    gb: float | None = None
    rate_from: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run would do."""

    lake: str
    windows: list[str]
    papers: int | None
    papers_from: str  # where the number of papers is from, if it is not the source itself
    stages: list[StagePlan]
    missing: list[str] = field(default_factory=list)

    @property
    def to_do(self) -> int:
        """Parts that would be made."""
        return sum(stage.to_do for stage in self.stages)


def define_command(argv: list[str]) -> int:
    """Write LAKE.json from the settings given, for a trigger that comes later; prints the lake's folder."""
    options, words = stage_parser("define").parse_known_args(argv[1:])
    write_line(make_request(options, words, may_create=True).lake.address)
    return EXIT_DONE


def plan_command(argv: list[str]) -> int:
    """Print the plan; exit 64 if something is missing or will not fit."""
    parser = stage_parser("plan")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options, words = parser.parse_known_args(argv[1:])
    options.is_dry = True
    request = make_request(options, words, may_create=True)
    plan = forecast(request)
    write_line(json.dumps(as_json(plan, request)) if options.json else _as_text(plan))
    refuse_what_cannot_end_well(plan)
    return EXIT_DONE


def submission_command(argv: list[str]) -> int:
    """What spark-submit needs to run a stage, as one JSON object: Airflow's hook builds the command line itself."""
    options, words = stage_parser(argv[1]).parse_known_args(argv[2:])
    request = make_request(options, words, may_create=True)
    made = submission(resolve(SparkConfig, request.layers).values, argv[1:], request.lake.root)
    write_line(json.dumps(dataclasses.asdict(made)))
    return EXIT_DONE


def as_json(plan: Plan, request: Request) -> dict[str, Any]:
    """The plan and what a scheduler needs to pass on: source kind, grid, goal, numbers of the shards."""
    lake_file = request.lake.lake_file
    return dataclasses.asdict(plan) | {
        "to_do": plan.to_do,
        "source": lake_file.source.kind,
        "grid": lake_file.definition.grid,
        "goal": request.goal,
        "only": request.only,
        "shards": list(range(_n_shards(request))),
    }


def _n_shards(request: Request) -> int:
    return int(request.config_of(load(STAGES["synthesize_qa"])).values.n_shards)


def forecast(request: Request) -> Plan:
    """The plan of a request: states of all parts, papers, hours and GB, and what is missing."""
    papers, papers_from = _count_papers(request)
    stages = []
    is_upstream_new: set[str] = set()
    for stage in wanted(request.goal, request.only):
        one = _plan_stage(stage, request, is_upstream_new, papers)
        if one.to_do:
            is_upstream_new.update(stage.writes)
        stages.append(one)
    windows = [window.name for window in request.windows]
    plan = Plan(request.lake.address, windows, papers, papers_from, stages)
    return dataclasses.replace(plan, missing=_missing(plan, request.lake))


def refuse_what_cannot_end_well(plan: Plan) -> None:
    """Raise UsageError with every missing thing, so that no hours are spent before it is noticed."""
    if plan.missing:
        raise UsageError("This run cannot end well: " + " ".join(plan.missing))


def _plan_stage(stage: Stage, request: Request, is_upstream_new: set[str], papers: int | None) -> StagePlan:
    tasks = survey(stage, request)
    why: dict[str, int] = {}
    done = 0
    is_input_new = bool(is_upstream_new & set(stage.reads))
    for task in tasks:
        if task.state == "done" and not is_input_new:
            done += 1
            continue
        reason = task.why if task.state == "to do" else "if its input changes"
        why[reason] = why.get(reason, 0) + 1
    older = sum(task.state == "done" and "older" in task.why for task in tasks)
    to_do = len(tasks) - done
    rate, rate_from = _rate(stage, request.lake)
    n_papers = papers * to_do / len(tasks) if papers is not None and tasks else 0.0
    hours = gb = None
    if rate and papers is not None:
        hours = round(seconds_for(rate, n_papers) / 3600, 4) if to_do else 0.0
        gb = round(n_papers * rate["bytes_per_paper"] / 1e9, 4)
    return StagePlan(stage.name, done, to_do, why, older, hours, gb, rate_from)


def benchmarked_rates() -> dict[str, dict[str, float]]:
    """What a paper and a start cost in each stage, as measured once on one machine; empty if that is not there."""
    rates: dict[str, dict[str, float]] = json.loads(RATES_FILE.read_text()) if RATES_FILE.is_file() else {}
    return rates


def seconds_for(rate: dict[str, float], n_papers: float) -> float:
    """Forecast of a stage over so many papers, made by one command."""
    return n_papers * rate["seconds_per_paper"] + rate["fixed_seconds"]


def _rate(stage: Stage, lake: Lake) -> tuple[dict[str, float] | None, str]:
    """What a paper costs in this stage: from the lake's own manifests if they saw enough, else from benchmarks."""
    parts = [part for name in lake.parts(stage.dataset) if (part := lake.current(stage.dataset, name))]
    papers = sum(part.manifest.counts.read for part in parts)
    known = told = getattr(load(stage), "remote_rate", lambda _lake: None)(lake)
    known = known or benchmarked_rates().get(stage.name)
    if papers < 100 or stage.grain != "window":
        return known, "what arXiv's servers usually give" if told else "benchmarks" if known else ""
    seconds = sum(part.manifest.seconds for part in parts)
    size = sum(file["bytes"] for part in parts for file in part.manifest.files.values())
    size += sum(part.manifest.extra.get("pdf_bytes", 0) for part in parts)
    fixed = known["fixed_seconds"] if known else 0.0
    return {
        "seconds_per_paper": seconds / papers,
        "bytes_per_paper": size / papers,
        "fixed_seconds": fixed,
    }, "this lake"


def _count_papers(request: Request) -> tuple[int | None, str]:
    """Papers of the windows, where that can be told without fetching anything; and what the number is from."""
    lake = request.lake
    source = lake.lake_file.source
    if source.kind in REMOTE_KINDS:
        return _count_remote(request)
    try:
        days = papers_by_day(request.layers, lake.definition, source)
    except InputMissingError:  # told among what is missing
        return None, ""
    n_papers = sum(n for day, n in days.items() if any(window.start <= day < window.end for window in request.windows))
    return n_papers, ""


def _count_remote(request: Request) -> tuple[int | None, str]:
    """Papers of a server's snapshot if one is in the lake, at most the cap; without one the cap is all that is known.

    A plan asks no server: what is newer than the snapshot is not counted.
    """
    cap = request.config_of(load(STAGES["filter_papers"])).values.max_papers_per_window * len(request.windows)
    found: int | None = load(STAGES["fetch_snapshot"]).papers_fetched(request.lake, request.windows)
    if found is None:
        return cap or None, " at most: no snapshot is here yet to count them in"
    return min(found, cap) if cap else found, " in the snapshot that is here"


def _missing(plan: Plan, lake: Lake) -> list[str]:
    missing = []
    fetch_gb = 0.0
    to_do = {stage.stage for stage in plan.stages if stage.to_do}
    if any(STAGES[name].engine == "spark" for name in to_do):
        for check in (find_java_home, spark_home):
            try:
                check()
            except UsageError as error:
                missing.append(str(error))
    if "fetch_snapshot" in to_do:
        first = load(STAGES["fetch_snapshot"])
        missing += first.missing(lake.lake_file.source)
        fetch_gb = first.disk_gb(lake)
    place = next(folder for folder in (lake.root.resolve(), *lake.root.resolve().parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    needed_gb = sum(stage.gb or 0.0 for stage in plan.stages) + SPARE_GB + fetch_gb
    if to_do and needed_gb > free_gb:
        missing.append(f"Disk: {needed_gb:.1f} GB are needed in {lake.root}, {free_gb:.1f} GB are free.")
    return missing


def _as_text(plan: Plan) -> str:
    lines = [
        f"lake {plan.lake}: {len(plan.windows)} windows, {'?' if plan.papers is None else plan.papers} papers"
        f"{plan.papers_from}"
    ]
    for stage in plan.stages:
        cost = "" if stage.hours is None else f"  {stage.hours * 60:.1f} min, {stage.gb:.2f} GB ({stage.rate_from})"
        why = "; ".join(f"{reason} ({n})" if n > 1 else reason for reason, n in stage.why.items())
        older = f"; {stage.older_version} by an older version (--upgrade)" if stage.older_version else ""
        lines.append(f"  {stage.stage:<16} done {stage.done:>4}  to do {stage.to_do:>4}{cost}  {why}{older}".rstrip())
    lines += [f"  missing: {sentence}" for sentence in plan.missing]
    if not plan.to_do:
        lines.append("nothing to do")
    return "\n".join(lines)
