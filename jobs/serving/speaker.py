"""The released student in memory: loaded once for all releases that name it, and freed after the last of them.

A model writes one answer at a time. A few may wait for it; more are told to come back.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from jobs.core.lake import Lake, Part

if TYPE_CHECKING:
    from jobs.tuning.student import Messages, Student

MAX_WAITING = 8  # beside the one that is written; at 10 s an answer the last of them waits for over a minute
RETRY_AFTER_S = 10


class BusyError(Exception):
    """As many answers wait as may."""


class Speaker:
    """A loaded student that many requests share. Its memory is freed when nobody refers to it any more."""

    def __init__(self, student: Student) -> None:
        self.is_tried = False  # whether it answered a release's own question
        self.n_answers = 0
        self.seconds = 0.0
        self._student = student
        # Replies that nobody holds any more leave by themselves: also those that nobody asked for a first piece. That
        # may happen in any thread at any time, so nothing may be waited for then: hence no semaphore, and an RLock.
        self._replies: weakref.WeakSet[Generator[str, None, bool]] = weakref.WeakSet()
        self._lock = threading.RLock()
        weakref.finalize(self, student.close)

    @property
    def n_tokens(self) -> int:
        """Tokens written since the student was loaded."""
        return self._student.n_generated

    @property
    def n_waiting(self) -> int:
        """Answers that wait for the one that is written."""
        return max(0, len(self._replies) - 1)

    def say(
        self,
        messages: Messages,
        max_new_tokens: int,
        stop: threading.Event,
        *,
        temperature: float = 0.0,
        with_adapter: bool = True,
    ) -> Generator[str, None, bool]:
        """Pieces of the answer as they come; `stop`, or closing the iterator, ends it. Raises BusyError at once.

        Returns whether `max_new_tokens` cut it.
        """
        with self._lock:
            if len(self._replies) > MAX_WAITING:
                raise BusyError(f"{MAX_WAITING} answers wait already. Ask again in {RETRY_AFTER_S} s.")
            pieces = self._pieces(messages, max_new_tokens, stop, temperature, with_adapter)
            self._replies.add(pieces)
        return pieces

    def is_finite(self, messages: Messages) -> bool:
        """Whether every logit after a prompt is a number: a broken model writes text all the same."""
        import torch

        return bool(torch.isfinite(self._student.logits(messages)).all())

    def _pieces(
        self, messages: Messages, max_new_tokens: int, stop: threading.Event, temperature: float, with_adapter: bool
    ) -> Generator[str, None, bool]:
        begun_at = time.monotonic()
        try:
            return (
                yield from self._student.generate(
                    messages, max_new_tokens, stop, temperature, with_adapter=with_adapter
                )
            )
        finally:
            with self._lock:
                self.n_answers += 1
                self.seconds += time.monotonic() - begun_at


class SpeakerOpener:
    """Opens the students that releases name; one that is loaded already is shared."""

    def __init__(self, device: str = "auto") -> None:
        self._device = device
        self._loaded: weakref.WeakValueDictionary[str, Speaker] = weakref.WeakValueDictionary()

    def __call__(self, lake: Lake, adapter: Part) -> Speaker:
        """The student of an adapter. Raises JobError if its files or its base are not what they were."""
        speaker = self._loaded.get(adapter.manifest.key)
        if speaker is None:
            speaker = self._loaded[adapter.manifest.key] = Speaker(_load(lake, adapter, self._device))
        return speaker


def _load(lake: Lake, adapter: Part, device: str) -> Any:
    from jobs.tuning.bases import base_of
    from jobs.tuning.loading import choose_precision
    from jobs.tuning.student import Student

    adapter.verify()
    return Student.load(base_of(lake, adapter), adapter.folder, choose_precision(device))
