"""Bring arXiv's metadata into the lake: from a file in the form of Kaggle's, or from a folder of PDFs alone.

Reads a source outside the lake. Writes snapshots. Fails with InputMissingError if the source is not there.
Run: python -m jobs fetch_snapshot --metadata arxiv-metadata-oai-snapshot.json --lake lakes/mine
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, Source, repository_path
from jobs.core.errors import InputMissingError, UsageError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.tables import SetDigest
from jobs.core.windows import Window
from jobs.corpus import archive, folder, snapshot
from jobs.corpus.selection import select

log = logging.getLogger(__name__)

VERSION = 1
SNAPSHOT_FILE = DATASETS["snapshots"].files[0]
_NOT_LANDED = "comes with a later version. Today's sources are --metadata FILE and --pdfs FOLDER."
_ALL_TIME = Window(dt.date(1900, 1, 1), dt.date(2100, 1, 1))


@dataclass(frozen=True)
class Config:
    """Settings of this stage."""

    max_snapshot_gb: float = setting(64.0, "largest snapshot in GB after unpacking: a bomb is larger")


def parts(_config: Config, lake: Lake, _windows: Sequence[Window]) -> list[str]:
    """One part a source."""
    return [_checked_kind(lake.lake_file.source)]


def inputs(_lake: Lake, _part: str) -> list[Any]:
    """Nothing in the lake."""
    return []


def stale(_config: Config, lake: Lake, part: Part) -> str | None:
    """Whether the source looks different from when it was last read: other place, size or time of change."""
    source = lake.lake_file.source
    if lake.seen("snapshots", part.manifest.part) == _looks(source):
        return None
    return f"{_place(source)} changed since it was read"


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Copy the source's lines into the lake, plain; its digest does not depend on their order."""
    source = lake.lake_file.source
    for task in tasks:
        looks = _looks(source)
        with lake.attempt(task) as attempt:
            target = attempt.folder / SNAPSHOT_FILE
            refused: Counter[str] = Counter()
            if source.kind == "file":
                sha256 = _unpack(config, source, target)
            else:
                sha256, refused = _write_folder_rows(source, target)
            lines = _digest_lines(target)
            counts = Counts.of(DATASETS["snapshots"], lines.n_rows, refused)
            attempt.finish(counts, rows=lines.n_rows, digest=lines.hexdigest(), result=sha256)
        lake.note_seen("snapshots", task.part, looks)


def papers_by_day(config: Config, definition: Definition, source: Source) -> dict[dt.date, int]:
    """How many papers of the source pass the lake's filters, by day; asked before the first stage runs."""
    _checked_kind(source)
    problems = missing(source)
    if problems:
        raise InputMissingError(" ".join(problems))
    return dict(_papers_by_day(config, definition, source))


def missing(source: Source) -> list[str]:
    """What the source needs and this machine does not have, a sentence each."""
    _checked_kind(source)
    sentences = []
    if source.kind == "file" and not (source.metadata and repository_path(source.metadata).is_file()):
        sentences.append(f"--metadata {source.metadata}: no such file. Expected JSON lines, plain, .json.gz or .zip.")
    if source.pdfs and "://" not in source.pdfs and not repository_path(source.pdfs).is_dir():
        sentences.append(f"--pdfs {source.pdfs}: no such folder. Expected a folder of PDFs, or an http(s) address.")
    return sentences


@functools.lru_cache(maxsize=4)
def _papers_by_day(config: Config, definition: Definition, source: Source) -> Counter[dt.date]:
    """Cached because the plan asks for the range first and for the number of papers then."""
    wanted = select(definition, (_ALL_TIME,))
    with _as_plain_file(config, source) as path:
        ranges = snapshot.byte_ranges(path.stat().st_size)
        found = snapshot.merged(snapshot.scan_range(path, start, end, wanted) for start, end in ranges)
    scan = found.windows.get(_ALL_TIME.name)
    is_by_update = definition.select_by == "updated"
    days = ((row["updated_at"] if is_by_update else row["submitted_at"]).date() for row in scan.rows) if scan else ()
    return Counter(days)


@contextlib.contextmanager
def _as_plain_file(config: Config, source: Source) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / SNAPSHOT_FILE
        if source.kind == "folder":
            _write_folder_rows(source, path)
        elif _is_packed(repository_path(source.metadata or "")):
            _unpack(config, source, path)
        else:
            path = repository_path(source.metadata or "")
        yield path


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x1f\x8b")


def _unpack(config: Config, source: Source, target: Path) -> str:
    path = repository_path(source.metadata or "")
    with target.open("wb") as file:
        unpacked = archive.unpack(path, file, int(config.max_snapshot_gb * 2**30))
    log.info("read %s: %d bytes of metadata", path, unpacked.size_bytes)
    return unpacked.sha256


def _write_folder_rows(source: Source, target: Path) -> tuple[str, Counter[str]]:
    """Rows made from PDFs alone, in the form of Kaggle's file; PDFs without an id are counted and named in the log."""
    import orjson

    refused: Counter[str] = Counter()
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for one in folder.identify(repository_path(source.pdfs or "")):
            if one.reason:
                refused[one.reason] += 1
                log.warning("%s is left out: %s", one.path, DATASETS["snapshots"].reasons[one.reason].meaning)
                continue
            line = orjson.dumps(folder.to_record(one)) + b"\n"
            digest.update(line)
            file.write(line)
    return digest.hexdigest(), refused


def _digest_lines(path: Path) -> SetDigest:
    """The digest of a file's lines, blank ones apart, whatever their order."""
    digest = SetDigest()
    with path.open("rb") as file:
        for line in file:
            if stripped := line.strip():
                digest.add(hashlib.sha256(stripped).digest())
    return digest


def _looks(source: Source) -> dict[str, Any]:
    """Cheap signs of a change: for a file its place, size and time, for a folder those of all PDFs in it."""
    if problems := missing(source):
        raise InputMissingError(" ".join(problems))
    if source.kind == "file":
        path = repository_path(source.metadata or "")
        status = path.stat()
        return {"place": str(path), "size_bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    root = repository_path(source.pdfs or "")
    signs = [f"{path.relative_to(root)} {path.stat().st_size}" for path in folder.pdf_files(root)]
    return {"place": str(root), "files": hashlib.sha256("\n".join(signs).encode()).hexdigest()}


def _place(source: Source) -> str:
    return str(source.metadata if source.kind == "file" else source.pdfs)


def _checked_kind(source: Source) -> str:
    if source.kind in ("kaggle", "oai"):
        raise UsageError(f"--source {source.kind} {_NOT_LANDED}")
    return source.kind
