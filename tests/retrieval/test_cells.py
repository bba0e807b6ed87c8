"""Centres: where they are found, and what from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from jobs.core.errors import UsageError
from jobs.retrieval import cells, vector_index


def vectors(n: int, dim: int = 8) -> np.ndarray:
    matrix = np.random.default_rng(5).normal(size=(n, dim))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float16)


def unknown(_found_from: str) -> None:
    return None


@pytest.mark.parametrize(
    ("device", "n_gpus", "expected"),
    [("auto", 0, False), ("auto", 2, True), ("cpu", 0, False), ("cpu", 2, False), ("gpu", 1, True)],
)
def test_gpu_is_used_where_one_is_seen_and_wanted(
    monkeypatch: pytest.MonkeyPatch, device: str, n_gpus: int, expected: bool
) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: n_gpus)
    assert cells.uses_gpu(device) is expected


def test_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(UsageError, match="index_device 'gpu': FAISS sees no GPU here"):
        cells.uses_gpu("gpu")


def test_centres_found_by_the_gpu_are_those_of_an_index_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No GPU here: in its place the index that k-means searches on is one of the CPU, so the centres are the same."""
    asked: list[int] = []

    def to_gpus(index: Any) -> Any:
        asked.append(index.d)
        return index

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_gpus)
    found = [cells.find_centres(vectors(300), unknown, on_gpu=on_gpu).empty for on_gpu in (False, True)]
    for name, index in zip(("cpu", "gpu"), found, strict=True):
        faiss.write_index(index, str(tmp_path / name))
    assert asked == [8]
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "gpu").read_bytes()


def test_later_rows_change_nothing_of_the_centres_until_there_are_twice_as_many() -> None:
    many = vectors(600)
    found_from = {n: cells.find_centres(many[:n], unknown).found_from for n in (256, 511, 512)}
    assert found_from[256] == found_from[511] != found_from[512]
    many[3] = -many[3]
    assert cells.find_centres(many[:511], unknown).found_from != found_from[511]


def test_known_centres_are_read_and_not_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cells.find_centres(vectors(300), unknown)
    faiss.write_index(first.empty, str(tmp_path / "centres"))
    monkeypatch.setattr(faiss.IndexIVFScalarQuantizer, "train", lambda *_: pytest.fail("found again"))
    again = cells.find_centres(vectors(300), {first.found_from: tmp_path / "centres"}.get)
    assert (again.is_taken_over, again.empty.nlist, again.empty.ntotal) == (True, first.empty.nlist, 0)


@pytest.mark.parametrize("block", [7, 100, 1000])
def test_exact_nearest_are_those_of_the_whole_product(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(cells, "BLOCK", block)
    matrix = vectors(300).astype(np.float32)
    expected = np.argsort(-matrix[:5] @ matrix.T, axis=1)[:, :10]
    assert np.array_equal(cells.exact_nearest(matrix[:5], matrix.astype(np.float16), 10), expected)


def test_vectors_come_in_any_order_and_lie_in_their_places(tmp_path: Path) -> None:
    matrix = vectors(50).astype(np.float32)
    order = np.random.default_rng(1).permutation(50)

    def placed() -> Iterable[tuple[np.ndarray, np.ndarray]]:
        for rows in np.array_split(order, 4):
            yield rows, matrix[rows]

    for name, found in {"whole": [(np.arange(50), matrix)], "scattered": placed()}.items():
        (tmp_path / name).mkdir()
        vector_index.build(found, matrix.shape, tmp_path / name)
    whole, scattered = ((tmp_path / name / vector_index.FILE).read_bytes() for name in ("whole", "scattered"))
    added = faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    added.add(matrix)
    assert whole == scattered == faiss.serialize_index(added).tobytes()
