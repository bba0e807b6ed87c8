"""Where the stack lies, its secrets and ports, and the environment that all its parts share."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jobs.core import durable
from jobs.core.config import REPOSITORY
from jobs.core.errors import UsageError

HOST = "127.0.0.1"
USER = "admin"
POOLS = {"arxiv": 1, "spark": 1, "gpu": 1}  # slots; `gpu`: one a GPU
CONNECTIONS = {"AIRFLOW_CONN_SPARK_DEFAULT": {"conn_type": "spark", "host": "local[*]"}}
DEFAULT_PORTS = {"airflow": 8080, "app": 7860}
PORT_VARIABLES = {"airflow": "AIRFLOW_PORT", "app": "APP_PORT"}


@dataclass(frozen=True)
class Layout:
    """Files of one stack."""

    root: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data folder, which also holds its socket."""
        return self.root / "postgres"

    @property
    def logs(self) -> Path:
        """Output of every part; task logs lie below."""
        return self.root / "logs"

    @property
    def passwords(self) -> Path:
        """Airflow's user and password, for people to read."""
        return self.root / "passwords.json"

    @property
    def keys(self) -> dict[str, str]:
        """Keys of the stack, made once and readable by their owner alone."""
        path = self.root / "keys.json"
        if not path.is_file():
            fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            made = {name: secrets.token_urlsafe(32) for name in ("jwt", "api", "app")}
            write_private(path, {"fernet": fernet} | made)
            write_private(self.passwords, {USER: secrets.token_urlsafe(12)})
        keys: dict[str, str] = json.loads(path.read_text())
        return keys

    @property
    def password(self) -> str:
        """The password of USER."""
        return str(json.loads(self.passwords.read_text())[USER])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the stack for one command. Raises LockedError if another does."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with durable.locked(self.root / ".lock", wait_s=300.0):
            yield


def default_layout() -> Layout:
    """The stack of this checkout, or of the folder that SPARK_ARXIV_STACK names."""
    return Layout(Path(os.environ.get("SPARK_ARXIV_STACK", REPOSITORY / ".stack")).resolve())


def airflow_environment(layout: Layout, airflow_port: int, app_port: int) -> dict[str, str]:
    """The environment of every Airflow process: one set of keys, loopback only, small for two cores."""
    keys, url = layout.keys, f"http://{HOST}:{airflow_port}"
    database = f"postgres@/postgres?host={quote(str(socket_folder(layout)))}"
    settings: dict[str, dict[str, Any]] = {
        "core": {
            "dags_folder": REPOSITORY / "dags",
            "plugins_folder": REPOSITORY / "plugins",
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": 4,
            "fernet_key": keys["fernet"],
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": layout.passwords,
            "execution_api_server_url": f"{url}/execution/",
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://{database}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://{database}",
        },
        "api": {"host": HOST, "port": airflow_port, "base_url": url, "workers": 1, "secret_key": keys["api"]},
        "api_auth": {"jwt_secret": keys["jwt"]},
        "logging": {"base_log_folder": layout.logs / "tasks"},
        "dag_processor": {"refresh_interval": 30},
        # A worker that was killed is noticed after two minutes; nothing here is far away.
        "scheduler": {"task_queued_timeout": 7200, "task_instance_heartbeat_timeout": 120},
        "usage_data_collection": {"enabled": False},
    }
    airflow = {
        f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
        for section, values in settings.items()
        for name, value in values.items()
    }
    connections = {name: json.dumps(connection) for name, connection in CONNECTIONS.items()}
    return job_environment(layout, app_port) | airflow | connections | {"AIRFLOW_HOME": str(layout.root / "airflow")}


def job_environment(layout: Layout, app_port: int) -> dict[str, str]:
    """The caller's environment with where jobs run and where the app is; the lake is told to Airflow as a Variable."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("LAKE", "PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
        and not name.startswith("AIRFLOW_")
    }
    return inherited | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "SPARK_ARXIV_STACK": str(layout.root),
        "SPARK_ARXIV_HOME": str(REPOSITORY),
        "SPARK_ARXIV_PYTHON": sys.executable,
        "APP_URL": f"http://{HOST}:{app_port}",
        "APP_TOKEN": layout.keys["app"],
    }


def socket_folder(layout: Layout) -> Path:
    """Where PostgreSQL listens, by its own pid file."""
    lines = (layout.postgres / "postmaster.pid").read_text().splitlines()
    return Path(lines[4])


def choose_port(part: str) -> tuple[int, str | None]:
    """A free port and, if it is not the wanted one, a sentence that says so.

    Raises UsageError if the port's variable holds no port.
    """
    text = os.environ.get(PORT_VARIABLES[part]) or str(DEFAULT_PORTS[part])
    if not text.isdigit() or not 0 <= int(text) < 65536:
        raise UsageError(f"{PORT_VARIABLES[part]}={text!r} is no port. Expected a number below 65536; 0: a free one.")
    wanted = int(text)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
        except OSError:
            listener.bind((HOST, 0))
            free = int(listener.getsockname()[1])
            return free, f"port {wanted} is taken; using {free} instead ({PORT_VARIABLES[part]}= chooses another)"
        return int(listener.getsockname()[1]), None


def write_private(path: Path, content: Any) -> None:
    """Write JSON that only its owner can read, from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(content, file)
