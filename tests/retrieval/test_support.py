"""How much the passages support an answer, from cosine and words."""

import pytest

from jobs.retrieval import support

N_ROWS = {"rank": 500, "qlora": 3}


def coverage(words: list[str], *texts: str) -> float:
    return support.coverage(words, lambda word: N_ROWS.get(word, 0), 1000, texts)


def test_all_words_in_one_text_cover_the_question() -> None:
    assert coverage(["rank", "qlora"], "the rank of QLoRA") == 1.0


def test_words_scattered_over_texts_cover_less() -> None:
    assert coverage(["rank", "qlora"], "the rank", "of QLoRA") < 1.0


def test_rare_word_counts_more_than_a_frequent_one() -> None:
    assert coverage(["rank", "qlora"], "QLoRA") > 0.8 > 0.2 > coverage(["rank", "qlora"], "rank")


def test_repeated_word_counts_once() -> None:
    assert coverage(["rank", "rank", "qlora"], "rank") == coverage(["rank", "qlora"], "rank")


def test_no_text_covers_nothing() -> None:
    assert coverage(["rank"]) == 0.0


def test_question_without_words_asks_for_none() -> None:
    assert coverage([], "anything") == 1.0


def test_estimate_grows_with_both() -> None:
    assert support.estimate(0.3, 0.2) < support.estimate(0.6, 0.2) < support.estimate(0.6, 0.9)


@pytest.mark.parametrize(("cosine", "covered", "low", "high"), [(-1, 0, 0, 0.01), (1, 1, 0.99, 1)])
def test_estimate_stays_between_0_and_1(cosine: float, covered: float, low: float, high: float) -> None:
    assert low <= support.estimate(cosine, covered) <= high
