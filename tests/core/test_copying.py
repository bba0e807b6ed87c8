"""Lakes are copied whole."""

import dataclasses
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.core import copying, durable
from jobs.core.config import REPOSITORY
from jobs.core.errors import InputMissingError, IntegrityError, UsageError
from jobs.core.lake import Lake
from tests.core import toy
from tests.core.parts_by_hand import PDF_NAMES, key_folders, pdfs_of, publish, publish_pdfs, snapshot_of
from tests.core.test_durable import flip_bit
from tests.core.toy import WINDOWS

pytestmark = pytest.mark.slow  # children and files: a second here and there


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def copy(lake: Lake, target: Path, *flags: str) -> Lake:
    assert copying.copy_command(["copy", "--lake", str(lake.root), "--to", str(target), *flags]) == 0
    return Lake.open(target)


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


@pytest.mark.parametrize(("to", "said"), [("lake", "the lake itself"), ("ftp://host/lake", "no object store")])
def test_copy_to_itself_or_a_bucket_is_refused(made: Lake, to: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        copy(made, Path(to) if "://" in to else made.root.parent / to)


def test_copy_of_no_lake_is_66(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        copying.copy_command(["copy", "--lake", str(tmp_path), "--to", str(tmp_path / "other")])


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
