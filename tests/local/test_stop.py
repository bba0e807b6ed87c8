"""Stopping the stack. The name of this file lets it run behind all others that need the stack."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from local import running
from local.layout import Layout
from local.rest import Airflow
from tests.local.stack import family

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def test_stop_leaves_no_process_and_the_next_start_no_run_in_the_way(
    airflow: Airflow, layout: Layout, lake: Path
) -> None:
    run_id = airflow.trigger(running.DAG_ID, {"goal": "papers"})
    alive = family(layout)
    assert len(alive) >= 4
    running.stop(layout)
    assert [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert running.addresses(layout) == {}
    assert running.postgres_pid(layout) is None
    again = running.start(layout, lake)
    assert again.run(running.DAG_ID, run_id)["state"] == "failed"
