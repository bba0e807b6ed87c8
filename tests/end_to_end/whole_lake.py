"""A lake over some weeks of the bundled sample, made by every stage of the pipeline without a JVM or a real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.core.definition import Source
from jobs.core.lake import Lake
from jobs.core.stages import STAGES
from jobs.serving import deploying
from tests.corpus.test_filter_papers import make, stage_lake
from tests.end_to_end.stages_by_shell import REPOSITORY
from tests.tuning.tuning_house import QUICK

WINDOWS = ("2024-01-01_2024-01-08", "2024-01-08_2024-01-15", "2024-02-05_2024-02-12")
FLAGS = QUICK | {"max_steps": 1, "save_steps": 1, "loss_rows": 2, "generated_rows": 1, "round_trip_k": 0}


def new_lake(root: Path) -> Lake:
    sample = REPOSITORY / "sample"
    source = Source(metadata=str(sample / "metadata.jsonl"), pdfs=str(sample / "pdf"))
    return stage_lake(root, source, embedder="builtin:hashed")


def run(lake: Lake, windows: tuple[str, ...] = WINDOWS, **flags: Any) -> dict[str, list[str]]:
    """Walk all stages as `python -m jobs run` does; stage -> the parts that were to do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploying, "try_in_child", lambda *_: "an answer")  # a process of its own takes ten seconds
        patch.delenv("APP_URL", raising=False)
        return {name: made for name in STAGES if (made := make(name, lake, windows=windows, **(FLAGS | flags)))}
