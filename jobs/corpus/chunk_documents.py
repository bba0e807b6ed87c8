"""Cut documents into passages of about 1,000 characters that the embedder can read whole; mark those of little worth.

Reads documents. Writes chunks. Fails with ContractError if a chunk is over the embedder's token limit.
Run: python -m jobs chunk_documents --window 2024-01-01_2024-01-08 --profile demo
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.core import spark, tables
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition
from jobs.core.disk import Disk
from jobs.core.lake import Attempt, Lake, PartTask
from jobs.core.manifest import Counts
from jobs.core.mirror import disk_at, here
from jobs.core.part import file_here
from jobs.corpus import batches

if TYPE_CHECKING:
    import pyarrow

    from jobs.corpus.chunker import Chunk
    from jobs.corpus.token_counter import TokenCounter

log = logging.getLogger(__name__)

VERSION = 2  # 2: `low_value`


@dataclass(frozen=True)
class Config:
    """Settings of this stage; the size of a chunk and the embedder are in the lake's definition."""

    min_chunk_chars: int = setting(200, "a shorter piece is joined to its neighbour", affects_rows=True)
    min_yield_01: float = setting(0.5, "share of what was read that must be kept, else the stage fails")


@dataclass(frozen=True)
class Cut:
    """How documents are cut, as the workers need it."""

    definition: Definition
    min_chunk_chars: int


@dataclass(frozen=True)
class RowGroup:
    """Some documents of a window, and those of them that are to be cut; where their chunks go.

    Places are named as by `Disk.spelled`.
    """

    work: str
    path: str
    number: int
    wanted: frozenset[tuple[str, int]]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Take over the chunks of unchanged documents, cut the others in Spark's workers, publish each window."""
    with contextlib.ExitStack() as stack:
        attempts = [stack.enter_context(lake.attempt(task)) for task in tasks]
        taken = [_take_over(attempt) for attempt in attempts]
        groups = [group for one, rows in zip(attempts, taken, strict=True) for group in _row_groups(one, rows)]
        if groups:
            _cut_in_spark(lake.disk, Cut(lake.definition, config.min_chunk_chars), groups)
        for attempt, rows in zip(attempts, taken, strict=True):
            attempt.gather()
            _write(attempt, rows, 1 / len(tasks))


def _take_over(attempt: Attempt) -> pyarrow.Table:
    """Chunks of the previous part whose document has the same text and version."""
    dataset = DATASETS["chunks"]
    previous, task = attempt.previous, attempt.task
    made_alike = previous is not None and (
        previous.manifest.stage_version == task.stage_version and previous.manifest.settings == task.settings
    )
    if previous is None or not made_alike:
        return dataset.schema().empty_table()
    there = {(row["paper_id"], row["version"], row["text_hash"]) for row in _documents(task)}
    rows = [row for row in previous.rows() if (row["paper_id"], row["version"], row["document_hash"]) in there]
    return tables.make_table(dataset, rows)


def _documents(task: PartTask) -> list[dict[str, Any]]:
    columns = ["paper_id", "version", "status", "text_hash"]
    return [row for row in task.part_of("documents").rows(columns) if row["status"] == "ok"]


def _row_groups(attempt: Attempt, taken: pyarrow.Table) -> Iterator[RowGroup]:
    import pyarrow.parquet as pq

    done = _papers_of(taken).union(
        *(_papers_of(table) for table in batches.read_all(attempt.work, ["paper_id", "version"]))
    )
    wanted = frozenset({(row["paper_id"], row["version"]) for row in _documents(attempt.task)} - done)
    if not wanted:
        return
    path = attempt.task.part_of("documents").file(tables.ROWS_FILE)
    disk = disk_at(path)
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield RowGroup(disk.spelled(attempt.work), disk.spelled(path), number, wanted)


def _papers_of(table: pyarrow.Table) -> set[tuple[str, int]]:
    return set(zip(table["paper_id"].to_pylist(), table["version"].to_pylist(), strict=True))


def _cut_in_spark(disk: Disk, cut: Cut, groups: list[RowGroup]) -> None:
    with spark.running(disk) as context:
        context.parallelize(groups, len(groups)).foreachPartition(partial(_cut_groups, cut))


def _cut_groups(cut: Cut, groups: Iterable[RowGroup]) -> None:
    """In a worker: cut documents; all chunks of one document go into one batch, so a batch never holds half of one."""
    import pyarrow.parquet as pq

    from jobs.corpus.token_counter import load_token_counter

    counter = load_token_counter(cut.definition.embedder)
    for group in groups:
        with pq.ParquetFile(file_here(group.path), page_checksum_verification=True) as file:
            documents = file.read_row_group(group.number).to_pylist()
        wanted = [row for row in documents if (row["paper_id"], row["version"]) in group.wanted]
        rows = [row for document in wanted for row in _chunk_rows(cut, document, counter)]
        if rows:
            table = tables.make_table(DATASETS["chunks"], rows)
            batches.write_batch(here(group.work), table)


def _chunk_rows(cut: Cut, document: dict[str, Any], counter: TokenCounter) -> list[dict[str, Any]]:
    from jobs.corpus.worth import low_values

    chunks = _chunks(cut, document, counter)
    return [
        {
            "chunk_id": f"{document['paper_id']}v{document['version']}#{chunk.ordinal}",
            "paper_id": document["paper_id"],
            "version": document["version"],
            "text": chunk.text,
            "start": chunk.start,
            "end": chunk.end,
            "section_path": list(chunk.section_path),
            "kind": chunk.kind,
            "page_first": chunk.page_first,
            "page_last": chunk.page_last,
            "n_tokens": chunk.n_tokens,
            "text_hash": hashlib.sha256(chunk.text.encode()).hexdigest(),
            "document_hash": document["text_hash"],
            "low_value": low_value,
        }
        for chunk, low_value in zip(chunks, low_values(chunks), strict=True)
    ]


def _chunks(cut: Cut, document: dict[str, Any], counter: TokenCounter) -> list[Chunk]:
    from jobs.corpus import chunker

    about = cut.definition
    if about.chunking == "plain":
        return chunker.plain_chunks(document["text"], document["pages"], about.chunk_chars, counter)
    return chunker.chunk_document(
        document["text"],
        document["sections"],
        document["blocks"],
        document["pages"],
        chunk_chars=about.chunk_chars,
        max_tokens=counter.max_tokens,
        min_chunk_chars=cut.min_chunk_chars,
        counter=counter,
    )


def _write(attempt: Attempt, taken: pyarrow.Table, share_01: float) -> None:
    """All chunks of the window into one file; documents that gave none are counted, and chunks that are marked."""
    dataset = DATASETS["chunks"]
    path = attempt.folder / tables.ROWS_FILE
    written = tables.write_rows(path, dataset, (taken, *batches.read_once(attempt.work, dataset)))
    rows = tables.read_table(path, ["paper_id", "version", "low_value"])
    marked = Counter(mark for mark in rows["low_value"].to_pylist() if mark)
    n_cut = len(_papers_of(rows))
    n_documents = len(_documents(attempt.task))
    n_rejected = attempt.task.part_of("documents").manifest.rows - n_documents
    counts = Counts.of(dataset, n_cut, {"no_chunk": n_documents - n_cut, "rejected_document": n_rejected})
    attempt.finish(
        counts,
        rows=written.n_rows,
        digest=written.digest,
        taken_over=taken.num_rows,
        share_01=share_01,
        extra={"low_value": dict(sorted(marked.items()))},
    )
