"""Which questions go on from the one before them, and how far back they are read together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.retrieval.follow_ups import MAX_BEFORE_CHARS, MAX_TURNS, goes_on, thread

HERE = Path(__file__).parent


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


# Of the questions that were written to be asked alone, these lean on something all the same.
LEANING = {
    "Which earlier two optimizers are its strengths taken from?",
    "Which record-size language model was trained with this system?",
    "How do view patterns of Haskell compare with this extension mechanism?",
    "Which optimizers does it beat when training a convolutional image classifier?",
    "How does it relate to RMSProp with momentum?",
    "How does this relate to matching the logits directly?",
    "How does this differ from noise-contrastive estimation?",
}


def test_questions_of_people_stand_alone() -> None:
    asked = [row["question"] for name in ("questions.jsonl", "real_questions.jsonl") for row in read(name)]
    assert len(asked) == 213
    assert {question for question in asked if goes_on(question)} == LEANING


def test_follow_ups_go_on() -> None:
    asked = [row["question"] for name in ("follow_ups.jsonl", "real_follow_ups.jsonl") for row in read(name)]
    assert len(asked) == 80
    assert [question for question in asked if not goes_on(question)] == []


@pytest.mark.parametrize(
    "question",
    [
        "Why?",
        "And in German?",
        "What about larger models?",
        "Who wrote it?",
        "How much does that cost?",
        "Does the same hold for them?",
        "Tell me more about it.",
        "What are the alternatives to this?",
        "Can you explain that in other words?",
        "Is this true for images too?",
    ],
)
def test_question_without_its_subject_goes_on(question: str) -> None:
    assert goes_on(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the effect of dropout on a network and its weights?",
        "Is it possible to train a model on two GPUs?",
        "How long does it take to train BERT?",
        "What does the model do when it sees a new token?",
        "Does a language model know what it knows?",
        "How does BERT differ from GPT, and is it better?",
        "What is kept of the gradients that are summed without storing all of them?",
        "What do people say of GPT-3, and of those who trained it?",
        "Are there models that need no labels?",
        "Which methods use attention, and which of them scale to long inputs?",
    ],
)
def test_question_with_its_subject_stands_alone(question: str) -> None:
    assert not goes_on(question)


def test_thread_goes_back_to_a_question_that_stands_alone() -> None:
    before = ["What is BM25?", "What is LoRA?", "How much memory does it need?"]
    assert thread("And on a T4?", before) == ("What is LoRA?", "How much memory does it need?", "And on a T4?")


def test_question_that_stands_alone_is_its_own_thread() -> None:
    assert thread("What is BM25?", ["What is LoRA?"]) == ("What is BM25?",)


def test_first_question_has_nothing_to_go_on_from() -> None:
    assert thread("And how?") == ("And how?",)
    assert thread("And how?", ["", "  "]) == ("And how?",)


def test_thread_is_bounded() -> None:
    found = thread("And then?", ["And so?"] * 20)
    assert len(found) == MAX_TURNS + 1
    long = thread("And then?", ["What is " + "word " * 500])
    assert len(long[0]) <= MAX_BEFORE_CHARS
    assert long[0].endswith("word")
    assert thread("And then?", ["x" * 500]) == ("x" * MAX_BEFORE_CHARS, "And then?")
