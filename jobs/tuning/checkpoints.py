"""Checkpoints that a kill cannot spoil: written under another name, checked, synced, then renamed.

The trainer writes a checkpoint file by file under its final name and resumes from the highest number without looking
inside. So it writes into a folder of its own here; what is whole gets its checksums and moves beside the others, and
a resume takes the newest one whose checksums hold.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from jobs.core import durable

log = logging.getLogger(__name__)

CHECKSUMS_FILE = "CHECKSUMS.json"
KEPT = 2  # the newest, and one to fall back on
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints:
    """The checkpoints of one training, by step."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.scratch = folder / "unfinished"
        durable.make_dirs(folder)

    def clear_scratch(self) -> None:
        """Remove what a killed writer left."""
        if self.scratch.exists():
            durable.remove_tree(self.scratch)

    def keep(self, written: Path) -> Path:
        """Take over a folder `checkpoint-N` that is written to its end; the older ones go, but for one."""
        sums = {path.name: durable.sha256_file(path) for path in sorted(written.iterdir())}
        durable.write_atomic(written / CHECKSUMS_FILE, durable.pretty_json(sums))
        target = self._folder / written.name
        if target.exists():  # saved at this step before, and found damaged or stopped right after
            durable.remove_tree(target)
        durable.publish_dir(written, target)
        for _, old in self._by_step()[KEPT:]:
            durable.remove_tree(old)
        return target

    def newest(self) -> Path | None:
        """The newest checkpoint whose files are what they were; damaged ones are removed with a warning."""
        for step, path in self._by_step():
            if damage := _damage(path):
                log.warning("checkpoint of step %d is damaged (%s): an older one is used", step, damage)
                durable.remove_tree(path)
            else:
                return path
        return None

    def _by_step(self) -> list[tuple[int, Path]]:
        found = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = json.loads((path / CHECKSUMS_FILE).read_bytes())
        wrong = [name for name, sha256 in sums.items() if durable.sha256_file(path / name) != sha256]
    except (OSError, ValueError) as error:
        return repr(error)
    return f"{', '.join(wrong)} changed" if wrong else None
