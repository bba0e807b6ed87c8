"""Whether a container does its work, as its health check: exit 0, or a sentence on stderr and exit 1.

Run: python docker/health.py http URL | airflow COMPONENT URL | celery NODE
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

TIMEOUT_S = 8
BROKER_VARIABLE = "AIRFLOW__CELERY__BROKER_URL"


def fetch(url: str) -> bytes:
    """The body of an answer 200. Raises OSError (urllib's errors are kinds of it)."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  addresses from docker-compose.yaml
        return bytes(answer.read())


def component_state(name: str, url: str) -> str:
    """What Airflow's API server says of a component: `healthy`, or something else. Costs no start of Airflow."""
    return str(json.loads(fetch(url)).get(name, {}).get("status"))


def worker_answers(broker: str, node: str) -> bool:
    """Whether a Celery worker answers over the broker."""
    from celery import Celery

    return bool(Celery(broker=broker).control.ping(destination=[node], timeout=TIMEOUT_S))


def trouble(words: list[str]) -> str | None:
    """What is wrong, or None."""
    if words[0] == "http":
        fetch(words[1])
    elif words[0] == "airflow" and (state := component_state(*words[1:])) != "healthy":
        return f"{words[1]} is {state}"
    elif words[0] == "celery" and not worker_answers(os.environ[BROKER_VARIABLE], words[1]):
        return f"{words[1]} does not answer"
    return None


if __name__ == "__main__":
    try:
        sys.exit(trouble(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"{' '.join(sys.argv[1:])}: {error}")
