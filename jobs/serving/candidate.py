"""Which student a release serves: the one that the report accepts, else the one that is released, else none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Manifest
from jobs.serving.release import QUOTED, RELEASE_FILE, STUDENT
from jobs.tuning.gate import REASONS

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Candidate:
    """`adapter` None: quoted sentences alone. `report` is the one that speaks for the adapter; `why` is for the log.

    `answers_by`: who answers unless a reader chooses.
    """

    adapter: Part | None
    report: Part | None
    answers_by: str
    why: str


def choose(lake: Lake, task: PartTask) -> Candidate:
    """The student for a release. The gate decides about the student, never about whether papers are released."""
    adapter, report = task.read_parts.get("adapters"), task.read_parts.get("reports")
    if adapter is None:
        return _released(lake, "no student was trained")
    if report is None or (told := _read(report))["adapter"] != adapter.manifest.key:
        return _released(lake, "the newest student was not evaluated yet")
    if not told["gate"]["passed"]:
        reasons = "; ".join(REASONS.get(name, name) for name in told["gate"]["reasons"])
        return _released(lake, f"the gate refuses the newest student ({reasons})")
    answers_by = told.get("answers_by", QUOTED)
    return Candidate(adapter, report, answers_by, "the gate lets the newest student answer")


def _released(lake: Lake, why: str) -> Candidate:
    """The student that is released now, as long as the lake has it."""
    release = lake.current("releases", "all")
    facts: dict[str, Any] = json.loads(release.file(RELEASE_FILE).read_bytes()) if release else {}
    key, report_key = facts.get("adapter"), str(facts.get("report"))
    if key is None or not lake.has("adapters", "all", key):
        return Candidate(None, None, QUOTED, f"{why}: quoted sentences answer alone")
    is_there = lake.has("reports", "all", report_key)
    report = lake.published("reports", "all", report_key) if is_there else None
    answers_by = STUDENT if facts["serves"][0] == STUDENT else QUOTED
    return Candidate(
        lake.published("adapters", "all", key), report, answers_by, f"{why}: the one released before stays"
    )


def _read(report: Part) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(report.file(REPORT_FILE).read_bytes())
    return told


def keys_named(candidate: Candidate, model: Part | None, index: Part) -> dict[str, str]:
    """Dataset -> key of everything that a release needs: `prune` keeps these as long as the release."""
    parts = {"adapters": candidate.adapter, "reports": candidate.report, "models": model, "indexes": index}
    manifests: dict[str, Manifest] = {name: part.manifest for name, part in parts.items() if part is not None}
    return {name: made.key for name, made in manifests.items()}
