"""Before a release becomes current: the app is asked to load it and to answer, or a process of its own tries it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from jobs.core.config import REPOSITORY
from jobs.core.errors import ContractError, TryAgainError, UsageError

log = logging.getLogger(__name__)


def check_address(url: str, token: str) -> None:
    """Raise UsageError if the app's address cannot be one, or the token is missing."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The app's address is {url!r}. Expected one such as http://127.0.0.1:7860 (APP_URL).")
    if not token:
        raise UsageError(
            f"The app at {url} wants a token to load a release, and APP_TOKEN is not set. Set it to the app's own, or "
            "unset APP_URL: then the app finds the release by itself."
        )


def ask_app(url: str, token: str, release_id: str, timeout_s: float) -> str:
    """Let the app load a release; what it answers to the release's question is returned.

    Raises ContractError if the app refuses the release (409), UsageError if it refuses us, TryAgainError if it cannot
    be reached.
    """
    import httpx

    address = f"{url.rstrip('/')}/admin/load"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        reply = httpx.post(address, json={"release_id": release_id}, headers=headers, timeout=timeout_s)
    except httpx.HTTPError as error:
        raise TryAgainError(
            f"The app at {url} cannot be reached ({error!r}). Nothing changed: the release is published, CURRENT names "
            "the one before. Start the app (python -m jobs serve_chat) and run this again."
        ) from error
    if reply.status_code == 200:
        answer: str = reply.json()["answer"]
        return answer
    return _refused(url, reply.status_code, reply.text, release_id)


def _refused(url: str, status: int, text: str, release_id: str) -> str:
    try:
        reason = str(json.loads(text)["detail"])
    except (ValueError, KeyError, TypeError):
        reason = text[:200]
    said = f"The app at {url} answers {status} to release {release_id}: {reason}"
    if status == 409:
        raise ContractError(f"{said} The release before it serves on.")
    if status >= 500 or status == 429:
        raise TryAgainError(said)
    raise UsageError(f"{said} Expected 200. Is it this project's app, with the same APP_TOKEN?")


def try_in_child(lake_root: Path, key: str, device: str, timeout_s: float) -> str:
    """Open a release in a process of its own and ask it its question; the answer is returned.

    What would kill or hang the app kills or hangs the child. Raises ContractError.
    """
    command = [sys.executable, "-m", "jobs.serving.self_check", str(lake_root.resolve()), key, device]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ContractError(
            f"Release {key[:12]} did not answer within {timeout_s:.0f} s in a process of its own."
        ) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["(it said nothing)"])[-1]
        raise ContractError(
            f"Release {key[:12]} does not answer (exit {done.returncode}): {last} CURRENT names the one before."
        )
    return done.stdout.strip()
