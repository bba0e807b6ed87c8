"""The owner's account at Kaggle, looked for where the official client looks, and never shown.

Read here and not by the `kaggle` package: that one signs in over the network when it is imported, and what it raises
for a token that is no file name, or prints where VERBOSE is set, holds the token (docs/decisions).
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from jobs.core.errors import UsageError

_ADVICE = (
    "Make a token at https://www.kaggle.com/settings and give it as KAGGLE_API_TOKEN, or as KAGGLE_USERNAME with "
    "KAGGLE_KEY (in the environment, in ~/.kaggle/, or as Airflow's connection kaggle_default). Without an account: "
    "--source oai has recent weeks."
)


def authorization() -> str | None:
    """The Authorization header of the owner's account, None if there is no account.

    In order: KAGGLE_API_TOKEN (a token or a file that holds it), KAGGLE_KEY alone (a token too: a connection without a
    login), `access_token` beside kaggle.json, KAGGLE_USERNAME with KAGGLE_KEY, kaggle.json. Raises UsageError for a
    token that no header can hold.
    """
    token = _token()
    if token:
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise UsageError(f"Kaggle's token holds blanks or characters that no token has. {_ADVICE}")
        return f"Bearer {token}"
    pair = _pair()
    return f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}" if pair else None


def advice() -> str:
    """Where an account comes from, and what does without one."""
    return _ADVICE


def _token() -> str:
    alone = "" if os.environ.get("KAGGLE_USERNAME") else os.environ.get("KAGGLE_KEY", "")
    given = (os.environ.get("KAGGLE_API_TOKEN") or alone).strip()
    if given.startswith(("/", "~")):
        return _content(Path(given).expanduser())
    if given:
        return given
    return next(filter(None, (_content(folder / "access_token") for folder in _folders())), "")


def _pair() -> tuple[str, str] | None:
    name, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if name and key:
        return name, key
    for folder in _folders():
        content = _content(folder / "kaggle.json")
        if content:
            return _parse_pair(folder / "kaggle.json", content)
    return None


def _parse_pair(path: Path, content: str) -> tuple[str, str]:
    try:
        found = json.loads(content)
        return str(found["username"]), str(found["key"])
    except (ValueError, KeyError, TypeError):
        # The cause is left out: a decoding error quotes what it decoded.
        raise UsageError(f"{path} is not as Kaggle makes it: a JSON object with username and key. {_ADVICE}") from None


def _folders() -> list[Path]:
    """Where the official client keeps its files."""
    if named := os.environ.get("KAGGLE_CONFIG_DIR"):
        return [Path(named)]
    return [Path.home() / ".kaggle", Path.home() / ".config" / "kaggle"]


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
