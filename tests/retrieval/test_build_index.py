"""What is in the index, why the rest is not, and that it is made of one view."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.core import runner, tables
from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.core.lake import Lake, Part
from jobs.core.stages import STAGES
from jobs.retrieval import build_index, encoder, passages
from jobs.retrieval.index_view import View
from jobs.retrieval.vector_index import VectorIndex
from jobs.retrieval.word_index import WordIndex
from tests.retrieval import house
from tests.retrieval.house import WINDOWS, RecordingEncoder, chunk, embed, index, paper, put

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

P1, P2 = "2401.00001", "2401.00002"


def rows_of(part: Part) -> list[house.Row]:
    rows: list[house.Row] = tables.read_table(part.file(passages.FILE)).to_pylist()
    return rows


def ids_of(part: Part) -> list[str]:
    return [row["chunk_id"] for row in rows_of(part)]


def test_windows_are_joined_in_order_of_paper_and_ordinal(lake: Lake) -> None:
    put(lake, [chunk(P2, n, f"text {n}") for n in (10, 9)])
    put(lake, [chunk(P1, 0, "first")], window=WINDOWS[1])
    embed(lake, *WINDOWS)
    assert ids_of(index(lake)) == [f"{P1}v1#0", f"{P2}v1#9", f"{P2}v1#10"]


def test_rows_of_many_windows_are_taken_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_index, "BLOCK", 7)
    whole = pa.table({"row": list(range(50)), "text": pa.array([f"t{i}" for i in range(50)], pa.large_string())})
    windows = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3, 30), whole.slice(33)])
    rows = np.random.default_rng(0).permutation(50)[:40]
    blocks = list(build_index._taken(windows, rows))
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 5]
    assert pa.concat_tables(blocks).to_pylist() == whole.take(pa.array(rows)).to_pylist()


def test_texts_have_room_for_more_than_two_gigabytes(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "text")])
    embed(lake)
    parts = [part for name in ("chunks", "embeddings", "papers") if (part := lake.current(name, WINDOWS[0]))]
    assert build_index._read(parts).chunks.schema.field("text").type == pa.large_string()


def test_vectors_and_words_stand_in_the_order_of_passages(lake: Lake, recorder: RecordingEncoder) -> None:
    texts = ["alpha beta", "gamma delta", "epsilon zeta"]
    put(lake, [chunk(P1, 2 - i, text) for i, text in enumerate(texts)])
    embed(lake)
    part = index(lake)
    for row, passage in enumerate(rows_of(part)):
        assert VectorIndex.open(part).nearest(recorder.encode_question(passage["text"]), 1).tolist() == [row]
        assert WordIndex.open(part).scores(passage["text"].split()).argmax() == row


def test_passages_carry_their_papers_metadata(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "text")], [paper(P1, title="On ranks", categories=["cs.CL"], license="cc")])
    embed(lake)
    (row,) = rows_of(index(lake))
    assert (row["title"], row["categories"], row["license"], row["authors"]) == (
        "On ranks",
        ["cs.CL"],
        "cc",
        ["A. Example"],
    )


def test_newest_version_retires_the_older_one(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "old"), chunk(P1, 1, "old too")])
    put(lake, [chunk(P1, 0, "new", version=2)], window=WINDOWS[1])
    embed(lake, *WINDOWS)
    part = index(lake)
    assert ids_of(part) == [f"{P1}v2#0"]
    assert (part.manifest.counts.read, part.manifest.counts.dropped) == (3, {"older_version": 2})


def test_older_version_stays_until_the_newer_one_has_text(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "old")], [paper(P1, 2, title="New title")])
    embed(lake)
    assert [(row["version"], row["title"]) for row in rows_of(index(lake))] == [(1, "New title")]


def test_withdrawn_paper_is_left_out(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "a"), chunk(P2, 0, "b")], [paper(P1, is_withdrawn=True), paper(P2)])
    embed(lake)
    part = index(lake)
    assert (ids_of(part), part.manifest.counts.dropped) == ([f"{P2}v1#0"], {"withdrawn": 1})


def test_equal_texts_of_one_paper_are_kept_once(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "same"), chunk(P1, 1, "same"), chunk(P2, 0, "same")])
    embed(lake)
    part = index(lake)
    assert (ids_of(part), part.manifest.counts.dropped) == ([f"{P1}v1#0", f"{P2}v1#0"], {"duplicate": 1})


def test_chunk_without_a_paper_breaks_the_contract(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "a")], [])
    embed(lake)
    with pytest.raises(ContractError, match=f"chunks has {P1}, papers has not"):
        index(lake)


def test_view_names_every_part_and_the_encoder(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [chunk(P1, 0, "a")])
    embed(lake)
    view = View.read(index(lake))
    assert view.parts == {
        f"{name}/{WINDOWS[0]}": lake.current_key(name, WINDOWS[0]) for name in ("chunks", "embeddings", "papers")
    }
    assert (view.encoder, view.revision, view.dim) == (house.ENCODER, recorder.card.revision, 256)


def test_chunks_made_again_after_their_vectors_are_not_mixed_in(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "embedded")])
    embed(lake)
    put(lake, [chunk(P1, 0, "not embedded yet"), chunk(P2, 0, "nor this")])
    assert [row["text"] for row in rows_of(index(lake))] == ["embedded"]


def test_window_made_again_while_the_stage_waits_is_not_mixed_in(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "as planned")])
    embed(lake)
    request, tasks = house.survey(lake, "build_index")
    put(lake, [chunk(P1, 0, "newer")])
    embed(lake)
    runner.make_parts(STAGES["build_index"], house.module_of("build_index"), request, tasks)
    assert [row["text"] for row in rows_of(house.current(lake, "indexes", "all"))] == ["as planned"]
    assert [row["text"] for row in rows_of(index(lake))] == ["newer"]


def test_windows_of_different_encoders_are_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lake, [chunk(P1, 0, "a")])
    put(lake, [chunk(P2, 0, "b")], window=WINDOWS[1])
    embed(lake, WINDOWS[0])
    monkeypatch.setitem(encoder.BUILTIN, house.ENCODER, lambda: RecordingEncoder("b" * 64))
    embed(lake, WINDOWS[1])
    with pytest.raises(ContractError, match=r"found 2: .*aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        index(lake)


@pytest.mark.parametrize("change", [{"pooling": "cls"}, {"max_tokens": 128}])
def test_windows_encoded_in_different_ways_are_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    put(lake, [chunk(P1, 0, "a")])
    put(lake, [chunk(P2, 0, "b")], window=WINDOWS[1])
    embed(lake, WINDOWS[0])
    other = RecordingEncoder()
    other.card = dataclasses.replace(other.card, **change)
    monkeypatch.setitem(encoder.BUILTIN, house.ENCODER, lambda: other)
    embed(lake, WINDOWS[1])
    with pytest.raises(ContractError, match=r"found 2: .*pooling.*tokens"):
        index(lake)


def test_gpu_that_is_not_there_is_refused_before_anything_is_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    put(lake, [chunk(P1, 0, "a")])
    embed(lake)
    with pytest.raises(UsageError, match="index_device 'gpu'"):
        house.make(lake, "build_index", index_device="gpu")
    assert lake.current("indexes", "all") is None


def test_same_input_makes_the_same_files(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> None:
    another = house.new_lake(tmp_path_factory.mktemp("another"))
    rows = [chunk(P1, 0, "alpha beta"), chunk(P2, 0, "gamma")]
    put(lake, rows)
    put(another, rows[::-1])
    for one in (lake, another):
        embed(one)
    first, second = index(lake), index(another)
    assert first.manifest.key == second.manifest.key
    files = [name for name in first.manifest.files if name != "view.json"]
    assert {n: house.file_hashes(first)[n] for n in files} == {n: house.file_hashes(second)[n] for n in files}


def test_index_of_nothing_is_a_result_with_a_warning(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    put(lake, [])
    embed(lake)
    with caplog.at_level(logging.WARNING):
        part = index(lake)
    assert part.manifest.rows == 0
    assert "the index is empty" in caplog.text


def test_lake_without_vectors_says_what_to_make_first(lake: Lake) -> None:
    put(lake, [chunk(P1, 0, "a")])
    with pytest.raises(InputMissingError, match=f"embeddings/{WINDOWS[0]} is missing.*embed_chunks"):
        index(lake)
