"""Runs `python -m jobs` as a user's shell does, and looks at lakes as strangers do: by their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

REPOSITORY = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("SPARK_ARXIV_CORPUS", REPOSITORY.parent / "shared" / "corpus"))


def jobs(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m jobs ARGS` to its end."""
    return subprocess.run(command(*args), env=environment(**env), capture_output=True, text=True, timeout=280)


def start_jobs(*args: str | Path) -> subprocess.Popen[str]:
    """Start `python -m jobs ARGS` in a process group of its own, so that a test can kill all of it."""
    return subprocess.Popen(
        command(*args), env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def command(*args: str | Path) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "jobs", *map(str, args)]


def environment(**env: str) -> dict[str, str]:
    """The test's environment without a lake of the person who runs it."""
    return {k: v for k, v in os.environ.items() if k != "LAKE"} | {"PYTHONPATH": str(REPOSITORY)} | env


def manifests(lake: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """part -> manifest of what CURRENT names."""
    found = {}
    for pointer in sorted((lake / dataset).glob("*/CURRENT")):
        folder = pointer.parent / pointer.read_text().strip()[:12]
        found[pointer.parent.name] = json.loads((folder / "_MANIFEST.json").read_bytes())
    return found


def rows(lake: Path, dataset: str) -> list[dict[str, Any]]:
    """All current rows of a dataset."""
    made = manifests(lake, dataset)
    folders = [lake / dataset / part / manifest["key"][:12] for part, manifest in made.items()]
    return [row for folder in folders for row in pq.read_table(folder / "rows.parquet", partitioning=None).to_pylist()]


def keys(lake: Path) -> dict[str, str]:
    """dataset/part -> (key, digest) of everything that is current: equal lakes have equal keys."""
    datasets = ("snapshots", "papers", "pdfs", "documents", "chunks")
    return {
        f"{dataset}/{part}": f"{made['key']} {made['digest']}"
        for dataset in datasets
        for part, made in manifests(lake, dataset).items()
    }


def leftovers(lake: Path) -> list[Path]:
    """Attempts and unfinished files that nobody needs any more."""
    return [*lake.glob("*/*/_attempts/*"), *lake.glob("*/*/_work/*"), *lake.rglob("*.tmp"), *lake.rglob("*.part")]
