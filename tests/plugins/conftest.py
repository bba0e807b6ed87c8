"""An Airflow home of the test's own and a fake `python -m jobs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import fake_jobs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def plugins_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """plugins/ on sys.path, as Airflow puts it there; last, as Airflow does."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    for name in ("LAKE", "SPARK_ARXIV_PYTHON", "SPARK_ARXIV_HOME"):  # empty: asked of the environment, not a database
        monkeypatch.setenv(f"AIRFLOW_VAR_{name}", "")
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path, str(REPOSITORY / "plugins")])


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Script the fake: jobs(fetch_snapshot={"exit": 0}); `check` answers --check, `else` everything not named."""
    home = tmp_path / "home"
    fake_jobs.install(home)
    monkeypatch.setenv("SPARK_ARXIV_HOME", str(home))

    def script(**answers: dict[str, Any]) -> Path:
        (home / "jobs" / "script.json").write_text(json.dumps({"check": {"exit": 10}, "else": {"exit": 0}} | answers))
        return home

    return script


def calls(home: Path) -> list[dict[str, Any]]:
    """What the fake was given, call by call."""
    path = home / "jobs" / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
