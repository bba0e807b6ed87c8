"""Pruning a lake on a store, and copying to one and back."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from pathlib import Path

from jobs.core import copying, pruning
from jobs.core.lake import Lake
from jobs.core.listing import begun_parts
from jobs.core.pruning import PruneConfig
from tests.core import parts_by_hand, toy
from tests.core.fake_s3 import FAR, FakeS3, Machine
from tests.core.test_store_lake import objects

WINDOW = toy.WINDOWS[0]
LONG_AGO = dt.timedelta(days=9)


def test_prune_leaves_what_is_young_and_removes_what_is_old(made_far: Lake, s3: FakeS3) -> None:
    old = {name: made_far.current_key("chunks", name) for name in toy.WINDOWS}
    toy.make_chain(made_far, suffix="!")
    lines: list[str] = []
    pruning.prune(made_far, PruneConfig(), lines.append)
    assert lines[-1].startswith("removed 0 things")
    s3.grow_old(LONG_AGO)
    lines.clear()
    pruning.prune(made_far, PruneConfig(), lines.append)
    for name, key in old.items():
        assert f"chunks/{name}/{str(key)[:12]}" not in {"/".join(one.split("/")[:3]) for one in objects(s3, "chunks")}
    assert not any(toy.make_chain(made_far, suffix="!").values())
    assert any(line.startswith("removed chunks/") and not line.endswith("bytes=0") for line in lines)


def test_prune_sees_parts_that_this_machine_never_touched(made_far: Lake, s3: FakeS3, machine: Machine) -> None:
    toy.make_chain(made_far, suffix="!")
    s3.grow_old(LONG_AGO)
    n_objects = len(objects(s3))
    machine("second")
    lake = Lake.open(FAR)
    assert begun_parts(lake, "chunks") == []
    pruning.prune(lake, PruneConfig(), lambda _line: None)
    assert begun_parts(lake, "chunks") == list(toy.WINDOWS)
    assert len(objects(s3)) == n_objects - 6 * 2  # papers, documents and chunks of two windows: manifest and rows


def test_prune_removes_pdfs_that_no_part_names_once_they_are_old(far: Lake, s3: FakeS3) -> None:
    for number in (0, 1):
        s3.put(f"lakes/toy/pdfs/_files/{parts_by_hand.PDF_NAMES[number]}", b"pdf %d" % number)
    row = {"paper_id": "2401.00000", "version": 1, "status": "ok", "path": parts_by_hand.PDF_NAMES[0]}
    row |= {"sha256": hashlib.sha256(b"pdf 0").hexdigest(), "size_bytes": 5}
    parts_by_hand.publish(far, "pdfs", "some", [row], part=WINDOW)
    pruning.prune(far, PruneConfig(), lambda _line: None)
    assert len(objects(s3, "pdfs/_files")) == 2
    s3.grow_old(LONG_AGO)
    pruning.prune(far, PruneConfig(), lambda _line: None)
    assert [name.removeprefix("pdfs/_files/") for name in objects(s3, "pdfs/_files")] == parts_by_hand.PDF_NAMES[:1]


def copy(source: str | Path, target: str | Path, *words: str) -> None:
    assert copying.copy_command(["copy", "--lake", str(source), "--to", str(target), *words]) == 0


def whole(lake: Lake) -> dict[str, bytes]:
    """Every file of every current part."""
    found = {}
    for dataset in ("snapshots", "papers", "documents", "chunks", "pdfs"):
        for name in lake.parts(dataset):
            part = lake.current(dataset, name)
            assert part is not None
            found |= {f"{dataset}/{name}/{file}": part.file(file).read_bytes() for file in part.manifest.files}
    return found


def test_copy_to_a_store_and_back_is_equal(made: Lake, s3: FakeS3, machine: Machine, tmp_path: Path) -> None:
    parts_by_hand.publish_pdfs(made, "pdfs", 0, 1)
    copy(made.root, FAR)
    machine("second")
    copy(FAR, tmp_path / "back")
    back = Lake.open(tmp_path / "back")
    assert whole(back) == whole(made)
    assert {n: (back.pdf_files / parts_by_hand.PDF_NAMES[n]).read_bytes() for n in (0, 1)} == {0: b"pdf 0", 1: b"pdf 1"}
    assert whole(Lake.open(FAR)) == whole(made)


def test_copying_again_to_a_store_moves_no_file(made: Lake, s3: FakeS3, machine: Machine) -> None:
    copy(made.root, FAR)
    shutil.rmtree(Lake.open(FAR).root)
    s3.requests.clear()
    copy(made.root, FAR)
    assert [line for line in s3.requests if line.startswith("PUT")] == []
    assert {line.rsplit("/", 1)[1] for line in s3.requests if line.startswith("GET") and "/" in line} <= {
        *("LAKE.json", "CURRENT", "_MANIFEST.json")
    }


def test_copy_takes_work_along_both_ways(made: Lake, s3: FakeS3, machine: Machine, tmp_path: Path) -> None:
    work = made.part_folder("drafts", WINDOW) / "_work" / ("a" * 12) / "inner"
    work.mkdir(parents=True)
    (work.parent.parent.parent / ".lock").touch()
    (work / "batch.parquet").write_bytes(b"rows")
    copy(made.root, FAR, "--work")
    machine("second")
    copy(FAR, tmp_path / "back", "--work")
    twin = Lake.open(tmp_path / "back").part_folder("drafts", WINDOW) / "_work" / ("a" * 12) / "inner" / "batch.parquet"
    assert twin.read_bytes() == b"rows"


def test_pinned_content_stays(made_far: Lake, s3: FakeS3) -> None:
    key = str(made_far.current_key("chunks", WINDOW))[:12]
    s3.put(f"lakes/toy/chunks/{WINDOW}/{key}/{pruning.PINNED_FILE}", b"")
    toy.make_chain(made_far, suffix="!")
    assert pruning.prune_command(["prune", "--lake", FAR, "--quiet-hours", "0"]) == 0
    left = {name.split("/")[2] for name in objects(s3, "chunks") if name.endswith("_MANIFEST.json")}
    assert key in left
    assert len(left) == 3
