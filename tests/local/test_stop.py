"""Stopping the stack. The name of this file lets it run behind all others that need the stack."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import psutil
import pytest

from local import running
from local.layout import Layout
from local.rest import Airflow
from tests.local.stack import family
from tests.soaking import only_soaked

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def test_stop_leaves_no_process(airflow: Airflow, layout: Layout) -> None:
    alive = family(layout)
    assert len(alive) >= 4
    running.stop(layout)
    assert [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert running.addresses(layout) == {}
    assert running.postgres_pid(layout) is None


@only_soaked("another start and stop")
def test_start_ends_the_run_that_a_stop_cut_off(airflow: Airflow, layout: Layout, lake: Path) -> None:
    run_id = running.start(layout, lake).trigger(running.DAG_ID, {"goal": "papers"})
    running.stop(layout)
    assert running.start(layout, lake).run(running.DAG_ID, run_id)["state"] == "failed"


class Runs:
    """An Airflow with runs in these states."""

    def __init__(self, **states: str) -> None:
        self.states = states

    def runs(self, _dag_id: str, **query: str) -> list[dict[str, str]]:
        assert query["run_type"] == "manual"
        return [{"dag_run_id": name} for name, state in self.states.items() if state == query["state"]]

    def end_run(self, _dag_id: str, run_id: str, state: str) -> None:
        self.states[run_id] = state


def test_runs_that_were_cut_off_are_ended_and_others_left() -> None:
    airflow = Runs(cut="running", waiting="queued", done="success")
    running.end_cut_off_runs(cast("Airflow", airflow))
    assert airflow.states == {"cut": "failed", "waiting": "failed", "done": "success"}
