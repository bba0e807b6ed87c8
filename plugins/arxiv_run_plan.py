"""What a run covers: the trigger form, else the data interval, else what the jobs say of their corpus.

The first task asks `python -m jobs plan` before the hours begin and hands its windows and flags to every stage.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arxiv_job_process import JobProcess, configured, job_place, raise_for, settings_words

log = logging.getLogger(__name__)

CANNOT_GROW = ("file", "folder")  # kinds of source
PASSED_ON = ("lake", "profile", "goal", "only", "max_papers_per_window")  # form fields that are flags of all stages


@dataclass(frozen=True)
class Asked:
    """How a run came to be. `interval` is its data interval [start, end) in days, None for a run without dates.

    `standing` are flags that hold for every run (SPARK_ARXIV_SETTINGS).
    """

    params: Mapping[str, Any]
    run_type: str
    interval: tuple[dt.date, dt.date] | None
    standing: str = ""

    @property
    def form_range(self) -> list[str]:
        """The form's days as flags. Raises AirflowFailException if only one is given."""
        first, last = self.params["from"], self.params["to"]
        if bool(first) != bool(last):
            fail(f"from={first!r}, to={last!r}: expected both days (both included), or neither.")
        return ["--from", first, "--to", last] if first else []

    @property
    def interval_range(self) -> list[str]:
        """The data interval as flags, for a scheduled run with the weeks before it: papers may have joined them."""
        if self.interval is None:
            return []
        start, end = self.interval
        if start >= end:
            fail(f"The data interval {start} to {end} is empty. Expected CronDataIntervalTimetable as the schedule.")
        if self.run_type == "scheduled":
            start -= dt.timedelta(weeks=self.params["lookback_weeks"])
        return ["--from", start.isoformat(), "--to", (end - dt.timedelta(days=1)).isoformat()]

    @property
    def flags(self) -> list[str]:
        """Flags of every stage, without the range. Of two the later wins: for a schedule nobody filled in the form."""
        words = settings_words({name: self.params[name] for name in PASSED_ON})
        standing = shlex.split(self.standing)
        words = [*words, *standing] if self.run_type == "scheduled" else [*standing, *words]
        if self.run_type == "backfill":
            words += [] if self.params["only"] else ["--only", "window"]
        return words + shlex.split(self.params["settings"] or "")


@dataclass(frozen=True)
class RunPlan:
    """What plan_run hands to the stages: flags that are the same for all, and the numbers of the shards."""

    flags: list[str]
    shards: list[int]


def make_run_plan(asked: Asked) -> RunPlan | None:
    """The plan of a run; None if there is nothing to look for.

    Raises AirflowFailException with the jobs' own sentence where the run could not end well.
    """
    asked = dataclasses.replace(asked, standing=configured("SPARK_ARXIV_SETTINGS") or "")
    range_flags = asked.form_range
    if not range_flags and asked.run_type == "backfill":
        range_flags = asked.interval_range
    plan = ask_plan([*asked.flags, *range_flags])
    if asked.run_type == "backfill" and plan["grid"] != "week":
        _, first, _, last = range_flags
        fail(
            f"The grid of {plan['lake']} is {plan['grid']}, a backfill's runs are weeks (64). "
            f"Use one run over the range instead: make backfill FROM={first} TO={last}"
        )
    if not range_flags and asked.interval:
        if plan["source"] not in CANNOT_GROW:
            plan = ask_plan([*asked.flags, *asked.interval_range])
        elif asked.run_type == "scheduled":
            log.info("%s reads a %s, which does not grow: nothing to do on a schedule", plan["lake"], plan["source"])
            return None
    return _for_stages(asked, plan)


def ask_plan(flags: list[str]) -> dict[str, Any]:
    """`python -m jobs plan --json`. Raises AirflowFailException with its sentence."""
    asked = JobProcess(job_place(words=flags), log).ask(["plan", *flags, "--json"])
    raise_for(asked.exit_code, "plan", asked.explanation)
    plan: dict[str, Any] = json.loads(asked.output)
    return plan


def interval_of(context: Mapping[str, Any]) -> tuple[dt.date, dt.date] | None:
    """The data interval of a task's context; runs triggered without a date have none."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    return (start.date(), end.date()) if start and end else None


def fail(sentence: str) -> None:
    """Fail the task without a retry."""
    from airflow.sdk.exceptions import AirflowFailException

    raise AirflowFailException(sentence)


def _for_stages(asked: Asked, plan: dict[str, Any]) -> RunPlan:
    windows = plan["windows"]
    log.info(
        "lake %s, goal %s, %d windows (%s to %s), papers: %s",
        *(plan["lake"], plan["goal"], len(windows), windows[0], windows[-1], plan["papers"]),
    )
    for stage in plan["stages"]:
        forecast = "" if stage["hours"] is None else f", {stage['hours']:.2f} hours, {stage['gb']:.2f} GB"
        why = "; ".join(stage["why"])
        log.info("%s: done %d, to do %d%s %s", stage["stage"], stage["done"], stage["to_do"], forecast, why)
    range_flags = [word for window in windows for word in ("--window", window)]
    lake = [] if asked.params["lake"] else ["--lake", plan["lake"]]
    return RunPlan([*asked.flags, *lake, *range_flags], plan["shards"])
