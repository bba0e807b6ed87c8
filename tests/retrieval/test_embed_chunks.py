"""A vector for every chunk, and no text encoded twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jobs.core.contracts import DATASETS
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Lake, Part
from jobs.core.manifest import Counts
from jobs.core.reasons import LOW_VALUE_REASONS
from jobs.retrieval import encoder, vectors
from tests.retrieval import house
from tests.retrieval.house import WINDOWS, RecordingEncoder, chunk, embed, put

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

LORA = chunk("2401.00001", 0, "low rank adapters")
BM25 = chunk("2401.00001", 1, "words that are shared")
NF4 = chunk("2401.00002", 0, "four bits a weight")


def matrix_of(part: Part) -> np.ndarray:
    return vectors.to_matrix(part.table()["vector"], 256)


def test_every_chunk_has_the_vector_of_its_text(lake: Lake) -> None:
    put(lake, [LORA, BM25])
    part = embed(lake)
    texts = {row["chunk_id"]: row["text"] for row in (LORA, BM25)}
    expected = house.RecordingEncoder().encode([texts[row["chunk_id"]] for row in part.rows()])
    assert np.array_equal(matrix_of(part), expected)


def test_vectors_have_unit_norm(lake: Lake) -> None:
    put(lake, [LORA, BM25, chunk("2401.00002", 0, "…")])
    assert np.allclose(np.linalg.norm(matrix_of(embed(lake)), axis=1), 1, atol=1e-6)


def test_references_and_front_matter_are_not_embedded(lake: Lake) -> None:
    kinds = ["text", "caption", "table", "footnote", "references", "front_matter"]
    put(lake, [chunk("2401.00001", i, f"text {kind}", kind=kind) for i, kind in enumerate(kinds)])
    part = embed(lake)
    assert [row["chunk_id"][-1] for row in part.rows()] == ["0", "1", "2", "3"]
    assert part.manifest.counts == Counts(read=6, kept=4, dropped={"other_kind": 2})


def test_repetitions_alone_of_the_marked_chunks_are_not_embedded(lake: Lake) -> None:
    marks = [None, *LOW_VALUE_REASONS]
    put(lake, [chunk("2401.00001", i, f"text {mark}", low_value=mark) for i, mark in enumerate(marks)])
    part = embed(lake)
    kept = [mark for mark in marks if mark != "near_duplicate"]
    assert [marks[int(row["chunk_id"][-1])] for row in part.rows()] == kept
    assert part.manifest.counts == Counts(len(marks), len(kept), {"near_duplicate": 1})


def test_chunks_of_an_older_program_have_no_marks(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = tuple(name for name in DATASETS["chunks"].columns if name != "low_value")
    with monkeypatch.context() as older:
        older.setitem(DATASETS, "chunks", dataclasses.replace(DATASETS["chunks"], columns=columns))
        put(lake, [{name: row[name] for name in columns} for row in (LORA, BM25)])
    part = house.current(lake, "chunks", WINDOWS[0])
    assert part.rows(["low_value", "chunk_id"]) == [
        {"chunk_id": row["chunk_id"], "low_value": None} for row in (LORA, BM25)
    ]
    assert part.rows() == [LORA, BM25]
    assert embed(lake).manifest.counts == Counts(read=2, kept=2)


def test_kinds_are_a_setting(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA, chunk("2401.00001", 1, "[1] E. Hu", kind="references")])
    embed(lake, embedded_kinds=("references",))
    assert recorder.taken() == ["[1] E. Hu"]


def test_unknown_kind_is_refused(lake: Lake) -> None:
    put(lake, [LORA])
    with pytest.raises(UsageError, match="poem"):
        embed(lake, embedded_kinds=("text", "poem"))


def test_encoder_stands_in_the_manifest(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA])
    extra = embed(lake).manifest.extra
    card = recorder.card
    assert [extra[name] for name in ("encoder", "revision", "dim", "pooling", "max_tokens")] == [
        *(card.name, card.revision, card.dim, card.pooling, card.max_tokens)
    ]
    assert (extra["precision"], extra["n_truncated"]) == ("float32", 0)


def test_unchanged_window_is_done(lake: Lake) -> None:
    put(lake, [LORA])
    embed(lake)
    _, (task,) = house.survey(lake, "embed_chunks")
    assert task.state == "done"


def test_only_new_texts_are_encoded(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA, BM25])
    embed(lake)
    recorder.taken()
    put(lake, [LORA, BM25, NF4])
    part = embed(lake)
    assert recorder.taken() == [NF4["text"]]
    assert (part.manifest.rows, part.manifest.taken_over) == (3, 2)


def test_new_version_of_a_paper_keeps_the_vectors_of_equal_texts(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA])
    embed(lake)
    recorder.taken()
    put(lake, [chunk("2401.00001", 0, LORA["text"], version=2)])
    assert [row["chunk_id"] for row in embed(lake).rows()] == ["2401.00001v2#0"]
    assert recorder.taken() == []


def test_paper_that_moved_to_a_later_window_is_not_encoded_again(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA])
    put(lake, [BM25], window=WINDOWS[1])
    embed(lake, *WINDOWS)
    recorder.taken()
    put(lake, [])
    put(lake, [BM25, LORA], window=WINDOWS[1])
    assert embed(lake, *WINDOWS).manifest.rows == 2
    assert recorder.taken() == []


def test_text_that_occurs_twice_is_encoded_once(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA, chunk("2401.00002", 0, LORA["text"])])
    assert embed(lake).manifest.rows == 2
    assert recorder.taken() == [LORA["text"]]


def test_killed_attempt_loses_only_the_block_in_flight(
    lake: Lake, recorder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.module_of("embed_chunks"), "BLOCK", 1)
    put(lake, [LORA, BM25, NF4])
    recorder.dies_at = LORA["text"]  # the shortest text, so the last one
    with pytest.raises(KeyboardInterrupt):
        embed(lake)
    assert lake.current("embeddings", WINDOWS[0]) is None
    assert recorder.taken() == sorted([BM25["text"], NF4["text"]])
    recorder.dies_at = ""
    assert embed(lake).manifest.rows == 3
    assert recorder.taken() == [LORA["text"]]


def test_work_of_a_killed_attempt_serves_other_chunks_too(
    lake: Lake, recorder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.module_of("embed_chunks"), "BLOCK", 1)
    put(lake, [LORA, BM25])
    recorder.dies_at = LORA["text"]
    with pytest.raises(KeyboardInterrupt):
        embed(lake)
    recorder.taken()
    put(lake, [BM25, NF4])
    embed(lake)
    assert recorder.taken() == [NF4["text"]]


def test_other_revision_of_the_embedder_makes_the_window_anew(
    lake: Lake, recorder: RecordingEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, [LORA])
    before = embed(lake).manifest
    newer = RecordingEncoder("b" * 64)
    monkeypatch.setitem(encoder.BUILTIN, house.ENCODER, lambda: newer)
    _, (task,) = house.survey(lake, "embed_chunks")
    assert task.why == f"embedder builtin:recording revision {'a' * 12} -> {'b' * 12}"
    after = embed(lake).manifest
    assert newer.taken() == [LORA["text"]]
    assert (after.key != before.key, after.digest != before.digest) == (True, True)
    assert house.survey(lake, "embed_chunks")[1][0].state == "done"


def test_digest_does_not_depend_on_floats(lake: Lake, recorder: RecordingEncoder, tmp_path_factory) -> None:
    another = house.new_lake(tmp_path_factory.mktemp("another"))
    for one in (lake, another):
        put(one, [LORA, BM25])
    first = embed(lake)
    recorder.noise = 1e-4
    second = embed(another)
    assert not np.array_equal(matrix_of(first), matrix_of(second))
    assert (first.manifest.key, first.manifest.digest) == (second.manifest.key, second.manifest.digest)


def test_digest_depends_on_the_texts(lake: Lake) -> None:
    put(lake, [LORA])
    before = embed(lake).manifest.digest
    put(lake, [chunk("2401.00001", 0, "another text")])
    assert embed(lake).manifest.digest != before


def test_chunk_that_would_be_cut_is_refused(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [LORA, BM25])
    recorder.longest = len(LORA["text"])
    with pytest.raises(ContractError, match="1 of 2 chunks are over the 512 tokens"):
        embed(lake)


def test_window_without_chunks_is_a_result(lake: Lake, recorder: RecordingEncoder) -> None:
    put(lake, [])
    part = embed(lake)
    assert (part.manifest.rows, part.rows(), recorder.taken()) == (0, [], [])
    assert part.manifest.extra["dim"] == 256
