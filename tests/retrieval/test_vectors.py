"""Vectors in Arrow columns and in the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.core.errors import ContractError
from jobs.retrieval import vector_index, vectors
from jobs.retrieval.vector_index import VectorIndex


def unit_rows(n: int, dim: int = 16) -> np.ndarray:
    matrix = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture
def matrix() -> np.ndarray:
    return unit_rows(200)


@pytest.fixture
def index(matrix: np.ndarray, tmp_path: Path) -> VectorIndex:
    import faiss

    vector_index.build(matrix, tmp_path)
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
