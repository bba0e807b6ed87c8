"""The pipeline as a table: every stage, what it reads and writes, and how it runs.

A stage is called by name and imported only when it runs, so no file imports a verb file and `--help` stays fast.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from jobs.core.errors import NotWantedError, UsageError

GOALS = ("papers", "index", "student")
ONLY = ("window", "all")


@dataclass(frozen=True)
class Stage:
    """One stage = one module = one task = one dataset.

    `grain` is what one part of its dataset stands for; a stage of grain `source` or `window` is repeated by a
    backfill. `goal` is the least goal of a run that wants the stage. `definition` names the settings of the lake's
    definition that decide its rows. Of a previewed one `--preview N` shows what it would do.
    """

    name: str
    room: str
    engine: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    grain: str
    goal: str
    definition: tuple[str, ...] = ()
    is_previewed: bool = False

    @property
    def module(self) -> str:
        """Dotted name of the stage's file."""
        return f"jobs.{self.room}.{self.name}"

    @property
    def dataset(self) -> str:
        """The dataset whose parts say whether the stage is done."""
        return self.writes[0]

    @property
    def is_window_stage(self) -> bool:
        """Whether the stage works window by window (fetching the snapshot serves windows and counts as one)."""
        return self.grain != "all"


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("fetch_snapshot", "corpus", "python", (), ("snapshots",), "source", "papers"),
        Stage(
            "filter_papers",
            "corpus",
            "spark",
            ("snapshots", "takedowns"),
            ("papers",),
            "window",
            "papers",
            ("categories", "keywords", "ids", "select_by"),
        ),
        Stage("fetch_pdfs", "corpus", "python", ("papers",), ("pdfs",), "window", "papers"),
        Stage("extract_text", "corpus", "spark", ("papers", "pdfs"), ("documents",), "window", "papers"),
        Stage(
            "chunk_documents",
            "corpus",
            "spark",
            ("documents",),
            ("chunks",),
            "window",
            "papers",
            ("chunk_chars", "chunking", "embedder"),
        ),
        Stage(
            "embed_chunks",
            "retrieval",
            "python",
            ("chunks", "papers"),
            ("embeddings",),
            "window",
            "index",
            ("embedder",),
        ),
        Stage("synthesize_qa", "tuning", "python", ("chunks",), ("drafts",), "shard", "student", is_previewed=True),
        Stage(
            "build_index",
            "retrieval",
            "python",
            ("embeddings", "chunks", "papers", "takedowns"),
            ("indexes",),
            "all",
            "index",
        ),
        Stage(
            "curate_qa",
            "tuning",
            "python",
            ("drafts", "indexes", "reviews"),
            ("qa",),
            "all",
            "student",
            ("split_salt",),
        ),
        Stage(
            "train_student",
            "tuning",
            "python",
            ("qa", "indexes", "takedowns"),
            ("adapters", "bases"),
            "all",
            "student",
        ),
        Stage(
            "evaluate_student",
            "tuning",
            "python",
            ("adapters", "indexes", "qa", "questions"),
            ("reports",),
            "all",
            "student",
        ),
        Stage(
            "merge_and_deploy",
            "serving",
            "python",
            ("adapters", "indexes", "reports", "takedowns"),
            ("releases", "models"),
            "all",
            "index",
        ),
    )
}


def stage_named(name: str) -> Stage:
    """The stage of that name. Raises UsageError."""
    if name not in STAGES:
        raise UsageError(f"{name!r} is no stage. Expected one of: {', '.join(STAGES)}.")
    return STAGES[name]


def load(stage: Stage) -> ModuleType:
    """Import the stage's module."""
    return importlib.import_module(stage.module)


def wanted(goal: str, only: str | None) -> list[Stage]:
    """The stages that a run with this goal walks, in order."""
    return [stage for stage in STAGES.values() if is_wanted(stage, goal, only)]


def is_wanted(stage: Stage, goal: str, only: str | None) -> bool:
    """Whether a run with this goal, restricted to window or all stages, needs the stage."""
    if only is not None and (only == "window") != stage.is_window_stage:
        return False
    return GOALS.index(stage.goal) <= GOALS.index(goal)


def require_wanted(stage: Stage, goal: str, only: str | None) -> None:
    """Raise NotWantedError if the run does not need the stage."""
    if not is_wanted(stage, goal, only):
        scope = f" --only {only}" if only else ""
        raise NotWantedError(f"{stage.name} is not wanted in a run with --goal {goal}{scope}: skipped.")
