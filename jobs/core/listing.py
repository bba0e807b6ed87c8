"""What lies in a lake's folders beside what CURRENT names: parts that were begun, attempts, work, PDFs.

Of a lake on a store they show it after `Disk.refresh`.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from jobs.core import durable
from jobs.core.errors import IntegrityError
from jobs.core.lake import Lake, Part
from jobs.core.manifest import CURRENT_FILE, KEY_LENGTH, LOCK_FILE

ATTEMPTS = "_attempts"
_KEY_FOLDER = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


def begun_parts(lake: Lake, dataset: str) -> list[str]:
    """Parts that were ever begun, published or not: every writer leaves its lock's file."""
    root = lake.root / dataset
    patterns = (f"{depth}/{name}" for depth in ("*", "*/*") for name in (LOCK_FILE, CURRENT_FILE))
    return sorted({path.parent.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)})


def is_held(lake: Lake, dataset: str, name: str) -> bool:
    """Whether somebody writes the part now."""
    return durable.is_locked(lake.part_folder(dataset, name) / LOCK_FILE)


def key_folders(folder: Path) -> list[Path]:
    """The folders of a part that are named by a key, whole or not."""
    return [path for path in entries(folder) if _KEY_FOLDER.fullmatch(path.name) and path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing if it is not there."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def files(path: Path) -> list[Path]:
    """The file itself, or all files below a folder; none if it is not there."""
    return [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())


def pdf_rows(part: Part) -> list[dict[str, Any]]:
    """What a part of pdfs says of the files that it names. Raises IntegrityError if one lies outside."""
    rows = [row for row in part.rows(["paper_id", "path", "sha256", "size_bytes"]) if row["path"] is not None]
    for row in rows:
        path = PurePosixPath(row["path"])
        if path.is_absolute() or ".." in path.parts:
            raise IntegrityError(f"{part.folder} names the file {path}. Expected a path below pdfs/_files.")
    return rows
