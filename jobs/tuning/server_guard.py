"""Stands between a job and a server that it started, and ends the server once the job is gone, however it went.

Launched by path, it imports nothing of ours: `server_guard.py GRACE_S WORD…`. Its standard input is a pipe from the
job, which the kernel closes even after a SIGKILL. It has a process group of its own, so a signal to the job's group
leaves it alive to clear up; the server has another, so that one signal reaches all that it starts, and what leaves
that group is found as an orphan: Linux hands those to us. Its exit code is that of a server which ended by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LOOK_S = 0.1
_GIVE_UP_S = 60.0  # a process inside a driver may take its time even after SIGKILL
_IS_LINUX = sys.platform == "linux"


class Household:
    """The server and everything that it started."""

    def __init__(self, command: list[str]) -> None:
        """Start it. Raises OSError if there is no such program."""
        if _IS_LINUX:
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._group = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_guard
        ).pid
        self.exit_code: int | None = None

    def is_there(self) -> bool:
        """Whether any process is left; those that ended are cleared away."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._group:
                self.exit_code = os.waitstatus_to_exitcode(status)

    def end(self, grace_s: float) -> None:
        """SIGTERM to all, and SIGKILL to those that are left after `grace_s`."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGTERM)
        told = {self._group}
        polite_until = time.monotonic() + grace_s
        while self.is_there() and time.monotonic() < polite_until:
            fresh = set(_children()) - told  # orphans become ours only when their parent has ended
            _send(signal.SIGTERM, fresh)
            told |= fresh
            time.sleep(_LOOK_S / 5)
        give_up_at = time.monotonic() + _GIVE_UP_S
        while self.is_there() and time.monotonic() < give_up_at:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
            _send(signal.SIGKILL, _children())
            time.sleep(_LOOK_S / 5)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children() -> list[int]:
    """Our children by /proc: orphans of the server among them, whatever group they are in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            after_name = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(after_name[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _die_with_guard() -> None:
    """Should somebody kill this guard itself, the kernel ends the server at least."""
    if _IS_LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(grace_s: float, command: list[str]) -> int:
    """Run the server until it ends by itself (its exit code, 128 + N after signal N) or the job is gone (0)."""
    is_told: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        is_told.append(number)

    signal.signal(signal.SIGTERM, leave)
    household = Household(command)
    while household.is_there() and household.exit_code is None and not is_told:
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK_S)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    household.is_there()  # a server that died in the meantime was not ended by us
    code = household.exit_code or 0
    household.end(grace_s)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
