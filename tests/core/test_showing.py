"""What `show` prints of parts, papers, chunks, answers and keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import Counts, Input
from tests.core.conftest import TEXT, Say
from tests.core.parts_by_hand import publish
from tests.corpus.test_filter_papers import WEEK, make, publish_rows


def test_show_of_a_part_tells_its_key_files_and_inputs(looked_at: Lake, say: Say) -> None:
    key, snapshot = looked_at.current_key("papers", WEEK), looked_at.current_key("snapshots", "file")
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


def test_show_of_a_dataset_tells_every_part(looked_at: Lake, say: Say) -> None:
    make("filter_papers", looked_at, windows=("2024-01-08_2024-01-15",))
    heads = [one for one in say("show", "papers") if not one.startswith(" ")]
    assert [one.split()[0] for one in heads] == [f"papers/{WEEK}", "papers/2024-01-08_2024-01-15"]


def rows_of(lines: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """(dataset/part, row) of each line that shows a row, not the words about them."""
    return [(place, json.loads(row)) for place, _, row in (one.partition(" ") for one in lines) if row[:1] == "{"]


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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("2401.99999",), "2401.99999 is not in"),
        (("papers", "2030-01-07_2030-01-14"), f"It has: {WEEK}."),
        (("qa",), "Make it with: python -m jobs curate_qa"),
        (("0" * 12,), "`python -m jobs list` tells what is there"),
    ],
)
def test_show_of_what_is_not_there_is_66_and_says_what_is(say: Say, words: tuple[str, ...], told: str) -> None:
    assert told in say("show", *words, code=66)[-1]


def test_show_of_a_row_keeps_the_order_of_its_columns(say: Say) -> None:
    (paper, *_) = rows_of(say("show", "2401.00001"))
    assert list(paper[1])[:3] == ["paper_id", "version", "title"]


def test_show_of_an_answer_tells_the_pair_and_where_its_passage_is_from(looked_at: Lake, say: Say) -> None:
    pair = {"qa_id": "ab" * 16, "chunk_ids": ["2401.00001v1#1"], "paper_id": "2401.00001", "answer": "Graphs."}
    publish_rows(looked_at, "drafts", [pair], part=f"{WEEK}/0-of-1")
    publish_rows(looked_at, "qa", [pair | {"split": "train"}], part="all")
    found = rows_of(say("show", pair["qa_id"]))
    assert [place.split("/")[0] for place, _ in found] == ["drafts", "qa", "papers", "pdfs", "documents", "chunks"]
    assert (found[1][1]["answer"], found[1][1]["split"]) == ("Graphs.", "train")


def test_show_of_an_answer_that_was_refused_says_why(looked_at: Lake, say: Say) -> None:
    refused = tables.make_table(DATASETS["qa"], [dict.fromkeys(DATASETS["qa"].columns) | {"qa_id": "cd" * 16}])
    refused = refused.set_column(refused.column_names.index("chunk_ids"), "chunk_ids", [[["2401.00001v1#0"]]])
    task = PartTask("curate_qa", 1, "qa", "all", "0" * 64, (), {}, {}, "to do", "")
    with looked_at.attempt(task) as attempt:
        tables.write_tables(attempt.folder / "rows.parquet", refused.schema, [refused.slice(0, 0)])
        refused = refused.append_column("reason", [["duplicate"]])
        tables.write_tables(attempt.folder / "refused.parquet", refused.schema, [refused])
        attempt.finish(Counts(1, 0, {"duplicate": 1}), rows=0)
    assert rows_of(say("show", "cd" * 16))[0][1]["reason"] == "duplicate"


def test_show_of_a_key_goes_back_to_the_sources(looked_at: Lake, say: Say) -> None:
    papers = looked_at.current("papers", WEEK)
    assert papers is not None
    index = publish(looked_at, "indexes", "index", inputs=(papers.as_input,))
    release = publish(looked_at, "releases", "release", inputs=(looked_at.input_of("indexes", "all")[0],))
    lines = [one for one in say("show", release.name) if not one.startswith(" ")]
    assert [one.split()[0] for one in lines] == ["releases/all", "indexes/all", f"papers/{WEEK}", "snapshots/file"]
    assert f"key={index.name} " in lines[1]


def test_show_of_a_key_says_which_input_was_pruned(looked_at: Lake, say: Say) -> None:
    gone = Input("indexes", "all", "0" * 64, "f" * 64)
    release = publish(looked_at, "releases", "release", inputs=(gone,))
    assert say("show", release.name)[-1] == f"indexes/all key={'f' * 12} is no longer in the lake"


def test_show_folds_the_windows_of_one_input(looked_at: Lake, say: Say) -> None:
    inputs = tuple(Input("chunks", f"2024-01-{day:02}", "0" * 64, "f" * 64) for day in (1, 8, 15))
    publish(looked_at, "indexes", "index", inputs=inputs)
    assert "  from chunks 3 parts, 2024-01-01 to 2024-01-15" in say("show", "indexes")
