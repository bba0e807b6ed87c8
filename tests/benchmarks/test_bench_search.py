"""The search benchmark on a few hundred passages: its lake is one that build_index reads, its ways find the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_search, synthetic
from benchmarks.synthetic import Size
from tests.retrieval import house

pytestmark = pytest.mark.slow  # an index

SIZE = Size(600, 3)


def test_lake_is_indexed_and_the_vectors_ways_agree(tmp_path: Path) -> None:
    lake = synthetic.make_lake(tmp_path, SIZE, 2)
    assert house.index(lake).manifest.rows == 400
    synthetic.add_window(lake, SIZE, 2)
    part = house.index(lake)
    assert (part.manifest.rows, part.manifest.extra["n_papers"]) == (600, SIZE.n_papers)
    assert bench_search.halves(part).shape == (600, 384)
    assert np.allclose(np.linalg.norm(bench_search.halves(part).astype(np.float32), axis=1), 1, atol=1e-2)
    figures = bench_search.side_by_side(part, with_hnsw=True)
    assert figures["flat"]["recall_10"] >= 0.99
    assert figures["hnsw_256"]["recall_10"] >= 0.95
    assert 0.4 < figures["cosine_of_nearest"] < 0.7


def test_vectors_lie_as_those_of_real_passages_do() -> None:
    matrix = synthetic.vectors_of(range(29), 1489, 384, np.random.default_rng(0))
    cosines = matrix @ matrix.T
    np.fill_diagonal(cosines, -1)
    assert np.median(cosines.max(axis=1)) == pytest.approx(0.71, abs=0.02)


def test_same_window_has_the_same_rows_and_every_paper_one_window() -> None:
    papers = [SIZE.papers_of(window) for window in range(3)]
    assert [number for some in papers for number in some] == list(range(SIZE.n_papers))
    first, again = (list(synthetic.texts_of(5, np.random.default_rng(4))) for _ in range(2))
    assert first == again
