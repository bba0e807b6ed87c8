"""Where the files of a lake lie: on a disk of this machine, each at its place. `mirror.py` has the other case, a store.

Both answer to the same calls, so that nobody else asks which it is; what a disk need not do (fetch, push) it passes
over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.manifest import CURRENT_FILE, MANIFEST_FILE
from jobs.core.store import Seen

WORK = "_work"


@dataclass(frozen=True)
class Found:
    """A file of the lake, wherever it lies; `path` is its place on this machine, `changed_at` in UTC seconds."""

    path: Path
    size_bytes: int
    changed_at: float


class Disk:
    """The files of a lake in a folder. Names are relative to it."""

    sees_all_writers = True  # by their locks
    is_one_folder = True  # which every machine of a cluster must see at the same place

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        """How commands name the lake."""
        return str(self.root)

    def look(self, name: str) -> Seen | None:
        """A small file that may be replaced (a pointer, LAKE.json), or None."""
        try:
            return Seen((self.root / name).read_bytes())
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def looking_ahead(self, _names: Iterable[str]) -> Iterator[None]:
        """Be ready to `look` at these small files, each once, within the block."""
        yield

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file, durably."""
        durable.make_dirs((self.root / name).parent)
        durable.write_atomic(self.root / name, content)

    def swap(self, name: str, content: bytes, _seen: Seen | None) -> bool:
        """Replace a small file that still is what was seen. On a disk the part's lock is what holds others off."""
        self.write(name, content)
        return True

    def size_of(self, name: str) -> int | None:
        """Bytes of a file of the lake; None if it has none of this name."""
        path = self.root / name
        return path.stat().st_size if path.is_file() else None

    def has(self, name: str) -> bool:
        """Whether the lake has this file."""
        return self.size_of(name) is not None

    def published(self, dataset: str) -> list[str]:
        """Names of the dataset's parts that have a pointer, sorted."""
        folder = self.root / dataset
        found = [*folder.glob(f"*/{CURRENT_FILE}"), *folder.glob(f"*/*/{CURRENT_FILE}")]
        return sorted(path.parent.relative_to(folder).as_posix() for path in found)

    def fetch(self, path: Path, size_bytes: int, sha256: str, *, by_size: bool = False) -> None:
        """Have a file at its place, verified; `by_size`: what is here already, by its size alone.

        Raises IntegrityError if it is not what it should be.
        """
        durable.verify_file(path, size_bytes, None if by_size else sha256)

    def fetch_of_part(self, folder: Path, file: str, listed: dict[str, Any], *, by_size: bool = False) -> None:
        """The same of a file that the manifest of the part in `folder` lists."""
        self.fetch(folder / file, listed["bytes"], listed["sha256"], by_size=by_size)

    def fetch_manifest(self, folder: Path) -> None:
        """Have a part's manifest at its place, if the lake has the part."""

    def pull(self, folder: Path) -> None:
        """Have what lies below a folder of resumable work."""

    def push(self, path: Path) -> None:
        """Let the lake have a file that was written at its place."""

    def is_begun(self, folder: Path) -> bool:
        """Whether something lies where a part's content would go."""
        return folder.exists()

    def place(self, written: Path, folder: Path) -> None:
        """Give a part's finished content, manifest included, its place."""
        durable.publish_dir(written, folder)

    def forget(self, folder: Path) -> None:
        """Trust nothing that was fetched of this part before."""

    def remove(self, path: Path) -> None:
        """Remove a file or folder, a part's manifest first: what a kill leaves of it is no part."""
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        if (path / MANIFEST_FILE).is_file():
            (path / MANIFEST_FILE).unlink()
            durable.fsync_dir(path)
        durable.remove_tree(path)

    def refresh(self) -> None:
        """Let the folders show which parts, contents and work the lake has."""

    def files(self, path: Path) -> list[Found]:
        """What the lake has of a path: the file itself, or all files below a folder."""
        inner = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
        return [Found(one, (told := one.stat()).st_size, told.st_mtime) for one in inner]

    def spelled(self, path: Path) -> str:
        """The path in a form that `here` understands on any machine of a Spark cluster."""
        return str(path.absolute())
