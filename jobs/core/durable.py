"""How files get to disk and stay there: atomic replace, durable rename, locks, hashes.

The only file that knows how not to lose data. A rename is atomic but not durable: after a power cut it is gone unless
the folder was fsynced too. So everything here returns only after the fsync of the folder. A failed fsync is never
repeated on the same descriptor (the kernel may have dropped the pages): the caller starts again from its source.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jobs.core.errors import IntegrityError, LockedError

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.1


def canonical_json(value: Any) -> bytes:
    """One spelling of a JSON value: sorted keys, no blanks, UTF-8. What is hashed is written with it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pretty_json(value: Any) -> bytes:
    """JSON for people: sorted keys, two blanks, a final newline."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def sha256_bytes(*parts: bytes) -> str:
    """Hexadecimal sha256 of the parts one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_dir(folder: Path) -> None:
    """Make a folder's entries (new names, renames, removals) survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_dirs(folder: Path) -> None:
    """Create a folder and its parents; durable when it returns."""
    missing = []
    probe = folder
    while not probe.exists():
        missing.append(probe)
        probe = probe.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        fsync_dir(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a small file: readers see the old content or the new, also after a power cut."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends; an exception leaves what was there."""
    with _beside(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _rename(temporary, path)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file durably under its final name; the sha256 of what was written is returned.

    The hash is taken of the bytes on their way, so a source that changes while it is read cannot lie about the copy.
    """
    digest = hashlib.sha256()
    make_dirs(target.parent)
    with _beside(target) as temporary:
        with source.open("rb") as reader, temporary.open("wb") as writer:
            while block := reader.read(_BLOCK_BYTES):
                digest.update(block)
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
        _rename(temporary, target)
    return digest.hexdigest()


def move_file(source: Path, target: Path) -> None:
    """Move a finished file of the same file system to its final name; fsyncs the file and both folders."""
    make_dirs(target.parent)
    fsync_file(source)
    _rename(source, target)
    fsync_dir(source.parent)


def fsync_file(path: Path) -> None:
    """Force a file's content to disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to disk; children first."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            fsync_tree(path)
        else:
            fsync_file(path)
    fsync_dir(folder)


def publish_dir(folder: Path, target: Path) -> None:
    """Give a finished folder its final name. Raises FileExistsError if a non-empty `target` is there."""
    fsync_tree(folder)
    make_dirs(target.parent)
    try:
        folder.rename(target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(f"{target} is there already") from error
        raise
    fsync_dir(target.parent)
    fsync_dir(folder.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder that nothing refers to any more."""
    shutil.rmtree(folder)
    fsync_dir(folder.parent)


def verify_file(path: Path, size_bytes: int, sha256: str | None) -> None:
    """Compare a file with its manifest. Raises IntegrityError naming the file, what was expected and what is there."""
    if not path.is_file():
        raise IntegrityError(f"{path} is missing, but its manifest lists it. {_RESTORE}")
    found_bytes = path.stat().st_size
    if found_bytes != size_bytes:
        raise IntegrityError(f"{path} has {found_bytes} bytes, its manifest says {size_bytes}. {_RESTORE}")
    if sha256 is not None and (found := sha256_file(path)) != sha256:
        raise IntegrityError(f"{path} has sha256 {found[:12]}…, its manifest says {sha256[:12]}…. {_RESTORE}")


_RESTORE = "Remove the CURRENT file of this part and run its stage again, or copy the part from another lake."


@contextlib.contextmanager
def locked(path: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock for the block; the kernel frees it when the process dies, however it dies.

    The lock's file stays. Raises LockedError after `wait_s` seconds.
    """
    make_dirs(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_flock(fd):
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{path.parent} is being written by another process (waited {wait_s:.0f} s). "
                    "Expected one writer a part. Wait for it to end, then run this again."
                )
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_flock(fd)
    finally:
        os.close(fd)


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder (so the rename is atomic), removed if the block fails."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _rename(source: Path, target: Path) -> None:
    source.replace(target)
    fsync_dir(target.parent)
