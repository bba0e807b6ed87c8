"""Processes of the stack: started in own sessions, found again by id and start time, stopped to the last child.

A pid alone is not enough: after a reboot it may belong to somebody else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local.layout import Layout, write_private

log = logging.getLogger(__name__)

TERM_GRACE_S = 15.0
TAIL_LINES = 20
STACK_VARIABLE = "SPARK_ARXIV_STACK"


@dataclass(frozen=True)
class Started:
    """What the state file says of a part. `facts` is the part's own: its port, its lake."""

    name: str
    pid: int
    created_at: float
    facts: dict[str, Any]

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it still runs and is the one that we started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created_at) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def start(layout: Layout, name: str, argv: Sequence[str], env: Mapping[str, str], **facts: Any) -> Started:
    """Start a part; its output goes to logs/NAME.log, begun anew."""
    folder = layout.root / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    with log_file(layout, name).open("wb") as output:
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in `make demo` is meant for the watching, not for the stack
        )
    started = Started(name, process.pid, psutil.Process(process.pid).create_time(), facts)
    write_private(_state_file(layout, name), {"pid": started.pid, "created_at": started.created_at, "facts": facts})
    return started


def running(layout: Layout, name: str) -> Started | None:
    """The part as it was started, if it still runs."""
    path = _state_file(layout, name)
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    started = Started(name, content["pid"], content["created_at"], content["facts"])
    return started if started.process else None


def was_started(layout: Layout, name: str) -> bool:
    """Whether the part was started and never stopped: if it does not run, it crashed."""
    return _state_file(layout, name).is_file()


def stop(layout: Layout, names: Iterable[str], grace_s: float = TERM_GRACE_S) -> None:
    """Stop parts together, with everything they started: SIGTERM, then SIGKILL to what is left."""
    names = list(names)
    leaders = [process for name in names if (found := running(layout, name)) and (process := found.process)]
    families = _families(leaders)
    end_processes(leaders, families, grace_s)
    for name in names:
        _state_file(layout, name).unlink(missing_ok=True)


def end_processes(leaders: list[psutil.Process], families: list[psutil.Process], grace_s: float) -> None:
    """SIGTERM to the leaders, who end their own children; after the grace SIGKILL to whoever is left."""
    _signal(leaders, signal.SIGTERM)
    psutil.wait_procs(leaders, timeout=grace_s)
    left = [process for process in {*families, *_families(leaders)} if process.is_running()]
    _signal(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5.0)


def strays(layout: Layout) -> list[psutil.Process]:
    """Processes of the stack that lost their parent: jobs carry the stack's folder in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in _ourselves() and process.environ().get(STACK_VARIABLE) == str(layout.root):
                found.append(process)
    return found


def wait_until(layout: Layout, names: Sequence[str], is_ready: Callable[[], bool], timeout_s: float) -> str | None:
    """Wait for a check; None when it holds, else a sentence with the tail of the log that says why."""
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        for name in names:
            if running(layout, name) is None:
                return f"{name} ended while it was starting. The end of {log_file(layout, name)}:\n{tail(layout, name)}"
        if time.monotonic() > deadline:
            return f"{names[0]} was not ready after {timeout_s:.0f} s. Its log ends:\n{tail(layout, names[0])}"
        time.sleep(0.5)
    return None


def tail(layout: Layout, name: str, n_lines: int = TAIL_LINES) -> str:
    """The last lines of a part's log."""
    path = log_file(layout, name)
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join(f"    {line}" for line in lines[-n_lines:])


def log_file(layout: Layout, name: str) -> Path:
    """Where a part's output goes."""
    return layout.logs / f"{name}.log"


def _state_file(layout: Layout, name: str) -> Path:
    return layout.root / "parts" / f"{name}.json"


def _families(leaders: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The leaders, their descendants, and whoever stayed in a leader's session after its parent died."""
    leaders = list(leaders)
    found = {*leaders}
    for leader in leaders:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.update(leader.children(recursive=True))
    sessions = {leader.pid for leader in leaders}
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) in sessions:
                found.add(process)
    return list(found)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _ourselves() -> set[int]:
    this = psutil.Process()
    return {this.pid, *(parent.pid for parent in this.parents())}
