"""Bringing metadata into the lake: when a source is read again, and what of it decides the key."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from jobs.core.definition import Definition, Source
from jobs.core.errors import ContractError, InputMissingError
from jobs.core.lake import Lake
from jobs.core.manifest import Counts
from jobs.corpus import fetch_snapshot
from tests.corpus import kaggle_lines, make_pdfs
from tests.corpus.test_filter_papers import current, line, make, point_to, stage_lake, why

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

LINES = [line(1), line(2), line(3)]


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    return kaggle_lines.write(tmp_path / "metadata.jsonl", LINES)


@pytest.fixture
def fetched(tmp_path: Path, metadata: Path) -> Lake:
    """A lake that has read the file."""
    lake = stage_lake(tmp_path / "lake", Source(metadata=str(metadata)))
    make("fetch_snapshot", lake)
    return lake


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    """A folder of PDFs alone: two papers, one of them twice, one without an id, one that is no PDF."""
    root = tmp_path / "pdf"
    root.mkdir()
    paper = make_pdfs.paper(1)
    (root / "2401.00001v1.pdf").write_bytes(paper)
    (root / "stamped.pdf").write_bytes(paper)
    (root / "2401.00002v3.pdf").write_bytes(paper)
    (root / "no id.pdf").write_bytes(make_pdfs.one_page(make_pdfs.SENTENCE))
    (root / "page.pdf").write_bytes(b"<html>")
    return root


def touch(path: Path) -> None:
    """Give a file another time of change."""
    os.utime(path, ns=(1, 1))


def test_lines_are_kept_as_they_are(fetched: Lake, metadata: Path) -> None:
    made = current(fetched, "snapshots", "file")
    assert made.file("metadata.jsonl").read_bytes() == metadata.read_bytes()
    assert (made.manifest.rows, made.manifest.counts) == (3, Counts(3, 3))


def test_unchanged_file_is_not_read_again(fetched: Lake) -> None:
    assert make("fetch_snapshot", fetched) == []


def test_touched_file_is_read_again_and_keeps_its_key(fetched: Lake, metadata: Path) -> None:
    before = fetched.current_key("snapshots", "file")
    touch(metadata)
    assert why("fetch_snapshot", fetched) == f"{metadata} changed since it was read"
    make("fetch_snapshot", fetched)
    assert fetched.current_key("snapshots", "file") == before
    assert why("fetch_snapshot", fetched) == "up to date"


def test_changed_content_is_another_key(fetched: Lake, metadata: Path) -> None:
    before = current(fetched, "snapshots", "file").manifest
    kaggle_lines.write(metadata, [*LINES, line(4)])
    make("fetch_snapshot", fetched)
    after = current(fetched, "snapshots", "file").manifest
    assert (after.request_key, after.rows) == (before.request_key, 4)
    assert after.key != before.key
    assert after.digest != before.digest


def test_same_content_in_another_place_keeps_the_key(fetched: Lake, metadata: Path, tmp_path: Path) -> None:
    before = fetched.current_key("snapshots", "file")
    moved = point_to(fetched, metadata=shutil.copy2(metadata, tmp_path / "copy.jsonl"))
    assert "copy.jsonl changed since it was read" in why("fetch_snapshot", moved)
    make("fetch_snapshot", moved)
    assert fetched.current_key("snapshots", "file") == before


def test_other_order_and_blank_lines_keep_the_digest(fetched: Lake, metadata: Path) -> None:
    before = current(fetched, "snapshots", "file").manifest
    kaggle_lines.write(metadata, [LINES[2], b"", LINES[0], b"  ", LINES[1]])
    make("fetch_snapshot", fetched)
    after = current(fetched, "snapshots", "file").manifest
    assert (after.digest, after.rows, after.key == before.key) == (before.digest, 3, False)


@pytest.mark.parametrize("name", ["papers.json.gz", "papers.zip", "gzip under another name.json"])
def test_packed_file_has_the_key_of_the_plain_one(fetched: Lake, metadata: Path, tmp_path: Path, name: str) -> None:
    packed = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(metadata, "arxiv-metadata-oai-snapshot.json")
    else:
        packed.write_bytes(gzip.compress(metadata.read_bytes()))
    lake = stage_lake(tmp_path / "packed", Source(metadata=str(packed)))
    make("fetch_snapshot", lake)
    assert lake.current_key("snapshots", "file") == fetched.current_key("snapshots", "file")


def test_snapshot_larger_than_allowed_publishes_nothing(tmp_path: Path, metadata: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(metadata=str(metadata)))
    with pytest.raises(ContractError, match="holds more than 107 bytes"):
        make("fetch_snapshot", lake, max_snapshot_gb=1e-7)
    assert lake.parts("snapshots") == []


def test_file_that_went_is_missing_input(fetched: Lake, metadata: Path) -> None:
    metadata.unlink()
    with pytest.raises(InputMissingError, match=f"--metadata {metadata}: no such file"):
        why("fetch_snapshot", fetched)


def test_folder_of_pdfs_becomes_rows_and_counted_reasons(tmp_path: Path, pdfs: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(pdfs=str(pdfs)))
    make("fetch_snapshot", lake)
    made = current(lake, "snapshots", "folder")
    assert made.manifest.counts == Counts(5, 2, {"duplicate": 1, "no_arxiv_id": 1, "unreadable": 1})
    make("filter_papers", lake)
    assert [(row["paper_id"], row["version"], row["title"]) for row in current(lake, "papers").rows()] == [
        ("2401.00001", 1, "A Paper about Reading"),
        ("2401.00002", 3, "A Paper about Reading"),
    ]


def test_papers_of_a_folder_pass_every_category_filter(tmp_path: Path, pdfs: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(pdfs=str(pdfs)), categories=("hep-th",))
    make("fetch_snapshot", lake)
    make("filter_papers", lake)
    assert current(lake, "papers").manifest.rows == 2


def test_folder_is_read_again_when_a_pdf_comes_but_not_when_one_is_touched(tmp_path: Path, pdfs: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(pdfs=str(pdfs)))
    make("fetch_snapshot", lake)
    touch(pdfs / "2401.00001v1.pdf")
    assert why("fetch_snapshot", lake) == "up to date"
    shutil.copy(pdfs / "2401.00001v1.pdf", pdfs / "2401.00003v1.pdf")
    assert why("fetch_snapshot", lake) == f"{pdfs} changed since it was read"


def test_folder_in_another_place_keeps_the_key(tmp_path: Path, pdfs: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(pdfs=str(pdfs)))
    make("fetch_snapshot", lake)
    before = lake.current_key("snapshots", "folder")
    make("fetch_snapshot", point_to(lake, pdfs=str(pdfs.rename(tmp_path / "elsewhere"))))
    assert lake.current_key("snapshots", "folder") == before


def test_papers_by_day_counts_what_passes_the_filters(tmp_path: Path) -> None:
    later = kaggle_lines.versions("Tue, 2 Jan 2024 10:00:00 GMT", "Tue, 9 Jan 2024 10:00:00 GMT")
    lines = [line(1), line(2), line(3, categories="hep-th"), line(4, versions=later)]
    packed = tmp_path / "metadata.json.gz"
    packed.write_bytes(gzip.compress(b"\n".join(lines)))
    source, first, second = Source(metadata=str(packed)), dt.date(2024, 1, 2), dt.date(2024, 1, 9)
    counted = [
        fetch_snapshot.papers_by_day(fetch_snapshot.Config(), Definition(categories=("cs.LG",), select_by=by), source)
        for by in ("submitted", "updated")
    ]
    assert counted == [{first: 3}, {first: 2, second: 1}]


def test_what_a_source_lacks_is_told_a_sentence_each(tmp_path: Path) -> None:
    problems = fetch_snapshot.missing(Source(metadata=str(tmp_path / "none.jsonl"), pdfs=str(tmp_path / "none")))
    assert [problem.split(":")[0] for problem in problems] == [
        f"--metadata {tmp_path / 'none.jsonl'}",
        f"--pdfs {tmp_path / 'none'}",
    ]


def test_address_of_a_server_is_not_looked_for_on_disk(metadata: Path) -> None:
    assert fetch_snapshot.missing(Source(metadata=str(metadata), pdfs="https://export.arxiv.org")) == []
