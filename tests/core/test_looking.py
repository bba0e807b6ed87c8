"""What `list`, `show` and `config` print: lines that a person reads and a script can cut."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core import cli
from jobs.core.lake import Lake
from jobs.core.stages import STAGES
from tests.corpus.test_filter_papers import WEEK, lake_of_lines, line, make, publish_rows

Say = Callable[..., list[str]]
PAPER = {"paper_id": "2401.00001", "version": 1}
TEXT = "A passage about graphs. " * 40


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of two papers, one of which has a document and two chunks."""
    lake = lake_of_lines(tmp_path, [line(1), line(2)], categories=("cs.LG",))
    make("filter_papers", lake)
    publish_rows(lake, "pdfs", [PAPER | {"status": "ok", "sha256": "0" * 64, "path": "a.pdf", "size_bytes": 9}])
    publish_rows(lake, "documents", [PAPER | {"status": "ok", "text": TEXT, "pages": [0, 100], "n_pages": 2}])
    publish_rows(lake, "chunks", [PAPER | {"chunk_id": f"2401.00001v1#{i}", "text": TEXT[:90]} for i in (0, 1)])
    return lake


@pytest.fixture
def say(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Lines that a command prints about the lake."""
    logger = logging.getLogger("jobs")
    before = (logger.handlers[:], logger.level, logger.propagate)

    def call(command: str, *words: str, code: int = 0) -> list[str]:
        assert cli.main([command, "--lake", str(lake.root), *words]) == code
        captured = capsys.readouterr()
        return (captured.err if code else captured.out).splitlines()

    yield call
    logger.handlers[:], logger.level, logger.propagate = before


def test_list_begins_with_what_the_lake_is_about(lake: Lake, say: Say) -> None:
    assert say("list")[0].startswith(f"test ({lake.root}) profile=demo categories=cs.LG grid=week")


def test_list_has_a_line_a_dataset_in_the_pipelines_order(say: Say) -> None:
    assert [one.split()[0] for one in say("list")[1:]] == ["snapshots", "papers", "pdfs", "documents", "chunks"]


def test_list_tells_parts_rows_bytes_and_counters(lake: Lake, say: Say) -> None:
    (told,) = [one for one in say("list") if one.startswith("papers")]
    made = lake.current("papers", WEEK)
    assert made is not None
    size = sum(file["bytes"] for file in made.manifest.files.values())
    assert f"papers      parts=1 rows=2 bytes={size} seconds=" in told
    assert told.endswith("read=2 kept=2 dropped=0")


def test_show_of_a_part_tells_its_key_files_and_inputs(lake: Lake, say: Say) -> None:
    key, snapshot = lake.current_key("papers", WEEK), lake.current_key("snapshots", "file")
    assert key is not None
    assert snapshot is not None
    head, counts, *lines = say("show", "papers", WEEK)
    assert head.startswith(f"papers/{WEEK} key={key[:12]} ")
    assert "by filter_papers version 1 in " in head
    assert counts == "  read=2 kept=2 dropped=0"
    assert [one.split(" bytes=")[0] for one in lines[:2]] == ["  file rejects.parquet", "  file rows.parquet"]
    assert lines[2:] == [
        f"  from snapshots/file {snapshot[:12]}",
        "  from takedowns/owner absent",
        '  {"snapshot_lines":2}',
    ]


def test_show_of_a_dataset_tells_every_part(lake: Lake, say: Say) -> None:
    make("filter_papers", lake, windows=("2024-01-08_2024-01-15",))
    heads = [one for one in say("show", "papers") if not one.startswith(" ")]
    assert [one.split()[0] for one in heads] == [f"papers/{WEEK}", "papers/2024-01-08_2024-01-15"]


def rows_of(lines: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """(dataset/part, row) of each line of a lineage."""
    return [(place, json.loads(row)) for place, _, row in (one.partition(" ") for one in lines)]


def test_show_of_a_chunk_goes_back_to_its_metadata(say: Say) -> None:
    found = rows_of(say("show", "2401.00001v1#1"))
    datasets = ("papers", "pdfs", "documents", "chunks")
    assert [place for place, _ in found] == [f"{dataset}/{WEEK}" for dataset in datasets]
    assert {row["paper_id"] for _, row in found} == {"2401.00001"}
    assert found[-1][1]["chunk_id"] == "2401.00001v1#1"
    assert found[0][1]["title"] == "On the spectrum of graphs"


def test_show_of_a_paper_has_all_its_chunks(say: Say) -> None:
    found = rows_of(say("show", "2401.00001"))
    assert [row["chunk_id"] for place, row in found if place.startswith("chunks")] == [
        "2401.00001v1#0",
        "2401.00001v1#1",
    ]


def test_show_shortens_long_texts_and_says_so(say: Say) -> None:
    (document,) = [row for place, row in rows_of(say("show", "2401.00001")) if place.startswith("documents")]
    assert document["text"] == f"{TEXT[:300]}… ({len(TEXT)} characters)"
    assert "reason" not in document


@pytest.mark.parametrize("words", [("2401.99999",), ("papers", "2030-01-07_2030-01-14")])
def test_show_of_what_is_not_there_is_66(say: Say, words: tuple[str, ...]) -> None:
    assert "is not in" in say("show", *words, code=66)[-1]


def test_config_tells_value_origin_and_meaning(say: Say) -> None:
    lines = say("config", "filter_papers", "--profile", "t4", "--max-malformed-01", "0.5")
    assert "max_papers_per_window = 20  (profile t4)  papers of a window at most, in order of id hash; 0: all" in lines
    assert any(one.startswith("max_malformed_01 = 0.5  (flag)  ") for one in lines)
    assert any(one.startswith("categories = cs.LG  (lake)  ") for one in lines)
    assert any(one.startswith("spark_master = local[*]  (default)  ") for one in lines)


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.room == "corpus"])
def test_config_of_every_stage_has_a_meaning_a_line(say: Say, stage: str) -> None:
    lines = say("config", stage)
    assert lines
    assert all(len(one.split("  ", maxsplit=2)[2]) > 10 for one in lines)


def test_config_needs_no_lake(capsys: pytest.CaptureFixture[str], say: Say) -> None:
    assert cli.main(["config", "chunk_documents"]) == 0
    assert "chunk_chars = 1000  (default)" in capsys.readouterr().out


def test_config_of_no_stage_is_64(say: Say) -> None:
    assert "'chunk' is no stage" in say("config", "chunk", code=64)[-1]
