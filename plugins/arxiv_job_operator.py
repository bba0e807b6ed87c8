"""A stage as a task: JobOperator runs `python -m jobs STAGE`, SparkJobOperator gives the stage to spark-submit.

Exit codes become states: 0 success, 99 skipped, 64 65 66 failed at once, any other a retry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from arxiv_job_process import EXIT_DONE, EXIT_TO_DO, Ended, JobProcess, job_place, raise_for

if TYPE_CHECKING:
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
    from airflow.sdk import Context


class JobOperator(BaseOperator):
    """Run a stage as a process. `flags` are those of plan_run, the same for every stage of a run.

    `shard` is the number of a mapped task's share. `secrets` names what the job may know (arxiv_job_process.SECRETS).
    """

    template_fields: Sequence[str] = ("flags", "shard")
    ui_color = "#e8f0fa"

    def __init__(
        self,
        *,
        stage: str,
        flags: Sequence[str],
        shard: int | None = None,
        secrets: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.flags = flags
        self.shard = shard
        self.secrets = secrets
        self._job: JobProcess | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002  Airflow's signature
        """Run the stage to its end. Raises what the exit code means."""
        ended = self._new_job().run(self.words())
        raise_for(ended.exit_code, self.stage, ended.explanation)

    def words(self) -> list[str]:
        """The stage and its flags."""
        shard = [] if self.shard is None else ["--shard", str(self.shard)]
        return [self.stage, *map(str, self.flags), *shard]

    def on_kill(self) -> None:
        """End the job: the worker's own signal reaches it too, but not when a time limit struck."""
        if self._job is not None:
            self._job.kill()

    def _new_job(self) -> JobProcess:
        self._job = JobProcess(job_place(self.secrets, self.words()), self.log)
        return self._job


class SparkJobOperator(JobOperator):
    """Run a stage inside Spark, through the provider's hook and its connection, in deploy mode client.

    First asks the stage whether it has anything to do, so that no JVM starts for nothing. The task's state follows
    spark-submit's own return code, which in this mode is the stage's.
    """

    ui_color = "#ffefd5"

    def __init__(self, *, conn_id: str = "spark_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self._hook: SparkSubmitHook | None = None

    def execute(self, context: Context) -> None:  # noqa: ARG002  Airflow's signature
        """Check, then submit. Raises what the exit code means."""
        checked = self._new_job().run([*self.words(), "--check"])
        if checked.exit_code != EXIT_TO_DO:
            raise_for(checked.exit_code, self.stage, checked.explanation)
            self.log.info("%s is done already; nothing was submitted", self.stage)
            return
        ended = self._submit(spark_master(self.conn_id))
        raise_for(ended.exit_code, self.stage, ended.explanation)

    def on_kill(self) -> None:
        """End spark-submit; its Python driver asked the kernel to die with it."""
        super().on_kill()
        if self._hook is not None:
            self._hook.on_kill()

    def _submit(self, master: str) -> Ended:
        from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
        from airflow.sdk.exceptions import AirflowException

        made = self._submission(master)
        self._hook = SparkSubmitHook(
            conn_id=self.conn_id,
            deploy_mode="client",
            spark_binary=made["binary"],
            name=made["name"],
            driver_memory=made["driver_memory"],
            conf=made["conf"],
            py_files=made["py_files"],
            application_args=made["application_args"],
        )
        self.log.info("spark-submit --master %s %s", master, " ".join(made["application_args"]))
        try:
            self._hook.submit(made["application"], env=job_place(self.secrets, self.words()).env | made["env"])
        except AirflowException as error:
            process = self._hook._submit_sp  # the hook's message has the code only as text
            if process is None or process.returncode in (None, EXIT_DONE):
                raise
            return Ended(process.returncode, explanation_of(self.stage, str(error)))
        return Ended(EXIT_DONE, "")

    def _submission(self, master: str) -> dict[str, Any]:
        """What spark-submit is given, said by the jobs: they set the same when started from a shell."""
        asked = self._new_job().ask(["submission", *self.words(), "--spark-master", master])
        raise_for(asked.exit_code, f"the submission of {self.stage}", asked.explanation)
        made: dict[str, Any] = json.loads(asked.output)
        return made


def spark_master(conn_id: str) -> str:
    """The master that a connection names, as the provider's hook reads it.

    Raises AirflowFailException if the connection is missing, cannot be read or asks for another deploy mode than
    client: the hook would silently submit to YARN.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    form = f"""AIRFLOW_CONN_{conn_id.upper()}='{{"conn_type":"spark","host":"local[*]"}}'"""
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowException, ValueError) as error:
        raise AirflowFailException(
            f"Connection {conn_id!r} is missing or cannot be read ({error}). Expected one of type spark whose host is "
            f"the master. Make it under Admin > Connections, or set {form}."
        ) from error
    mode = connection.extra_dejson.get("deploy-mode", "client")
    if mode != "client":
        raise AirflowFailException(
            f"Connection {conn_id!r} asks for deploy-mode {mode!r}. Expected client: the stage's exit code, log and "
            "kill go through spark-submit. Remove deploy-mode from its extra."
        )
    if connection.conn_type not in ("spark", "k8s") or not connection.host:
        raise AirflowFailException(
            f"Connection {conn_id!r} has type {connection.conn_type!r} and host {connection.host!r}. Expected type "
            f"spark and the master as host, such as {form}."
        )
    is_whole = connection.conn_type == "spark" and ("://" in connection.host or not connection.port)
    master = connection.host if is_whole else f"{connection.conn_type}://{connection.host}"
    return f"{master}:{connection.port}" if connection.port else master


def explanation_of(stage: str, output: str) -> str:
    """The last line with which the stage itself explains its end, else the last line of all."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = [line for line in lines if f" ERROR {stage}: " in line]
    return (own or lines or [""])[-1]
