"""Rows that Spark's workers finish, kept batch by batch in a part's _work folder, so that a kill costs one batch.

A batch is a Parquet file named by its number of rows; it is renamed into place when it is whole. The next attempt with
the same key finds the batches and does only what they do not hold.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jobs.core import durable, tables
from jobs.core.contracts import Dataset
from jobs.core.errors import TryAgainError
from jobs.core.mirror import disk_at
from jobs.core.progress import INTERVAL_S, Progress

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

MAX_ROWS = 32
MAX_BYTES = 8 << 20


class BatchWriter:
    """Collects rows and writes them as batches of at most 32 rows or about 8 MB; a context manager."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self._folder = folder
        self._dataset = dataset
        self._rows: list[dict[str, Any]] = []
        self._n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.flush()

    def add(self, row: dict[str, Any], n_bytes: int) -> None:
        """Keep a row of about `n_bytes`; writes a batch if it is full."""
        self._rows.append(row)
        self._n_bytes += n_bytes
        if len(self._rows) >= MAX_ROWS or self._n_bytes >= MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected, if anything."""
        if not self._rows:
            return
        write_batch(self._folder, tables.make_table(self._dataset, self._rows))
        self._rows, self._n_bytes = [], 0


def write_batch(folder: Path, table: pyarrow.Table) -> None:
    """Write one batch; it is visible when it is whole and on disk."""
    durable.make_dirs(folder)  # an executor of another machine comes here first
    unfinished = folder / f".{uuid.uuid4().hex}.tmp"
    tables.write_tables(unfinished, table.schema, [table])
    path = folder / f"{table.num_rows:06d}-{uuid.uuid4().hex}.parquet"
    durable.move_file(unfinished, path)
    disk_at(folder).push(path)


def batch_files(folder: Path) -> list[Path]:
    """The finished batches of a _work folder, in order of name."""
    return sorted(folder.glob("*.parquet"))


def read_all(folder: Path, columns: list[str] | None = None) -> Iterator[pyarrow.Table]:
    """The rows of all finished batches."""
    for path in batch_files(folder):
        yield tables.read_table(path, columns)


def read_once(folder: Path, dataset: Dataset) -> Iterator[pyarrow.Table]:
    """The rows of all finished batches, each key once: two machines that work at one time may both have made a row."""
    seen: set[tuple[Any, ...]] = set()
    for table in read_all(folder):
        keys = list(zip(*(table[name].to_pylist() for name in dataset.key), strict=True))
        is_new = [key not in seen for key in keys]
        seen.update(keys)
        yield table if all(is_new) else table.filter(is_new)


class Watch:
    """Logs, while Spark works, how many rows the batches in some folders hold by now; a context manager."""

    def __init__(self, what: str, folders: list[Path], total: int) -> None:
        self._folders = folders
        self._before = self._count()
        self._progress = Progress(what, total)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()
        if kind is None:
            self._progress.done = self._count() - self._before
            self._progress.log()

    def _look(self) -> None:
        while not self._is_over.wait(INTERVAL_S):
            try:
                self._progress.done = self._count() - self._before
            except TryAgainError as error:
                log.warning("the batches cannot be counted now: %s", error)
                continue
            self._progress.log()

    def _count(self) -> int:
        """Also what executors of other machines have put on the store by now."""
        there = (file.path for folder in self._folders for file in disk_at(folder).files(folder))
        return sum(int(path.name.split("-")[0]) for path in there if path.suffix == ".parquet")
