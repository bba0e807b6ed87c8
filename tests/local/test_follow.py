"""What a person at the terminal is told of a run. Airflow is scripted: its answers, poll by poll."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from local import follow as following


class ScriptedAirflow:
    """Answers of Airflow: a state of the run and its tasks for each poll."""

    def __init__(self, *polls: tuple[str, list[dict[str, Any]]], log: list[str] | None = None) -> None:
        self._polls: Iterator[tuple[str, list[dict[str, Any]]]] = iter(polls)
        self._log = log or []

    def run(self, _dag_id: str, _run_id: str) -> dict[str, Any]:
        state, self._tasks = next(self._polls)
        return {"state": state}

    def tasks(self, _dag_id: str, _run_id: str) -> list[dict[str, Any]]:
        return self._tasks

    def task_log(self, _task: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"event": line} for line in self._log]


def task(state: str) -> dict[str, Any]:
    return {"task_id": "extract_text", "map_index": -1, "try_number": 1, "state": state, "duration": 3.0}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing has to wait ten seconds to be said."""
    monkeypatch.setattr(following, "PROGRESS_EVERY_S", 0.0)
    caplog.set_level("INFO", logger="local")


def lines_of(airflow: ScriptedAirflow, caplog: pytest.LogCaptureFixture) -> list[str]:
    following.follow(airflow, "dag", "run", pause=lambda _seconds: None)  # type: ignore[arg-type]
    return [record.getMessage() for record in caplog.records]


def test_run_behind_another_is_said_to_wait_once(caplog: pytest.LogCaptureFixture) -> None:
    airflow = ScriptedAirflow(("queued", []), ("queued", []), ("success", []))
    assert lines_of(airflow, caplog) == ["queued: an earlier run of this DAG goes first"]


def test_progress_of_a_spark_stage_is_shown_without_its_time(caplog: pytest.LogCaptureFixture) -> None:
    line = "2024-01-01 00:00:00 INFO extract_text: pdfs done=12 total=24 rate=0.3/s left=40s"
    airflow = ScriptedAirflow(("running", [task("running")]), ("success", [task("success")]), log=[line])
    assert lines_of(airflow, caplog)[1:] == [
        "[0/1]   extract_text: pdfs done=12 total=24 rate=0.3/s left=40s",
        "[1/1] extract_text took 3 s",
    ]
