"""Metadata that lies on this machine: a file in the form of Kaggle's, or a folder of PDFs alone."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.core.contracts import DATASETS
from jobs.core.definition import Source, repository_path
from jobs.core.errors import InputMissingError
from jobs.corpus import archive, folder

log = logging.getLogger(__name__)


def missing(source: Source) -> list[str]:
    """What the source needs and this machine does not have, a sentence each."""
    sentences = []
    if source.kind == "file" and not (source.metadata and repository_path(source.metadata).is_file()):
        sentences.append(f"--metadata {source.metadata}: no such file. Expected JSON lines, plain, .json.gz or .zip.")
    if source.pdfs and "://" not in source.pdfs and not repository_path(source.pdfs).is_dir():
        sentences.append(
            f"--pdfs {source.pdfs}: no such folder. Expected a folder of PDFs, or addresses (https://, gs://)."
        )
    return sentences


def looks(source: Source) -> dict[str, Any]:
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


def place(source: Source) -> str:
    """What the owner named."""
    return str(source.metadata if source.kind == "file" else source.pdfs)


def write_lines(source: Source, target: Path, max_bytes: int) -> tuple[str, Counter[str]]:
    """Write the source's lines, plain: (sha256 of the text, what was left out by reason)."""
    if source.kind == "file":
        return _unpack(source, target, max_bytes), Counter()
    return _write_folder_rows(source, target)


@contextlib.contextmanager
def as_plain_file(source: Source, max_bytes: int) -> Iterator[Path]:
    """The source's lines as a plain file: the file itself, or a copy that is gone afterwards."""
    path = repository_path(source.metadata or "")
    if source.kind == "file" and not _is_packed(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "metadata.jsonl"
        write_lines(source, copy, max_bytes)
        yield copy


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x1f\x8b")


def _unpack(source: Source, target: Path, max_bytes: int) -> str:
    path = repository_path(source.metadata or "")
    with target.open("wb") as file:
        unpacked = archive.unpack(path, file, max_bytes)
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
