"""From scores to an order."""

import numpy as np
import pytest

from jobs.retrieval import ranking

ROWS = np.array([4, 7, 9])
COSINES = np.array([0.2, 0.6, 0.4], dtype=np.float32)
BM25 = np.array([30.0, 0.0, 15.0], dtype=np.float32)


def test_dense_and_bm25_order_by_their_own_score() -> None:
    assert [row for row, _ in ranking.rank("dense", ROWS, COSINES, BM25)] == [7, 9, 4]
    assert [row for row, _ in ranking.rank("bm25", ROWS, COSINES, BM25)] == [4, 9, 7]


def test_hybrid_adds_scaled_scores_by_weight() -> None:
    ranked = ranking.rank("hybrid", ROWS, COSINES, BM25)
    assert [row for row, _ in ranked] == [7, 9, 4]
    assert [score for _, score in ranked] == pytest.approx([0.6, 0.5, 0.4], abs=1e-6)


def test_hybrid_without_words_is_dense() -> None:
    none = np.zeros(3, dtype=np.float32)
    assert [row for row, _ in ranking.rank("hybrid", ROWS, COSINES, none)] == [7, 9, 4]


def test_equal_scores_keep_the_order_of_rows() -> None:
    assert ranking.in_order(np.array([9, 2, 5]), np.ones(3)) == [(2, 1.0), (5, 1.0), (9, 1.0)]


@pytest.mark.parametrize("scores", [[], [3.0], [2.0, 2.0]])
def test_scores_that_say_nothing_are_scaled_to_zero(scores: list[float]) -> None:
    assert ranking.scaled(np.array(scores)).tolist() == [0.0] * len(scores)


def test_best_rows_leave_out_zeros_and_what_is_not_allowed() -> None:
    scores = np.array([0.0, 5.0, 3.0, 4.0, 1.0])
    assert sorted(ranking.best_rows(scores, 10).tolist()) == [1, 2, 3, 4]
    assert sorted(ranking.best_rows(scores, 2).tolist()) == [1, 3]
    assert sorted(ranking.best_rows(scores, 2, np.array([True, False, True, False, True])).tolist()) == [2, 4]


def test_other_scores_reorder_the_first_and_those_behind_them_stay() -> None:
    ranked = [(4, 0.9), (7, 0.8), (9, 0.7), (2, 0.6)]
    assert ranking.reordered(ranked, np.array([0.25, 0.75])) == [(7, 0.75), (4, 0.25), (9, 0.25), (2, 0.25)]
    assert [row for row, _ in ranking.reordered(ranked, np.full(4, 0.5))] == [4, 7, 9, 2]


def test_cap_passes_over_a_paper_that_had_its_share() -> None:
    ranked = [(row, 1.0) for row in range(6)]
    paper_of_row = np.array([0, 0, 0, 1, 0, 2])
    assert [row for row, _ in ranking.cap(ranked, paper_of_row, 4, 2)] == [0, 1, 3, 5]
    assert ranking.cap(ranked, paper_of_row, 4, None) == ranked[:4]


@pytest.mark.parametrize("n_rows", [5, 1601, 5000])
@pytest.mark.parametrize("share_01", [0.0, 0.01, 0.9])
@pytest.mark.parametrize("n", [1, 100])
def test_best_rows_are_those_of_all_scores_in_order(n_rows: int, share_01: float, n: int) -> None:
    random = np.random.default_rng(n_rows)
    scores = (random.permutation(n_rows) + 1) * (random.random(n_rows) < share_01)
    allowed = random.random(n_rows) < 0.5
    for some in (None, allowed):
        left = scores if some is None else scores * some
        expected = [row for row in np.argsort(-left)[:n].tolist() if left[row]]
        assert sorted(ranking.best_rows(scores.astype(np.float32), n, some).tolist()) == sorted(expected)
