"""Papers that their owners want out: who they are, and how they enter the keys of what must be made without them.

Written by `prune --paper`, read like any input. A window's papers count only those that its parts held, so the other
windows keep their keys.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

from jobs.core import owned, tables
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Input

DATASET, PART = "takedowns", owned.PART


def taken_down(lake: Lake) -> frozenset[str]:
    """Ids of the papers that are taken down now."""
    return frozenset(row["paper_id"] for row in owned.rows_of(lake, DATASET))


def of_task(task: PartTask) -> frozenset[str]:
    """Ids of the papers that were taken down when the task was planned; none if that is no input of it."""
    return frozenset(row["paper_id"] for row in owned.rows_of_task(task, DATASET))


def inputs_of(lake: Lake) -> list[tuple[Input, Part | None]]:
    """All takedowns as an input of what looks at everything; nothing as long as there are none."""
    return owned.inputs_of(lake, DATASET)


def input_of_window(lake: Lake, window: str) -> tuple[Input, Part | None]:
    """The takedowns as an input of a window: its digest is over those that the window held alone."""
    found = lake.current(DATASET, PART)
    mine = [row for row in found.rows() if window in row["windows"]] if found else []
    if found is None or not mine:
        return Input(DATASET, PART, tables.EMPTY_DIGEST), None
    about = DATASETS[DATASET]
    digest = tables.digest_of(tables.row_hashes(about, tables.make_table(about, mine)))
    return Input(DATASET, PART, digest, found.manifest.key), found


def add(lake: Lake, windows_of: Mapping[str, Iterable[str]], why: str | None) -> None:
    """Take papers down: id -> windows that hold it. One that is down already keeps its day and gets more windows."""
    known = {row["paper_id"]: row for row in owned.rows_of(lake, DATASET)}
    now = dt.datetime.now(dt.UTC)
    for paper_id, windows in windows_of.items():
        row = known.get(paper_id, {"paper_id": paper_id, "taken_down_at": now, "why": why, "windows": []})
        known[paper_id] = row | {"windows": sorted({*row["windows"], *windows})}
    owned.publish(lake, DATASET, list(known.values()))
