"""Files that are replaced, published, locked and verified, while processes die."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.core import durable
from jobs.core.errors import IntegrityError, LockedError

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 200_000  # characters of a version: a torn write would show

WRITER = """
import sys
from pathlib import Path
from jobs.core import durable
path = Path(sys.argv[1])
n = 0
while True:
    durable.write_atomic(path, str(n % 10).encode() * SIZE)
    if n == 0:
        print("ready", flush=True)
    n += 1
"""

HOLDER = """
import sys, time
from pathlib import Path
from jobs.core import durable
with durable.locked(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def start(code: str, *args: object) -> subprocess.Popen:
    """A child that has begun when this returns."""
    command = [sys.executable, "-c", code, *map(str, args)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(REPOSITORY)})
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def kill(child: subprocess.Popen) -> None:
    child.kill()
    child.wait()
    child.stdout.close()


def flip_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_write_atomic_killed_at_random_is_never_torn(tmp_path: Path, soak: int) -> None:
    seeded = random.Random(4)
    path = tmp_path / "CURRENT"
    for _ in range(20 * soak):
        child = start(WRITER.replace("SIZE", str(SIZE)), path)
        time.sleep(seeded.uniform(0, 0.05))
        kill(child)
        content = path.read_bytes()
        assert content == content[:1] * SIZE


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: no kill at every system call")
@pytest.mark.parametrize(
    ("call", "nth", "expected"),
    [("write", 1, b"old"), ("fsync", 1, b"old"), ("rename", 1, b"old"), ("fsync", 2, b"new")],
)
def test_write_atomic_killed_at_a_call_is_old_or_new(tmp_path: Path, call: str, nth: int, expected: bytes) -> None:
    path = tmp_path / "CURRENT"
    path.write_bytes(b"old")
    code = "import sys, pathlib; from jobs.core import durable; durable.write_atomic(pathlib.Path(sys.argv[1]), b'new')"
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}"]
    command = ["strace", "-f", "-o", os.devnull, *inject, sys.executable, "-B", "-c", code, str(path)]
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True)
    assert ended.returncode != 0  # it was killed at the call: a write_atomic that makes fewer calls ends with 0
    assert path.read_bytes() == expected


def test_write_atomic_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    with pytest.raises(OSError):
        durable.write_atomic(tmp_path / "name", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_locked_by_another_process_waits_and_then_raises(tmp_path: Path) -> None:
    holder = start(HOLDER, tmp_path / ".lock")
    begun_at = time.monotonic()
    with pytest.raises(LockedError, match="another process"), durable.locked(tmp_path / ".lock", wait_s=0.3):
        pass
    kill(holder)
    assert time.monotonic() - begun_at >= 0.3


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    holder = start(HOLDER, tmp_path / ".lock")
    was_locked = durable.is_locked(tmp_path / ".lock")
    kill(holder)
    assert was_locked
    assert not durable.is_locked(tmp_path / ".lock")
    with durable.locked(tmp_path / ".lock"):
        pass


def test_is_locked_leaves_the_lock_free(tmp_path: Path) -> None:
    with durable.locked(tmp_path / ".lock"):
        assert durable.is_locked(tmp_path / ".lock")
    assert not durable.is_locked(tmp_path / ".lock")
    assert not durable.is_locked(tmp_path / "never")


def test_publish_dir_refuses_an_existing_target(tmp_path: Path) -> None:
    for name in ("attempt", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    with pytest.raises(FileExistsError):
        durable.publish_dir(tmp_path / "attempt", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "target"


def test_publish_dir_moves_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "attempt" / "inner").mkdir(parents=True)
    (tmp_path / "attempt" / "inner" / "file").write_text("content")
    durable.publish_dir(tmp_path / "attempt", tmp_path / "part" / "key")
    assert (tmp_path / "part" / "key" / "inner" / "file").read_text() == "content"
    assert not (tmp_path / "attempt").exists()


@pytest.mark.parametrize("at", [0, 5_000, 9_999])
def test_verify_file_finds_one_flipped_bit(tmp_path: Path, at: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(4).randbytes(10_000))
    sha256 = durable.sha256_file(path)
    flip_bit(path, at)
    with pytest.raises(IntegrityError, match="sha256"):
        durable.verify_file(path, 10_000, sha256)


def test_verify_file_finds_a_truncation_by_size_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 9_999)
    with pytest.raises(IntegrityError, match="9999 bytes"):
        durable.verify_file(path, 10_000, None)


def test_verify_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        durable.verify_file(tmp_path / "file", 1, None)


def test_copy_file_returns_the_hash_of_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    written = durable.copy_file(tmp_path / "source", tmp_path / "new" / "target")
    assert written == durable.sha256_file(tmp_path / "new" / "target") == durable.sha256_bytes(b"con", b"tent")


def test_move_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    durable.move_file(tmp_path / "source", tmp_path / "new" / "target")
    assert (tmp_path / "new" / "target").read_bytes() == b"content"
    assert not (tmp_path / "source").exists()


def test_canonical_json_has_one_spelling_whatever_the_order() -> None:
    assert durable.canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
