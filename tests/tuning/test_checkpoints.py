from pathlib import Path

from jobs.tuning.checkpoints import Checkpoints


def write(checkpoints: Checkpoints, step: int, content: bytes = b"weights") -> Path:
    folder = checkpoints.scratch / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter.bin").write_bytes(content)
    return folder


def test_kept_checkpoint_is_found_and_scratch_is_not(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.keep(write(checkpoints, 3))
    write(checkpoints, 4)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "checkpoint-3"


def test_nothing_kept_is_nothing_to_resume(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.keep(write(checkpoints, 9))
    damaged = checkpoints.keep(write(checkpoints, 10))
    (damaged / "adapter.bin").write_bytes(b"weightz")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "checkpoint-9"
    assert not damaged.exists()


def test_checkpoint_without_a_file_is_damaged(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.keep(write(checkpoints, 1)) / "adapter.bin").unlink()
    assert checkpoints.newest() is None


def test_only_the_newest_two_stay(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (8, 9, 10, 11):  # 10 comes after 9, not before 8
        checkpoints.keep(write(checkpoints, step))
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-11"]


def test_scratch_of_a_killed_writer_is_cleared(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    write(checkpoints, 1)
    checkpoints.clear_scratch()
    assert not checkpoints.scratch.exists()
