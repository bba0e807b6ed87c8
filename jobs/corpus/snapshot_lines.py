"""What the lines of a snapshot are together: their digest, and how new they are."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from pathlib import Path

from jobs.core.tables import SetDigest

_KEY = b'"update_date"'
_DAY = re.compile(rb'"update_date": ?"([0-9]{4}-[0-9]{2}-[0-9]{2})"')


def digest(path: Path) -> tuple[SetDigest, dt.date | None]:
    """The digest of a file's lines, blank ones apart, whatever their order; and the latest `update_date` in them."""
    lines = SetDigest()
    days: set[bytes] = set()
    with path.open("rb") as file:
        for line in file:
            if stripped := line.strip():
                lines.add(hashlib.sha256(stripped).digest())
                # From the end: Kaggle has the key there, and an abstract may hold anything.
                if match := _DAY.match(stripped, max(0, stripped.rfind(_KEY))):
                    days.add(match[1])
    return lines, max(filter(None, map(_parsed, days)), default=None)


def _parsed(day: bytes) -> dt.date | None:
    try:
        return dt.date.fromisoformat(day.decode())
    except ValueError:
        return None
