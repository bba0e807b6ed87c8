"""Cutting documents as a stage: what is cut, what stands from before, what is counted."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from jobs.core.definition import Source
from jobs.core.errors import YieldError
from jobs.core.lake import Lake
from jobs.core.manifest import Counts
from jobs.corpus import batches, chunk_documents
from jobs.corpus.chunk_documents import Cut, RowGroup
from tests.corpus.test_filter_papers import (
    WEEK,
    LocalContext,
    LocalRows,
    NoContext,
    current,
    make,
    publish_rows,
    stage_lake,
    why,
)

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

SENTENCE = "The quick brown fox number {} jumps over the lazy dog near the bank of the river. "


def text_of(n_sentences: int, first: int = 0) -> str:
    return "".join(SENTENCE.format(number) for number in range(first, first + n_sentences)).strip()


def document(number: int, text: str, version: int = 1) -> dict[str, Any]:
    return {
        "paper_id": f"2401.{number:05d}",
        "version": version,
        "status": "ok",
        "text": text,
        "text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "sections": [{"title": "Introduction", "level": 1, "start": 0, "end": len(text)}],
        "blocks": [{"kind": "paragraph", "start": 0, "end": len(text)}],
        "pages": [0],
        "n_pages": 1,
    }


def rejected(number: int) -> dict[str, Any]:
    return {"paper_id": f"2401.{number:05d}", "version": 1, "status": "rejected", "reason": "no_text"}


def lake_of(tmp_path: Path, *documents: dict[str, Any], **about: Any) -> Lake:
    lake = stage_lake(tmp_path / "lake", Source(metadata="none.jsonl"), **about)
    publish_rows(lake, "documents", list(documents))
    return lake


def chunks(lake: Lake) -> list[dict[str, Any]]:
    return current(lake, "chunks").rows()


def cut_papers() -> set[str]:
    """Papers that the last job was asked to cut."""
    return {paper_id for group in LocalContext.given for paper_id, _ in group.wanted}


def test_chunks_are_exact_pieces_with_their_place(tmp_path: Path) -> None:
    text = text_of(60)
    lake = lake_of(tmp_path, document(1, text))
    make("chunk_documents", lake)
    found = chunks(lake)
    assert len(found) > 3
    assert [chunk["chunk_id"] for chunk in found] == [f"2401.00001v1#{i}" for i in range(len(found))]
    for chunk in found:
        assert text[chunk["start"] : chunk["end"]] == chunk["text"]
        assert (chunk["section_path"], chunk["kind"], chunk["page_first"]) == (["Introduction"], "text", 1)
        assert chunk["text_hash"] == hashlib.sha256(chunk["text"].encode()).hexdigest()
        assert chunk["n_tokens"] <= 256


def test_embedder_that_needs_no_model_bounds_the_chunks(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, "a " * 3000), embedder="builtin:hashed", chunk_chars=10_000)
    make("chunk_documents", lake)
    assert {chunk["n_tokens"] <= 512 for chunk in chunks(lake)} == {True}
    assert max(chunk["n_tokens"] for chunk in chunks(lake)) > 256


def test_refused_document_does_not_count_as_read(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), rejected(2))
    make("chunk_documents", lake)
    assert current(lake, "chunks").manifest.counts == Counts(1, 1, {}, {"rejected_document": 1})


def test_document_without_a_chunk_is_counted(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, ""))
    make("chunk_documents", lake)
    assert current(lake, "chunks").manifest.counts == Counts(2, 1, {"no_chunk": 1})


def test_window_without_documents_starts_no_spark(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, rejected(1))
    make("chunk_documents", lake, context=NoContext)
    assert (chunks(lake), current(lake, "chunks").manifest.counts.read) == ([], 0)


def test_only_the_document_that_is_new_is_cut(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)))
    make("chunk_documents", lake)
    before = chunks(lake)
    publish_rows(lake, "documents", [document(1, text_of(30)), document(2, text_of(30, first=100))])
    make("chunk_documents", lake)
    assert cut_papers() == {"2401.00002"}
    assert chunks(lake)[: len(before)] == before
    assert current(lake, "chunks").manifest.taken_over == len(before)


def test_document_with_another_text_is_cut_again(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, text_of(30)))
    make("chunk_documents", lake)
    publish_rows(lake, "documents", [document(1, text_of(40)), document(2, text_of(30))])
    make("chunk_documents", lake)
    assert cut_papers() == {"2401.00001"}
    (hash_of,) = {chunk["document_hash"] for chunk in chunks(lake) if chunk["paper_id"] == "2401.00001"}
    assert hash_of == document(1, text_of(40))["text_hash"]


def test_new_version_of_the_same_text_has_chunks_of_its_own(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)))
    make("chunk_documents", lake)
    publish_rows(lake, "documents", [document(1, text_of(30), version=2)])
    make("chunk_documents", lake)
    assert {chunk["chunk_id"].partition("#")[0] for chunk in chunks(lake)} == {"2401.00001v2"}


def test_chunks_of_a_document_that_went_go_with_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, text_of(30)))
    make("chunk_documents", lake)
    publish_rows(lake, "documents", [document(2, text_of(30))])
    make("chunk_documents", lake, context=NoContext)
    assert {chunk["paper_id"] for chunk in chunks(lake)} == {"2401.00002"}


def test_changed_setting_cuts_everything_again(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(60)))
    make("chunk_documents", lake)
    n_long = len(chunks(lake))
    about = dataclasses.replace(lake.definition, chunk_chars=400)
    make("chunk_documents", Lake(lake.root, dataclasses.replace(lake.lake_file, definition=about)))
    assert len(chunks(lake)) > n_long
    assert current(lake, "chunks").manifest.taken_over == 0


def test_plain_chunking_forgets_sections(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(60)), chunking="plain")
    make("chunk_documents", lake)
    assert {tuple(chunk["section_path"]) for chunk in chunks(lake)} == {()}


def test_chunks_of_one_document_lie_in_one_batch(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(400)), document(2, text_of(400)))
    part = current(lake, "documents")
    wanted = frozenset({("2401.00001", 1), ("2401.00002", 1)})
    work = tmp_path / "work"
    work.mkdir()
    group = RowGroup(str(work), str(part.file("rows.parquet")), 0, wanted)
    chunk_documents._cut_groups(Cut(lake.definition, 200), [group])
    holders = [set(table["paper_id"].to_pylist()) for table in batches.read_all(work)]
    assert sorted(paper for papers in holders for paper in papers) == ["2401.00001", "2401.00002"]


class DyingContext(LocalContext):
    """Spark that dies when one of its documents is cut."""

    def parallelize(self, rows: list[Any], n: int) -> LocalRows:
        (group,) = rows
        first = dataclasses.replace(group, wanted=frozenset(sorted(group.wanted)[:1]))
        return super().parallelize([first, "no group"], 2)


def test_next_attempt_cuts_only_what_the_dead_one_had_not(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, text_of(30)))
    with pytest.raises(AttributeError, match="no attribute 'path'"):
        make("chunk_documents", lake, context=DyingContext)
    assert lake.parts("chunks") == []
    make("chunk_documents", lake)
    assert cut_papers() == {"2401.00002"}
    assert {chunk["paper_id"] for chunk in chunks(lake)} == {"2401.00001", "2401.00002"}


def test_yield_below_the_floor_fails_each_time_and_leaves_the_part(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, ""), document(3, ""))
    for _ in range(2):
        with pytest.raises(YieldError, match=r"kept 1 of 3 .* --min-yield-01") as refused:
            make("chunk_documents", lake)
        assert refused.value.exit_code == 65
        assert current(lake, "chunks").manifest.counts.dropped == {"no_chunk": 2}
        assert why("chunk_documents", lake) == "up to date"


def test_lowered_floor_lets_the_same_part_pass(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, document(1, text_of(30)), document(2, ""), document(3, ""))
    assert make("chunk_documents", lake, min_yield_01=0.3) == [WEEK]
    assert make("chunk_documents", lake, min_yield_01=0.2) == []


def test_chunks_of_little_worth_are_marked_kept_and_counted(tmp_path: Path) -> None:
    said = "".join(f"Measurement {n} of the quantization was reproducible in experiment {n}. " for n in range(60))
    lake = lake_of(tmp_path, document(1, said + "\n\n" + said), document(2, text_of(30)))
    make("chunk_documents", lake)
    marks = [chunk["low_value"] for chunk in chunks(lake) if chunk["paper_id"] == "2401.00001"]
    assert marks[0] is None
    assert marks[-1] == "near_duplicate"
    assert {chunk["low_value"] for chunk in chunks(lake) if chunk["paper_id"] == "2401.00002"} == {None}
    assert current(lake, "chunks").manifest.extra == {"low_value": {"near_duplicate": marks.count("near_duplicate")}}
