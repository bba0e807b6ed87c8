"""Make .env from .env.example: every placeholder becomes a secret of its own. What .env has already stays.

Run: python3 docker/make_env.py (make up does). Any Python of 3.9 or newer; nothing else is needed.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def new_secret(placeholder: str) -> str:
    """A value for a placeholder of .env.example; any other value is returned as it is."""
    if placeholder == "<secret>":
        return secrets.token_urlsafe(32)
    if placeholder == "<fernet>":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return placeholder


def filled(template: str, known: set[str]) -> str:
    """The template with its secrets made and without the names that are known already."""
    lines = []
    for line in template.splitlines():
        name, is_setting, value = line.partition("=")
        if line.startswith("#") or not is_setting:
            lines += [line] if not known else []
        elif name not in known:
            lines.append(f"{name}={new_secret(value)}")
    return "".join(f"{line}\n" for line in lines)


def names_in(text: str) -> set[str]:
    """Names that a .env sets."""
    return {line.partition("=")[0] for line in text.splitlines() if "=" in line and not line.startswith("#")}


def make_env(folder: Path) -> Path:
    """Write or complete folder/.env, readable by its owner alone from its first byte on."""
    path = folder / ".env"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(fd, "r+", encoding="utf-8") as file:
        path.chmod(0o600)
        there = file.read()
        missing = filled((folder / ".env.example").read_text(encoding="utf-8"), names_in(there))
        file.write(missing if there.endswith("\n") or not there else f"\n{missing}")
    return path


if __name__ == "__main__":
    sys.stderr.write(f"settings and secrets: {make_env(REPOSITORY)}\n")
