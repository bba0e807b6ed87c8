"""Watching a run from a terminal: which stage, done of total, time left; where one failed, its own last words."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from jobs.core.errors import TryAgainError
from local.rest import Airflow

log = logging.getLogger(__name__)

POLL_S = 1.0
PROGRESS_EVERY_S = 10.0
ENDED = {"success", "failed", "skipped", "upstream_failed", "removed"}
_PROGRESS = re.compile(r"\S+: .*done=\d+ total=\d+.*")  # without the time and level that Spark's lines have


def follow(airflow: Airflow, dag_id: str, run_id: str, pause: Callable[[float], None] = time.sleep) -> bool:
    """Log what a run does until it ends; whether it succeeded. An Airflow that is silent for a minute is an error."""
    watcher = Watcher(airflow)
    silent_since: float | None = None
    while True:
        try:
            state = airflow.run(dag_id, run_id)["state"]
            if state == "queued":
                watcher.say_queued()
            watcher.look(airflow.tasks(dag_id, run_id))
            silent_since = None
        except TryAgainError:  # a loaded machine answers late
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > 60.0:
                raise
            state = None
        if state in ("success", "failed"):
            return bool(state == "success")
        pause(POLL_S)


class Watcher:
    """Remembers what was said, so that each change is said once."""

    def __init__(self, airflow: Airflow) -> None:
        self._airflow = airflow
        self._states: dict[tuple[str, int, int], str | None] = {}
        self._said_at = time.monotonic()
        self._said_line = ""
        self._said_queued = False

    def say_queued(self) -> None:
        """Say once, after ten seconds, why nothing happens: runs of a DAG go one at a time."""
        if not self._said_queued and time.monotonic() - self._said_at >= PROGRESS_EVERY_S:
            self._said_queued = True
            log.info("queued: an earlier run of this DAG goes first")

    def look(self, tasks: list[dict[str, Any]]) -> None:
        """Log state changes, and every ten seconds the newest progress line of a running task."""
        n_ended = sum(task["state"] in ENDED for task in tasks)
        for task in tasks:
            key = (task["task_id"], task["map_index"], task["try_number"])
            if self._states.get(key) != task["state"]:
                self._states[key] = task["state"]
                self._say_state(task, f"[{n_ended}/{len(tasks)}]")
        running = [task for task in tasks if task["state"] == "running"]
        if running and time.monotonic() - self._said_at >= PROGRESS_EVERY_S:
            self._said_at = time.monotonic()
            self._say_progress(running[0], f"[{n_ended}/{len(tasks)}]")

    def _say_state(self, task: dict[str, Any], progress: str) -> None:
        name, state = name_of(task), task["state"]
        if state == "running":
            self._said_at = time.monotonic()
            log.info("%s %s …", progress, name)
        elif state == "success":
            log.info("%s %s took %.0f s", progress, name, task["duration"] or 0.0)
        elif state == "skipped":
            log.info("%s %s is not wanted in this run", progress, name)
        elif state in ("failed", "up_for_retry"):
            log.error("%s %s: %s", name, state, last_words(self._airflow.task_log(task)))

    def _say_progress(self, task: dict[str, Any], progress: str) -> None:
        lines = [str(line["event"]) for line in self._airflow.task_log(task) if "event" in line]
        known = [found[0] for line in lines if (found := _PROGRESS.search(line))]
        if known and known[-1] != self._said_line:
            self._said_line = known[-1]
            log.info("%s   %s", progress, self._said_line[:160])


def name_of(task: dict[str, Any]) -> str:
    """The task's name, with the number of its share if it is mapped."""
    return task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"


def last_words(lines: Iterable[dict[str, Any]]) -> str:
    """The sentence with which a task's log explains its failure."""
    sentence = "its log is empty"
    for line in lines:
        if line.get("level") in ("error", "critical"):
            details = line.get("error_detail") or []
            sentence = str(details[-1]["exc_value"] if details else line["event"])
    return sentence
