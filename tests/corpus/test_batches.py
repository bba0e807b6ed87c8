"""Batches of rows: when one is written, what a kill or an error leaves, what the next attempt reads."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.errors import ContractError
from jobs.corpus import batches
from jobs.corpus.batches import BatchWriter, Watch

PDFS = DATASETS["pdfs"]


def row(number: int) -> dict[str, Any]:
    return dict.fromkeys(PDFS.columns) | {"paper_id": f"2401.{number:05d}", "version": 1, "status": "ok"}


def ids(folder: Path) -> list[str]:
    return sorted(paper_id for table in batches.read_all(folder) for paper_id in table["paper_id"].to_pylist())


def sizes(folder: Path) -> list[int]:
    return sorted(table.num_rows for table in batches.read_all(folder))


def test_rows_come_back_from_batches_of_at_most_32(tmp_path: Path) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        for number in range(70):
            writer.add(row(number), 100)
    assert sizes(tmp_path) == [6, 32, 32]
    assert ids(tmp_path) == [f"2401.{number:05d}" for number in range(70)]


def test_batch_of_many_bytes_is_written_before_it_is_full(tmp_path: Path) -> None:
    writer = BatchWriter(tmp_path, PDFS)
    writer.add(row(1), batches.MAX_BYTES - 1)
    assert ids(tmp_path) == []
    writer.add(row(2), 1)
    assert sizes(tmp_path) == [2]


def test_error_in_the_block_writes_nothing_more(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), BatchWriter(tmp_path, PDFS) as writer:
        writer.add(row(1), 100)
        writer.flush()
        writer.add(row(2), 100)
        raise KeyboardInterrupt
    assert ids(tmp_path) == ["2401.00001"]


def test_writer_without_rows_leaves_no_file(tmp_path: Path) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        writer.flush()
    assert list(tmp_path.iterdir()) == []


def test_row_of_another_form_is_refused_and_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="A row of pdfs has the columns"), BatchWriter(tmp_path, PDFS) as writer:
        writer.add({"paper_id": "2401.00001"}, 100)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_file_of_a_killed_writer_is_no_batch(tmp_path: Path) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        writer.add(row(1), 100)
    (whole,) = batches.batch_files(tmp_path)
    (tmp_path / ".0123456789abcdef.tmp").write_bytes(whole.read_bytes()[:100])
    assert ids(tmp_path) == ["2401.00001"]


def test_name_of_a_batch_tells_its_rows(tmp_path: Path) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        for number in range(3):
            writer.add(row(number), 100)
    (path,) = batches.batch_files(tmp_path)
    assert path.name.startswith("000003-")


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        writer.add(row(1), 100)
    assert [table.column_names for table in batches.read_all(tmp_path, ["version"])] == [["version"]]


def test_row_that_two_machines_made_is_read_once(tmp_path: Path) -> None:
    for rows in ([row(1), row(2)], [row(2), row(3)]):
        batches.write_batch(tmp_path, tables.make_table(PDFS, rows))
    found = [paper_id for table in batches.read_once(tmp_path, PDFS) for paper_id in table["paper_id"].to_pylist()]
    assert sorted(found) == sorted(row(number)["paper_id"] for number in (1, 2, 3))


def test_watch_counts_only_what_came_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BatchWriter(tmp_path, PDFS) as writer:
        writer.add(row(1), 100)
    with caplog.at_level("INFO", "jobs"), Watch("pdfs", [tmp_path], 2), BatchWriter(tmp_path, PDFS) as writer:
        writer.add(row(2), 100)
        writer.add(row(3), 100)
    assert "pdfs done=2 total=2" in caplog.text


def test_watch_of_a_block_that_failed_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "jobs"), pytest.raises(RuntimeError), Watch("pdfs", [tmp_path], 2):
        raise RuntimeError("Spark failed")
    assert "done=" not in caplog.text
