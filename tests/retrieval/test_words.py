"""Words as search sees them."""

import pytest

from jobs.retrieval.words import singular, words_of


def test_stopwords_and_punctuation_are_left_out() -> None:
    assert words_of("What is the rank, and why?") == ["rank"]


def test_case_and_width_are_folded() -> None:
    assert words_of("ＱLoRA STRASSE ﬁne") == ["qlora", "strasse", "fine"]


def test_numbers_and_hyphenated_parts_are_words() -> None:
    assert words_of("4-bit k=60 co_occur") == ["4", "bit", "k", "60", "co", "occur"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(
            ("adapters", "adapter"),
            ("queries", "query"),
            ("indexes", "index"),
            ("losses", "loss"),
            ("loss", "loss"),
            ("bus", "bus"),
        ),
        *(("bias", "bia"), ("gas", "gas"), ("series", "sery"), ("trees", "tree"), ("rank", "rank")),
    ],
)
def test_plural_ending_is_cut(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_text_without_letters_has_no_words() -> None:
    assert words_of("… ≈ ∑ !?") == []
