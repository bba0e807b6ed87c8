"""Questions worth asking, found in the passages."""

import pytest

from jobs.serving.questions import SourceText, questions_worth_asking

LORA = SourceText("2401.00001", "Low-Rank Adaptation", "LoRA stands for low-rank adaptation. This is a trick.")
BM25 = SourceText("2401.00002", "The BM25 Family", "We begin. BM25 is a ranking function of the nineties.")
OTHER = SourceText("2401.00003", "Chunking", "Here is a list. It is an overview of things.")


def test_what_stands_for_something_comes_before_what_is_something() -> None:
    assert questions_worth_asking([BM25, LORA])[:2] == ("What does LoRA stand for?", "What is BM25?")


@pytest.mark.parametrize(
    ("title", "question"),
    [
        ("FlashAttention: Fast and Exact Attention", "What is FlashAttention?"),
        ("Paged Optimizers and 8-bit Adam", "What are Paged Optimizers?"),
        ("Evaluation of Generated Answers", "What is Evaluation of Generated Answers?"),
        ("Data Analysis", "What is Data Analysis?"),
        ("Data analysis for all", "What is data analysis for all?"),
        ("Tilings, groups and graphs", "What are Tilings?"),
    ],
)
def test_paper_that_defines_nothing_is_asked_for_what_its_title_names(title: str, question: str) -> None:
    assert questions_worth_asking([SourceText("2401.00003", title, OTHER.text)]) == (question,)


@pytest.mark.parametrize(
    "title",
    [
        "Exact and Approximate Search",
        "On Chunking",
        "Is Chunking Hard?",
        "Evaluating Answers",
        "A Very Long Title That Goes On",
        "",
    ],
)
def test_title_that_names_nothing_gives_no_question(title: str) -> None:
    assert questions_worth_asking([SourceText("2401.00003", title, OTHER.text)]) == ()


@pytest.mark.parametrize(
    ("title", "text", "question"),
    [
        ("Paged Optimizers", "We use paged optimizers.", "What are paged optimizers?"),
        ("Celery queues", "We run Celery with two queues.", "What are Celery queues?"),
        ("BM25 and Others", "We use bm25 as a file name.", "What is BM25?"),
        ("Low-Rank Layers", "Each Low-Rank layer differs, and a low-rank one is small.", "What are low-rank Layers?"),
    ],
)
def test_words_are_written_as_the_paper_writes_them(title: str, text: str, question: str) -> None:
    assert questions_worth_asking([SourceText("2401.00006", title, text)]) == (question,)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Reciprocal rank fusion (RRF) adds ranks.", "What is reciprocal rank fusion (RRF)?"),
        ("We try Reciprocal Rank Fusion (RRF).", "What is Reciprocal Rank Fusion (RRF)?"),
        ("We add ranks by reciprocal-rank fusion (RRF).", "What is reciprocal-rank fusion (RRF)?"),
        ("We add ranks by a fusion (RRF).", "What is fusion of ranks?"),
        ("It runs on a graphics card (GC).", "What is Fusion of Ranks?"),
    ],
)
def test_term_that_comes_with_its_initials_is_asked_for(text: str, question: str) -> None:
    assert questions_worth_asking([SourceText("2401.00007", "Fusion of Ranks", text)]) == (question,)


def test_definition_that_the_title_does_not_name_is_passed_over() -> None:
    aside = SourceText("2401.00004", "Chunking", "Paris is a city of France.")
    assert questions_worth_asking([aside]) == ("What is Chunking?",)


def test_same_passages_in_another_order_give_the_same_questions() -> None:
    passages = [LORA, BM25, OTHER, SourceText("2401.00005", "Tokens", "A token is a piece of a word.")]
    assert questions_worth_asking(passages) == questions_worth_asking(list(reversed(passages)))
    assert len(questions_worth_asking(passages)) == 4


def test_one_paper_gives_one_question() -> None:
    twice = SourceText("2401.00001", "Low-Rank Adaptation", "A rank is a number.")
    assert questions_worth_asking([LORA, twice]) == ("What does LoRA stand for?",)


def test_no_passages_give_no_question() -> None:
    assert questions_worth_asking([]) == ()
