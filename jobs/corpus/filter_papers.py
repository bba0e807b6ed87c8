"""Pick the papers of the windows from the snapshots, in one scan for all windows asked.

Reads snapshots (and takedowns). Writes papers. Fails with ContractError if too many lines cannot be read.
Run: python -m jobs filter_papers --from 2024-01-01 --to 2024-01-31 --categories "cs.LG cs.CL"
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobs.core import spark, tables, takedowns
from jobs.core.config import setting
from jobs.core.contracts import DATASETS, rejects_schema
from jobs.core.definition import SOURCE_PARTS
from jobs.core.disk import Disk
from jobs.core.errors import ContractError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.mirror import disk_at
from jobs.core.part import file_here
from jobs.core.windows import parse_window
from jobs.corpus import snapshot
from jobs.corpus.selection import Selection, select
from jobs.corpus.snapshot import ScanResult, WindowScan

log = logging.getLogger(__name__)

VERSION = 1
SNAPSHOT_FILE = DATASETS["snapshots"].files[0]
TASKS_PER_CORE = 4  # enough that no core waits long for another; each more costs up to 0.07 CPU-seconds
ALWAYS_ALLOWED_LINES = 10  # so that a small file may have a bad line


@dataclass(frozen=True)
class Config:
    """Settings of this stage."""

    max_papers_per_window: int = setting(
        0, "papers of a window at most, in order of id hash; 0: all", affects_rows=True
    )
    max_malformed_01: float = setting(0.01, "share of a snapshot's lines that may be unreadable (ten always may)")


def inputs(lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
    """The snapshots of the lake's source, and the takedowns of papers that the window held."""
    names = SOURCE_PARTS[lake.lake_file.source.kind]
    found = [lake.input_of("snapshots", name) for name in names]
    return [*found, takedowns.input_of_window(lake, part)]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Scan the snapshots once by byte ranges, then write each window's papers."""
    windows = tuple(parse_window(task.part, lake.definition.grid) for task in tasks)
    read = [lake.published(one.dataset, one.part, one.key) for one in tasks[0].inputs if one.key]
    sources = [part for part in read if part.manifest.dataset == "snapshots"]
    taken_down = takedowns.taken_down(lake)  # also those that no window held: a new record may move a paper
    with contextlib.ExitStack() as stack:
        attempts = [stack.enter_context(lake.attempt(task)) for task in tasks]
        found = _scan(lake.disk, sources, select(lake.definition, windows))
        _check_malformed(found, config.max_malformed_01)
        extra = {"snapshot_lines": found.n_lines}
        for window, attempt in zip(windows, attempts, strict=True):
            scan = found.windows.get(window.name, WindowScan())
            _write(scan, taken_down, attempt, config, share_01=1 / len(tasks), extra=extra)


def _scan(disk: Disk, sources: list[Part], selection: Selection) -> ScanResult:
    """All ranges of all snapshots, by Spark; rows come back to the driver, where the newest record of each wins."""
    size_bytes = sum(_size_bytes(part) for part in sources)
    if not size_bytes:
        return ScanResult({})
    with spark.running(disk) as context:
        range_bytes = max(snapshot.RANGE_BYTES, size_bytes // (TASKS_PER_CORE * context.defaultParallelism) + 1)
        ranges = [
            (disk_at(part.folder).spelled(part.file(SNAPSHOT_FILE, by_size=True)), start, end, part.manifest.part)
            for part in sources
            for start, end in snapshot.byte_ranges(_size_bytes(part), range_bytes)
        ]
        scanned = context.parallelize(ranges, len(ranges)).mapPartitions(partial(_scan_ranges, selection)).collect()
    return snapshot.merged(scanned)


def _size_bytes(part: Part) -> int:
    size_bytes: int = part.manifest.files[SNAPSHOT_FILE]["bytes"]
    return size_bytes


def _scan_ranges(selection: Selection, ranges: Iterable[tuple[str, int, int, str]]) -> Iterable[ScanResult]:
    for path, start, end, source in ranges:
        yield snapshot.scan_range(file_here(path), start, end, selection, source)


def _check_malformed(found: ScanResult, max_malformed_01: float) -> None:
    """Raise ContractError if the snapshot is mostly not what it should be: then nothing is published."""
    bad = {(reject["source"], reject["offset"]) for scan in found.windows.values() for reject in scan.rejects}
    allowed = max(ALWAYS_ALLOWED_LINES, int(max_malformed_01 * found.n_lines))
    if len(bad) > allowed:
        raise ContractError(
            f"{len(bad)} of {found.n_lines} lines cannot be read, {allowed} are allowed. Expected one JSON object a "
            "line in the form of Kaggle's arXiv file. Look at the file, or raise --max-malformed-01."
        )


def _write(scan: WindowScan, taken_down: frozenset[str], attempt: Attempt, config: Config, **told: Any) -> None:
    dataset = DATASETS["papers"]
    papers, ids = scan.papers, scan.papers.columns["paper_id"]
    newest = papers.newest()
    allowed = [i for i in newest if ids[i] not in taken_down]
    kept = papers.capped(allowed, config.max_papers_per_window)
    refused = Counter(scan.dropped)
    refused["superseded"] += len(papers) - len(newest)
    refused["taken_down"] += len(newest) - len(allowed)
    refused["over_cap"] += len(allowed) - len(kept)
    table = tables.table_of_columns(dataset, papers.take(kept).columns)
    written = tables.write_rows(attempt.folder / tables.ROWS_FILE, dataset, [table])
    _write_rejects(scan, attempt)
    counts = Counts.of(dataset, len(kept), refused)
    attempt.finish(counts, rows=written.n_rows, digest=written.digest, **told)


def _write_rejects(scan: WindowScan, attempt: Attempt) -> None:
    import pyarrow as pa

    rejects = sorted(scan.rejects, key=lambda reject: (reject["source"], reject["offset"]))
    table = pa.Table.from_pylist(list(rejects), schema=rejects_schema())
    tables.write_tables(attempt.folder / "rejects.parquet", table.schema, [table])
