"""The DAG as data: what it must keep of the design, and that it drops into any Airflow."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.core.stages import GOALS, ONLY, STAGES

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]
GPU_STAGES = {"embed_chunks", "synthesize_qa", "train_student", "evaluate_student", "merge_and_deploy"}
FACTS = """
import json, time
from airflow.dag_processing.dagbag import DagBag
begun = time.process_time()
bag = DagBag()
parse_s = time.process_time() - begun
def task(t):
    return {"pool": t.pool, "queue": t.queue, "retries": t.retries, "rule": str(t.trigger_rule.value),
        "backoff": t.retry_exponential_backoff, "timeout_s": t.execution_timeout.total_seconds(),
        "kind": getattr(t, "operator_class", type(t)).__name__, "upstream": sorted(t.upstream_task_ids),
        "is_mapped": t.is_mapped, "secrets": (t.partial_kwargs if t.is_mapped else vars(t)).get("secrets", ())}
def dag(d):
    return {"tasks": {t.task_id: task(t) for t in d.tasks}, "catchup": d.catchup, "max_active_runs": d.max_active_runs,
        "timetable": type(d.timetable).__name__, "doc": d.doc_md,
        "cron": d.timetable.expression,
        "params": {name: d.params.get_param(name).schema | {"value": d.params[name]} for name in d.params}}
def weeks(d):
    import pendulum
    from airflow.serialization.serialized_objects import DagSerialization
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(d)).timetable
    found = timetable.infer_manual_data_interval(run_after=pendulum.datetime(2024, 1, 31, 12))
    return [found.start.isoformat(), found.end.isoformat()]
print("FACTS" + json.dumps({"errors": bag.import_errors, "parse_s": parse_s,
    "dags": {name: dag(d) for name, d in bag.dags.items()}, "manual": [weeks(d) for d in bag.dags.values()]}))
"""


def facts_of(home: Path, dags: Path, plugins: Path, **env: str) -> dict[str, Any]:
    """What an Airflow with these folders makes of them, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "SPARK_ARXIV_", "PYTHONPATH"))}
    airflow = {"HOME": home, "CORE__DAGS_FOLDER": dags, "CORE__PLUGINS_FOLDER": plugins, "CORE__LOAD_EXAMPLES": False}
    set_ = {("AIRFLOW_" if name == "HOME" else "AIRFLOW__") + name: str(value) for name, value in airflow.items()}
    ended = subprocess.run(
        [sys.executable, "-c", FACTS], env=inherited | set_ | env, cwd=home, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, Any] = json.loads(ended.stdout.split("FACTS")[1])
    return facts


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return facts_of(tmp_path_factory.mktemp("airflow"), REPOSITORY / "dags", REPOSITORY / "plugins")


@pytest.fixture(scope="module")
def dag(facts: dict[str, Any]) -> dict[str, Any]:
    assert facts["errors"] == {}
    found: dict[str, Any] = facts["dags"]["arxiv_assistant"]
    return found


def upstream_of(tasks: dict[str, Any], name: str) -> set[str]:
    near = set(tasks[name]["upstream"])
    return near.union(*(upstream_of(tasks, one) for one in near)) if near else near


def test_tasks_are_the_stages_in_name_and_number(dag: dict[str, Any]) -> None:
    assert set(dag["tasks"]) == {"plan_run", *STAGES}


def test_arrows_cover_those_of_the_datasets(dag: dict[str, Any]) -> None:
    writers = {dataset: stage.name for stage in STAGES.values() for dataset in stage.writes}
    needed = {
        (stage.name, writers[dataset]) for stage in STAGES.values() for dataset in stage.reads if dataset in writers
    }
    assert len(needed) >= 15
    assert {(name, maker) for name, maker in needed if maker not in upstream_of(dag["tasks"], name)} == set()


def test_every_stage_waits_for_the_plan(dag: dict[str, Any]) -> None:
    assert [name for name in STAGES if "plan_run" not in dag["tasks"][name]["upstream"]] == []


def test_spark_stages_go_through_spark_submit(dag: dict[str, Any]) -> None:
    spark = {name for name, task in dag["tasks"].items() if task["kind"] == "SparkJobOperator"}
    assert spark == {stage.name for stage in STAGES.values() if stage.engine == "spark"}
    assert {dag["tasks"][name]["pool"] for name in spark} == {"spark"}


