"""Get the PDF of every paper: from a folder, or from servers; each paper ends as a file or as a reason.

Reads papers. Writes pdfs. Fails with YieldError if too few of the PDFs that should be there came.
Run: python -m jobs fetch_pdfs --pdfs papers/ --window 2024-01-01_2024-01-08 --lake lakes/mine
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jobs.core import durable, tables
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import Source, repository_path
from jobs.core.errors import InputMissingError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.progress import Progress
from jobs.core.windows import Window
from jobs.corpus import batches, downloader, folder, http_source, pace
from jobs.corpus.downloader import FolderSource, PdfSource, Refused
from jobs.corpus.http_source import PdfServers
from jobs.corpus.pace import Pace
from jobs.corpus.pdf_addresses import ARXIV_TEMPLATE, GCS_URL, PdfAddresses, split_places
from jobs.corpus.web_client import Manners

log = logging.getLogger(__name__)

VERSION = 1

# Measured by others in 2026 over 40 papers: 4.3 MB on the mean; about 20 MB/s from the bucket by eight connections,
# 1 MB/s from export.arxiv.org.
MEAN_PDF_BYTES = 4.3e6
SECONDS_FROM_BUCKET, SECONDS_FROM_SERVER = 0.22, 4.3

Row = dict[str, Any]
PaperId = tuple[str, int]  # with the version
Signs = dict[str, list[int]]  # path of a file -> what tells cheaply that it changed


@dataclass(frozen=True)
class Config:
    """Settings of this stage. How politely and how long it asks decides no rows."""

    # arXiv's own limit for a submission is 50 MB
    max_pdf_mb: int = setting(100, "largest PDF in MB that is read", affects_rows=True)
    pdf_url: str = setting(ARXIV_TEMPLATE, "address of a PDF on a server; {base} is the server, as --pdfs names it")
    gcs_url: str = setting(GCS_URL, "where the buckets are that --pdfs names as gs://BUCKET")
    bucket_connections: int = setting(8, "PDFs fetched from a bucket at once; a server is asked for one")
    contact: str = setting("", "address of whoever runs this, for the server's owner; goes into the User-Agent")
    request_interval_s: float = setting(3.0, "seconds between requests to a server (not a bucket); arXiv asks for 3")
    clock_folder: str = setting("", "folder where all jobs that ask one server meet; empty: beside the lake")
    max_requests: int = setting(5000, "PDFs asked of a server (not a bucket) in one run, 4 hours; 0: no bound")
    max_download_gb: float = setting(0.0, "GB fetched in one run; 0: no bound")
    max_tries: int = setting(4, "requests for one version of a PDF at most")
    pdf_deadline_s: float = setting(120.0, "seconds that one request may take; 4.3 MB, the mean, take 5 s at arXiv")
    min_yield_01: float = setting(0.5, "share of what was read that must be kept, else the stage fails")


def stale(config: Config, lake: Lake, part: Part, _windows: Sequence[Window]) -> str | None:
    """A reason that may have gone, or PDFs that came into the folder or changed there since."""
    refused = [row for row in part.rows() if row["status"] == "rejected"]
    if again := Counter(row["reason"] for row in refused if not _is_final(row)):
        return "to be tried again: " + ", ".join(f"{n} {reason}" for reason, n in sorted(again.items()))
    source, seen = lake.lake_file.source, lake.seen("pdfs", part.manifest.part)
    absent = [row for row in refused if row["reason"] in ("not_there", "not_found")]
    if split_places(source.pdfs):
        is_moved = bool(absent) and seen.get("place") != source.pdfs
        return f"{len(absent)} PDFs may be at another address now" if is_moved else None
    if changed := _count_changed(seen.get("files", {})):
        return f"{changed} PDFs of {source.pdfs} changed"
    there = _open_folder(config, source) if absent else None
    came = sum(there.find(row["paper_id"], row["version"]) is not None for row in absent) if there else 0
    return f"{came} PDFs came into {source.pdfs}" if came else None


def remote_rate(lake: Lake) -> dict[str, float] | None:
    """What a paper usually costs if PDFs come from afar; None for a folder."""
    places = split_places(lake.lake_file.source.pdfs)
    if not places:
        return None
    seconds = SECONDS_FROM_BUCKET if places[0].startswith("gs://") else SECONDS_FROM_SERVER
    return {"seconds_per_paper": seconds, "fixed_seconds": 1.0, "bytes_per_paper": MEAN_PDF_BYTES}


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Fetch window by window; what came before a kill is not fetched again."""
    source = lake.lake_file.source
    with contextlib.ExitStack() as stack:
        places = split_places(source.pdfs)
        pdfs = stack.enter_context(_open_servers(config, lake, places)) if places else _open_folder(config, source)
        for task in sorted(tasks, key=partial(_asks_only_the_forbidden, lake)):
            signs = _signs(pdfs, task)  # before the files are read: one that changes meanwhile is noticed next time
            with lake.attempt(task) as attempt:
                is_near = isinstance(pdfs, FolderSource)
                known = _unchanged_rows(lake, attempt, signs) if is_near else _answered_rows(attempt)
                _fetch_window(lake, attempt, pdfs, known)
            lake.note_seen("pdfs", task.part, {"place": source.pdfs, "files": signs})


