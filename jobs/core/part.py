"""A published part and its rows, and the task of making one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.errors import IntegrityError
from jobs.core.manifest import Input, Manifest
from jobs.core.mirror import disk_at, here
from jobs.core.windows import Window

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Part:
    """A published part, as its CURRENT (or a manifest) names it."""

    folder: Path
    manifest: Manifest
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def as_input(self) -> Input:
        """The part as another part's manifest names it."""
        made = self.manifest
        return Input(made.dataset, made.part, made.digest, made.key)

    def file(self, name: str, *, by_size: bool = False) -> Path:
        """Path of a file of the part, verified against the manifest once (`by_size`: its size alone).

        From a store it is fetched, and verified whole then, unless it is here.
        """
        if name not in self.manifest.files:
            raise IntegrityError(f"{self.folder} lists no file {name}. It has: {', '.join(self.manifest.files)}.")
        path = self.folder / name
        if name not in self._verified:
            listed = self.manifest.files[name]
            disk_at(self.folder).fetch_of_part(self.folder, name, listed, by_size=by_size)
            self._verified.add(name)
        return path

    def verify(self) -> None:
        """Compare every file with the manifest. Raises IntegrityError."""
        for name in self.manifest.files:
            self.file(name)

    def table(self, columns: list[str] | None = None) -> pyarrow.Table:
        """The rows of the part; columns that were added to the contract since it was made are null."""
        return tables.read_dataset(self.file(tables.ROWS_FILE), DATASETS[self.manifest.dataset], columns)

    def rows(self, columns: list[str] | None = None) -> list[dict[str, Any]]:
        """The rows of the part as dicts; for parts that fit into memory."""
        rows: list[dict[str, Any]] = self.table(columns).to_pylist()
        return rows


@dataclass(frozen=True)
class PartTask:
    """One part that a stage may have to make: what it would be made of, and whether it is there already."""

    stage: str
    stage_version: int
    dataset: str
    part: str
    request_key: str
    inputs: tuple[Input, ...]
    settings: dict[str, Any]
    config: dict[str, Any]
    state: str  # done, to do, blocked
    why: str
    seen_key: str | None = None  # what CURRENT named when the task was planned
    read_parts: dict[str, Part] = field(default_factory=dict, compare=False)  # dataset -> the part of the same window
    windows: tuple[Window, ...] = field(default=(), compare=False)  # all that the command is asked for

    def part_of(self, dataset: str) -> Part:
        """The part of an input dataset that this task reads."""
        return self.read_parts[dataset]


def part_at(folder: Path) -> Part:
    """The part that a folder holds. Raises IntegrityError if it holds none."""
    disk_at(folder).fetch_manifest(folder)
    return Part(folder, Manifest.read(folder))


def file_here(spelled: str) -> Path:
    """A part's file on the machine that this process runs on, from what `Disk.spelled` says on the driver's."""
    path = here(spelled)
    return part_at(path.parent).file(path.name, by_size=True)


def remove_part(folder: Path) -> None:
    """Remove a part's content from the lake, its manifest first: what a kill leaves of it is no part."""
    disk_at(folder).remove(folder)
