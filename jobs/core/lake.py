"""Datasets: immutable parts behind a pointer, one writer each, nothing visible until it is whole.

    <dataset>/<part>/<key12>/…, _MANIFEST.json   immutable
    <dataset>/<part>/CURRENT                     the key; replaced atomically, last
    <dataset>/<part>/_attempts/<uuid>/           a writing that is not finished; stale when the part's lock is free
    <dataset>/<part>/_work/<key12>/              batches and checkpoints that the next attempt takes over

With attempt.py the only file that knows where a dataset lies; whether on a disk or a store is what `disk.py` and
`mirror.py` know.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jobs.core import durable, tables
from jobs.core.attempt import Attempt
from jobs.core.contracts import DATASETS
from jobs.core.definition import LAKE_FILE, Definition, LakeFile, read_lake_file
from jobs.core.disk import Disk
from jobs.core.errors import ContractError, DiskFullError, InputMissingError, IntegrityError, SupersededError
from jobs.core.manifest import CURRENT_FILE, KEY_LENGTH, LOCK_FILE, MANIFEST_FILE, Input
from jobs.core.mirror import PDF_FILES, disk_of
from jobs.core.part import Part, PartTask, part_at, remove_part
from jobs.core.store import Seen

__all__ = [
    "CURRENT_FILE",
    "LOCK_FILE",
    "LOCK_WAIT_S",
    "Attempt",
    "Lake",
    "Part",
    "PartTask",
    "part_at",
    "remove_part",
]

log = logging.getLogger(__name__)

SEEN_FILE = "SEEN.json"
LOCK_WAIT_S = 60.0
_POINTER = re.compile(rb"[0-9a-f]{64}\n?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = Input("", "", tables.EMPTY_DIGEST)


class Lake:
    """Datasets about one thing (its definition). `root` is their folder on this machine, `address` names the lake."""

    def __init__(self, root: Path | str, lake_file: LakeFile) -> None:
        self.disk: Disk = disk_of(root)
        self.lake_file = lake_file

    @property
    def root(self) -> Path:
        """The folder of the lake, or of its mirror on this machine."""
        return self.disk.root

    @property
    def address(self) -> str:
        """What `--lake` names the lake by: its folder, or its store."""
        return self.disk.address

    @property
    def definition(self) -> Definition:
        """What the lake is about."""
        return self.lake_file.definition

    @classmethod
    def open(cls, address: Path | str) -> Lake:
        """An existing lake. Raises InputMissingError if there is none."""
        lake_file = read_lake_file(address)
        if lake_file is None:
            address = disk_of(address).address
            raise InputMissingError(
                f"{address} is no lake: it has no {LAKE_FILE}. Make one with: python -m jobs run --lake {address} …"
            )
        return cls(address, lake_file)

    @classmethod
    def create(cls, address: Path | str, lake_file: LakeFile) -> Lake:
        """Write LAKE.json (anew, if it is there) and open the lake."""
        disk_of(address).write(LAKE_FILE, lake_file.to_json())
        return cls(address, lake_file)

    def part_folder(self, dataset: str, part: str) -> Path:
        """The folder of a part, whether or not it has been published."""
        if dataset not in DATASETS:
            raise ContractError(f"{dataset!r} is no dataset. Expected one of: {', '.join(DATASETS)}.")
        return self.root / dataset / part

    def has_pdf(self, path: str) -> bool:
        """Whether the lake has this file of `pdf_files`."""
        return self.disk.has(f"{PDF_FILES}/{path}")

    @property
    def pdf_files(self) -> Path:
        """Where the PDFs themselves lie, shared by all windows; `pdfs` rows name them by `path`."""
        return self.root / PDF_FILES

    def parts(self, dataset: str) -> list[str]:
        """Names of the published parts of a dataset, sorted."""
        return self.disk.published(dataset)

    def current(self, dataset: str, part: str) -> Part | None:
        """The published part, or None. Raises IntegrityError if its pointer names nothing readable."""
        key = self.current_key(dataset, part)
        return None if key is None else self.published(dataset, part, key)

    def current_key(self, dataset: str, part: str) -> str | None:
        """The key that CURRENT holds, or None. Raises IntegrityError if it holds something else."""
        seen = self.pointer(dataset, part)
        return None if seen is None else seen.content.decode().strip()

    def pointer(self, dataset: str, part: str) -> Seen | None:
        """CURRENT itself, for whoever will move it. Raises IntegrityError if it holds no key."""
        name = self._name(dataset, part, CURRENT_FILE)
        seen = self.disk.look(name)
        if seen is not None and not _POINTER.fullmatch(seen.content):
            raise IntegrityError(
                f"{self.address}/{name} holds {seen.content[:80]!r}. Expected a key, 64 hexadecimal digits. Remove it "
                "and run the part's stage again, or copy the part from another lake."
            )
        return seen

    def _name(self, dataset: str, part: str, file: str) -> str:
        return (self.part_folder(dataset, part) / file).relative_to(self.root).as_posix()

    def looking_ahead(self, datasets: Iterable[str], parts: Iterable[str]) -> contextlib.AbstractContextManager[None]:
        """For a block that will look once at the pointers of all these parts: on a store they come together."""
        return self.disk.looking_ahead([self._name(*one, CURRENT_FILE) for one in itertools.product(datasets, parts)])

    def published(self, dataset: str, part: str, key: str) -> Part:
        """The part with this key, current or not. Raises IntegrityError if it is not there or not itself."""
        folder = self.part_folder(dataset, part) / key[:KEY_LENGTH]
        found = part_at(folder)
        manifest = found.manifest
        if manifest.key != key:
            raise IntegrityError(
                f"{folder} holds key {manifest.key}, expected {key}. Remove CURRENT and run its stage again."
            )
        if manifest.contract_version in DATASETS[dataset].retired_versions:
            raise ContractError(
                f"{folder} has contract version {manifest.contract_version}, which this program no longer reads. "
                f"Make it again with: python -m jobs {manifest.stage} --upgrade"
            )
        return found

    def has(self, dataset: str, part: str, key: str) -> bool:
        """Whether a part with this key was published, current or not."""
        return self.disk.has(self._name(dataset, part, f"{key[:KEY_LENGTH]}/{MANIFEST_FILE}"))

    def whole_key(self, dataset: str, part: str, digits: str) -> str:
        """The key of a published part, current or not, from its first 12 digits. Raises InputMissingError."""
        if not re.fullmatch(rf"[0-9a-f]{{{KEY_LENGTH}}}", digits):
            raise InputMissingError(f"{digits[:80]!r} is no key. Expected {KEY_LENGTH} hexadecimal digits.")
        if not self.has(dataset, part, digits):
            raise InputMissingError(f"{dataset}/{part}/{digits} is not in this lake ({self.address}).")
        return part_at(self.part_folder(dataset, part) / digits).manifest.key

    def point(self, dataset: str, part: str, key: str) -> None:
        """Make a part that was published before current again (a setting changed back).

        Raises IntegrityError if it is damaged.
        """
        folder = self.part_folder(dataset, part)
        with durable.locked(folder / LOCK_FILE, LOCK_WAIT_S):
            seen = self.pointer(dataset, part)
            self.disk.forget(folder / key[:KEY_LENGTH])  # others will read what the store has of it
            self.published(dataset, part, key).verify()
            self.move_pointer(dataset, part, key, seen)

    def move_pointer(self, dataset: str, part: str, key: str, seen: Seen | None) -> None:
        """Make a key current that is whole. Raises SupersededError if CURRENT is no longer what was seen."""
        if not self.disk.swap(self._name(dataset, part, CURRENT_FILE), f"{key}\n".encode(), seen):
            raise _superseded(dataset, part)

    def seen(self, dataset: str, part: str) -> dict[str, Any]:
        """What a fetch stage noted of its source when it last looked; empty if it never did. Decides no rows."""
        seen = self.disk.look(self._name(dataset, part, SEEN_FILE))
        noted: dict[str, Any] = json.loads(seen.content) if seen else {}
        return noted

    def note_seen(self, dataset: str, part: str, noted: dict[str, Any]) -> None:
        """Remember how the source looked, so that the next run can tell cheaply whether it changed."""
        self.disk.write(self._name(dataset, part, SEEN_FILE), durable.pretty_json(noted))

    def input_of(self, dataset: str, part: str) -> tuple[Input, Part | None]:
        """A part as an input, with the part itself; one that was never made has the digest of zero rows."""
        found = self.current(dataset, part)
        if found is None:
            return Input(dataset, part, _ABSENT.digest), None
        return found.as_input, found

    @contextlib.contextmanager
    def attempt(self, task: PartTask) -> Iterator[Attempt]:
        """Hold the part's lock and write a new content; leaving the block publishes it, an exception leaves nothing.

        The block must call `finish`. Raises LockedError if another writer holds the part for 60 s, SupersededError if
        CURRENT moved since the task was planned (what we would write may be there already), DiskFullError.
        """
        folder = self.part_folder(task.dataset, task.part)
        with self._telling_a_full_disk(folder), durable.locked(folder / LOCK_FILE, LOCK_WAIT_S):
            self.refuse_if_moved(task)
            self._sweep_attempts(folder)
            attempt = Attempt(self, task, folder)
            try:
                durable.make_dirs(attempt.folder)
                yield attempt
                attempt.publish()
            finally:
                attempt.discard()

    def refuse_if_moved(self, task: PartTask) -> Seen | None:
        """CURRENT as it is. Raises SupersededError if another process published the part since the task was planned."""
        seen = self.pointer(task.dataset, task.part)
        if (seen.content.decode().strip() if seen else None) != task.seen_key:
            raise _superseded(task.dataset, task.part)
        return seen

    @contextlib.contextmanager
    def _telling_a_full_disk(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            free_gb = shutil.disk_usage(self.root).free / 1e9
            raise DiskFullError(
                f"{folder}: {error.strerror or error}, {free_gb:.2f} GB are free. What was published stands. Make room "
                f"(python -m jobs prune --lake {self.address}) and run the stage again."
            ) from error

    def _sweep_attempts(self, folder: Path) -> None:
        """Remove what killed writers left: we hold the lock, so no attempt here is alive."""
        attempts = folder / "_attempts"
        if attempts.is_dir():
            for stale in attempts.iterdir():
                log.info("removing %s, left by a writer that died", stale)
                durable.remove_tree(stale)


def _superseded(dataset: str, part: str) -> SupersededError:
    return SupersededError(
        f"{dataset}/{part} was published by another process since this one looked. Nothing of it was changed; run the "
        "stage again: it may find its work done."
    )