def _signs(pdfs: PdfSource, task: PartTask) -> Signs:
    """How the folder's files of the papers look; nothing of a server, where a version never changes."""
    if not isinstance(pdfs, FolderSource):
        return {}
    papers = task.part_of("papers").rows(["paper_id", "version"])
    found = [one.path for paper in papers if (one := pdfs.find(paper["paper_id"], paper["version"]))]
    return {str(path.resolve()): signs for path in found if (signs := folder.signs_of(path))}


def _count_changed(noted: Signs) -> int:
    """Files that look different from when they were read; one that is gone is in the lake already."""
    return sum(folder.signs_of(Path(path)) not in (None, signs) for path, signs in noted.items())


def _asks_only_the_forbidden(lake: Lake, task: PartTask) -> bool:
    """Whether nothing but papers that the server forbade is left: they come last, for a 403 ends all requests."""
    rows = part.rows() if (part := lake.current("pdfs", task.part)) else []
    forbidden = _forbidden(rows)
    answered = {_identity(row) for row in rows if _is_final(row)} | forbidden
    papers = task.part_of("papers").rows(["paper_id", "version"])
    return bool(forbidden) and all(_identity(paper) in answered for paper in papers)


def _open_servers(config: Config, lake: Lake, places: list[str]) -> PdfServers:
    def pace_of(addresses: PdfAddresses) -> Pace:
        if addresses.is_bucket:
            return Pace(0.0)
        return pace.shared(config.clock_folder, lake.root, config.request_interval_s, addresses.base_url)

    return http_source.make_servers(
        [PdfAddresses(place, config.pdf_url, config.gcs_url) for place in places],
        pace_of,
        Manners(tries=config.max_tries, timeout_s=30.0, deadline_s=config.pdf_deadline_s),
        config.contact,
        max_pdf_mb=config.max_pdf_mb,
        bucket_connections=config.bucket_connections,
        max_requests=config.max_requests,
        max_download_gb=config.max_download_gb,
    )


def _open_folder(config: Config, source: Source) -> FolderSource:
    if not source.pdfs:
        raise InputMissingError(
            "No --pdfs. Expected a folder of PDFs, or an http(s) address of a server that has them."
        )
    root = repository_path(source.pdfs)
    also = folder.named_by_page(root) if source.kind == "folder" else ()
    return FolderSource(root, config.max_pdf_mb, also)


def _fetch_window(lake: Lake, attempt: Attempt, pdfs: PdfSource, known: dict[PaperId, Row]) -> None:
    papers = attempt.task.part_of("papers").rows(["paper_id", "version", "is_withdrawn"])
    rows = dict(known)
    forbidden = _forbidden(attempt.previous.rows()) if attempt.previous else set()
    temporary = attempt.work / "files"
    durable.make_dirs(temporary)
    progress = Progress(f"pdfs of {attempt.task.part}", len(papers))
    missing = sorted((one for one in papers if _identity(one) not in rows), key=lambda one: _identity(one) in forbidden)
    progress.step(len(papers) - len(missing))
    fetch = partial(_fetch_paper, lake, pdfs, temporary)
    if not isinstance(pdfs, FolderSource):
        fetch = partial(_fetch_and_note, fetch, attempt.work)
    for paper, row in _fetch_all(missing, fetch, pdfs.connections):
        rows[_identity(paper)] = row
        progress.step()
    _write(attempt, [rows[_identity(paper)] for paper in papers])


