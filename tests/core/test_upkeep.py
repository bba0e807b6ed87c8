"""Lakes are copied whole, and only what nothing refers to is removed."""

import dataclasses
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from jobs.core import durable, tables, upkeep
from jobs.core.contracts import DATASETS, Dataset
from jobs.core.errors import InputMissingError, IntegrityError, UsageError
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import MANIFEST_FILE, Counts, Input, Manifest
from tests.core import toy
from tests.core.test_durable import flip_bit
from tests.core.toy import WINDOWS

pytestmark = pytest.mark.slow  # children and files: a second here and there

REPOSITORY = Path(__file__).resolve().parents[2]
PDF_NAMES = [f"2401/2401.0000{n}v1.{hashlib.sha256(b'pdf %d' % n).hexdigest()[:12]}.pdf" for n in range(4)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def copy(lake: Lake, target: Path, *flags: str) -> Lake:
    assert upkeep.copy_command(["copy", "--lake", str(lake.root), "--to", str(target), *flags]) == 0
    return Lake.open(target)


def prune(lake: Lake, *flags: str) -> None:
    assert upkeep.prune_command(["prune", "--lake", str(lake.root), *flags]) == 0


def snapshot_of(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of a lake but the locks, with what tells whether it was written again."""
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def key_folders(lake: Lake, dataset: str, part: str = WINDOWS[0]) -> set[str]:
    return {path.name for path in lake.part_folder(dataset, part).iterdir() if len(path.name) == 12}


def publish(
    lake: Lake, dataset: str, key: str, rows: list[dict] | None = None, *, part: str = "all", inputs: tuple = ()
) -> Path:
    """A part with any key, and rows of the real contract if there are any; its folder is returned."""
    key = hashlib.sha256(key.encode()).hexdigest()
    seen_key = lake.current_key(dataset, part)
    task = PartTask("toy", 1, dataset, part, key, inputs, {}, {}, "to do", "test", seen_key)
    with lake.attempt(task) as attempt:
        if rows is not None:
            write_rows(attempt.folder / tables.ROWS_FILE, DATASETS[dataset], rows)
        attempt.finish(Counts(0, 0), rows=len(rows or []))
    return lake.part_folder(dataset, part) / key[:12]


def write_rows(path: Path, dataset: Dataset, rows: list[dict]) -> None:
    table = tables.make_table(dataset, [dict.fromkeys(dataset.columns) | row for row in rows])
    tables.write_tables(path, dataset.schema(), [table])


def publish_pdfs(lake: Lake, key: str, *numbers: int, part: str = WINDOWS[0]) -> Path:
    """A part of pdfs that names these files, which lie in the lake then."""
    rows = []
    for n in numbers:
        content = b"pdf %d" % n
        path = lake.pdf_files / PDF_NAMES[n]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        row = {"paper_id": f"2401.0000{n}", "version": 1, "status": "ok", "path": PDF_NAMES[n]}
        rows.append(row | {"sha256": digest, "size_bytes": len(content)})
    rows.append({"paper_id": "2401.99999", "version": 1, "status": "rejected", "reason": "not_found"})
    return publish(lake, "pdfs", key, rows, part=part)


def set_days(folders: Iterable[Path]) -> None:
    """Say that the parts were made one a day, in this order: here they are made within a second."""
    for n, folder in enumerate(folders):
        made = dataclasses.replace(Manifest.read(folder), created_at=f"2024-01-{n + 1:02}T00:00:00+00:00")
        (folder / MANIFEST_FILE).write_bytes(made.to_json())


def pdfs_of(lake: Lake) -> list[int]:
    return [n for n, name in enumerate(PDF_NAMES) if (lake.pdf_files / name).is_file()]


def test_copy_has_the_same_keys_and_rows(made: Lake, target: Path) -> None:
    copied = copy(made, target)
    assert toy.keys(copied) == toy.keys(made)
    for name in WINDOWS:
        ours, theirs = made.current("chunks", name), copied.current("chunks", name)
        assert ours is not None
        assert theirs is not None
        assert (theirs.rows(), theirs.manifest) == (ours.rows(), ours.manifest)
    assert copied.lake_file == made.lake_file


def test_copy_is_up_to_date_for_the_stages(made: Lake, target: Path) -> None:
    copied = copy(made, target)
    assert [toy.make(stage, copied) for stage in (toy.filter_papers(), toy.extract(), toy.chunk())] == [[], [], []]


def test_second_copy_writes_nothing(made: Lake, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy(made, target)
    before = snapshot_of(target)
    capsys.readouterr()
    copy(made, target)
    assert snapshot_of(target) == before
    assert "parts=0 already_there=7" in capsys.readouterr().out


def test_copy_takes_only_what_is_current(made: Lake, target: Path) -> None:
    toy.make(toy.extract(), made, suffix="!")
    copied = copy(made, target)
    assert len(key_folders(made, "documents")) == 2
    assert key_folders(copied, "documents") == {str(made.current_key("documents", WINDOWS[0]))[:12]}


def test_copy_moves_the_pointer_of_a_part_that_is_there(made: Lake, target: Path) -> None:
    copy(made, target)
    toy.make(toy.extract(), made, suffix="!")
    copied = copy(made, target)
    toy.make(toy.extract(), made)
    before = snapshot_of(target)
    copy(made, target)
    changed = {name for name, state in snapshot_of(target).items() if before.get(name) != state}
    assert changed == {f"documents/{part}/CURRENT" for part in WINDOWS}
    assert toy.keys(copied) == toy.keys(made)


def test_copy_says_counts_and_bytes(made: Lake, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [part for name in toy.keys(made) if (part := made.current(*name.split("/")))]
    n_bytes = sum(file["bytes"] for part in parts for file in part.manifest.files.values())
    copy(made, target)
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line.endswith(f"parts=7 already_there=0 pdf_files=0 pdf_files_gone=0 work_folders=0 bytes={n_bytes}")


def test_copy_without_a_dataset_leaves_it_out(made: Lake, target: Path) -> None:
    copied = copy(made, target, "--without", "chunks", "--without", "documents")
    assert {name.split("/")[0] for name in toy.keys(copied)} == {"snapshots", "papers"}


def test_copy_of_a_damaged_file_is_refused_and_nothing_shows(made: Lake, target: Path) -> None:
    part = made.current("chunks", WINDOWS[0])
    assert part is not None
    flip_bit(part.folder / "rows.parquet", 100)
    with pytest.raises(IntegrityError, match="was not copied"):
        copy(made, target)
    copied = Lake.open(target)
    assert copied.current_key("chunks", WINDOWS[0]) is None
    assert key_folders(copied, "chunks") == set()
    assert not list(target.glob("*/*/_attempts/*"))


def test_copy_repairs_a_damaged_part_without_pointer(made: Lake, target: Path) -> None:
    """What the message of IntegrityError advises must help."""
    copied = copy(made, target)
    part = copied.current("chunks", WINDOWS[0])
    assert part is not None
    flip_bit(part.folder / "rows.parquet", 100)
    (part.folder.parent / "CURRENT").unlink()
    repaired = copy(made, target).current("chunks", WINDOWS[0])
    assert repaired is not None
    assert len(repaired.rows()) == 3


def test_copy_repairs_a_current_part_whose_file_is_short(made: Lake, target: Path) -> None:
    part = copy(made, target).current("chunks", WINDOWS[0])
    assert part is not None
    (part.folder / "rows.parquet").write_bytes(b"short")
    copy(made, target)
    repaired = Lake.open(target).current("chunks", WINDOWS[0])
    assert repaired is not None
    assert len(repaired.rows()) == 3


def test_copy_into_a_lake_of_another_definition_is_refused(made: Lake, target: Path) -> None:
    definition = dataclasses.replace(made.definition, categories=("cs.CL",))
    other = Lake.create(target, dataclasses.replace(made.lake_file, definition=definition))
    with pytest.raises(UsageError, match=r"categories is \('cs.CL',\) there, \(\) here"):
        copy(made, target)
    assert toy.keys(other) == {}


def test_copy_leaves_the_other_lakes_source_and_profile(made: Lake, target: Path) -> None:
    Lake.create(target, dataclasses.replace(made.lake_file, name="mine", profile="t4"))
    assert copy(made, target).lake_file.profile == "t4"


@pytest.mark.parametrize(("to", "said"), [("lake", "the lake itself"), ("s3://bucket/lake", "object store")])
def test_copy_to_itself_or_a_bucket_is_refused(made: Lake, to: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        copy(made, Path(to) if "://" in to else made.root.parent / to)


def test_copy_of_no_lake_is_66(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        upkeep.copy_command(["copy", "--lake", str(tmp_path), "--to", str(tmp_path / "other")])


def test_copy_takes_the_pdfs_that_its_parts_name(lake: Lake, target: Path) -> None:
    publish_pdfs(lake, "old", 0, 1)
    publish_pdfs(lake, "new", 1, 2)
    copied = copy(lake, target)
    assert pdfs_of(copied) == [1, 2]
    assert (copied.pdf_files / PDF_NAMES[1]).read_bytes() == b"pdf 1"


def test_copy_passes_over_pdfs_that_were_pruned(lake: Lake, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_pdfs(lake, "key", 0, 1)
    (lake.pdf_files / PDF_NAMES[0]).unlink()
    assert pdfs_of(copy(lake, target)) == [1]
    assert "pdf_files=1 pdf_files_gone=1" in capsys.readouterr().out


def test_copy_refuses_a_pdf_that_is_not_what_its_row_says(lake: Lake, target: Path) -> None:
    publish_pdfs(lake, "key", 0)
    (lake.pdf_files / PDF_NAMES[0]).write_bytes(b"PDF 0")
    with pytest.raises(IntegrityError, match="was not copied"):
        copy(lake, target)
    assert pdfs_of(Lake.open(target)) == []
    assert Lake.open(target).parts("pdfs") == []


@pytest.mark.parametrize("path", ["../../outside.pdf", "/etc/passwd"])
def test_copy_refuses_a_path_that_leaves_the_lake(lake: Lake, target: Path, path: str) -> None:
    row = {"paper_id": "2401.00001", "version": 1, "status": "ok", "path": path, "sha256": "0", "size_bytes": 1}
    publish(lake, "pdfs", "key", [row], part=WINDOWS[0])
    with pytest.raises(IntegrityError, match="below pdfs/_files"):
        copy(lake, target)


def test_copy_takes_work_along_only_when_asked(made: Lake, target: Path) -> None:
    work = made.part_folder("embeddings", WINDOWS[0]) / "_work" / "0123456789ab"
    with durable.locked(work.parents[1] / ".lock"):
        durable.make_dirs(work / "checkpoint")
        (work / "checkpoint" / "weights").write_bytes(b"weights")
    copied = work.relative_to(made.root) / "checkpoint" / "weights"
    copy(made, target)
    was_there = (target / copied).exists()
    copy(made, target, "--work")
    assert not was_there
    assert (target / copied).read_bytes() == b"weights"


def test_copy_replaces_older_work_as_a_whole(made: Lake, target: Path) -> None:
    for root, names in ((made.root, ("new", "both")), (target, ("old", "both"))):
        work = root / "embeddings" / WINDOWS[0] / "_work" / "0123456789ab"
        work.mkdir(parents=True)
        (work.parents[1] / ".lock").touch()
        for name in names:
            (work / name).write_text(root.name)
    copy(made, target, "--work")
    copied = {path.name: path.read_text() for path in target.glob("embeddings/*/_work/*/*")}
    assert copied == {"new": "lake", "both": "lake"}


def test_copy_of_a_fetchs_work_takes_the_pdfs_that_no_part_names_yet(lake: Lake, target: Path) -> None:
    publish_pdfs(lake, "key", 0, 1)
    work = lake.part_folder("pdfs", WINDOWS[1]) / "_work" / "0123456789ab"
    with durable.locked(work.parents[1] / ".lock"):
        durable.make_dirs(work)
        (work / "batch").write_text("2401.00003")
    (lake.pdf_files / PDF_NAMES[3]).write_bytes(b"pdf 3")
    (lake.pdf_files / PDF_NAMES[2]).write_bytes(b"not what its name says")
    assert pdfs_of(copy(lake, target)) == [0, 1]
    assert pdfs_of(copy(lake, target, "--work")) == [0, 1, 3]


@pytest.mark.slow
def test_copy_killed_at_random_shows_whole_parts_and_ends_when_run_again(made: Lake, target: Path, soak: int) -> None:
    seeded = random.Random(4)
    publish_pdfs(made, "key", 0, 1, 2, 3)
    command = [sys.executable, "-m", "jobs", "copy", "--lake", str(made.root), "--to", str(target)]
    for _ in range(8 * soak):
        child = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seeded.uniform(0.1, 0.5))
        child.kill()
        child.wait()
        for pointer in target.glob("*/*/CURRENT"):
            part = Lake.open(target).current(pointer.parents[1].name, pointer.parent.name)
            assert part is not None
            assert all(part.file(name).is_file() for name in part.manifest.files)
    copied = copy(made, target)
    assert toy.keys(copied) == toy.keys(made)
    assert pdfs_of(copied) == [0, 1, 2, 3]
    assert not list(target.rglob("*.tmp"))


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


@pytest.mark.parametrize(("flags", "left"), [((), [0, 1]), (("--keep-pdfs", "until_extracted"), [1])])
def test_prune_removes_extracted_pdfs_only_when_asked(lake: Lake, flags: tuple[str, ...], left: list[int]) -> None:
    publish_pdfs(lake, "key", 0, 1)
    digest = hashlib.sha256(b"pdf 0").hexdigest()
    row = {"paper_id": "2401.00000", "version": 1, "status": "ok", "pdf_sha256": digest}
    publish(lake, "documents", "key", [row], part=WINDOWS[0])
    prune(lake, *flags)
    assert pdfs_of(lake) == left


def test_prune_of_one_paper_is_refused_until_takedowns_come(made: Lake) -> None:
    with pytest.raises(UsageError, match="comes with takedowns"):
        prune(made, "--paper", "2401.00001")
