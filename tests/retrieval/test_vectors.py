"""Vectors in Arrow columns and in the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.core.errors import ContractError
from jobs.retrieval import cells, vector_index, vectors
from jobs.retrieval.vector_index import VectorIndex


def build(matrix: np.ndarray, folder: Path, exact_rows: int = vector_index.EXACT_ROWS) -> dict[str, Any]:
    """An index of a whole matrix."""
    placed = [(np.arange(len(matrix)), matrix)]
    return vector_index.build(placed, matrix.shape, folder, exact_rows=exact_rows)


def unit_rows(n: int, dim: int = 16) -> np.ndarray:
    matrix = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def matrix() -> np.ndarray:
    return unit_rows(200)


@pytest.fixture
def index(matrix: np.ndarray, tmp_path: Path) -> VectorIndex:
    import faiss

    build(matrix, tmp_path)
    return VectorIndex(faiss.read_index(str(tmp_path / vector_index.FILE)))


@pytest.mark.parametrize("n", [0, 1, 5])
def test_matrix_survives_a_column(n: int) -> None:
    column = pa.chunked_array([vectors.to_column(unit_rows(n))])
    assert np.array_equal(vectors.to_matrix(column, 16), unit_rows(n))


def test_sliced_and_chunked_column_keeps_its_rows() -> None:
    column = pa.chunked_array([vectors.to_column(unit_rows(6)), vectors.to_column(unit_rows(6))]).slice(4, 4)
    expected = np.concatenate([unit_rows(6)[4:], unit_rows(6)[:2]])
    assert np.array_equal(vectors.to_matrix(column, 16), expected)


def test_vector_of_another_length_is_refused() -> None:
    with pytest.raises(ContractError, match=r"lengths \[16\], expected 8"):
        vectors.to_matrix(pa.chunked_array([vectors.to_column(unit_rows(2))]), 8)


def test_nearest_are_those_of_the_exact_product(index: VectorIndex, matrix: np.ndarray) -> None:
    question = unit_rows(201)[-1]
    assert index.nearest(question, 10).tolist() == np.argsort(-(matrix @ question))[:10].tolist()


def test_only_allowed_rows_are_found(index: VectorIndex, matrix: np.ndarray) -> None:
    allowed = np.zeros(200, dtype=bool)
    allowed[[3, 77, 199]] = True
    assert sorted(index.nearest(matrix[0], 10, allowed).tolist()) == [3, 77, 199]


def test_nothing_allowed_finds_nothing(index: VectorIndex, matrix: np.ndarray) -> None:
    assert index.nearest(matrix[0], 10, np.zeros(200, dtype=bool)).tolist() == []


def test_scores_are_cosines_within_a_ten_thousandth(index: VectorIndex, matrix: np.ndarray) -> None:
    rows = np.array([5, 0, 199])
    assert np.allclose(index.scores(matrix[5], rows), matrix[rows] @ matrix[5], atol=1e-4)


def test_scores_of_no_rows_are_empty(index: VectorIndex, matrix: np.ndarray) -> None:
    assert index.scores(matrix[0], np.array([], dtype=np.int64)).shape == (0,)


def clustered(n: int) -> np.ndarray:
    """Vectors as texts have them: around 40 subjects, so that cells can part them."""
    random = np.random.default_rng(3)
    matrix = random.normal(size=(40, 16))[np.arange(n) % 40] + 0.4 * random.normal(size=(n, 16))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def both(matrix: np.ndarray, folder: Path) -> tuple[VectorIndex, VectorIndex, dict[str, Any]]:
    """The same vectors with cells and without, and what was chosen."""
    import faiss

    chosen = build(matrix, folder, exact_rows=100)
    flat, cells = (faiss.read_index(str(folder / name)) for name in (vector_index.FILE, vector_index.CELLS_FILE))
    return VectorIndex(flat, cells), VectorIndex(flat), chosen


def test_few_vectors_are_all_compared(matrix: np.ndarray, tmp_path: Path) -> None:
    assert build(matrix, tmp_path, exact_rows=200) == {}
    assert [path.name for path in tmp_path.iterdir()] == [vector_index.FILE]


def test_many_vectors_are_searched_by_cells_that_miss_almost_nothing(tmp_path: Path) -> None:
    matrix = clustered(4000)
    quick, exact, chosen = both(matrix, tmp_path)
    assert chosen["recall_10"] >= cells.FOUND_01
    assert chosen["n_probes"] < chosen["n_cells"] / 2
    questions = matrix[:50] + 0.1
    hits = [np.isin(exact.nearest(one, 10), quick.nearest(one, 100)).mean() for one in questions]
    assert np.mean(hits) >= 0.97


def test_order_of_what_cells_find_is_by_the_exact_cosine(tmp_path: Path) -> None:
    matrix = clustered(1000)
    quick, _, _ = both(matrix, tmp_path)
    cosines = quick.scores(matrix[7], quick.nearest(matrix[7], 20))
    assert (np.diff(cosines) <= 0).all()
    assert cosines[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("n_allowed", [3, 900])
def test_only_allowed_rows_are_found_by_cells_too(tmp_path: Path, n_allowed: int) -> None:
    matrix = clustered(1000)
    quick, exact, _ = both(matrix, tmp_path)
    allowed = np.zeros(1000, dtype=bool)
    allowed[:n_allowed] = True
    found = quick.nearest(matrix[0], 10, allowed)
    assert allowed[found].all()
    assert np.isin(exact.nearest(matrix[0], 3, allowed), found).all()


def test_same_vectors_make_the_same_cells(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(clustered(1000), tmp_path / name, exact_rows=100)
        found.append((tmp_path / name / vector_index.CELLS_FILE).read_bytes())
    assert found[0] == found[1]