def test_gpu_stages_share_queue_and_pool(dag: dict[str, Any]) -> None:
    assert {name for name, task in dag["tasks"].items() if task["queue"] == "t4"} == GPU_STAGES
    assert {name for name, task in dag["tasks"].items() if task["pool"] == "gpu"} == GPU_STAGES


def test_pools_are_those_that_the_stack_makes(dag: dict[str, Any]) -> None:
    from local.layout import POOLS

    assert {task["pool"] for task in dag["tasks"].values()} - {"default_pool"} == set(POOLS)


def test_every_task_has_an_end_and_retries(dag: dict[str, Any]) -> None:
    tasks = dag["tasks"].values()
    assert all(0 < task["timeout_s"] < 86_400 for task in tasks)  # Redis gives a task away again after a day
    assert all(task["retries"] >= 2 and task["backoff"] >= 2 for task in tasks)
    assert {task["rule"] for task in tasks} == {"none_failed"}


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("SPARK_ARXIV_TEACHER_KEY", {"synthesize_qa"}),
        ("SPARK_ARXIV_JUDGE_KEY", {"curate_qa", "evaluate_student"}),
        ("OPENAI_API_KEY", {"synthesize_qa", "curate_qa", "evaluate_student"}),
    ],
)
def test_only_who_asks_teacher_or_judge_gets_its_key(dag: dict[str, Any], key: str, stages: set[str]) -> None:
    assert {name for name, task in dag["tasks"].items() if key in task["secrets"]} == stages


def test_only_synthesis_is_mapped(dag: dict[str, Any]) -> None:
    assert [name for name, task in dag["tasks"].items() if task["is_mapped"]] == ["synthesize_qa"]


def test_runs_are_whole_weeks_one_at_a_time(facts: dict[str, Any], dag: dict[str, Any]) -> None:
    assert (dag["timetable"], dag["catchup"], dag["max_active_runs"]) == ("CronDataIntervalTimetable", False, 1)
    start, end = (dt.datetime.fromisoformat(text) for text in facts["manual"][0])
    assert (start, end - start) == (dt.datetime(2024, 1, 22, tzinfo=dt.UTC), dt.timedelta(days=7))


def test_form_offers_what_the_jobs_know(dag: dict[str, Any]) -> None:
    profiles = {path.stem for path in (REPOSITORY / "jobs" / "profiles").glob("*.yaml")}
    assert set(dag["params"]["profile"]["enum"]) == {None, *profiles}
    assert tuple(dag["params"]["goal"]["enum"]) == GOALS
    assert set(dag["params"]["only"]["enum"]) == {None, *ONLY}
    assert [name for name, param in dag["params"].items() if not param.get("title")] == []


def test_page_of_the_dag_explains_every_exit_code(dag: dict[str, Any]) -> None:
    assert [code for code in ("64", "65", "66", "75") if f"exit code {code}" not in dag["doc"]] == []


def test_file_is_read_in_under_a_second(facts: dict[str, Any]) -> None:
    assert facts["parse_s"] < 1.0


def test_assistants_have_a_dag_a_lake_and_an_hour_each(tmp_path: Path) -> None:
    env = {"SPARK_ARXIV_ASSISTANTS": "cl vision:6", "LAKE": "/data/first"}
    found = facts_of(tmp_path, REPOSITORY / "dags", REPOSITORY / "plugins", **env)["dags"]
    assert {name: (dag["params"]["lake"]["value"], dag["cron"]) for name, dag in found.items()} == {
        "arxiv_assistant": (None, "0 0 * * 1"),
        "arxiv_assistant__cl": ("/data/cl", "0 0 * * 1"),
        "arxiv_assistant__vision": ("/data/vision", "0 6 * * 1"),
    }


def test_folders_drop_into_a_plain_airflow(tmp_path: Path) -> None:
    for name in ("dags", "plugins", "jobs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    found = facts_of(tmp_path, tmp_path / "dags", tmp_path / "plugins")
    assert found["errors"] == {}
    assert set(found["dags"]["arxiv_assistant"]["tasks"]) == {"plan_run", *STAGES}