def _fetch_and_note(fetch: Callable[[Row], Row], work: Path, paper: Row) -> Row:
    """Fetch, and keep the outcome before the same thread asks for the next: a kill loses only what is under way."""
    row = fetch(paper)
    batches.write_batch(work, tables.make_table(DATASETS["pdfs"], [row]))
    return row


def _fetch_all(papers: list[Row], fetch: Callable[[Row], Row], connections: int) -> Iterator[tuple[Row, Row]]:
    """Papers with their rows of `pdfs`, as they come. After an error nothing new is begun."""
    with ThreadPoolExecutor(connections) as executor:
        futures = {executor.submit(fetch, paper): paper for paper in papers}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            executor.shutdown(cancel_futures=True)


def _answered_rows(attempt: Attempt) -> dict[PaperId, Row]:
    """A server's answers that stand: those of a killed attempt, and the files that the previous part got."""
    rows = [row for table in batches.read_all(attempt.work) for row in table.to_pylist()]
    if attempt.previous:
        rows += [row for row in attempt.previous.rows() if row["status"] == "ok"]
    return {_identity(row): row for row in rows if _is_final(row)}


def _unchanged_rows(lake: Lake, attempt: Attempt, signs: Signs) -> dict[PaperId, Row]:
    """Rows of the previous part whose files, in the folder and in the lake, are as they were when they were read."""
    noted = lake.seen("pdfs", attempt.task.part).get("files", {})
    same = {Path(path).as_uri() for path, one in signs.items() if noted.get(path) == one}
    rows = attempt.previous.rows() if attempt.previous else []
    stand = [row for row in rows if row["url"] in same and lake.has_pdf(row["path"])]
    return {_identity(row): row for row in stand}


def _is_final(row: Row) -> bool:
    return row["status"] == "ok" or not DATASETS["pdfs"].reasons[row["reason"]].is_retried


def _forbidden(rows: Iterable[Row]) -> set[PaperId]:
    return {_identity(row) for row in rows if row["reason"] == "forbidden"}


def _identity(row: Row) -> PaperId:
    return row["paper_id"], row["version"]


def _fetch_paper(lake: Lake, pdfs: PdfSource, temporary: Path, paper: Row) -> Row:
    if paper["is_withdrawn"]:
        return _row(paper, reason="withdrawn")
    got = pdfs.fetch(paper["paper_id"], paper["version"], temporary)
    if isinstance(got, Refused):
        log.debug("%sv%d %s: %s", paper["paper_id"], paper["version"], got.reason, got.detail)
        return _row(paper, reason=got.reason)
    path = downloader.store(got, lake.pdf_files)
    lake.disk.push(lake.pdf_files / path)
    return _row(
        paper, pdf_version=got.pdf_version, url=got.url, path=path, sha256=got.sha256, size_bytes=got.size_bytes
    )


def _row(paper: Row, *, reason: str | None = None, **values: Any) -> Row:
    empty = dict.fromkeys(DATASETS["pdfs"].columns)
    status = "rejected" if reason else "ok"
    identity = {"paper_id": paper["paper_id"], "version": paper["version"]}
    return empty | identity | {"status": status, "reason": reason} | values


def _write(attempt: Attempt, rows: list[Row]) -> None:
    dataset = DATASETS["pdfs"]
    written = tables.write_rows(attempt.folder / tables.ROWS_FILE, dataset, [tables.make_table(dataset, rows)])
    refused = Counter(row["reason"] for row in rows if row["reason"])
    counts = Counts.of(dataset, written.n_rows - refused.total(), refused)
    pdf_bytes = sum(row["size_bytes"] or 0 for row in rows)  # the files lie outside the part, for the plan to count
    attempt.finish(
        counts, rows=written.n_rows, digest=written.digest, result=written.digest, extra={"pdf_bytes": pdf_bytes}
    )
