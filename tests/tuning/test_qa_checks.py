"""The checks of one pair, each at its border."""

from __future__ import annotations

import dataclasses

import pytest

from jobs.tuning import qa_checks
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.qa_checks import QA, first_reason
from tests.tuning.injected import ORDERS, PASSAGES

TEXT = "A visibility timeout is a lease: a right that\nexpires unless it is renewed by its holder."
GOOD = QA(
    question="What is a visibility timeout of a broker?",
    answer="A visibility timeout is a lease: a right that expires unless it is renewed by its holder.",
    evidence="A visibility timeout is a lease: a right that expires",
    chunk_text=TEXT,
)


def test_good_pair_has_no_reason() -> None:
    assert first_reason(GOOD) is None


@pytest.mark.parametrize("evidence", ["a right that expires", "a right  that\n\nexpires", "aright thatexpires"])
def test_evidence_may_differ_by_blanks(evidence: str) -> None:
    assert qa_checks.check_evidence(dataclasses.replace(GOOD, evidence=evidence)) is None


@pytest.mark.parametrize("evidence", ["A right that expires", "a right that expired", "a lease - a right"])
def test_evidence_may_differ_by_nothing_else(evidence: str) -> None:
    assert qa_checks.check_evidence(dataclasses.replace(GOOD, evidence=evidence)) == "evidence_not_found"


@pytest.mark.parametrize(
    "question",
    [
        "What does this paper propose for brokers?",
        "What do the authors say about leases?",
        "What does Figure 3 show about leases?",
        "What is shown in eq. (4) of it all?",
        "What is it that expires so soon?",
        "Why does it expire so early then?",
        "What do we learn about a lease here?",
        "What is the above method good for?",
        "What do Gray et al. propose?",
        "What does the passage say about leases?",
        "What does passage 2 add to the lease of passage 1?",
        "What does Lemma A say about leases?",
        "How long is a lease in the text?",
    ],
)
def test_question_that_needs_its_paper_is_refused(question: str) -> None:
    assert qa_checks.check_standalone(dataclasses.replace(GOOD, question=question)) == "points_elsewhere"


@pytest.mark.parametrize(
    "question",
    [
        "What table does a join broadcast to its executors?",
        "How does a section title change an embedding?",
        "How do tables and figures look in extracted text?",
        "Which cosine above 0.9 marks a near duplicate?",
        "What does a model figure out from its context?",
        "What do Gray et al. propose about leases?",
        "Why is the order of the passages in a prompt shuffled?",
        "Which of the articles a, an and the does SQuAD drop?",
    ],
)
def test_question_with_the_same_words_that_stands_alone_is_kept(question: str) -> None:
    assert qa_checks.check_standalone(dataclasses.replace(GOOD, question=question)) is None


@pytest.mark.parametrize("question", ["What is a lease", "What is a lease? And why?", "What is a lease?!"])
def test_not_one_question_is_refused(question: str) -> None:
    assert qa_checks.check_form(dataclasses.replace(GOOD, question=question)) == "no_question"


@pytest.mark.parametrize("answer", ["Вот это совсем другое дело", "It is\x07 a bell", "1 2 3 4 = 10"])
def test_answer_that_is_no_english_prose_is_refused(answer: str) -> None:
    assert qa_checks.check_prose(dataclasses.replace(GOOD, answer=answer)) == "not_prose"


def test_unanswerable_pair_needs_no_evidence() -> None:
    assert qa_checks.check_evidence(dataclasses.replace(GOOD, evidence="", is_answerable=False)) is None
    assert qa_checks.check_evidence(dataclasses.replace(GOOD, evidence=" ")) == "no_evidence"


@pytest.mark.parametrize("order", ORDERS)
def test_order_to_a_model_is_noticed_in_every_field(order: str) -> None:
    assert gives_instructions(f"Some prose before.\n{order}\nAnd after.")
    for name in ("question", "answer", "evidence"):
        assert first_reason(dataclasses.replace(GOOD, **{name: order})) == "instructions"


@pytest.mark.parametrize("passage", PASSAGES)
def test_order_is_noticed_wherever_it_hides(passage: str) -> None:
    assert gives_instructions(passage)


def test_at_least_100_injected_passages_are_tried() -> None:
    assert len(set(PASSAGES)) >= 100


@pytest.mark.parametrize(
    "prose",
    [
        "The file system: an index and blocks.",
        "The model answers from the passages and cites their numbers.",
        "A prompt that is too long leaves little room.",
        "You are free to choose the rank.",
        "Reviewers rated the answers of both models.",
        "The decoder should output tokens that the grammar allows.",
        "Models that follow instructions well need fewer examples.",
    ],
)
def test_prose_about_models_is_no_order(prose: str) -> None:
    assert not gives_instructions(prose)


def test_normalised_questions_ignore_case_marks_and_blanks() -> None:
    assert qa_checks.normalised("What  is a Lease?") == qa_checks.normalised("what is a lease ?")
    assert qa_checks.normalised("What is a lease?") != qa_checks.normalised("What is a leash?")


@pytest.mark.parametrize(
    ("answer", "is_needed"),
    [
        ("A lease expires and a gauge tips.", True),
        ("A lease expires.", False),
        ("Nothing of both.", False),
    ],
)
def test_each_passage_must_have_a_word_of_the_answer_for_itself(answer: str, is_needed: bool) -> None:
    assert qa_checks.needs_each(answer, ["A lease expires soon.", "A gauge of rain tips."]) == is_needed
