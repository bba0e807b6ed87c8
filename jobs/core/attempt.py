"""A new content of one part while it is written, and how it becomes the part: whole, or not at all."""

from __future__ import annotations

import datetime as dt
import logging
import platform
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable
from jobs.core.disk import WORK
from jobs.core.errors import ContractError, IntegrityError
from jobs.core.manifest import KEY_LENGTH, MANIFEST_FILE, Counts, Manifest, result_key
from jobs.core.part import PartTask, part_at, remove_part

if TYPE_CHECKING:
    from jobs.core.lake import Lake

log = logging.getLogger(__name__)


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
        self._work = part_folder / WORK / task.request_key[:KEY_LENGTH]
        self.gather()
        self._begun_at = time.monotonic()

    @property
    def work(self) -> Path:
        """A folder for batches and checkpoints that outlives a kill; removed once the part is published."""
        durable.make_dirs(self._work)
        return self._work

    def gather(self) -> None:
        """Have in `work` the batches that other machines put on the store: writers that died, executors of ours."""
        self._lake.disk.pull(self._work)

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
        seen = self._lake.refuse_if_moved(self.task)
        # An earlier attempt with this key was published and then left, or died before it moved CURRENT.
        if self._lake.disk.is_begun(target):
            self._replace(target)
        else:
            self._lake.disk.place(self.folder, target)
        if self.before_pointer is not None:
            self.before_pointer(target, made.key)
        self._lake.move_pointer(made.dataset, made.part, made.key, seen)
        self._lake.disk.remove(self._part_folder / WORK)

    def discard(self) -> None:
        """Remove what is left of the attempt; after a publish there is nothing."""
        if self.folder.exists():
            durable.remove_tree(self.folder)

    def _replace(self, target: Path) -> None:
        """Keep the folder that has our key if it is whole, else put ours in its place."""
        try:
            part_at(target).verify()
        except IntegrityError as error:
            log.warning("%s is damaged and is made again: %s", target, error)
            remove_part(target)
            self._lake.disk.place(self.folder, target)

    def _list_files(self) -> dict[str, dict[str, Any]]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {
            path.relative_to(self.folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": durable.sha256_file(path),
            }
            for path in paths
        }
