"""From arXiv to a research assistant with cited answers: papers in, a fine-tuned model out.

Every box is a stage of `python -m jobs`, decides for itself whether it is wanted in this run (else it is skipped) and
whether it is done already (then it takes a second). Triggering again is always safe: what is published stays.

**When a box is red**, the last line of its log says what happened, what was expected and what to do.

| the log ends with | it means | do |
|---|---|---|
| exit code 64 | a form field, a setting or this machine must change | do what the sentence says, trigger again |
| exit code 65 | its contract is broken, or too little was kept | look: `python -m jobs show DATASET` |
| exit code 66 | an input was never made | run the stage that the sentence names |
| exit code 75, all retries used | a server was away, or another run writes the same part | clear the task later |
| killed by signal 9 | out of memory, or stopped by hand | clear the task: it goes on where it was |
| connection spark_default | the Spark master is not known | Admin > Connections: type spark, the master as host |
| stays `scheduled` or `queued` | pool taken, or no worker on queue `t4` | look at Admin > Pools; start a worker |

**Backfill**: weeks by *Trigger > Backfill*; it makes window stages only, and the next ordinary run builds the index and
the student once. A longer range, or a lake with another grid than weeks: `make backfill FROM=… TO=…`.
"""

from __future__ import annotations

import datetime as dt
import os
import posixpath
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, TriggerRule, task
from arxiv_job_operator import JobOperator, SparkJobOperator
from arxiv_run_plan import Asked, interval_of, make_run_plan

HOURS = dt.timedelta(hours=1)
DEFAULTS = {
    "owner": "spark-arxiv",
    "retries": 3,
    "retry_delay": dt.timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": dt.timedelta(minutes=30),
    "execution_timeout": 6 * HOURS,
    "trigger_rule": TriggerRule.NONE_FAILED,
}
ARXIV: dict[str, Any] = {"pool": "arxiv", "execution_timeout": 12 * HOURS}  # one connection for all machines of ours
SPARK: dict[str, Any] = {"pool": "spark"}
GPU: dict[str, Any] = {"pool": "gpu", "queue": "t4", "execution_timeout": 20 * HOURS, "secrets": ["HF_TOKEN"]}
TEACHER: dict[str, Any] = GPU | {"secrets": ["HF_TOKEN", "SPARK_ARXIV_TEACHER_KEY", "OPENAI_API_KEY"]}

JUDGE: dict[str, Any] = {  # which may be asked about every pair there is
    "execution_timeout": 20 * HOURS,
    "secrets": ["HF_TOKEN", "SPARK_ARXIV_JUDGE_KEY", "OPENAI_API_KEY"],
}


def form(lake: str | None) -> dict[str, Param]:
    """The trigger form; empty fields mean: as the lake and its profile say."""
    optional: dict[str, Any] = {"type": ["null", "string"]}
    return {
        "from": Param(None, **optional, format="date", title="First day", description="Empty: the data interval"),
        "to": Param(None, **optional, format="date", title="Last day", description="Included. Rounded out to weeks"),
        "goal": Param(
            "student",
            enum=["papers", "index", "student"],
            title="How far",
            description="papers: to passages. index: searchable in the chat, no training. student: everything",
        ),
        "lake": Param(lake, **optional, title="Lake", description="Folder of the assistant. Empty: the configured one"),
        "profile": Param(
            None,
            type=["null", "string"],
            enum=[None, "demo", "t4", "multi_gpu"],
            title="Profile",
            description="Empty: the lake's own",
        ),
        "only": Param(
            None,
            type=["null", "string"],
            enum=[None, "window", "all"],
            title="Only these stages",
            description="window: what a backfill repeats. all: index, training and release over what is there",
        ),
        "max_papers_per_window": Param(
            None, type=["null", "integer"], minimum=0, title="Papers a week at most", description="0: all"
        ),
        "lookback_weeks": Param(
            4, type="integer", minimum=0, maximum=52, title="Weeks looked at again", description="By scheduled runs"
        ),
        "settings": Param(
            None, **optional, title="Further settings", description="As flags: --max-pages 50 --chunk-chars 800"
        ),
    }


@task.short_circuit(execution_timeout=HOURS)
def plan_run(**context: Any) -> list[int]:
    """Decide windows and flags; refuse what cannot end well; skip the run if its source cannot have grown.

    Returns the shards' numbers, for tasks are mapped over nothing but a return value; none skips all that follows.
    """
    plan = make_run_plan(Asked(context["params"], context["dag_run"].run_type.value, interval_of(context)))
    if plan is None:
        return []
    context["ti"].xcom_push("flags", plan.flags)
    return plan.shards


def pipeline(name: str = "", hour: str = "0") -> DAG:
    """The DAG of one assistant: Mondays at an hour (UTC), over the lake of its name beside the configured one (LAKE).

    Without a name: over the configured one.
    """
    lakes = posixpath.dirname(os.environ.get("LAKE") or "lakes/sample")  # a folder, or s3://…
    with DAG(
        dag_id=f"arxiv_assistant__{name}" if name else "arxiv_assistant",
        description="arXiv papers to a research assistant with cited answers",
        doc_md=__doc__,
        schedule=CronDataIntervalTimetable(f"0 {int(hour or 0)} * * 1", timezone="UTC"),
        start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        params=form(posixpath.join(lakes, name) if name else None),
        tags=["arxiv", "rag", "qlora"],
    ) as dag:
        plan = plan_run()

        def job(stage: str, operator: type[JobOperator] = JobOperator, **kwargs: Any) -> JobOperator:
            return operator(task_id=stage, stage=stage, flags=plan["flags"], **kwargs)

        fetch_snapshot = job("fetch_snapshot", **ARXIV, secrets=["KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"])
        filter_papers = job("filter_papers", SparkJobOperator, **SPARK)
        fetch_pdfs = job("fetch_pdfs", **ARXIV)
        extract_text = job("extract_text", SparkJobOperator, **SPARK)
        chunk_documents = job("chunk_documents", SparkJobOperator, **SPARK)
        embed_chunks = job("embed_chunks", **GPU)
        synthesize_qa = JobOperator.partial(
            task_id="synthesize_qa", stage="synthesize_qa", flags=plan["flags"], **TEACHER
        ).expand(shard=plan)
        build_index = job("build_index")
        curate_qa = job("curate_qa", **JUDGE)
        train_student = job("train_student", **GPU)
        evaluate_student = job("evaluate_student", **GPU | JUDGE)
        merge_and_deploy = job("merge_and_deploy", **GPU | {"secrets": ["HF_TOKEN", "APP_TOKEN"]})

        fetch_snapshot >> filter_papers >> fetch_pdfs >> extract_text >> chunk_documents
        chunk_documents >> [embed_chunks, synthesize_qa]
        [embed_chunks, filter_papers] >> build_index >> curate_qa
        synthesize_qa >> curate_qa >> train_student >> evaluate_student >> merge_and_deploy
        build_index >> merge_and_deploy
    return dag


for assistant in ["", *os.environ.get("SPARK_ARXIV_ASSISTANTS", "").split()]:
    named, _, at_hour = assistant.partition(":")
    one = pipeline(named, at_hour)
    globals()[one.dag_id] = one
