"""Read the text of every PDF, isolated and cleaned; one row a PDF, with text or with the reason why there is none.

Reads papers and pdfs. Writes documents. Fails with IntegrityError if a stored PDF is not what its row says.
Run: python -m jobs extract_text --window 2024-01-01_2024-01-08 --lake lakes/mine
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.core import spark, tables
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.disk import Disk
from jobs.core.errors import IntegrityError, UsageError
from jobs.core.lake import Attempt, Lake, PartTask
from jobs.core.manifest import Counts
from jobs.core.mirror import disk_at, here
from jobs.corpus import arxiv, batches
from jobs.corpus.cleaning import STEPS
from jobs.corpus.pdf import Extraction, Limits, PdfReader

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

VERSION = 4
PRUNES_AFTER = "pdfs"
BUCKETS_A_CORE = 4  # the last bucket to end is then at most a quarter of a core's work


@dataclass(frozen=True)
class Config:
    """Settings of this stage. Limits decide which PDFs are refused, so they are part of the key."""

    max_pdf_mb: int = setting(Limits.max_pdf_mb, "largest PDF in MB that is read", affects_rows=True)
    max_pages: int = setting(Limits.max_pages, "most pages of a PDF that is read", affects_rows=True)
    max_text_chars: int = setting(Limits.max_text_chars, "longest text of a PDF that is kept", affects_rows=True)
    pdf_timeout_s: float = setting(Limits.timeout_s, "seconds that reading one PDF may take", affects_rows=True)
    pdf_cpu_s: int = setting(Limits.cpu_s, "CPU-seconds that reading one PDF may take", affects_rows=True)
    pdf_memory_mb: int = setting(Limits.memory_mb, "memory in MB that reading one PDF may need", affects_rows=True)
    cleaning_off: tuple[str, ...] = setting((), f"cleaning steps to leave out: {', '.join(STEPS)}", affects_rows=True)
    min_yield_01: float = setting(0.5, "share of what was read that must be kept, else the stage fails")


@dataclass(frozen=True)
class PdfToRead:
    """A PDF that a worker reads, and where its row goes: places as `Disk.spelled` names them."""

    work: str
    paper_id: str
    version: int
    pdf_version: int | None
    path: str
    sha256: str
    size_bytes: int


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Take over what is unchanged, read the rest in Spark's workers, publish each window."""
    if unknown := sorted(set(config.cleaning_off) - set(STEPS)):
        raise UsageError(f"cleaning_off has {', '.join(unknown)}. Expected some of: {', '.join(STEPS)}.")
    with contextlib.ExitStack() as stack:
        attempts = [stack.enter_context(lake.attempt(task)) for task in tasks]
        taken = [_take_over(config, attempt) for attempt in attempts]
        to_read = [
            pdf for attempt, rows in zip(attempts, taken, strict=True) for pdf in _to_read(lake, attempt, _hashes(rows))
        ]
        if to_read:
            _read_in_spark(lake.disk, partial(_read_bucket, _limits(config), config.cleaning_off), to_read)
        for attempt, rows in zip(attempts, taken, strict=True):
            attempt.gather()
            _write(attempt, rows, 1 / len(tasks))


def _limits(config: Config) -> Limits:
    return Limits(
        max_pdf_mb=config.max_pdf_mb,
        max_pages=config.max_pages,
        max_text_chars=config.max_text_chars,
        timeout_s=config.pdf_timeout_s,
        cpu_s=config.pdf_cpu_s,
        memory_mb=config.pdf_memory_mb,
    )


def _take_over(config: Config, attempt: Attempt) -> pyarrow.Table:
    """Rows of the previous part whose PDF is the same. Texts stand under changed limits if they are within them."""
    dataset = DATASETS["documents"]
    previous = attempt.previous
    if previous is None or previous.manifest.stage_version != attempt.task.stage_version:
        return dataset.schema().empty_table()
    pdfs = {(row["paper_id"], row["version"]): row for row in _pdf_rows(attempt.task)}
    before, now = previous.manifest.settings, attempt.task.settings
    if list(before["cleaning_off"]) != list(now["cleaning_off"]):
        return dataset.schema().empty_table()
    is_same_config = before == now

    def stands(row: dict[str, Any]) -> bool:
        pdf = pdfs.get((row["paper_id"], row["version"]))
        if pdf is None or pdf["sha256"] != row["pdf_sha256"]:
            return False
        if is_same_config or row["status"] != "ok":
            return is_same_config
        is_small = pdf["size_bytes"] <= config.max_pdf_mb * 2**20 and row["n_pages"] <= config.max_pages
        return is_small and len(row["text"]) <= config.max_text_chars

    return tables.make_table(dataset, [row for row in previous.rows() if stands(row)])


