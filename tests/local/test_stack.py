"""The real stack, from start to stop: runs by REST over the sample, a backfill, a failure that explains itself."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.core.config import REPOSITORY
from local import commands, processes, running
from local.follow import follow, last_words
from local.layout import Layout
from local.rest import Airflow
from local.variables import Given
from tests.local.stack import (
    DAG_ID,
    NOTES,
    cited,
    family,
    keys,
    parts,
    put_notes,
    states,
    wait_for_stage,
    wait_for_state,
)
from tests.soaking import only_soaked
from tools.chromium import browser
from tools.screenshots import log_in

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(600)]
ONLY_SOAKED = only_soaked("minutes in the real Airflow")
JANUARY = {"from": "2024-01-01", "to": "2024-01-07"}
FEBRUARY = {"from": "2024-02-05", "to": "2024-02-11"}
ASKED = "What does NF4 stand for?"  # sample/2401002


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


@ONLY_SOAKED
def test_form_clicked_in_a_browser_starts_a_run_that_a_kill_cannot_spoil(
    airflow: Airflow, lake: Path, tmp_path: Path
) -> None:
    """A run whose stage is killed with all its processes, made again, equals an undisturbed one without Airflow."""
    with browser() as tab:
        log_in(tab, airflow)
        tab.open(f"{airflow.url}/dags/{DAG_ID}")
        tab.click_label("Trigger Dag")
        tab.wait_for("document.querySelector('#element_from')")
        tab.choose_day("#element_from", FEBRUARY["from"])
        tab.choose_day("#element_to", FEBRUARY["to"])
        tab.choose("element_goal", "papers")
        tab.click_text("Trigger", "[role=dialog] button")
        killed = wait_for_stage(lake, "extract_text")
    for process in reversed(killed):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    run_id = airflow.runs(DAG_ID, run_type="manual")[0]["dag_run_id"]
    wait_for_state(airflow, run_id, "extract_text", "up_for_retry")
    airflow.end_run(DAG_ID, run_id, "failed")
    assert follow(airflow, DAG_ID, airflow.trigger(DAG_ID, {"goal": "papers", **FEBRUARY}))
    argv = ["--goal", "papers", "--from", FEBRUARY["from"], "--to", FEBRUARY["to"], "--lake", str(tmp_path / "lake")]
    subprocess.run([sys.executable, "-m", "jobs", "run", *argv], cwd=REPOSITORY, check=True, capture_output=True)
    undisturbed = keys(tmp_path / "lake")
    assert len(undisturbed) == 5  # one part of each dataset up to chunks
    assert keys(lake).items() >= undisturbed.items()


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


@ONLY_SOAKED
def test_second_assistant_stands_beside_the_first_and_grows_by_three_papers(
    airflow: Airflow, layout: Layout, lake: Path, tmp_path: Path
) -> None:
    """`goal=index`: new papers are answered in the chat, and nothing of a teacher or a student runs."""
    corpus, second, before = tmp_path / "notes", layout.root / "second", keys(lake)
    given = Given(
        {
            "lake": str(second),
            "goal": "index",
            "metadata": str(corpus / "rows.jsonl"),
            "pdfs": str(corpus),
            "grid": "year",
        }
    )
    put_notes(corpus, NOTES[:2])
    assert commands.demo(layout, given) == 0
    assert not cited(layout, ASKED) & set(NOTES[2:])
    put_notes(corpus, NOTES)
    assert commands.demo(layout, given) == 0
    assert cited(layout, ASKED) & set(NOTES[2:])
    run = airflow.runs(DAG_ID, run_type="manual")[0]["dag_run_id"]
    found = states(airflow, run)
    taught = {"synthesize_qa", "curate_qa", "train_student", "evaluate_student"}
    assert {found[name] for name in taught} == {"skipped"}
    assert {state for name, state in found.items() if name not in taught} == {"success"}
    assert keys(lake) == before


def wait_for_backfill(airflow: Airflow, n_runs: int, since: str = "") -> list[dict[str, Any]]:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        runs = [run for run in airflow.runs(DAG_ID, run_type="backfill") if run["data_interval_start"] >= since]
        if len(runs) == n_runs and all(run["state"] in ("success", "failed") for run in runs):
            return runs
        time.sleep(1)
    raise AssertionError(f"the backfill did not end: {[(run['dag_run_id'], run['state']) for run in runs]}")


def bearer(airflow: Airflow) -> dict[str, str]:
    body = json.dumps({"username": airflow.user, "password": airflow.password}).encode()
    request = urllib.request.Request(f"{airflow.url}/auth/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {"Authorization": f"Bearer {json.loads(answer.read())['access_token']}"}
