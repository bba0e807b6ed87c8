"""Only what nothing refers to is removed from a lake."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from jobs.core import durable, pruning, spark
from jobs.core.errors import IntegrityError
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import MANIFEST_FILE, Counts, Input, Manifest
from tests.core import toy
from tests.core.parts_by_hand import key_folders, pdfs_of, publish, publish_pdfs, snapshot_of
from tests.core.toy import WINDOWS

pytestmark = pytest.mark.slow  # children and files: a second here and there


def prune(lake: Lake, *flags: str) -> None:
    assert pruning.prune_command(["prune", "--lake", str(lake.root), *flags]) == 0


def set_days(folders: Iterable[Path]) -> None:
    """Say that the parts were made one a day, in this order: here they are made within a second."""
    for n, folder in enumerate(folders):
        made = dataclasses.replace(Manifest.read(folder), created_at=f"2024-01-{n + 1:02}T00:00:00+00:00")
        (folder / MANIFEST_FILE).write_bytes(made.to_json())


def test_prune_of_a_fresh_lake_removes_nothing(made: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot_of(made.root)
    prune(made)
    assert snapshot_of(made.root) == before
    assert capsys.readouterr().out.splitlines()[-1] == "removed 0 things, 0 bytes; 7 parts are kept"


def test_prune_removes_what_no_pointer_and_no_kept_part_names(made: Lake) -> None:
    old = key_folders(made, "chunks")
    toy.make(toy.chunk(), made, suffix="!")
    prune(made)
    assert key_folders(made, "chunks") == {str(made.current_key("chunks", WINDOWS[0]))[:12]}
    assert old.isdisjoint(key_folders(made, "chunks"))


def test_prune_keeps_what_a_kept_part_names_as_input(made: Lake) -> None:
    toy.make(toy.extract(), made, suffix="!")  # the chunks that are current were made of the documents before
    prune(made)
    assert len(key_folders(made, "documents")) == 2


def test_prune_follows_inputs_of_inputs(lake: Lake) -> None:
    first = publish(lake, "embeddings", "old", part=WINDOWS[0])
    index = publish(lake, "indexes", "old", inputs=(named(lake, "embeddings", WINDOWS[0]),))
    publish(lake, "adapters", "only", inputs=(named(lake, "indexes", "all"),))
    publish(lake, "embeddings", "new", part=WINDOWS[0])
    publish(lake, "indexes", "new")
    prune(lake)
    assert first.is_dir()
    assert index.is_dir()


def named(lake: Lake, dataset: str, part: str) -> Input:
    return lake.input_of(dataset, part)[0]


def test_prune_does_not_keep_history(lake: Lake) -> None:
    old = publish(lake, "indexes", "old")
    seen_key = lake.current_key("indexes", "all")
    task = PartTask("toy", 1, "indexes", "all", "1" * 64, (), {}, {}, "to do", "test", seen_key)
    with lake.attempt(task) as attempt:
        attempt.finish(Counts(0, 0), rows=0, taken_over=1)
    prune(lake)
    assert not old.exists()


@pytest.mark.parametrize(("dataset", "kept"), [("snapshots", ["b", "c"]), ("releases", ["b", "c"]), ("indexes", ["c"])])
def test_prune_keeps_one_more_snapshot_and_release(lake: Lake, dataset: str, kept: list[str]) -> None:
    folders = {key: publish(lake, dataset, key) for key in "abc"}
    set_days(folders.values())
    prune(lake)
    assert [key for key in "abc" if folders[key].exists()] == kept


def test_prune_keeps_a_pinned_release_and_what_it_names(lake: Lake) -> None:
    index = publish(lake, "indexes", "old")
    pinned = publish(lake, "releases", "pinned", inputs=(named(lake, "indexes", "all"),))
    (pinned / "PINNED").touch()
    publish(lake, "indexes", "new")
    set_days([pinned, *(publish(lake, "releases", key) for key in ("second", "third"))])
    prune(lake)
    assert pinned.is_dir()
    assert index.is_dir()


def test_prune_removes_attempts_of_dead_writers(made: Lake) -> None:
    left = made.part_folder("papers", WINDOWS[0]) / "_attempts" / "dead"
    left.mkdir(parents=True)
    (left / "rows.parquet").write_bytes(b"half")
    prune(made)
    assert not left.exists()


def test_prune_leaves_a_part_that_is_being_written(made: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    toy.make(toy.chunk(), made, suffix="!")
    with made.attempt(toy.task_of(toy.chunk(), made, suffix="?")) as attempt:
        prune(made)
        alive = attempt.folder.is_dir()
        n_keys = len(key_folders(made, "chunks"))
        toy.write_rows(attempt, [])
    assert alive
    assert n_keys == 2
    assert f"left chunks/{WINDOWS[0]}" in capsys.readouterr().out


def test_prune_keeps_old_inputs_of_a_stage_that_is_writing(made: Lake) -> None:
    toy.make(toy.chunk(), made, suffix="!")
    old = key_folders(made, "papers")
    toy.make(toy.filter_papers(), made, suffix="!")
    toy.make(toy.extract(), made, suffix="!")
    toy.make(toy.chunk(), made)
    with made.attempt(toy.task_of(toy.extract(), made, suffix="?")) as attempt:
        prune(made)
        toy.write_rows(attempt, [])
    assert old < key_folders(made, "papers")
    toy.make(toy.chunk(), made)
    prune(made)
    assert not old & key_folders(made, "papers")


def test_prune_keeps_inputs_of_a_stage_that_ends_while_it_looks(made: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.make(toy.filter_papers(), made, suffix="!")
    read = made.part_folder("papers", WINDOWS[0]) / str(made.current_key("papers", WINDOWS[0]))[:12]
    held = contextlib.ExitStack()
    attempt = held.enter_context(made.attempt(toy.task_of(toy.extract(), made)))
    toy.make(toy.filter_papers(), made, suffix="?")
    toy.write_rows(attempt, [])
    kept_folders = pruning.kept_folders

    def look_and_end(*args: Any) -> set[Path]:
        kept = kept_folders(*args)
        held.close()
        return kept

    monkeypatch.setattr(pruning, "kept_folders", look_and_end)
    prune(made)
    assert read.is_dir()


def test_prune_removes_archives_of_other_programs_once_no_stage_runs(made: Lake) -> None:
    archive = spark.zip_package(made.root)
    old = archive.parents[1] / "0123456789ab"
    old.mkdir()
    (old / "jobs.zip").touch()
    with made.attempt(toy.task_of(toy.extract(), made, suffix="?")) as attempt:
        prune(made)
        stays = old.is_dir()
        toy.write_rows(attempt, [])
    prune(made)
    assert (stays, old.is_dir(), archive.is_file()) == (True, False, True)


def test_stage_that_prunes_after_sweeps_once_its_part_is_current(made: Lake) -> None:
    last = toy.chunk()
    last.PRUNES_AFTER = "lake"
    toy.make(last, made, suffix="!")
    assert key_folders(made, "chunks") == {str(made.current_key("chunks", WINDOWS[0]))[:12]}


def test_pruning_that_fails_is_told_and_fails_no_stage(made: Lake, caplog: pytest.LogCaptureFixture) -> None:
    (made.part_folder("documents", WINDOWS[1]) / "CURRENT").write_text("0" * 64)
    last = toy.chunk()
    last.PRUNES_AFTER = "lake"
    toy.make(last, made, windows=WINDOWS[:1], suffix="!")
    assert len(key_folders(made, "chunks")) == 2
    assert "the lake was not pruned" in caplog.text


def test_prune_removes_work_of_what_is_published_and_keeps_other_work(made: Lake) -> None:
    part = made.part_folder("papers", WINDOWS[0])
    done, other = part / "_work" / str(made.current_key("papers", WINDOWS[0]))[:12], part / "_work" / "0123456789ab"
    for work in (done, other):
        work.mkdir(parents=True)
        (work / "batch").write_text("batch")
        os.utime(work / "batch", (0, 0))
    prune(made)
    assert [path.name for path in (part / "_work").iterdir()] == [other.name]


def test_prune_keeps_work_of_a_fetch_that_is_tried_again(made: Lake) -> None:
    part = made.current("snapshots", "toy")
    assert part is not None
    work = part.folder.parent / "_work" / part.manifest.request_key[:12]
    work.mkdir(parents=True)
    (work / "batch").write_text("newer than CURRENT")
    prune(made)
    assert (work / "batch").is_file()


def test_prune_dry_run_says_the_same_and_removes_nothing(made: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    toy.make(toy.chunk(), made, suffix="!")
    before = snapshot_of(made.root)
    capsys.readouterr()
    prune(made, "--dry-run")
    assert snapshot_of(made.root) == before
    would = capsys.readouterr().out
    prune(made)
    assert capsys.readouterr().out == would.replace("would remove", "removed")
    assert would.splitlines()[-1].startswith("would remove 2 things, ")


def test_prune_counts_the_bytes_that_went(made: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    toy.make(toy.chunk(), made, suffix="!")
    before = sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file())
    capsys.readouterr()
    prune(made)
    after = sum(path.stat().st_size for path in made.root.rglob("*") if path.is_file())
    assert f"removed 2 things, {before - after} bytes; 7 parts are kept" in capsys.readouterr().out


def test_prune_refuses_a_lake_with_a_pointer_to_nothing(made: Lake) -> None:
    toy.make(toy.chunk(), made, suffix="!")
    (made.part_folder("documents", WINDOWS[0]) / "CURRENT").write_text("0" * 64)
    before = snapshot_of(made.root)
    with pytest.raises(IntegrityError):
        prune(made)
    assert snapshot_of(made.root) == before


def test_prune_sweeps_what_a_killed_prune_left(made: Lake) -> None:
    old = made.current("chunks", WINDOWS[0])
    assert old is not None
    toy.make(toy.chunk(), made, suffix="!")
    (old.folder / "_MANIFEST.json").unlink()
    assert not made.has("chunks", WINDOWS[0], old.manifest.key)
    prune(made)
    assert not old.folder.exists()


def test_prune_never_leaves_a_manifest_without_its_files(made: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made.current("chunks", WINDOWS[0])
    assert old is not None
    toy.make(toy.chunk(), made, suffix="!")

    def die(folder: Path) -> None:
        raise KeyboardInterrupt(folder)

    monkeypatch.setattr(durable, "remove_tree", die)
    with pytest.raises(KeyboardInterrupt):
        prune(made)
    assert not made.has("chunks", WINDOWS[0], old.manifest.key)
    assert (old.folder / "rows.parquet").is_file()


def test_prune_lets_an_open_reader_finish(made: Lake) -> None:
    old = made.current("chunks", WINDOWS[0])
    assert old is not None
    with old.file("rows.parquet").open("rb") as file:
        toy.make(toy.chunk(), made, suffix="!")
        prune(made)
        content = file.read()
    assert hashlib.sha256(content).hexdigest() == old.manifest.files["rows.parquet"]["sha256"]


def test_prune_removes_pdfs_that_no_kept_part_names(lake: Lake) -> None:
    publish_pdfs(lake, "old", 0, 1)
    publish_pdfs(lake, "new", 1)
    publish_pdfs(lake, "other", 2, part=WINDOWS[1])
    prune(lake)
    assert pdfs_of(lake) == [1, 2]


def test_prune_leaves_pdfs_while_a_fetch_has_not_ended(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    publish_pdfs(lake, "old", 0, 1)
    publish_pdfs(lake, "new", 1)
    work = lake.part_folder("pdfs", WINDOWS[0]) / "_work" / "0123456789ab"
    work.mkdir(parents=True)
    prune(lake)
    assert pdfs_of(lake) == [0, 1]
    assert "left the PDFs" in capsys.readouterr().out


def test_sweep_behind_a_stage_says_so_where_it_leaves_pdfs(lake: Lake) -> None:
    publish_pdfs(lake, "key", 0)
    (lake.part_folder("pdfs", WINDOWS[0]) / "_work" / "0123456789ab").mkdir(parents=True)
    told: list[str] = []
    pruning.prune_pdfs(lake, pruning.PruneConfig(keep_pdfs="until_extracted"), told.append)
    assert told[0].startswith("left the PDFs: fetching")


@pytest.mark.parametrize(("flags", "left"), [((), [0, 1]), (("--keep-pdfs", "until_extracted"), [1])])
def test_prune_removes_extracted_pdfs_only_when_asked(lake: Lake, flags: tuple[str, ...], left: list[int]) -> None:
    publish_pdfs(lake, "key", 0, 1)
    digest = hashlib.sha256(b"pdf 0").hexdigest()
    row = {"paper_id": "2401.00000", "version": 1, "status": "ok", "pdf_sha256": digest}
    publish(lake, "documents", "key", [row], part=WINDOWS[0])
    prune(lake, *flags)
    assert pdfs_of(lake) == left
