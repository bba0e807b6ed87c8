"""Characters and hyphens: each step alone, on the shapes that PDFs of TeX have."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.corpus import cleaning


def clean(text: str) -> str:
    return cleaning.clean_characters(text, Counter())


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("e\ufb03cient o\ufb03ce \ufb02ow", "efficient office flow"),
        ("o\u21b5ers di\u21b5erent", "offers different"),
        ("trade o\u21b5 the step \u21b5, cuto\u21b5.", "trade off the step \u21b5, cutoff."),
        ("\uf8eba\uf8f6 x \uf8ff y", "⎛a⎞ x ≤ y"),
        ("F¨arber and Schr¨odinger", "Färber and Schrödinger"),
        ("Schr ¨odinger", "Schrödinger"),
        ("Nov´ak, Jiˇr´ı, Gar¸con, S¸ahin", "Novák, Jiří, Garçon, Şahin"),
        ("Sediv`y", "Sedivỳ"),
        ("it´s", "it´s"),
        ("``quoted''", "``quoted''"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\u00a0b\u2009c\t d", "a b c d"),
        ("bell\x07 and \ud800 surrogate", "bell and surrogate"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("\U0001d465 + \U0001d4e9", "x + Z"),
    ],
)
def test_characters_are_what_a_reader_would_type(raw: str, expected: str) -> None:
    assert clean(raw) == expected


@pytest.mark.parametrize("text", ["10²", "x₁", "½", "ℝ", "한국어", "العربية", "naïve"])
def test_characters_with_a_meaning_of_their_own_stay(text: str) -> None:
    assert clean(text) == text


def test_every_step_is_counted() -> None:
    counts: Counter[str] = Counter()
    cleaning.clean_characters("F¨arber\x07 e\ufb03cient", counts)
    assert counts == {"accents": 1, "control_chars": 1, "folded_chars": 1}


@given(st.text())
def test_clean_text_has_single_blanks_and_nothing_invisible(text: str) -> None:
    result = clean(text)
    assert result == result.strip()
    assert "  " not in result
    assert not any(ord(c) < 32 or c in "\u00ad\u200b\ufeff" or "\ud800" <= c <= "\udfff" for c in result)


def test_private_use_and_unknown_characters_count_as_bad() -> None:
    assert cleaning.bad_share_01("ab \ue000\ufffd") == 0.5


def test_bad_share_of_nothing_is_zero() -> None:
    assert cleaning.bad_share_01(" \n") == 0.0


@pytest.mark.parametrize(
    ("first", "second", "seen", "kept"),
    [
        ("fine", "tuning", "fine-tuning here", True),
        ("demon", "strate", "we demonstrate", False),
        ("fine", "tuning", "finetuning finetuning fine-tuning", False),
        ("self", "attention", "", True),
        ("para", "meters", "", False),
        ("state-of-the", "art", "", True),
        ("query", "document", "query query document document", True),
        ("under", "stand", "under under stand stand", False),
    ],
)
def test_hyphen_is_kept_as_the_document_writes_the_word(first: str, second: str, seen: str, kept: bool) -> None:
    assert cleaning.keeps_hyphen(first, second, cleaning.vocabulary([seen])) is kept


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["one", "two"], "one two"),
        (["demon-", "strate"], "demonstrate"),
        (["BERT-", "Large"], "BERT-Large"),
        (["end-", "to-end"], "end-to-end"),
        (["GPT-", "3 is"], "GPT-3 is"),
        (["1990–", "1995"], "1990–1995"),
        (["a gap -", "and more"], "a gap - and more"),
        (["see http://example.org/a/", "b.html now"], "see http://example.org/a/b.html now"),
        (["see http://example.org/a", "Then we"], "see http://example.org/a Then we"),
        (["", "alone"], "alone"),
    ],
)
def test_lines_are_joined(lines: list[str], expected: str) -> None:
    assert cleaning.join_lines(lines, Counter(), Counter()) == expected


def test_capitals_are_joined_where_the_document_writes_them_as_one_word() -> None:
    words = cleaning.vocabulary(["ADAGRAD is a method"])
    assert cleaning.join_lines(["the method ADA-", "GRAD"], words, Counter()) == "the method ADAGRAD"


def test_half_of_a_broken_word_is_no_word() -> None:
    words = cleaning.vocabulary(["competitive neigh-", "bours and neigh-", "bours", "well-known"])
    assert (words["neigh"], words["bours"], words["neighbours"], words["well-known"]) == (0, 0, 0, 1)


def test_vocabulary_holds_words_of_any_alphabet_and_no_marks() -> None:
    words = cleaning.vocabulary(["(Its well-known rule, its-", "Färber's rule2 -- naïve x_y"])
    assert +words == Counter(["its", "well-known", "rule", "rule", "s", "naïve", "x", "y"])


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_letters_are_counted_as_python_knows_them(text: str) -> None:
    assert cleaning.count_letters(text) == sum(map(str.isalpha, text))


@pytest.mark.parametrize(
    ("first", "second", "seen", "kept"),
    [
        ("ex", "ternal", "", False),
        ("so", "lution", "", False),
        ("so", "called", "it was called so", True),
        ("high", "dimensional", "", True),
        ("high", "est", "", False),
        ("large", "vocabulary", "a large set and its vocabulary", True),
    ],
)
def test_hyphen_behind_a_word_that_is_also_a_prefix(first: str, second: str, seen: str, kept: bool) -> None:
    assert cleaning.keeps_hyphen(first, second, cleaning.vocabulary([seen])) is kept


def test_folding_that_is_switched_off_leaves_ligatures() -> None:
    assert cleaning.clean_characters("the \ufb01rst", cleaning.StepCounter()) == "the first"
    assert cleaning.clean_characters("the \ufb01rst", cleaning.StepCounter(["folded_chars"])) == "the \ufb01rst"
