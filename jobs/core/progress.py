"""Progress as lines of a log: at most one every ten seconds, and one at the end."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

INTERVAL_S = 10.0


class Progress:
    """Counts what is done of a total and logs `done=… total=… rate=…/s left=…s`."""

    def __init__(self, what: str, total: int, interval_s: float = INTERVAL_S) -> None:
        self._what = what
        self._total = total
        self._interval_s = interval_s
        self._begun_at = self._logged_at = time.monotonic()
        self.done = 0

    def step(self, n: int = 1) -> None:
        """Count `n` more; logs if the last line is old enough."""
        self.done += n
        if time.monotonic() - self._logged_at >= self._interval_s:
            self.log()

    def log(self) -> None:
        """Log the line now."""
        self._logged_at = time.monotonic()
        elapsed_s = max(self._logged_at - self._begun_at, 1e-6)
        rate = self.done / elapsed_s
        left = f"{(self._total - self.done) / rate:.0f}s" if rate else "?"
        log.info("%s done=%d total=%d rate=%.1f/s left=%s", self._what, self.done, self._total, rate, left)
