"""Measures of text quality on toy texts whose figures can be counted by hand."""

from __future__ import annotations

import pytest

from benchmarks import text_measures as measures


@pytest.mark.parametrize(
    ("a", "b", "n"), [("kitten", "sitting", 4), ("", "abc", 0), ("abc", "abc", 3), ("abcd", "dcba", 1)]
)
def test_longest_common_subsequence_is_counted(a: str, b: str, n: int) -> None:
    assert measures.longest_common(a, b) == n


def test_similarity_is_two_common_over_both_lengths() -> None:
    assert measures.similarity_01("a b c x", "abcd", []) == pytest.approx(2 * 3 / 8)


def test_float_that_is_whole_may_stand_anywhere() -> None:
    assert measures.similarity_01("one Figure 1: a plot two", "one two", ["Figure 1: a plot"]) == 1.0


def test_float_that_is_missing_costs_its_length() -> None:
    assert measures.similarity_01("abcd", "abcd", ["efgh"]) == pytest.approx(2 * 4 / 12)


def test_words_lose_signs_around_them_and_case() -> None:
    assert measures.words("(The) state-of-the-art “map”, 0.5 — done.") == [
        "the",
        "state-of-the-art",
        "map",
        "0.5",
        "done",
    ]


def test_words_count_as_often_as_they_are_true() -> None:
    assert measures.word_precision_recall("the the cat 7", "the cat sat") == (2 / 4, 2 / 3)


def test_head_in_the_text_beside_the_title_is_left_once() -> None:
    text, truth = "On Clocks\nbody on clo-\ncks tail", "On Clocks body tail"
    assert measures.n_left(["On Clocks", "On Clocks", "On Clocks"], text, truth) == (1, 3)


def test_page_number_is_left_where_its_word_is_surplus() -> None:
    assert measures.n_folios_left([1, 2, 3], "in 2 rows 2 and 3", "in 2 rows and 3") == (1, 3)


def test_sentence_with_something_inside_is_not_whole() -> None:
    sentences = ["Cats sit on warm mats.", "Dogs do not."]
    assert measures.n_whole(sentences, "Cats sit 12 on warm mats. Dogs do\nnot.") == (1, 2)


def test_sentence_that_was_hyphenated_is_whole() -> None:
    assert measures.n_whole(["Efficient cats."], "Eﬃ-\ncient cats.") == (1, 1)


LINES = ["the first line of prose", "and the second line of it", "with the third line to end"]


def test_lines_in_the_order_of_the_page_are_in_order() -> None:
    assert measures.n_lines_in_order(LINES, [" ".join(LINES)], "\n".join(LINES)) == (2, 2)


def test_lines_with_another_column_between_are_not_in_order() -> None:
    other = "a line of the other column that is longer than what may stand between"
    text = "\n".join([LINES[0], other, LINES[1], LINES[2]])
    assert measures.n_lines_in_order(LINES, [" ".join(LINES)], text) == (1, 2)


def test_lines_of_two_paragraphs_are_no_pair() -> None:
    assert measures.n_lines_in_order(LINES[:2], LINES[:2], "\n".join(LINES)) == (0, 0)


def test_hyphen_in_a_word_that_is_written_in_one_is_left() -> None:
    assert measures.n_hyphens("a mea-\nsure of fine-tuning", "a measure of fine-tuning") == (1, 0)


def test_hyphen_that_belongs_to_the_word_and_is_gone_is_lost() -> None:
    assert measures.n_hyphens("a measure of finetuning", "a measure of fine-tuning") == (0, 1)


def test_ligatures_and_bad_characters_are_counted() -> None:
    text = "eﬃcient \ufffd \ue001 soft\u00adhyphen\f\n"
    assert (measures.n_ligatures(text), measures.n_bad(text)) == (1, 3)


WANTED = [("Introduction", "1. Introduction"), ("Method", "2. METHOD"), ("Proofs", "A. Proofs")]


def test_sections_are_found_with_their_number_or_without() -> None:
    assert measures.n_sections(["1. Introduction", "Method", "A. PROOFS"], WANTED) == (3, 3, 3)


def test_sections_out_of_order_or_invented_are_not_right() -> None:
    assert measures.n_sections(["Method", "Theorem 1", "Introduction"], WANTED) == (1, 3, 3)
