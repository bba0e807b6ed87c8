"""Which student a release serves: the one that the report accepts, else the one that is released, else none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobs.core import takedowns
from jobs.core.errors import JobError
from jobs.core.lake import Lake, Part, PartTask
from jobs.serving.release import QUOTED, RELEASE_FILE, STUDENT
from jobs.tuning.bases import Base, base_of
from jobs.tuning.gate import REASONS
from jobs.tuning.learnt import Learnt

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class ServedStudent:
    """An adapter with its base, and the report that speaks for it. `answers_by`: who answers unless a reader chooses.

    `was_released`: by the release before, whose student stays.
    """

    adapter: Part
    base: Base
    report: Part | None
    answers_by: str
    was_released: bool


@dataclass(frozen=True)
class Candidate:
    """`student` None: quoted sentences alone. `why` is for the log."""

    student: ServedStudent | None
    why: str


def choose(lake: Lake, task: PartTask) -> Candidate:
    """The student for a release. The gate decides about the student, never about whether papers are released."""
    adapter, report = task.read_parts.get("adapters"), task.read_parts.get("reports")
    if adapter is None:
        return _released(lake, "no student was trained")
    if learnt := learnt_from_taken_down(lake, adapter):
        return _released(lake, f"the newest student learnt from {learnt}, taken down")
    if report is None or (told := _read(report))["adapter"] != adapter.manifest.key:
        return _released(lake, "the newest student was not evaluated yet")
    if not told["gate"]["passed"]:
        reasons = "; ".join(REASONS.get(name, name) for name in told["gate"]["reasons"])
        return _released(lake, f"the gate refuses the newest student ({reasons})")
    student = ServedStudent(adapter, base_of(lake, adapter), report, told.get("answers_by", QUOTED), was_released=False)
    return Candidate(student, "the gate lets the newest student answer")


def _released(lake: Lake, why: str) -> Candidate:
    """The student that is released now, as long as the lake has it."""
    release = lake.current("releases", "all")
    facts: dict[str, Any] = json.loads(release.file(RELEASE_FILE).read_bytes()) if release else {}
    key, report_key = facts.get("adapter"), str(facts.get("report"))
    if key is None:
        return Candidate(None, f"{why}: quoted sentences answer alone")
    try:
        adapter = lake.published("adapters", "all", key)
        base = base_of(lake, adapter)
    except JobError as error:
        return Candidate(None, f"{why}, and the one released before is lost ({error}): quoted sentences answer alone")
    if learnt := learnt_from_taken_down(lake, adapter):
        told = f"{why}, and the one released before learnt from {learnt}, taken down"
        return Candidate(None, f"{told}: quoted sentences answer alone")
    has_report = lake.has("reports", "all", report_key)
    report = lake.published("reports", "all", report_key) if has_report else None
    answers_by = STUDENT if facts["serves"][0] == STUDENT else QUOTED
    student = ServedStudent(adapter, base, report, answers_by, was_released=True)
    return Candidate(student, f"{why}: the one released before stays")


def learnt_from_taken_down(lake: Lake, adapter: Part) -> str:
    """The papers, taken down, that an adapter learnt from through any warm start; empty if there are none."""
    return ", ".join(sorted(Learnt.read(adapter).papers & takedowns.taken_down(lake)))


def _read(report: Part) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(report.file(REPORT_FILE).read_bytes())
    return told


def keys_named(student: ServedStudent | None, model: Part | None, index: Part) -> dict[str, str]:
    """Dataset -> key of everything that a release needs: `prune` keeps these as long as the release."""
    parts = {"models": model, "indexes": index}
    if student is not None:
        parts |= {"adapters": student.adapter, "reports": student.report}
    return {name: part.manifest.key for name, part in parts.items() if part is not None}
