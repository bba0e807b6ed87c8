import math

import pytest

from jobs.tuning import metrics

NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("NF4 has four bits", "NF4 has four bits", 1.0),
        ("The NF4, has a FOUR bits!", "nf4 has four bits", 1.0),
        ("NF4 has four bits [1]", "NF4 has four bits", 1.0),
        ("four bits", "NF4 has four bits", 2 * 1.0 * 0.5 / 1.5),
        ("bits bits bits", "bits", 2 * (1 / 3) * 1 / (1 / 3 + 1)),
        ("nothing alike", "NF4 has four bits", 0.0),
        ("", "NF4", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_token_f1_is_as_worked_by_hand(answer: str, expected: str, f1: float) -> None:
    assert metrics.token_f1(answer, expected) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("police killed gunman", "police kill gunman", 2 / 3),  # Lin 2004, section 3.1: two of three words in order
        ("gunman kill police", "police kill gunman", 1 / 3),
        ("b a c b d", "a b c d", 6 / 7),  # without the article: b c b d and b c d share b c d
        ("", "", 1.0),
    ],
)
def test_rouge_l_is_as_worked_by_hand(answer: str, expected: str, f1: float) -> None:
    assert metrics.rouge_l(answer, expected) == pytest.approx(f1)


def test_rouge_l_minds_the_order_that_token_f1_does_not() -> None:
    said, wanted = "bits four has NF4", "NF4 has four bits"
    assert metrics.token_f1(said, wanted) == 1.0
    assert metrics.rouge_l(said, wanted) == pytest.approx(0.25)


def test_longest_common_subsequence_of_known_strings() -> None:
    assert metrics.longest_common("ABCBDAB", "BDCABA") == 4  # Cormen et al., Introduction to Algorithms, figure 15.8


def test_rank_is_that_of_the_first_right_passage() -> None:
    assert metrics.rank_of(["a", "b", "c"], {"c", "b"}) == 2
    assert metrics.rank_of(["a"], {"z"}) is None


def test_recall_and_reciprocal_rank_of_a_miss_are_zero() -> None:
    assert [metrics.recall_at(5, 5), metrics.recall_at(6, 5), metrics.recall_at(None, 5)] == [1.0, 0.0, 0.0]
    assert [metrics.reciprocal_rank(4), metrics.reciprocal_rank(None)] == [0.25, 0.0]


def test_missing_values_are_counted_and_not_averaged() -> None:
    found = metrics.score([1.0, NAN, 3.0], ["p", "p", "q"], draws=200)
    assert (found.mean, found.n, found.n_missing) == (2.0, 2, 1)


def test_nothing_measured_has_no_mean() -> None:
    assert metrics.score([NAN], ["p"], draws=10) == metrics.Score(None, None, None, 0, 1)


def test_interval_is_over_papers_and_not_over_rows() -> None:
    """A thousand rows of two papers say no more of a third paper than two rows do."""
    few = metrics.score([0.0, 1.0], ["p", "q"], draws=2000)
    many = metrics.score([0.0] * 500 + [1.0] * 500, ["p"] * 500 + ["q"] * 500, draws=2000)
    assert (few.low, few.high) == (many.low, many.high) == (0.0, 1.0)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    import numpy as np

    random = np.random.default_rng(7)
    papers = [f"p{i // 3}" for i in range(120)]
    hits = 0
    for seed in range(100):
        values = np.repeat(random.normal(0.5, 1, 40), 3) + random.normal(0, 0.1, 120)
        found = metrics.score(values.tolist(), papers, draws=400, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.5 <= found.high
    assert 86 <= hits <= 100


def test_equal_seeds_give_equal_intervals() -> None:
    values, papers = [0.1, 0.9, 0.4, 0.7], ["a", "b", "c", "d"]
    assert metrics.score(values, papers, draws=100) == metrics.score(values, papers, draws=100)


def test_difference_is_paired_row_by_row() -> None:
    """Both vary widely, their difference does not: unpaired intervals would overlap."""
    a, b = [1.1, 5.1, 9.1], [1.0, 5.0, 9.0]
    found = metrics.difference(a, b, ["p", "q", "r"], draws=500)
    assert found.diff == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert (found.n_rows, found.n_papers) == (3, 3)


def test_difference_leaves_out_rows_that_one_side_lacks() -> None:
    found = metrics.difference([1.0, NAN], [0.5, 0.5], ["p", "q"], draws=50)
    assert (found.diff, found.n_rows, found.n_papers) == (0.5, 1, 1)
    assert math.isfinite(found.diff or NAN)
