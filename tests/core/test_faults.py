"""What a kill, a full disk or a torn pointer leaves of a part, at every step of its publishing."""

import contextlib
import errno
import os
import signal

import pytest

from jobs.core.errors import DiskFullError, IntegrityError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts

STEPS = ("fsync", "rename", "replace", "unlink")  # what publishing is made of; every one of them may be the last
MOST_STEPS = 60


class Fault:
    """Stands in for the steps of publishing and happens instead of the nth of them."""

    def __init__(self, nth: int, patch: pytest.MonkeyPatch) -> None:
        self.n_left = nth
        for name in STEPS:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, step):
        def call(*args, **kwargs):
            self.n_left -= 1
            if self.n_left == 0:
                self.happen()
            return step(*args, **kwargs)

        return call

    def happen(self) -> None:
        raise NotImplementedError


class Kill(Fault):
    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class FullDisk(Fault):
    def happen(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def key_of(number: int) -> str:
    return f"{number:012x}".ljust(64, "0")


def task_of(lake: Lake, number: int) -> PartTask:
    return PartTask("toy", 1, "indexes", "all", key_of(number), (), {}, {}, "to do", "", seen_key(lake))


def seen_key(lake: Lake) -> str | None:
    return lake.current_key("indexes", "all")


def publish(lake: Lake, number: int) -> None:
    """A part of two files, one below a folder, written with work beside it."""
    with lake.attempt(task_of(lake, number)) as attempt:
        (attempt.work / "batch").write_text("batch")
        (attempt.folder / "words").mkdir()
        for name in ("vectors", "words/index"):
            (attempt.folder / name).write_text(f"{name} {number}")
        attempt.finish(Counts(1, 1), rows=1)


def publish_in_child(lake: Lake, number: int, nth: int) -> int:
    """Publish in a fork that is killed at its nth step; the exit code is returned."""
    pid = os.fork()
    if pid == 0:
        Kill(nth, pytest.MonkeyPatch())
        publish(lake, number)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def current(lake: Lake) -> Part:
    """The current part, every file of it verified."""
    part = lake.current("indexes", "all")
    assert part is not None
    part.verify()
    return part


@pytest.mark.slow
def test_publishing_killed_at_every_step_shows_the_old_part_or_the_new(lake: Lake) -> None:
    publish(lake, 0)
    for number in range(1, MOST_STEPS):
        before = seen_key(lake)
        exit_code = publish_in_child(lake, number, nth=number)
        assert current(lake).manifest.key in (before, key_of(number))
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
        if seen_key(lake) == before:
            publish(lake, number)
        assert seen_key(lake) == key_of(number)
        assert list(lake.root.glob("indexes/all/_attempts/*")) == []
    assert 15 < number < MOST_STEPS - 1


@pytest.mark.slow
def test_disk_that_is_full_at_any_step_leaves_the_old_part_and_nothing_else(lake: Lake) -> None:
    publish(lake, 0)
    for number in range(1, MOST_STEPS):
        before = seen_key(lake)
        with pytest.MonkeyPatch.context() as patch:
            fault = FullDisk(number, patch)
            with contextlib.suppress(DiskFullError):
                publish(lake, number)
        if fault.n_left > 0:
            break
        assert current(lake).manifest.key in (before, key_of(number))
        assert list(lake.root.glob("indexes/all/_attempts/*")) == []
        assert list(lake.root.rglob("*.tmp")) == []
    assert 15 < number < MOST_STEPS - 1


@pytest.mark.parametrize("content", [b"", b"\n", b"00000", b"0" * 40, b"0" * 63, b"\xff\xfe\x00", b"../../papers/all"])
def test_torn_pointer_is_damage_and_says_what_to_do(lake: Lake, content: bytes) -> None:
    publish(lake, 0)
    pointer = lake.part_folder("indexes", "all") / "CURRENT"
    pointer.write_bytes(content)
    with pytest.raises(IntegrityError, match="Remove"):
        lake.current("indexes", "all")
    pointer.unlink()
    publish(lake, 0)
    assert current(lake).manifest.key == key_of(0)
