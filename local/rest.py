"""Airflow's REST interface, as far as the stack needs it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jobs.core.errors import TryAgainError, UsageError

TIMEOUT_S = 30


@dataclass
class Airflow:
    """An Airflow at an address, for one user. The token is fetched when it is first needed."""

    url: str
    user: str
    password: str
    _token: str = field(default="", repr=False)

    def health(self) -> dict[str, str]:
        """Component -> status (`healthy`, …); empty while nobody answers."""
        try:
            found = self._send("GET", "/api/v2/monitor/health", with_token=False)
        except TryAgainError:
            return {}
        return {name: component["status"] for name, component in found.items() if component["status"]}

    def is_known(self, dag_id: str) -> bool:
        """Whether the DAG has been read."""
        try:
            self.dag(dag_id)
        except UsageError:
            return False
        return True

    def dag(self, dag_id: str) -> dict[str, Any]:
        """The DAG's details. Raises UsageError if there is none, with the reason for which its file was not read."""
        return self._send("GET", f"/api/v2/dags/{quote(dag_id)}")

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start."""
        self._send("PATCH", f"/api/v2/dags/{quote(dag_id)}?update_mask=is_paused", {"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any], logical_date: str | None = None) -> str:
        """Start a run; its id is returned. Raises UsageError if the form's fields are refused."""
        body = {"logical_date": logical_date, "conf": conf}
        return str(self._send("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def end_run(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as `failed` or `success`, so that the next one may start."""
        self._send("PATCH", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}?update_mask=state", {"state": state})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """State and times of a run."""
        return self._send("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")

    def runs(self, dag_id: str, **query: str) -> list[dict[str, Any]]:
        """Runs of the DAG, newest first."""
        asked = "&".join(f"{name}={quote(value)}" for name, value in {"order_by": "-run_after", **query}.items())
        found: list[dict[str, Any]] = self._send("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns?{asked}")["dag_runs"]
        return found

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run."""
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances?limit=100"
        found: list[dict[str, Any]] = self._send("GET", path)["task_instances"]
        return found

    def task_log(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Lines of a task instance's newest try: {event, level, …} each."""
        path = (
            f"/api/v2/dags/{quote(task['dag_id'])}/dagRuns/{quote(task['dag_run_id'])}/taskInstances/"
            f"{quote(task['task_id'])}/logs/{max(task['try_number'], 1)}"
            f"?full_content=true&map_index={task['map_index']}"
        )
        content = self._send("GET", path).get("content", [])
        return [line for line in content if isinstance(line, dict)]

    def backfill(self, dag_id: str, first: str, last: str, conf: dict[str, Any]) -> int:
        """Start Airflow's own backfill, a run a window, over logical dates from `first` to `last`; its id."""
        body = {"dag_id": dag_id, "from_date": first, "to_date": last, "max_active_runs": 1, "dag_run_conf": conf}
        return int(self._send("POST", "/api/v2/backfills", body)["id"])

    def set_pool(self, name: str, slots: int) -> None:
        """Make a pool if it is not there; one that is keeps its slots: somebody may have changed them."""
        try:
            self._send("GET", f"/api/v2/pools/{quote(name)}")
        except UsageError:
            self._send("POST", "/api/v2/pools", {"name": name, "slots": slots})

    def variable(self, key: str) -> str | None:
        """The value of a Variable, None if there is none."""
        try:
            return str(self._send("GET", f"/api/v2/variables/{quote(key)}")["value"])
        except UsageError:
            return None

    def set_variable(self, key: str, value: str) -> None:
        """Make or change a Variable."""
        body = {"key": key, "value": value}
        try:
            self._send("PATCH", f"/api/v2/variables/{quote(key)}", body)
        except UsageError:
            self._send("POST", "/api/v2/variables", body)

    def _send(self, method: str, path: str, body: Any = None, *, with_token: bool = True) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if with_token:
            headers["Authorization"] = f"Bearer {self._get_token()}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers, method=method)  # noqa: S310  loopback
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            kind = UsageError if error.code < 500 else TryAgainError
            raise kind(f"Airflow at {self.url} answered {error.code} to {method} {path}: {said}") from error
        except (OSError, ValueError) as error:
            raise TryAgainError(f"Airflow at {self.url} does not answer ({error}). Look: make status") from error

    def _get_token(self) -> str:
        if not self._token:
            body = {"username": self.user, "password": self.password}
            self._token = str(self._send("POST", "/auth/token", body, with_token=False)["access_token"])
        return self._token
