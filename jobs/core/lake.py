"""Datasets on disk: immutable parts behind a pointer, one writer each, nothing visible until it is whole.

    <dataset>/<part>/<key12>/…, _MANIFEST.json   immutable
    <dataset>/<part>/CURRENT                     the key; replaced atomically, last
    <dataset>/<part>/_attempts/<uuid>/           a writing that is not finished; stale when the part's lock is free
    <dataset>/<part>/_work/<key12>/              batches and checkpoints that the next attempt takes over

The only file that knows where a dataset lies.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
import logging
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import LAKE_FILE, Definition, LakeFile, read_lake_file
from jobs.core.errors import (
    ContractError,
    DiskFullError,
    InputMissingError,
    IntegrityError,
    SupersededError,
    UsageError,
)
from jobs.core.manifest import KEY_LENGTH, MANIFEST_FILE, Counts, Input, Manifest, result_key
from jobs.core.windows import Window

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

CURRENT_FILE = "CURRENT"
SEEN_FILE = "SEEN.json"
LOCK_FILE = ".lock"
LOCK_WAIT_S = 60.0
_POINTER = re.compile(rb"[0-9a-f]{64}\n?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = Input("", "", tables.EMPTY_DIGEST)


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
        """Path of a file of the part, verified against the manifest once (`by_size`: its size alone)."""
        if name not in self.manifest.files:
            raise IntegrityError(f"{self.folder} lists no file {name}. It has: {', '.join(self.manifest.files)}.")
        path = self.folder / name
        if name not in self._verified:
            listed = self.manifest.files[name]
            durable.verify_file(path, listed["bytes"], None if by_size else listed["sha256"])
            self._verified.add(name)
        return path

    def verify(self) -> None:
        """Compare every file with the manifest. Raises IntegrityError."""
        for name in self.manifest.files:
            self.file(name)

    def table(self, columns: list[str] | None = None) -> pyarrow.Table:
        """The rows of the part."""
        return tables.read_table(self.file(tables.ROWS_FILE), columns)

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


class Lake:
    """A folder of datasets about one thing (its definition)."""

    def __init__(self, root: Path, lake_file: LakeFile) -> None:
        self.root = root
        self.lake_file = lake_file

    @property
    def definition(self) -> Definition:
        """What the lake is about."""
        return self.lake_file.definition

    @classmethod
    def open(cls, root: Path) -> Lake:
        """An existing lake. Raises InputMissingError if there is none."""
        refuse_object_store(str(root))
        lake_file = read_lake_file(root)
        if lake_file is None:
            raise InputMissingError(
                f"{root} is no lake: it has no {LAKE_FILE}. Make one with: python -m jobs run --lake {root} …"
            )
        return cls(root, lake_file)

    @classmethod
    def create(cls, root: Path, lake_file: LakeFile) -> Lake:
        """Write LAKE.json (anew, if it is there) and open the lake."""
        refuse_object_store(str(root))
        durable.make_dirs(root)
        durable.write_atomic(root / LAKE_FILE, lake_file.to_json())
        return cls(root, lake_file)

    def part_folder(self, dataset: str, part: str) -> Path:
        """The folder of a part, whether or not it has been published."""
        if dataset not in DATASETS:
            raise ContractError(f"{dataset!r} is no dataset. Expected one of: {', '.join(DATASETS)}.")
        return self.root / dataset / part

    @property
    def pdf_files(self) -> Path:
        """Where the PDFs themselves lie, shared by all windows; `pdfs` rows name them by `path`."""
        return self.root / "pdfs" / "_files"

    def parts(self, dataset: str) -> list[str]:
        """Names of the published parts of a dataset, sorted."""
        folder = self.root / dataset
        found = [*folder.glob(f"*/{CURRENT_FILE}"), *folder.glob(f"*/*/{CURRENT_FILE}")]
        return sorted(path.parent.relative_to(folder).as_posix() for path in found)

    def current(self, dataset: str, part: str) -> Part | None:
        """The published part, or None. Raises IntegrityError if its pointer names nothing readable."""
        key = self.current_key(dataset, part)
        return None if key is None else self.published(dataset, part, key)

    def current_key(self, dataset: str, part: str) -> str | None:
        """The key that CURRENT holds, or None. Raises IntegrityError if it holds something else."""
        pointer = self.part_folder(dataset, part) / CURRENT_FILE
        try:
            content = pointer.read_bytes()
        except FileNotFoundError:
            return None
        if not _POINTER.fullmatch(content):
            raise IntegrityError(
                f"{pointer} holds {content[:80]!r}. Expected a key, 64 hexadecimal digits. Remove the file and run the "
                "part's stage again, or copy the part from another lake."
            )
        return content.decode().strip()

    def published(self, dataset: str, part: str, key: str) -> Part:
        """The part with this key, current or not. Raises IntegrityError if it is not there or not itself."""
        folder = self.part_folder(dataset, part) / key[:KEY_LENGTH]
        manifest = Manifest.read(folder)
        if manifest.key != key:
            raise IntegrityError(
                f"{folder} holds key {manifest.key}, expected {key}. Remove CURRENT and run its stage again."
            )
        if manifest.contract_version in DATASETS[dataset].retired_versions:
            raise ContractError(
                f"{folder} has contract version {manifest.contract_version}, which this program no longer reads. "
                f"Make it again with: python -m jobs {manifest.stage} --upgrade"
            )
        return Part(folder, manifest)

    def has(self, dataset: str, part: str, key: str) -> bool:
        """Whether a part with this key was published, current or not."""
        return (self.part_folder(dataset, part) / key[:KEY_LENGTH] / MANIFEST_FILE).is_file()

    def whole_key(self, dataset: str, part: str, digits: str) -> str:
        """The key of a published part, current or not, from its first 12 digits. Raises InputMissingError."""
        if not re.fullmatch(rf"[0-9a-f]{{{KEY_LENGTH}}}", digits):
            raise InputMissingError(f"{digits[:80]!r} is no key. Expected {KEY_LENGTH} hexadecimal digits.")
        if not self.has(dataset, part, digits):
            raise InputMissingError(f"{dataset}/{part}/{digits} is not in this lake ({self.root}).")
        return Manifest.read(self.part_folder(dataset, part) / digits).key

    def point(self, dataset: str, part: str, key: str) -> None:
        """Make a part that was published before current again (a setting changed back).

        Raises IntegrityError if it is damaged.
        """
        folder = self.part_folder(dataset, part)
        with durable.locked(folder / LOCK_FILE, LOCK_WAIT_S):
            self.published(dataset, part, key).verify()
            durable.write_atomic(folder / CURRENT_FILE, f"{key}\n".encode())

    def seen(self, dataset: str, part: str) -> dict[str, Any]:
        """What a fetch stage noted of its source when it last looked; empty if it never did. Decides no rows."""
        try:
            noted: dict[str, Any] = json.loads((self.part_folder(dataset, part) / SEEN_FILE).read_bytes())
        except FileNotFoundError:
            return {}
        return noted

    def note_seen(self, dataset: str, part: str, noted: dict[str, Any]) -> None:
        """Remember how the source looked, so that the next run can tell cheaply whether it changed."""
        durable.make_dirs(self.part_folder(dataset, part))
        durable.write_atomic(self.part_folder(dataset, part) / SEEN_FILE, durable.pretty_json(noted))

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

    def refuse_if_moved(self, task: PartTask) -> None:
        """Raise SupersededError if another process published the part since the task was planned."""
        if self.current_key(task.dataset, task.part) != task.seen_key:
            raise SupersededError(
                f"{task.dataset}/{task.part} was published by another process since this one looked. Nothing was "
                "written; run the stage again: it may find its work done."
            )

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
                f"(python -m jobs prune --lake {self.root}) and run the stage again."
            ) from error

    def _sweep_attempts(self, folder: Path) -> None:
        """Remove what killed writers left: we hold the lock, so no attempt here is alive."""
        attempts = folder / "_attempts"
        if attempts.is_dir():
            for stale in attempts.iterdir():
                log.info("removing %s, left by a writer that died", stale)
                durable.remove_tree(stale)


class Attempt:
    """A new content of one part while it is written. Made by `Lake.attempt`."""

    def __init__(self, lake: Lake, task: PartTask, part_folder: Path) -> None:
        self.task = task
        self.folder = part_folder / "_attempts" / uuid.uuid4().hex
        self.previous = lake.published(task.dataset, task.part, task.seen_key) if task.seen_key else None
        self._lake = lake
        self._part_folder = part_folder
        # Called with the published folder and its key before CURRENT moves; an error leaves CURRENT where it is.
        self.before_pointer: Callable[[Path, str], None] | None = None
        self._manifest: Manifest | None = None
        self._begun_at = time.monotonic()

    @property
    def work(self) -> Path:
        """A folder for batches and checkpoints that outlives a kill; removed once the part is published."""
        folder = self._part_folder / "_work" / self.task.request_key[:KEY_LENGTH]
        durable.make_dirs(folder)
        return folder

    def finish(
        self,
        counts: Counts,
        *,
        rows: int,
        digest: str | None = None,
        result: Any = None,
        taken_over: int = 0,
        share_01: float = 1.0,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Say what was written. `digest` None: the part's own key; `result`: what a fetch stage got, for its key.

        `share_01`: this part's share of the time since the attempt began, where several were written together.
        """
        task = self.task
        key = task.request_key if result is None else result_key(task.request_key, result)
        self._manifest = Manifest(
            dataset=task.dataset,
            part=task.part,
            stage=task.stage,
            stage_version=task.stage_version,
            request_key=task.request_key,
            key=key,
            digest=digest or key,
            rows=rows,
            counts=counts,
            files=self._list_files(),
            inputs=task.inputs,
            settings=task.settings,
            config=task.config,
            previous=task.seen_key if taken_over else None,
            taken_over=taken_over,
            versions={"python": platform.python_version(), "machine": platform.machine()},
            seconds=round((time.monotonic() - self._begun_at) * share_01, 3),
            created_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            extra=extra or {},
        )

    def publish(self) -> None:
        """Write the manifest, rename into place, move CURRENT; durable when it returns."""
        if self._manifest is None:
            raise ContractError(
                f"{self.task.stage} left {self.task.part} without saying what it wrote (Attempt.finish)."
            )
        made = self._manifest
        durable.write_atomic(self.folder / MANIFEST_FILE, made.to_json())
        target = self._part_folder / made.key[:KEY_LENGTH]
        self._lake.refuse_if_moved(self.task)
        # An earlier attempt with this key was published and then left, or died before it moved CURRENT.
        if target.exists():
            self._replace(target)
        else:
            durable.publish_dir(self.folder, target)
        if self.before_pointer is not None:
            self.before_pointer(target, made.key)
        durable.write_atomic(self._part_folder / CURRENT_FILE, f"{made.key}\n".encode())
        self._clear_work()

    def discard(self) -> None:
        """Remove what is left of the attempt; after a publish there is nothing."""
        if self.folder.exists():
            durable.remove_tree(self.folder)

    def _replace(self, target: Path) -> None:
        """Keep the folder that has our key if it is whole, else put ours in its place."""
        try:
            Part(target, Manifest.read(target)).verify()
        except IntegrityError as error:
            log.warning("%s is damaged and is made again: %s", target, error)
            remove_part(target)
            durable.publish_dir(self.folder, target)

    def _list_files(self) -> dict[str, dict[str, Any]]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": durable.sha256_file(path),
            }
            for path in paths
        }

    def _clear_work(self) -> None:
        work = self._part_folder / "_work"
        if work.is_dir():
            durable.remove_tree(work)


def remove_part(folder: Path) -> None:
    """Remove a part's folder, its manifest first: what a kill leaves of it is no part."""
    manifest = folder / MANIFEST_FILE
    if manifest.is_file():
        manifest.unlink()
        durable.fsync_dir(folder)
    durable.remove_tree(folder)


def refuse_object_store(root: str) -> None:
    """Raise UsageError for a lake address that this version cannot write durably."""
    if "://" in root or ":/" in root:
        raise UsageError(
            f"Lake {root}: a lake on an object store is not part of this version yet. Expected a local folder, or one "
            "that every machine mounts at the same path."
        )
