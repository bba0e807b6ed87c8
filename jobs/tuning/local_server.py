"""A model server of our own, such as vLLM, on a free port of loopback for as long as a stage needs it.

It is a command of the owner's (an argv list, never a shell), whose Python may be another environment than ours. However
the stage ends, by itself, by an error, by SIGTERM or SIGKILL, the server and all that it started end too, so the GPU
is free for the next stage: `server_guard` sees to it. The server gets no secrets.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from jobs.core.errors import TryAgainError, UsageError
from jobs.tuning import server_guard

if TYPE_CHECKING:
    from jobs.tuning.exchange import Exchange

log = logging.getLogger(__name__)

PORT, MODEL = "{port}", "{model}"
LOG_FILE = "server.log"
GRACE_S = 5.0  # between SIGTERM and SIGKILL: it has nothing to save, only shared memory to give back
_STOP_TIMEOUT_S = GRACE_S + 90.0  # the guard gives up before
_LOOK_S = 0.2
_ANSWER_S = 5.0
_MAX_BYTES = 1 << 20
_TAIL_BYTES, _TAIL_LINES = 16_384, 20
_LISTENS = "0A"  # a socket's state in /proc/net/tcp
# Of the environment a server needs paths, caches and drivers; HF_TOKEN is how gated weights are fetched.
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|_CONN_", re.IGNORECASE)
_KEPT = ("HF_TOKEN", "TOKENIZERS_PARALLELISM")
_OF_OUR_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class ServerSettings:
    """`command`: words in which {port} and {model} are filled in; `model`: the name that it must serve it by."""

    command: tuple[str, ...]
    model: str
    start_s: float = 600.0

    def check(self) -> None:
        """Raise UsageError for a command that cannot be right on any machine."""
        if not any(PORT in word for word in self.command):
            raise UsageError(
                f"the server's command {shlex.join(self.command)!r} has no {PORT}. Expected it where the server takes "
                f"its port, as in: --host 127.0.0.1 --port {PORT}."
            )

    def words(self, port: int) -> list[str]:
        """The command with its places filled in. Other braces, as of JSON, stay."""
        return [word.replace(PORT, str(port)).replace(MODEL, self.model) for word in self.command]


class LocalServer:
    """A context manager: inside the block the server answers at `url`, after it no process of it is left."""

    def __init__(self, settings: ServerSettings, log_path: Path) -> None:
        """`log_path` is where all that the server prints goes."""
        settings.check()
        self._settings = settings
        self._log_path = log_path
        self._port = _free_port()
        self._words = settings.words(self._port)
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        """Start it and wait until it serves the model.

        Raises UsageError if it ends before, serves other models or listens beyond loopback, TryAgainError if it takes
        longer than `start_s`.
        """
        self._begun_at = time.monotonic()
        with contextlib.ExitStack() as undo:
            # Ours too: its end can be read even after the file was unlinked.
            self._log = undo.enter_context(self._log_path.open("w+b"))
            self._guard = self._launch()
            undo.callback(self._stop)
            self._refuse_others(self._wait_for_models())
            undo.pop_all()
        log.info("server ready after %.1f s at %s, pid %d", self._age_s(), self.url, self._guard.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it. Where the server had ended by itself, a TryAgainError from the block says so too."""
        with self._log:
            self._stop()
            if not self._guard.returncode:
                return
            self._tell_tail()
            how = self._how_it_ended(self._guard.returncode)
            if isinstance(error, TryAgainError):
                raise TryAgainError(f"{error} {how}") from error
            log.warning("%s", how)

    def _launch(self) -> subprocess.Popen[bytes]:
        program = shutil.which(Path(self._words[0]).expanduser())
        if program is None:
            raise UsageError(
                f"the server's program {self._words[0]!r} is not on this machine. Expected a path or a name on PATH; "
                f"command: {shlex.join(self._words)}."
            )
        log.info("starting a server: %s (its log: %s)", shlex.join(self._words), self._log_path)
        return subprocess.Popen(
            [sys.executable, "-I", str(server_guard.__file__), str(GRACE_S), program, *self._words[1:]],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            process_group=0,  # a signal to our group leaves the guard alive, which then ends the server
        )

    def _wait_for_models(self) -> list[str]:
        """Names of the models that it serves, as soon as it serves any."""
        from jobs.tuning.exchange import Exchange

        with Exchange(1, _MAX_BYTES) as exchange:
            while True:
                models = self._models(exchange)
                if (exit_code := self._guard.poll()) is not None:
                    self._tell_tail()
                    raise UsageError(self._how_it_ended(exit_code))
                if models:
                    return models
                if self._age_s() > self._settings.start_s:
                    self._tell_tail()
                    raise TryAgainError(
                        f"the server was not ready after {self._settings.start_s:g} s: {self.url}/models names no "
                        f"model. Expected {self._settings.model!r} there: look at the lines above, or allow more time. "
                        f"Command: {shlex.join(self._words)}."
                    )
                time.sleep(_LOOK_S)

    def _models(self, exchange: Exchange) -> list[str]:
        """Names of the models that it serves, none while it does not answer."""
        from jobs.tuning.exchange import ExchangeError

        try:
            answer = exchange.ask("GET", f"{self.url}/models", _ANSWER_S)
        except ExchangeError:
            return []
        if answer.status != 200 or answer.body is None:
            return []
        try:
            return [str(one["id"]) for one in json.loads(answer.body)["data"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            return []

    def _refuse_others(self, models: Sequence[str]) -> None:
        if self._settings.model not in models:
            raise UsageError(
                f"the server serves {', '.join(models[:5])}, not {self._settings.model!r}. Expected the model by that "
                f"name: vLLM takes --served-model-name {MODEL}, llama.cpp --alias {MODEL}."
            )
        if beyond := list(_beyond_loopback(self._port)):
            raise UsageError(
                f"the server listens on {', '.join(beyond)}, so other machines can reach it without a key. Expected "
                "loopback alone: add --host 127.0.0.1 to its command."
            )

    def _stop(self) -> None:
        """Close the pipe, which tells the guard, and wait until it has ended everything."""
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        try:
            self._guard.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("the server's guard, pid %d, is still there after %g s", self._guard.pid, _STOP_TIMEOUT_S)
            return
        log.info("server ended after %.0f s", self._age_s())

    def _how_it_ended(self, exit_code: int) -> str:
        said = next((line for line in reversed(self._tail()) if line.strip()), "nothing")
        return (
            f"The server ended by itself after {self._age_s():.1f} s with exit code {exit_code}; its last line: "
            f"{said.strip()[:300]}. Expected it to serve until it is stopped. Try its command by hand: "
            f"{shlex.join(self._words)}."
        )

    def _tell_tail(self) -> None:
        for line in self._tail():
            log.warning("server: %s", line.rstrip())

    def _tail(self) -> list[str]:
        size = os.fstat(self._log.fileno()).st_size
        end = os.pread(self._log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        return end.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]

    def _age_s(self) -> float:
        return time.monotonic() - self._begun_at


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _environment() -> dict[str, str]:
    """Ours without secrets, and without what leads another environment's Python to our packages."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or (name not in _OF_OUR_PYTHON and not _SECRET.search(name))
    }


def _beyond_loopback(port: int) -> list[str]:
    """Addresses other than loopback's at which something of this machine listens on the port; none but on Linux."""
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    fields = [line.split() for path in tables for line in path.read_text().splitlines()[1:]]
    places = [place.split(":") for _, place, _, state, *_ in fields if state == _LISTENS]
    found = [_address_of(address) for address, number in places if int(number, 16) == port]
    return [str(address) for address in found if not address.is_loopback]


def _address_of(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """From /proc's form: words of four bytes, each with its last byte first on the machines that we know."""
    raw = bytes.fromhex(digits)
    address = ipaddress.ip_address(b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4)))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
