"""Turn what a source delivers (plain, gzip, zip) into one plain file of JSON lines, trusting nothing in it.

Kaggle delivers its 5 GB of lines as a zip, sometimes under a name that ends in `.json`: the form is told by the first
bytes, never by the name. Nothing is ever extracted under a name from the archive.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jobs.core.errors import ContractError, InputMissingError

MAX_BYTES = 64 << 30  # over ten times Kaggle's file of 2026
# JSON of papers deflates to about a third; 1,032 is the most that deflate can do.
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 64 << 20
_BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_ENDINGS = (".json", ".jsonl")


@dataclass(frozen=True)
class Unpacked:
    """What was written: its size and its sha256, hexadecimal."""

    size_bytes: int
    sha256: str


def unpack(source: Path, target: BinaryIO, max_bytes: int = MAX_BYTES) -> Unpacked:
    """Write the JSON lines that `source` holds into `target`, in blocks, without a byte-order mark.

    `source` is plain, gzip, or a zip with exactly one member that ends in .json or .jsonl. Raises InputMissingError
    if it is no file, ContractError if it is damaged, hostile (link, absolute name, `..`, encrypted, bomb), larger than
    `max_bytes`, or something else than JSON lines.
    """
    if not source.is_file():
        raise InputMissingError(f"{source} is missing: no such file. Expected a snapshot of metadata in JSON lines.")
    digest = hashlib.sha256()
    size_bytes = 0
    for block in _plain_blocks(source):
        text = block if size_bytes else _checked_start(source, block)
        size_bytes += len(text)
        _check_size(source, size_bytes, max_bytes)
        digest.update(text)
        target.write(text)
    return Unpacked(size_bytes, digest.hexdigest())


def _plain_blocks(source: Path) -> Iterator[bytes]:
    with source.open("rb") as handle:
        magic = handle.read(4)
        handle.seek(0)
        if magic.startswith(b"PK"):
            yield from _zip_blocks(source, handle)
        elif magic.startswith(b"\x1f\x8b"):
            yield from _gzip_blocks(source, handle)
        else:
            yield from _blocks(handle)


def _blocks(handle: BinaryIO) -> Iterator[bytes]:
    while block := handle.read(_BLOCK_BYTES):
        yield block


def _gzip_blocks(source: Path, handle: BinaryIO) -> Iterator[bytes]:
    n_bytes = 0
    try:
        with gzip.open(handle) as plain:
            for block in _blocks(plain):  # type: ignore[arg-type]  # GzipFile reads like a BinaryIO
                n_bytes += len(block)
                _check_ratio(source, n_bytes, source.stat().st_size)
                yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ContractError(f"{source} is a damaged gzip file: {error}. Fetch it again.") from error


def _zip_blocks(source: Path, handle: BinaryIO) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(handle) as archive:
            member = _the_member(source, archive)
            with archive.open(member) as plain:
                yield from _blocks(plain)  # type: ignore[arg-type]  # ZipExtFile reads like a BinaryIO
    # ValueError: a name that is no UTF-8. EINVAL: a place before the file's start. Both seen in mutated archives.
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error) as error:
        raise ContractError(f"{source} is a damaged zip file: {error}. Fetch it again.") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ContractError(f"{source} is a damaged zip file: {error}. Fetch it again.") from error


def _the_member(source: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    for info in archive.infolist():
        _check_member(source, info)
    members = [info for info in archive.infolist() if info.filename.lower().endswith(_ENDINGS)]
    if len(members) != 1:
        raise ContractError(f"{source} holds {len(members)} files ending in .json or .jsonl; expected exactly one.")
    _check_ratio(source, members[0].file_size, members[0].compress_size)
    return members[0]


def _check_member(source: Path, info: zipfile.ZipInfo) -> None:
    name = info.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or name[1:2] == ":":
        raise ContractError(f"{source} holds {name[:200]!r}: a name that leaves the archive. It is not read.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ContractError(f"{source} holds {name[:200]!r}: a link. Expected plain files only.")
    if info.flag_bits & 1:
        raise ContractError(f"{source} holds {name[:200]!r}: encrypted. Unpack it with its password first.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ContractError(f"{source} holds {name[:200]!r} packed by method {info.compress_type}; expected deflate.")


def _check_ratio(source: Path, plain_bytes: int, packed_bytes: int) -> None:
    if plain_bytes > RATIO_COUNTS_FROM_BYTES and plain_bytes > MAX_RATIO * packed_bytes:
        raise ContractError(f"{source} grows {MAX_RATIO} times and more when unpacked: a bomb, not metadata.")


def _check_size(source: Path, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise ContractError(f"{source} holds more than {max_bytes:,} bytes of text. Expected one snapshot of metadata.")


def _checked_start(source: Path, block: bytes) -> bytes:
    text = block.removeprefix(_BOM)
    if text.lstrip()[:1] == b"[":
        raise ContractError(
            f"{source} is one JSON array; expected JSON lines, one object a line."
            " Convert it with: jq -c '.[]' FILE > FILE.jsonl"
        )
    if b"\0" in text:
        raise ContractError(f"{source} is binary or UTF-16; expected JSON lines in UTF-8, plain, gzip or zip.")
    return text
