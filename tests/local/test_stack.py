"""The real stack, from start to stop: runs by REST over the sample, a backfill, a failure that explains itself."""

from __future__ import annotations

import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import commands, processes, running
from local.follow import follow, last_words
from local.layout import Layout
from local.rest import Airflow
from local.variables import Given

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(600)]
DAG_ID = running.DAG_ID
JANUARY = {"from": "2024-01-01", "to": "2024-01-07"}


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """Not below pytest's own folder: for root PostgreSQL is another user, whom every other pytest locks out of it."""
    with tempfile.TemporaryDirectory(prefix="stack-", ignore_cleanup_errors=True) as folder:
        yield Layout(Path(folder))


@pytest.fixture(scope="module")
def lake(layout: Layout) -> Path:
    return layout.root / "lake"


@pytest.fixture(scope="module")
def airflow(layout: Layout, lake: Path) -> Iterator[Airflow]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AIRFLOW_PORT", "0")
    patch.setenv("APP_PORT", "0")
    patch.delenv("LAKE", raising=False)
    patch.setenv("SPARK_ARXIV_STACK", str(layout.root))
    try:
        commands.ask_plan(["--lake", str(lake), "--goal", "papers"])
        yield running.start(layout, lake)
    finally:
        running.stop(layout)
        patch.undo()


def states(airflow: Airflow, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.tasks(DAG_ID, run_id)}


def parts(lake: Path, dataset: str) -> dict[str, list[str]]:
    """part -> keys that were ever published; a second one would be work done twice."""
    return {
        part.name: sorted(path.name for path in part.iterdir() if (path / "_MANIFEST.json").is_file())
        for part in sorted((lake / dataset).iterdir())
        if part.is_dir()
    }


def test_run_by_rest_makes_the_window_and_skips_what_is_not_wanted(airflow: Airflow, lake: Path) -> None:
    run_id = airflow.trigger(DAG_ID, {"goal": "papers", **JANUARY})
    assert follow(airflow, DAG_ID, run_id)
    found = states(airflow, run_id)
    assert {found[name] for name in ("fetch_snapshot", "filter_papers", "extract_text", "chunk_documents")} == {
        "success"
    }
    assert {found[name] for name in ("embed_chunks", "build_index", "train_student")} == {"skipped"}
    assert list(parts(lake, "chunks")) == ["2024-01-01_2024-01-08"]


def test_second_run_publishes_nothing_and_starts_no_jvm(airflow: Airflow, lake: Path) -> None:
    before = parts(lake, "chunks")
    run_id = airflow.trigger(DAG_ID, {"goal": "papers", **JANUARY})
    assert follow(airflow, DAG_ID, run_id)
    assert parts(lake, "chunks") == before
    spark = [task for task in airflow.tasks(DAG_ID, run_id) if task["task_id"] == "filter_papers"]
    assert any("done already" in str(line.get("event")) for line in airflow.task_log(spark[0]))


def test_backfill_makes_exactly_its_windows(airflow: Airflow, lake: Path) -> None:
    airflow.backfill(DAG_ID, "2024-01-08", "2024-01-15", {"goal": "papers"})
    runs = wait_for_backfill(airflow, 2)
    assert {run["state"] for run in runs} == {"success"}
    assert list(parts(lake, "chunks")) == [*("2024-01-01_2024-01-08", "2024-01-08_2024-01-15", "2024-01-15_2024-01-22")]
    assert {states(airflow, run["dag_run_id"])["train_student"] for run in runs} == {"skipped"}


def test_failing_task_says_what_to_do(airflow: Airflow) -> None:
    run_id = airflow.trigger(DAG_ID, {"goal": "papers", "settings": "--chunk-char 5"})
    assert not follow(airflow, DAG_ID, run_id)
    failed = next(task for task in airflow.tasks(DAG_ID, run_id) if task["state"] == "failed")
    assert failed["task_id"] == "plan_run"
    assert failed["try_number"] == 1
    assert "Did you mean chunk_chars?" in last_words(airflow.task_log(failed))


def test_scheduled_run_of_a_file_skipped_itself(airflow: Airflow) -> None:
    scheduled = airflow.runs(DAG_ID, run_type="scheduled")
    assert [run["state"] for run in scheduled] == ["success"]
    assert set(states(airflow, scheduled[0]["dag_run_id"]).values()) == {"success", "skipped"}


def test_starting_again_starts_nothing(airflow: Airflow, layout: Layout, lake: Path) -> None:
    before = [found.pid for name in running.AIRFLOW_PARTS if (found := processes.running(layout, name))]
    assert running.start(layout, lake).url == airflow.url
    after = [found.pid for name in running.AIRFLOW_PARTS if (found := processes.running(layout, name))]
    assert len(before) == 3
    assert before == after


def test_report_wants_a_session(airflow: Airflow) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{airflow.url}/arxiv/report", timeout=20)
    request = urllib.request.Request(f"{airflow.url}/arxiv/report", headers=bearer(airflow))
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert "<td>chunks</td><td>2024-01-01_2024-01-08</td>" in answer.read().decode()


def test_everything_listens_on_loopback(airflow: Airflow, layout: Layout) -> None:
    addresses = {found.laddr.ip for process in family(layout) for found in process.net_connections(kind="inet")}
    assert addresses <= {"127.0.0.1", "::1"}


def test_second_demo_finds_nothing_to_do(
    airflow: Airflow, layout: Layout, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun_at = time.monotonic()
    given = Given({"lake": str(lake), "goal": "papers", **JANUARY})
    with caplog.at_level("INFO", logger="local"):
        assert commands.demo(layout, given) == 0
    assert "nothing to do" in caplog.text
    assert time.monotonic() - begun_at < 90


def test_stop_leaves_no_process(airflow: Airflow, layout: Layout) -> None:
    """Last of the file: the stack is gone afterwards."""
    alive = family(layout)
    assert len(alive) >= 4
    running.stop(layout)
    assert [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert running.addresses(layout) == {}
    assert running.postgres_pid(layout) is None


def family(layout: Layout) -> list[psutil.Process]:
    """Every process of the stack."""
    started = [found for name in (*running.AIRFLOW_PARTS, running.APP) if (found := processes.running(layout, name))]
    pids = [found.pid for found in started] + [pid for pid in [running.postgres_pid(layout)] if pid]
    leaders = [psutil.Process(pid) for pid in pids]
    return [*leaders, *(child for leader in leaders for child in leader.children(recursive=True))]


def wait_for_backfill(airflow: Airflow, n_runs: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        runs = airflow.runs(DAG_ID, run_type="backfill")
        if len(runs) == n_runs and all(run["state"] in ("success", "failed") for run in runs):
            return runs
        time.sleep(1)
    raise AssertionError(f"the backfill did not end: {[(run['dag_run_id'], run['state']) for run in runs]}")


def bearer(airflow: Airflow) -> dict[str, str]:
    body = json.dumps({"username": airflow.user, "password": airflow.password}).encode()
    request = urllib.request.Request(f"{airflow.url}/auth/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {"Authorization": f"Bearer {json.loads(answer.read())['access_token']}"}
