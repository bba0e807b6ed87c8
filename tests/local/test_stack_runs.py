"""Longer proofs in the running stack: a killed stage of Python, equality with a shell, and `make backfill`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobs.core.config import REPOSITORY
from local.follow import follow
from local.layout import Layout
from local.rest import Airflow
from tests.local.stack import DAG_ID, NOTES, keys, parts, put_notes, wait_for_stage, wait_for_state
from tests.soaking import only_soaked

pytestmark = [
    *(pytest.mark.airflow, pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(1200)),
    only_soaked("minutes in the real Airflow"),
]
MARCH = {"FROM": "2024-03-04", "TO": "2024-03-10"}


def test_killed_python_stage_made_again_equals_an_undisturbed_shell_run(
    airflow: Airflow, layout: Layout, tmp_path: Path
) -> None:
    """The task's own process dies too. All keys up to the release are equal, and no part was published twice."""
    lake, shell_lake = layout.root / "killed", tmp_path / "undisturbed"
    put_notes(tmp_path / "notes", NOTES[:2])
    source = f"--metadata {tmp_path}/notes/rows.jsonl --pdfs {tmp_path}/notes"
    conf = {"goal": "index", "lake": str(lake), "settings": source}
    argv = [sys.executable, "-m", "jobs", "run", "--goal", "index", "--lake", str(shell_lake), *source.split()]
    shell = subprocess.Popen(argv, cwd=REPOSITORY, env=plain_environment(), stderr=subprocess.PIPE, text=True)
    run_id = airflow.trigger(DAG_ID, conf)
    kill(wait_until_it_writes(lake))
    wait_for_state(airflow, run_id, "embed_chunks", "up_for_retry")
    airflow.end_run(DAG_ID, run_id, "failed")
    assert follow(airflow, DAG_ID, airflow.trigger(DAG_ID, conf))
    _, said = shell.communicate(timeout=600)
    assert shell.returncode == 0, said
    assert "releases/all" in keys(lake)
    assert keys(lake) == keys(shell_lake)
    assert {len(found) for dataset in ("embeddings", "indexes") for found in parts(lake, dataset).values()} == {1}


def test_backfill_by_make_asks_then_follows_one_run_over_the_range(airflow: Airflow, lake: Path) -> None:
    asked = make_backfill(lake)
    assert (asked.returncode, "Add YES=1" in asked.stdout) == (2, True), asked.stdout
    done = make_backfill(lake, YES="1")
    assert done.returncode == 0, done.stdout
    for said in ("1 windows, 5 papers", "filter_papers    to do 1, ", "chunk_documents took"):
        assert said in done.stdout
    assert len(parts(lake, "chunks")["2024-03-04_2024-03-11"]) == 1
    again = make_backfill(lake, YES="1")
    assert "nothing to do" in again.stdout


def wait_until_it_writes(lake: Path) -> list[psutil.Process]:
    """The job of embed_chunks with the task around it, once a part is half made."""
    deadline = time.monotonic() + 300
    while not any((lake / "embeddings").glob("*/_attempts/*")):
        assert time.monotonic() < deadline, "embed_chunks never began to write"
        time.sleep(0.02)
    job = wait_for_stage(lake, "embed_chunks", least=1)
    task = job[0].parent()
    return [task, *job] if task else job


def kill(found: list[psutil.Process]) -> None:
    """SIGKILL, the task first, so that nothing of it reacts."""
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def make_backfill(lake: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """`make backfill` over a week, with nobody at the keyboard."""
    words = [f"{name}={value}" for name, value in {**MARCH, "GOAL": "papers", "LAKE": str(lake), **given}.items()]
    return subprocess.run(
        ["make", "backfill", *words],
        cwd=REPOSITORY,
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )


def plain_environment() -> dict[str, str]:
    """The test's environment without a make around it, a CI, or an app."""
    left_out = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CI", "YES", "LAKE", "APP_URL"}
    return {name: value for name, value in os.environ.items() if name not in left_out}
