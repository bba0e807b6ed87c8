"""Papers that a question names."""

from __future__ import annotations

import pytest

from jobs.retrieval.named_papers import Named, NamedPapers, Titled

KNOWN = NamedPapers(
    [
        Titled("2205.14135", "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness"),
        Titled("1706.03762", "Attention Is All You Need"),
        Titled("2401.00007", "Attention Is All You Need in Speech"),
        Titled("hep-th/9108004", "Two Words"),
        Titled("2401.00001", "A Shared Title"),
        Titled("2401.00002", "A shared title"),
        Titled("1412.6980", "Adam: A Method for Stochastic Optimization", ["Diederik P. Kingma", "Jimmy Lei Ba"], 2014),
        Titled(
            "1503.02531", "Distilling the Knowledge in a Neural Network", ["G. Hinton", "O. Vinyals", "J. Dean"], 2015
        ),
        Titled(
            "2203.02155", "Training language models to follow instructions with human feedback", ["L. Ouyang", "J. Wu"]
        ),
        Titled(
            "1502.03167", "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift"
        ),
        Titled("2005.11401", "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks"),
        Titled("2303.18223", "Large Language Models: A Survey", ["W. Zhao", "K. Zhou"]),
        Titled("2303.00001", "Large Language Models in Law", ["W. Zhao", "K. Zhou"]),
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
    assert KNOWN.find(question) == Named("1706.03762", "what is a head?")


@pytest.mark.parametrize(
    ("question", "paper_id", "rest"),
    [
        ("In the FlashAttention paper, why is it faster?", "2205.14135", "why is it faster?"),
        ("What is the step size in the Adam paper?", "1412.6980", "What is the step size ?"),
        ("the paper Adam: which step size?", "1412.6980", "which step size?"),
        ("In 'Two Words', what is said?", "hep-th/9108004", "what is said?"),
        (
            "What does 'Distilling the Knowledge in a Neural Network' say about temperature?",
            "1503.02531",
            "What does say about temperature?",
        ),
        ("distilling the knowledge in a neural network: why soft targets?", "1503.02531", "why soft targets?"),
        ("Who labelled? (Training Language Models to Follow Instructions)", "2203.02155", "Who labelled?"),
        (
            "In Batch Normalization: Accelerating Deep Network Training, how is inference done?",
            "1502.03167",
            "how is inference done?",
        ),
        ("Per the retrieval augmented generation paper, can facts be swapped?", "2005.11401", "can facts be swapped?"),
        ('In "Retrieval-Augmented Generation", which retriever?', "2005.11401", "which retriever?"),
    ],
)
def test_realistic_phrasing_is_recognised_and_cut(question: str, paper_id: str, rest: str) -> None:
    assert KNOWN.find(question) == Named(paper_id, rest)


@pytest.mark.parametrize(
    "question",
    [
        "Why does batch normalization work?",
        "Why do large language models hallucinate?",
        'What is meant by "covariate shift"?',
        "Which paper proposes a method for bias correction?",
        "What does the paper say about Adam?",
        "What does this new paper add to retrieval?",
    ],
)
def test_subject_is_no_name(question: str) -> None:
    assert KNOWN.find(question) == Named(None, question)


@pytest.mark.parametrize(
    ("question", "paper_id"),
    [
        ("According to Kingma & Ba's Adam, which step size is good?", "1412.6980"),
        ("What do Kingma and Ba recommend?", "1412.6980"),
        ("How do Hinton et al. (2015) use temperature?", "1503.02531"),
        ("How do Hinton et al. (2006) use temperature?", None),
        ("Compared to Hinton et al., is it faster?", None),
        ("Is it faster than what Kingma and Ba propose?", None),
        ("According to Zhao et al., what is a prompt?", None),  # two papers are theirs
    ],
)
def test_authors_who_are_asked_name_their_paper(question: str, paper_id: str | None) -> None:
    assert KNOWN.find(question).paper_id == paper_id


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
