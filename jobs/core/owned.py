"""Datasets that the lake's owner fills by commands: one part, published whole, an input like any other."""

from __future__ import annotations

from typing import Any

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts, Input, make_key

PART = "owner"
VERSION = 1

Row = dict[str, Any]


def rows_of(lake: Lake, dataset: str) -> list[Row]:
    """The rows of the dataset, by key; none if it was never made."""
    found = lake.current(dataset, PART)
    name = DATASETS[dataset].key[0]
    return sorted(found.rows(), key=lambda row: str(row[name])) if found else []


def rows_of_task(task: PartTask, dataset: str) -> list[Row]:
    """The rows that the task was planned with; none if the dataset is no input of it."""
    part = task.read_parts.get(dataset)
    return part.rows() if part else []


def inputs_of(lake: Lake, dataset: str) -> list[tuple[Input, Part | None]]:
    """The whole dataset as an input; nothing as long as it has no rows, so that keys stay what they were."""
    found = lake.current(dataset, PART)
    return [(found.as_input, found)] if found is not None and found.manifest.rows else []


def publish(lake: Lake, dataset: str, rows: list[Row]) -> None:
    """Publish the whole dataset, if it says anything else than before. Its key is over all that the rows say.

    Raises LockedError and SupersededError as every writer does.
    """
    about = DATASETS[dataset]
    rows = sorted(rows, key=lambda row: str(row[about.key[0]]))
    if rows == rows_of(lake, dataset):
        return
    seen_key = lake.current_key(dataset, PART)
    said = [{name: str(row[name]) for name in about.columns} for row in rows]
    key = make_key(dataset, VERSION, {"rows": said}, ())
    task = PartTask(dataset, VERSION, dataset, PART, key, (), {}, {}, "to do", "a command was given", seen_key)
    with lake.attempt(task) as attempt:
        table = tables.make_table(about, rows)
        written = tables.write_rows(attempt.folder / tables.ROWS_FILE, about, [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=written.n_rows, digest=written.digest)
