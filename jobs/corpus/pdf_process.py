"""The parent's side of a reading process: start it, ask it, and say how it died.

Nothing here knows what a PDF is; `pdf.py` does, and `pdf_child.py` is the process itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus.pdf_child import HEADER, Settings, send_frame

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 120.0  # 0.15 s on an idle machine; imports wait for a disk and a CPU that others use too
_DEATH_TIMEOUT_S = 5.0  # a process whose socket is closed is all but gone
_READ_BYTES = 2**20
_MAX_FRAME_BYTES = 256 * 2**20  # 5 million characters with their blocks are about 25 MB of JSON
_MAX_OUTPUT_BYTES = 4_096
# What the process needs to find Python and its packages. The rest stays here: it reads files of strangers, and the
# environment of a Spark worker may hold secrets.
_KEPT_ENVIRONMENT = frozenset({"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH"})
_OUT_OF_MEMORY = re.compile(r"\bMemoryError\b|\bbad_alloc\b")


class ProcessTimeoutError(Exception):
    """No answer in time; the process has been killed."""


class ProcessDiedError(Exception):
    """The process ended, or sent what is no answer, instead of answering. A `returncode` of -N means signal N."""

    def __init__(self, returncode: int, output: str) -> None:
        super().__init__(": ".join(filter(None, (_how_it_ended(returncode), _last_line(output)))))
        self.is_out_of_cpu = returncode == -signal.SIGXCPU
        self.is_out_of_memory = bool(_OUT_OF_MEMORY.search(output))


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-returncode}"


def _last_line(output: str) -> str:
    """What a traceback ends with. The dump of faulthandler says no more than the signal, and goes to the log alone."""
    lines = output.splitlines() if "Fatal Python error" not in output else []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


class ReadingProcess:
    """One child process. `n_answers`, `rss_mb` and `grown_mb` (MiB, as of the last answer) say how worn it is."""

    def __init__(self, settings: Settings) -> None:
        """Start it and wait until it is ready.

        Raises UsageError if it ends before that (what it imports is not there), TryAgainError if it takes too long.
        """
        self.n_answers = 0
        self._output_tail = b""
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = _launch(theirs.fileno())
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._output, selectors.EVENT_READ)
        self.rss_mb = self._start_rss_mb = self._greet(settings)

    def _greet(self, settings: Settings) -> int:
        command = f"{sys.executable} -m jobs.corpus.pdf_child"
        try:
            return int(self._exchange(asdict(settings), _START_TIMEOUT_S)["rss_mb"])
        except ProcessDiedError as error:
            raise UsageError(
                f"the process that reads PDFs ended at its start: {error}. Expected: `{command}` can import pymupdf,"
                f" orjson and {settings.function}. Next: install the project's requirements for that Python."
            ) from error
        except ProcessTimeoutError as error:
            raise TryAgainError(
                f"the process that reads PDFs was not ready after {_START_TIMEOUT_S:g} s. Expected: about 1 s."
                " Next: run again when the machine has less to do."
            ) from error

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def grown_mb(self) -> int:
        """Memory that earlier documents left behind."""
        return self.rss_mb - self._start_rss_mb

    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Its answer. Raises ProcessTimeoutError, ProcessDiedError; after these, or any other error, it is dead."""
        reply = self._exchange(request, timeout_s)
        self.n_answers += 1
        self.rss_mb = int(reply["rss_mb"])
        return reply

    def close(self) -> None:
        """End it: when idle it leaves as its socket closes, else it is killed. Twice does no harm."""
        self._channel.close()
        self._wait_or_kill(1.0)
        self._selector.close()
        self._output.close()

    def _exchange(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self._output_tail = b""
        try:
            send_frame(self._channel, request)
            return _parse(self._receive(time.monotonic() + timeout_s))
        except (ConnectionError, EOFError) as error:
            raise self._death() from error
        except ValueError as error:
            self._process.kill()
            raise self._death() from error
        except BaseException:  # also Ctrl-C: a late answer would be taken for that of the next document
            self._process.kill()
            self.close()
            raise
        finally:
            if self._output_tail:
                log.debug("pdf_child %d printed: %s", self.pid, self._printed())

    def _receive(self, deadline: float) -> bytes:
        """The body of the next frame. What it prints is read meanwhile: on a full pipe it would wait for ever.

        Raises EOFError if it closes the socket, ValueError if it announces too much, ProcessTimeoutError.
        """
        frame = bytearray()
        while len(frame) < HEADER.size or len(frame) < HEADER.size + _body_size(frame):
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise ProcessTimeoutError
            for key, _ in self._selector.select(remaining_s):
                part = os.read(key.fd, _READ_BYTES)
                if key.fileobj is self._output:
                    self._hear(part)
                elif part:
                    frame += part
                else:
                    raise EOFError
        return bytes(frame[HEADER.size :])

    def _hear(self, part: bytes) -> None:
        self._output_tail = (self._output_tail + part)[-_MAX_OUTPUT_BYTES:]
        if not part:
            self._selector.unregister(self._output)

    def _death(self) -> ProcessDiedError:
        self._wait_or_kill(_DEATH_TIMEOUT_S)
        with contextlib.suppress(BlockingIOError):  # a process that it started may hold the pipe open
            while part := os.read(self._output.fileno(), _READ_BYTES):
                self._output_tail = (self._output_tail + part)[-_MAX_OUTPUT_BYTES:]
        self.close()
        return ProcessDiedError(self._process.returncode, self._printed())

    def _printed(self) -> str:
        return self._output_tail.decode("utf-8", "replace")

    def _wait_or_kill(self, timeout_s: float) -> None:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _body_size(frame: bytearray) -> int:
    size: int = HEADER.unpack_from(frame)[0]
    if size > _MAX_FRAME_BYTES:
        raise ValueError(f"{size:,} bytes announced")
    return size


def _parse(body: bytes) -> dict[str, Any]:
    import orjson

    reply = orjson.loads(body)
    if not isinstance(reply, dict):
        raise ValueError(f"{type(reply).__name__} instead of an object")
    return reply


def _launch(fd: int) -> subprocess.Popen[bytes]:
    """The process, with `fd` as its only open file beside its output, which is one pipe."""
    environment = {k: v for k, v in os.environ.items() if k in _KEPT_ENVIRONMENT or k.startswith("PYTHON")}
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        # -P keeps the working directory, which may hold anything, off sys.path.
        [sys.executable, "-P", "-X", "faulthandler", "-m", "jobs.corpus.pdf_child", str(fd)],
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=(fd,),
    )
