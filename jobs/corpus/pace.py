"""Whose turn it is to ask a server: a pause between requests, and one request at a time, for all processes together.

arXiv's terms count all machines of ours as one ("at most one request every three seconds, one connection at a time"),
so a pause inside a process is not enough: a stage, a shell and a second assistant meet at a file.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from jobs.core import durable
from jobs.core.errors import LockedError, TryAgainError, UsageError

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 900.0  # whoever would have to wait longer ends with 75, and the next attempt asks
FORBIDDEN_WAIT_S = 600.0  # after a 401 or 403: going on at once is taken for an attack (info.arxiv.org/help/robots)
_TOLD_S = 30.0  # shorter waits are not worth a line of the log


class Pace:
    """When the next request to a server may begin. Without a file it holds for whoever shares the object.

    `interval_s` is from the beginning of a request to the beginning of the next. Clock (UTC seconds) and sleep are for
    tests.
    """

    def __init__(
        self,
        interval_s: float,
        file: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.interval_s = interval_s
        self.file = file if interval_s > 0 else None
        self._clock, self._sleep = clock, sleep
        self._next_at = 0.0

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the server for a request with its redirects and its body.

        Raises TryAgainError if others hold it on, UsageError if the file's folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            if self.file:
                try:
                    stack.enter_context(durable.locked(self.file.with_suffix(".lock"), LONGEST_WAIT_S))
                except LockedError as error:
                    raise TryAgainError(
                        f"Other processes have been asking the same server for {LONGEST_WAIT_S:.0f} s ({self.file}): "
                        "one connection at a time is allowed. Run this again later."
                    ) from error
                except OSError as error:
                    raise UsageError(
                        f"{self.file.parent} cannot be written ({error.strerror}). Jobs that ask the same server meet "
                        "there. Give another folder that all of them see: --clock-folder DIR"
                    ) from error
            yield

    def wait(self) -> None:
        """Sleep until a request may begin, and note its beginning.

        Raises TryAgainError instead of a sleep longer than LONGEST_WAIT_S.
        """
        wait_s = self._read() - self._clock()
        if wait_s > LONGEST_WAIT_S:
            kept = f", as {self.file} says" if self.file else ""
            raise TryAgainError(
                f"The server wants no request for another {wait_s:.0f} s{kept}. Run this again then; what was fetched "
                "is kept."
            )
        if wait_s > 0:
            if wait_s > _TOLD_S:
                log.info("waiting %.0f s before the next request, as the server asked", wait_s)
            self._sleep(wait_s)
        if self.interval_s:
            self._write(self._clock() + self.interval_s)

    def put_off(self, seconds: float) -> None:
        """No request for so many seconds: not by this process, nor by any that meets at the file."""
        self._write(max(self._read(), self._clock() + seconds))

    def _read(self) -> float:
        if not self.file:
            return self._next_at
        try:
            return float(self.file.read_text())
        except (FileNotFoundError, ValueError):  # no request yet, or a machine that died while it wrote
            return 0.0

    def _write(self, next_at: float) -> None:
        self._next_at = next_at
        if self.file:
            durable.write_atomic(self.file, f"{next_at:.3f}\n".encode())


def shared(folder: str, lake_root: Path, interval_s: float, url: str) -> Pace:
    """The pace of a server for all jobs that meet at the folder; without one, for all lakes beside this one.

    arXiv's hosts are one server.
    """
    host = urlsplit(url).hostname or "unknown"
    is_arxiv = host == "arxiv.org" or host.endswith(".arxiv.org")
    meeting = Path(folder) if folder else lake_root.resolve().parent / "_clocks"
    return Pace(interval_s, meeting / ("arxiv.org" if is_arxiv else host))
