"""Where sentences end, and which words carry meaning."""

import pytest

from jobs.retrieval.sentences import content_words, sentences, stem


@pytest.mark.parametrize(
    "text",
    [
        "As Hu et al. (2021) show, rank 4 is enough.",
        "See Fig. 3 and Eq. 2 for the loss.",
        "It holds for small models, e.g. GPT-2 and others.",
        "The rate is 0.5 at most, i.e. Half of the rows.",
        "D. Knuth wrote it.",
        "It is No. 5 of the list.",
        "It is true (cf. Section 3) that this works.",
    ],
)
def test_dot_of_an_abbreviation_ends_no_sentence(text: str) -> None:
    assert sentences(text) == [text]


def test_sentence_after_et_al_begins_with_its_capital() -> None:
    assert sentences("We follow Hu et al. The rank is 4.") == ["We follow Hu et al.", "The rank is 4."]


@pytest.mark.parametrize("text", ["It works! Does it? Yes.", "He said “no.” Then he left.", "One (or two). Three."])
def test_marks_with_closing_quotes_end_a_sentence(text: str) -> None:
    assert " ".join(sentences(text)) == text
    assert len(sentences(text)) > 1


def test_letter_that_names_a_variable_ends_a_sentence() -> None:
    assert sentences("The rank is R. The scale is A. Both are small.") == [
        "The rank is R.",
        "The scale is A.",
        "Both are small.",
    ]


def test_heading_is_no_part_of_the_sentence_below_it() -> None:
    assert sentences("2 NF4\n\nNF4 is a type.\nIt has\nsixteen values.") == [
        "2 NF4",
        "NF4 is a type.",
        "It has sixteen values.",
    ]


def test_sentences_lose_no_character() -> None:
    text = "One. Two et al. three; Fig. 4. “Five.” Six? seven. Eight"
    assert " ".join(sentences(text)) == text


def test_content_words_leave_out_what_asks() -> None:
    assert content_words("What does NF4 stand for, and why does QLoRA use it?") == ["nf4", "qlora", "us"]


@pytest.mark.parametrize(
    ("one", "other"), [("uses", "use"), ("quantized", "quantize"), ("levels", "level"), ("biases", "bias")]
)
def test_stem_of_forms_of_a_word_is_one(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_stem_of_a_short_word_is_itself() -> None:
    assert (stem("as"), stem("loss")) == ("as", "loss")
