"""The teacher of a run: made when its name is wanted, with a server of its own only when something is to be asked.

A run that takes everything over loads no model and starts no server.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.tuning.local_server import LOG_FILE, LocalServer, ServerSettings
from jobs.tuning.teacher import Teacher, TeacherSettings, load_teacher

_NOT_YET = "http://127.0.0.1:0/v1"  # our server's address is known when it runs; the teacher's name is before


class TeacherSource:
    """A context manager; leaving it ends the server. `server` None: the teacher is in this process, or is there."""

    def __init__(self, kind: str, settings: TeacherSettings, server: ServerSettings | None = None) -> None:
        self._kind = kind
        self._settings = settings if server is None else replace(settings, url=_NOT_YET)
        self._server = server
        self._loaded: Teacher | None = None
        self._ready: Teacher | None = None
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def load(self) -> Teacher:
        """The teacher, for its name and its prompts. Raises UsageError for an unknown kind or a setting it lacks."""
        if self._loaded is None:
            self._loaded = load_teacher(self._kind, self._settings)
        return self._loaded

    def ready(self, folder: Path) -> Teacher:
        """The teacher, to be asked. Its server, if it has one of its own, runs from now on; its log is in `folder`.

        Raises what `LocalServer` raises for a server that does not start.
        """
        named = self.load()
        if self._server is None:
            return named
        if self._ready is None:
            running = self._running.enter_context(LocalServer(self._server, folder / LOG_FILE))
            self._ready = load_teacher(self._kind, replace(self._settings, url=running.url))
        return self._ready
