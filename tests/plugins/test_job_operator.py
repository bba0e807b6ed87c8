"""Operators: exit codes to states, environment, kills. The job is a real process with a scripted end."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.conftest import calls

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
Script = Callable[..., Path]


def job(kind: str = "JobOperator", **kwargs: Any) -> Any:
    import arxiv_job_operator

    return getattr(arxiv_job_operator, kind)(task_id="t", stage="fetch_pdfs", flags=["--lake", "l"], **kwargs)


def outcome(operator: Any) -> str:
    """success, or the name of the exception with which the task ends."""
    try:
        operator.execute({})
    except Exception as error:  # noqa: BLE001  any end is the answer
        return type(error).__name__
    return "success"


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (0, "success"),
        (99, "AirflowSkipException"),
        (64, "AirflowFailException"),
        (65, "AirflowFailException"),
        (66, "AirflowFailException"),
        (75, "AirflowException"),
        (1, "AirflowException"),
    ],
)
def test_exit_code_decides_state(jobs: Script, exit_code: int, expected: str) -> None:
    jobs(**{"fetch_pdfs": {"exit": exit_code}})
    assert outcome(job()) == expected


def test_failure_repeats_the_error_line_of_the_job(jobs: Script) -> None:
    line = "2024-01-01 00:00:00 ERROR fetch_pdfs: InputMissingError: papers/x is missing. Make it with: filter_papers"
    jobs(fetch_pdfs={"exit": 66, "stderr": line + "\nlast line of something else"})
    with pytest.raises(Exception, match=r"not retried.*papers/x is missing. Make it with"):
        job().execute({})


def test_shard_and_flags_reach_the_job_as_words(jobs: Script) -> None:
    home = jobs()
    job(shard=2).execute({})
    assert calls(home)[0]["argv"] == ["fetch_pdfs", "--lake", "l", "--shard", "2"]


def test_job_sees_no_secret_of_airflow(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("APP_TOKEN", "secret")
    monkeypatch.setenv("SPARK_ARXIV_TEACHER_KEY", "secret")
    monkeypatch.setenv("APP_URL", "http://127.0.0.1:1")
    home = jobs()
    job().execute({})
    env = calls(home)[0]["env"]
    assert [name for name, value in env.items() if value == "secret"] == []
    assert env["APP_URL"] == "http://127.0.0.1:1"


@pytest.mark.parametrize(("lake", "seen"), [("lakes/mine", None), ("s3://bucket/lakes/mine", "k")])
def test_keys_of_a_store_reach_only_jobs_whose_lake_is_on_one(
    jobs: Script, monkeypatch: pytest.MonkeyPatch, lake: str, seen: str | None
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    home = jobs()
    operator = job()
    operator.flags = ["--lake", lake]
    operator.execute({})
    assert calls(home)[0]["env"].get("AWS_SECRET_ACCESS_KEY") == seen


def test_configured_lake_on_a_store_gives_its_jobs_the_keys(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k")
    monkeypatch.setenv("LAKE", "s3://bucket/lakes/mine")
    home = jobs()
    operator = job()
    operator.flags = []
    operator.execute({})
    assert calls(home)[0]["env"]["AWS_SECRET_ACCESS_KEY"] == "k"


def test_job_gets_the_secret_it_names(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KAGGLE_DEFAULT", json.dumps({"conn_type": "generic", "password": "k"}))
    home = jobs()
    job(secrets=["KAGGLE_KEY"]).execute({})
    assert calls(home)[0]["env"]["KAGGLE_KEY"] == "k"


def test_token_of_the_environment_needs_no_connection(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    home = jobs()
    job(secrets=["KAGGLE_API_TOKEN"]).execute({})
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t")
    job(secrets=["KAGGLE_API_TOKEN"]).execute({})
    assert [call["env"].get("KAGGLE_API_TOKEN") for call in calls(home)] == [None, "t"]


def test_key_of_the_teacher_comes_from_the_workers_environment(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_ARXIV_TEACHER_KEY", "k")
    home = jobs()
    job(secrets=["SPARK_ARXIV_TEACHER_KEY"]).execute({})
    assert calls(home)[0]["env"]["SPARK_ARXIV_TEACHER_KEY"] == "k"


def test_kill_ends_the_job(jobs: Script) -> None:
    home = jobs(fetch_pdfs={"exit": 0, "sleep_s": 60})
    operator = job()
    thread = threading.Thread(target=outcome, args=(operator,))
    thread.start()
    pid = wait_for_call(home)["pid"]
    operator.on_kill()
    thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_job_stays_in_the_group_of_the_task(jobs: Script) -> None:
    """A signal to the task's group must reach it; a session of its own would hide it."""
    home = jobs(fetch_pdfs={"exit": 0, "sleep_s": 2})
    thread = threading.Thread(target=outcome, args=(job(),))
    thread.start()
    assert os.getpgid(wait_for_call(home)["pid"]) == os.getpgid(0)
    thread.join(timeout=20)


