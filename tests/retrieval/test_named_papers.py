"""Papers that a question names."""

from __future__ import annotations

import pytest

from jobs.retrieval.named_papers import Named, NamedPapers

KNOWN = NamedPapers(
    [
        ("2205.14135", "FlashAttention: Fast and Memory-Efficient Exact Attention"),
        ("1706.03762", "Attention Is All You Need"),
        ("2401.00007", "Attention Is All You Need in Speech"),
        ("hep-th/9108004", "Two Words"),
        ("2401.00001", "A Shared Title"),
        ("2401.00002", "A shared title"),
    ]
)


@pytest.mark.parametrize(
    "name",
    [
        *("2205.14135", "arXiv:2205.14135", "(2205.14135v2)?", "https://arxiv.org/abs/2205.14135", "hep-th/9108004."),
        "http://www.arxiv.org/pdf/2205.14135v1",
    ],
)
def test_id_is_recognised_and_cut(name: str) -> None:
    found = KNOWN.find(f"What does {name} measure?")
    assert found.paper_id in ("2205.14135", "hep-th/9108004")
    assert found.question == "What does measure?"


@pytest.mark.parametrize("question", ["Why 2401.99999?", "Is 3.14159 pi?", "version 2205.1413", "and hep-th/0000000"])
def test_what_is_no_known_id_names_nothing(question: str) -> None:
    assert KNOWN.find(question) == Named(None, question)


def test_title_is_recognised_whatever_its_case_and_quotes() -> None:
    question = "In “attention is all you need”, what is a head?"
    assert KNOWN.find(question) == Named("1706.03762", "In what is a head?")


def test_longer_title_wins() -> None:
    assert KNOWN.find("who wrote Attention is all you need in speech").paper_id == "2401.00007"


def test_part_of_a_title_names_nothing() -> None:
    assert KNOWN.find("Attention is all you want").paper_id is None


def test_title_of_two_words_names_nothing() -> None:
    assert KNOWN.find("What are two words?").paper_id is None


def test_title_of_two_papers_names_neither() -> None:
    assert KNOWN.find("What says a shared title?").paper_id is None


def test_id_goes_before_a_title() -> None:
    assert KNOWN.find("Does 2205.14135 cite Attention Is All You Need?").paper_id == "2205.14135"


def test_empty_question_names_nothing() -> None:
    assert KNOWN.find("") == Named(None, "")
