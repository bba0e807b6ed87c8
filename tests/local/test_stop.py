"""Stopping the stack. The name of this file lets it run behind all others that need the stack."""

from __future__ import annotations

import psutil
import pytest

from local import running
from local.layout import Layout
from local.rest import Airflow
from tests.local.stack import family

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def test_stop_leaves_no_process(airflow: Airflow, layout: Layout) -> None:
    alive = family(layout)
    assert len(alive) >= 4
    running.stop(layout)
    assert [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert running.addresses(layout) == {}
    assert running.postgres_pid(layout) is None
