"""Prepare the compose stack, once at every start: check the settings, migrate the database, make pools and the user.

Run: python docker/init.py, in a container of the target airflow. Exit 64: something in .env must change.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger("init")

SECRETS = {
    *("AIRFLOW_ADMIN_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET"),
    *("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SPARK_SECRET", "APP_TOKEN"),
}
LEAST_SECRET_CHARS = 16
POOLS = {  # pool -> variable of its slots (None: one), what it is for
    "arxiv": (None, "Fetching: arXiv allows one connection for all machines of ours"),
    "spark": ("SPARK_SLOTS", "spark-submits at once"),
    "gpu": ("GPU_SLOTS", "One slot a GPU"),
}
USER = "admin"
EXIT_USAGE = 64


def complaints(env: Mapping[str, str], lakes: Path) -> list[str]:
    """Everything in the settings that must change before the stack may start."""
    found = [
        f"{name} has fewer than {LEAST_SECRET_CHARS} characters or is a placeholder: make one (openssl rand -hex 24)."
        for name in sorted(SECRETS)
        if len(env.get(name, "")) < LEAST_SECRET_CHARS or env[name].startswith("<")
    ]
    profiles = set(env.get("COMPOSE_PROFILES", "").split(","))
    if len(profiles & {"cpu", "gpu"}) != 1:
        found.append(f"COMPOSE_PROFILES={','.join(sorted(profiles))}: expected cpu or gpu, one of them; it serves t4.")
    is_clustered = env.get("SPARK_MASTER", "").startswith("spark://spark-master:")
    if ("cluster" in profiles) != is_clustered:
        found.append(
            f"SPARK_MASTER={env.get('SPARK_MASTER')}: expected spark://spark-master:7077 with the profile cluster, "
            "another master without it."
        )
    if not os.access(lakes, os.W_OK):
        found.append(f"{lakes} cannot be written. If LAKES is a folder of this machine: chown {os.getuid()} it.")
    return found


def prepare(env: Mapping[str, str]) -> None:
    """Tables, pools and user; each is left as it is when it is there."""
    airflow("db", "migrate")
    for pool, (variable, meaning) in POOLS.items():
        airflow("pools", "set", pool, env[variable] if variable else "1", meaning)
    make_user(env["AIRFLOW_ADMIN_PASSWORD"])


def make_user(password: str) -> None:
    """The first user. The password is answered to the prompt: arguments are seen by every `ps`."""
    words = ["--username", USER, "--role", "Admin", "--firstname", "A", "--lastname", "B", "--email", "admin@localhost"]
    airflow("users", "create", *words, answers=f"{password}\n{password}\n")


def airflow(*words: str, answers: str = "") -> None:
    """Run an Airflow command. Raises CalledProcessError."""
    log.info("airflow %s", " ".join(words[:3]))
    # Without a terminal of its own session the prompt reads what it is given.
    subprocess.run(
        [sys.executable, "-m", "airflow", *words], input=answers, text=True, check=True, start_new_session=True
    )


def main() -> int:
    """Check, then prepare."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    found = complaints(os.environ, Path(os.environ["LAKE"]).parent)
    for sentence in found:
        log.error("%s", sentence)
    if found:
        return EXIT_USAGE
    prepare(os.environ)
    return 0


if __name__ == "__main__":
    sys.exit(main())
