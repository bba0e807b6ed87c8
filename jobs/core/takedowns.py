"""Papers that their owners want out: who they are, and how they enter the keys of what must be made without them.

One part, written by `prune --paper`, read like any input. A window's papers count only those that its parts held, so
the other windows keep their keys.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts, Input, make_key

log = logging.getLogger(__name__)

DATASET, PART = "takedowns", "owner"
VERSION = 1

Row = dict[str, Any]


def taken_down(lake: Lake) -> frozenset[str]:
    """Ids of the papers that are taken down now."""
    return frozenset(row["paper_id"] for row in _rows(lake))


def of_task(task: PartTask) -> frozenset[str]:
    """Ids of the papers that were taken down when the task was planned; none if that is no input of it."""
    part = task.read_parts.get(DATASET)
    return frozenset(row["paper_id"] for row in part.rows(["paper_id"])) if part else frozenset()


def inputs_of(lake: Lake) -> list[tuple[Input, Part | None]]:
    """All takedowns as an input of what looks at everything; nothing as long as there are none."""
    found = lake.current(DATASET, PART)
    return [(found.as_input, found)] if found is not None and found.manifest.rows else []


def input_of_window(lake: Lake, window: str) -> tuple[Input, Part | None]:
    """The takedowns as an input of a window: its digest is over those that the window held alone."""
    found = lake.current(DATASET, PART)
    mine = [row for row in found.rows() if window in row["windows"]] if found else []
    if not mine:
        return Input(DATASET, PART, tables.EMPTY_DIGEST), None
    assert found is not None
    about = DATASETS[DATASET]
    digest = tables.digest_of(tables.row_hashes(about, tables.make_table(about, mine)))
    return Input(DATASET, PART, digest, found.manifest.key), found


def add(lake: Lake, windows_of: Mapping[str, Iterable[str]], why: str | None) -> None:
    """Take papers down: id -> windows that hold it. One that is down already keeps its day, and gets further windows.

    Raises LockedError and SupersededError as every writer does.
    """
    known = {row["paper_id"]: row for row in _rows(lake)}
    now = dt.datetime.now(dt.UTC)
    for paper_id, windows in windows_of.items():
        row = known.get(paper_id, {"paper_id": paper_id, "taken_down_at": now, "why": why, "windows": []})
        known[paper_id] = row | {"windows": sorted({*row["windows"], *windows})}
    rows = [known[paper_id] for paper_id in sorted(known)]
    if rows == _rows(lake):
        return
    publish(lake, DATASET, rows)


def publish(lake: Lake, dataset: str, rows: list[Row]) -> None:
    """Publish the whole of a dataset that commands write: its one part is named by all that its rows say."""
    about = DATASETS[dataset]
    table = tables.make_table(about, rows)
    seen_key = lake.current_key(dataset, PART)
    said = [{name: str(row[name]) for name in about.columns} for row in rows]
    key = make_key(dataset, VERSION, {"rows": said}, ())
    task = PartTask(dataset, VERSION, dataset, PART, key, (), {}, {}, "to do", "a command was given", seen_key)
    with lake.attempt(task) as attempt:
        written = tables.write_rows(attempt.folder / tables.ROWS_FILE, about, [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=written.n_rows, digest=written.digest)


def _rows(lake: Lake) -> list[Row]:
    found = lake.current(DATASET, PART)
    return sorted(found.rows(), key=lambda row: str(row["paper_id"])) if found else []