def _pdf_rows(task: PartTask) -> list[dict[str, Any]]:
    """The PDFs that came, of papers that are still in the window."""
    papers = {(row["paper_id"], row["version"]) for row in task.part_of("papers").rows(["paper_id", "version"])}
    rows = task.part_of("pdfs").rows()
    return [row for row in rows if row["status"] == "ok" and (row["paper_id"], row["version"]) in papers]


def _hashes(rows: pyarrow.Table) -> set[tuple[str, str]]:
    return set(zip(rows["paper_id"].to_pylist(), rows["pdf_sha256"].to_pylist(), strict=True))


def _to_read(lake: Lake, attempt: Attempt, done: set[tuple[str, str]]) -> Iterator[PdfToRead]:
    done = done.union(*(_hashes(table) for table in batches.read_all(attempt.work, ["paper_id", "pdf_sha256"])))
    files, work = lake.pdf_files, lake.disk.spelled(attempt.work)
    for row in _pdf_rows(attempt.task):
        if (row["paper_id"], row["sha256"]) not in done:
            yield PdfToRead(
                work=work,
                paper_id=row["paper_id"],
                version=row["version"],
                pdf_version=row["pdf_version"],
                path=lake.disk.spelled(files / row["path"]),
                sha256=row["sha256"],
                size_bytes=row["size_bytes"],
            )


def _read_in_spark(disk: Disk, read_bucket: Callable[[list[PdfToRead]], list[str]], to_read: list[PdfToRead]) -> None:
    """Raises IntegrityError if a stored PDF changed."""
    folders = sorted({here(pdf.work) for pdf in to_read})
    with spark.running(disk) as context, batches.Watch("pdfs", folders, len(to_read)):
        buckets = deal(to_read, BUCKETS_A_CORE * context.defaultParallelism)
        problems = context.parallelize(buckets, len(buckets)).flatMap(read_bucket).collect()
    if problems:
        raise IntegrityError(" ".join(problems))


def deal(pdfs: list[PdfToRead], n: int) -> list[list[PdfToRead]]:
    """At most `n` buckets of about equal bytes: the largest first, each to the emptiest bucket (Graham 1969, LPT)."""
    n = min(n, len(pdfs))
    buckets: list[list[PdfToRead]] = [[] for _ in range(n)]
    loads = [(0, number) for number in range(n)]
    for pdf in sorted(pdfs, key=lambda pdf: (-pdf.size_bytes, pdf.paper_id)):
        load, number = heapq.heappop(loads)
        buckets[number].append(pdf)
        heapq.heappush(loads, (load + pdf.size_bytes, number))
    return buckets


def _read_bucket(limits: Limits, without: tuple[str, ...], bucket: Iterable[PdfToRead]) -> list[str]:
    """In a worker: read PDFs one after the other; what is wrong with the store is returned, not raised into Spark."""
    problems = []
    with PdfReader(limits, without=without) as reader, contextlib.ExitStack() as stack:
        writers: dict[str, batches.BatchWriter] = {}
        for pdf in bucket:
            path = here(pdf.path)
            try:
                disk_at(path).fetch(path, pdf.size_bytes, pdf.sha256)
            except IntegrityError as error:
                problems.append(str(error))
                continue
            row = _to_row(pdf, reader.read(path))
            if pdf.work not in writers:
                writers[pdf.work] = stack.enter_context(batches.BatchWriter(here(pdf.work), DATASETS["documents"]))
            writers[pdf.work].add(row, len(row["text"] or ""))
    return problems


def _to_row(pdf: PdfToRead, read: Extraction) -> dict[str, Any]:
    stamp = arxiv.id_from_first_page(read.stamp) if read.stamp else None
    is_stamp_ours = stamp is not None and stamp.paper_id == pdf.paper_id
    return {
        "paper_id": pdf.paper_id,
        "version": pdf.version,
        "status": read.status,
        "reason": read.reason,
        "detail": read.detail,
        "pdf_version": stamp.version if stamp and is_stamp_ours else pdf.pdf_version,
        "pdf_sha256": pdf.sha256,
        "text": read.text,
        "text_hash": None if read.text is None else hashlib.sha256(read.text.encode()).hexdigest(),
        "sections": read.sections,
        "blocks": read.blocks,
        "pages": read.pages,
        "n_pages": read.n_pages,
        "quality_01": read.quality_01,
        "cleaned": [{"name": name, "n": n} for name, n in sorted((read.cleaned or {}).items())],
    }


def _write(attempt: Attempt, taken: pyarrow.Table, share_01: float) -> None:
    """All rows of the window into one file."""
    dataset = DATASETS["documents"]
    path = attempt.folder / tables.ROWS_FILE
    written = tables.write_rows(path, dataset, (taken, *batches.read_once(attempt.work, dataset)))
    refused = Counter(reason for reason in tables.read_table(path, ["reason"])["reason"].to_pylist() if reason)
    counts = Counts.of(dataset, written.n_rows - refused.total(), refused)
    attempt.finish(counts, rows=written.n_rows, digest=written.digest, taken_over=taken.num_rows, share_01=share_01)