def test_done_spark_stage_submits_nothing(jobs: Script) -> None:
    home = jobs(check={"exit": 0})
    assert outcome(job("SparkJobOperator")) == "success"
    assert [call["argv"][-1] for call in calls(home)] == ["--check"]


def test_spark_stage_that_is_not_wanted_is_skipped(jobs: Script) -> None:
    jobs(check={"exit": 99})
    assert outcome(job("SparkJobOperator")) == "AirflowSkipException"


@pytest.mark.parametrize("exit_code", [0, 65, 75])
def test_return_code_of_spark_submit_decides(
    jobs: Script, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_spark(monkeypatch, host="local[*]")
    binary = tmp_path / "spark-submit"
    binary.write_text(f"#!/bin/sh\necho 2024-01-01 00:00:00 ERROR fetch_pdfs: why\necho more >&2\nexit {exit_code}\n")
    binary.chmod(0o755)
    made = {"binary": str(binary), "application": "app.py", "application_args": ["fetch_pdfs"], "name": "n"}
    made |= {"driver_memory": "1g", "conf": {}, "py_files": None, "env": {}}
    jobs(submission={"exit": 0, "stdout": json.dumps(made)})
    expected = {0: "success", 65: "AirflowFailException", 75: "AirflowException"}
    assert outcome(job("SparkJobOperator")) == expected[exit_code]


@pytest.mark.parametrize(
    "value", [None, '{"conn_type": "spark"}', "spark://local[*]", '{"conn_type": "http", "host": "h"}']
)
def test_connection_that_names_no_master_is_refused(
    jobs: Script, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Missing, without host, unencoded, of another type: the provider would submit to YARN."""
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT", raising=False)
    if value:
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", value)
    home = jobs()
    assert outcome(job("SparkJobOperator")) == "AirflowFailException"
    assert [call["argv"][0] for call in calls(home)] == ["fetch_pdfs"]


def test_cluster_mode_is_refused(jobs: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    set_spark(monkeypatch, host="spark://m", port=7077, extra={"deploy-mode": "cluster"})
    jobs()
    with pytest.raises(Exception, match=r"deploy-mode 'cluster'. Expected client"):
        job("SparkJobOperator").execute({})


@pytest.mark.parametrize(
    ("fields", "master"),
    [
        ({"host": "local[*]"}, "local[*]"),
        ({"host": "yarn"}, "yarn"),
        ({"host": "spark://m", "port": 7077}, "spark://m:7077"),
        ({"host": "m", "port": 7077}, "spark://m:7077"),
    ],
)
def test_master_is_the_one_of_the_provider(
    fields: dict[str, Any], master: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import arxiv_job_operator
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    set_spark(monkeypatch, **fields)
    assert arxiv_job_operator.spark_master("spark_default") == master
    assert SparkSubmitHook(conn_id="spark_default")._connection["master"] == master


def set_spark(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", **fields}))


def wait_for_call(home: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while not calls(home):
        assert time.monotonic() < deadline, "the job did not start"
        time.sleep(0.05)
    return calls(home)[0]
