"""A real standalone cluster of Spark on loopback: a master and one worker, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from jobs.core.spark import find_java_home, spark_home

START_S = 120.0


@contextlib.contextmanager
def standalone(folder: Path, *, cores: int = 2) -> Iterator[str]:
    """The address of a cluster whose logs and work lie in `folder`; its processes end with the block."""
    with contextlib.ExitStack() as stack:
        master_log = _start(stack, folder, "master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        url = _wait_for(master_log, r"Starting Spark master at (spark://\S+)")
        worker = ("--host", "127.0.0.1", "--webui-port", "0", "--cores", str(cores), "--memory", "2g")
        worker_log = _start(stack, folder, "worker", *worker, "--work-dir", str(folder / "work"), url)
        _wait_for(worker_log, r"Successfully registered with master (\S+)")
        yield url


def _start(stack: contextlib.ExitStack, folder: Path, role: str, *args: str) -> Path:
    folder.mkdir(exist_ok=True)
    log = folder / f"{role}.log"
    # The worker's environment has no path to our package: its executors have what --py-files brings.
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SPARK_HOME")}
    env |= {"JAVA_HOME": str(find_java_home()), "SPARK_LOCAL_IP": "127.0.0.1"}
    argv = [str(spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}.{role.capitalize()}", *args]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=env, cwd=folder, start_new_session=True)
    stack.callback(_stop, process)
    return log


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


def _wait_for(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(f"{log} never said {pattern}:\n{log.read_text()[-2000:]}")
