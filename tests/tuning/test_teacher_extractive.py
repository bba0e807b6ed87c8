"""The teacher made of rules: sentences whose question we know, and sentences that must give none."""

from __future__ import annotations

import json

import pytest

from jobs.tuning import introductions, unasked
from jobs.tuning.clauses import in_question, parse
from jobs.tuning.extractive import pairs_of
from jobs.tuning.prompts import REFUSAL, TWO_PASSAGES, UNANSWERABLE, PassageText
from jobs.tuning.qa_checks import QA, first_reason
from jobs.tuning.question_rules import BEST_FIRST
from jobs.tuning.standalone import fronted, standalone_sentences
from jobs.tuning.teacher import (
    Pair,
    TeacherReply,
    TeacherRequest,
    TeacherSettings,
    load_teacher,
    read_pair,
    restore_tex,
)


def questions(text: str) -> dict[str, str]:
    return {kind: pair["question"] for kind, pair in pairs_of(text).items()}


@pytest.mark.parametrize(
    ("sentence", "kind", "question"),
    [
        ("XR7 stands for extended range of seven.", "definition", "What does XR7 stand for?"),
        ("A ligature is one glyph for several letters.", "definition", "What is a ligature?"),
        ("Paged pools are the part of memory that may move.", "definition", "What are paged pools?"),
        ("XR7 uses coarse levels because outliers are rare.", "why", "Why does XR7 use coarse levels?"),
        (
            "The order of tokens is shuffled, since models learn positions.",
            "why",
            "Why is the order of tokens shuffled?",
        ),
        ("XR7 trains 12,000 parameters in every layer.", "numeric", "How many parameters does XR7 train?"),
        ("A model of this-kind weights needs 14 GB on the card.", "numeric", None),
        ("A frozen model needs 14 GB on the card.", "numeric", "How much memory does a frozen model need?"),
        ("Word search is older than vector search.", "comparison", "How does word search compare with vector search?"),
        ("A re-ranker cannot find what the first stage has missed.", "limitation", "What can a re-ranker not find?"),
        ("XR7 does not shrink the frozen weights.", "limitation", "What does XR7 not shrink?"),
        ("Near copies should be removed before the index is built.", "method", "When should near copies be removed?"),
        ("XR7 scores are computed by adding up the terms.", "method", "How are XR7 scores computed?"),
        ("XR7 builds its table by merging the most frequent pairs.", "method", "How does XR7 build its table?"),
        ("Token packing is correct if it changes nothing but speed.", "method", "When is token packing correct?"),
        ("XR7, published by Moore and others in 2021, rests on tables.", "result", "Who published XR7?"),
        (
            "Moore and others report that XR7 reduces the error by half.",
            "result",
            "What do Moore and others report about XR7?",
        ),
        ("With rank 16, XR7 trains 12,000 parameters.", "numeric", "With rank 16, how many parameters does XR7 train?"),
    ],
)
def test_sentence_is_asked_for_by_its_form(sentence: str, kind: str, question: str | None) -> None:
    assert questions(sentence).get(kind) == question


@pytest.mark.parametrize(
    "sentence",
    [
        "It stands for a method that nobody remembers.",
        "This is a table that has seven rows in all.",
        "The method needs 14 GB on the card of the reader.",
        "Table 2 is a list of everything that was measured.",
        "We train 12,000 parameters in every layer of it.",
        "XR7 is a norm with x = y + 3z and w ∈ V for all.",
        "However, the result is a surprise to most readers.",
        "Keep the passages small because memory is short.",
        "Several habits avoid this because they are cheap.",
        "XR7 stores them because nobody else would do so.",
        "Formats. arXiv describes a version that has two parts.",
        "Ties are broken by the order of counting.",
        "Moore and others replace the cuts by an optimisation.",
        "XR7 still makes simple mistakes in most of the tables.",
        "XR7 can be trained in 67 minutes on a cluster of 64 cards.",
        "XR7 introduces several new challenges for the reader.",
        "Final models are evaluated by their word error rate.",
        "Setting the learning rate keeps a procedure of many runs alive.",
        "The long slit of the instrument allows measurements of the corona.",
        "Semi-empirical models of streamers keep a nearly constant value.",
        "Packing Model State Memory Model states keep a large share of it.",
        "The σ parameter of XR7 was obtained by cross validation.",
        "A negative RU is a sign that is read as useless by the table.",
        "The dashed curves of XR7 show a steady fall of the loss.",
        "XR7 algorithms are used to generate text in those accounts.",
        "MP splits the model over the cards of a machine.",
        "Pa+cpu is turned on when it is beneficial to the run.",
        "Retrieval is a fundamental task of language processing.",
        "The entropy of the distribution is a proxy for the bias of a model.",
        "After the second transition, XR7 predicts the wrong sign of it.",
        "XR7 improves results on all other tasks of the benchmark.",
        "Moore and others showed that both need eleven packs.",
        "The code in the string is an index into a font.",
        "A duplicate of yi elsewhere in the batch is a false negative and should be avoided.",
        "XR7 prefers d2 because the index finds d3 worse.",
        "XR7 produces a tie, two rows in the example for one.",
        "A broker then deletes a message with all its parts.",
        "Training starts from words with their frequencies.",
        "The gradients of XR7 are a little more complicated.",
        "The stone age is the time when nobody was writing.",
        "XR7 models generate tables of words.",
        "XR7 The XR7 table is a collection of pairs of words.",
    ],
)
def test_sentence_that_does_not_stand_alone_gives_nothing(sentence: str) -> None:
    assert questions(sentence) == {}


def test_answer_loses_citations_and_evidence_keeps_them() -> None:
    pair = pairs_of("Some words before. XR7 stands for extended\nrange [3, 4] of seven.")["definition"]
    assert pair["answer"] == "XR7 stands for extended range of seven."
    assert pair["evidence"] == "XR7 stands for extended range [3, 4] of seven."


@pytest.mark.parametrize(
    "mark", ["[3, 7]", "[AV07]", "[ZCF+10, AV07]", "[James et al., 1890]", "(Moore et al., 2021)", "(§3)"]
)
def test_every_form_of_citation_is_cut_from_the_answer(mark: str) -> None:
    pair = pairs_of(f"XR7 is a table {mark} that has seven rows.")["definition"]
    assert pair["answer"] == "XR7 is a table that has seven rows."
    assert mark in pair["evidence"]


def test_parenthesis_that_is_no_citation_stays() -> None:
    told = "XR7 is a table of rows (about half of them empty) and of columns."
    assert pairs_of(told)["definition"]["answer"] == told


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "In this paper, we propose PonderTab, a method that learns how long to look at a row.",
            "What is PonderTab?",
            "PonderTab is a method that learns how long to look at a row.",
        ),
        (
            "We introduce a new algorithm called Reptab that computes rows, and we show that it is quick.",
            "What is Reptab?",
            "Reptab is a new algorithm that computes rows.",
        ),
        (
            "Beside them stands stochastic row descent (SRD) as of old.",
            "What does SRD stand for?",
            "SRD stands for stochastic row descent.",
        ),
    ],
)
def test_what_a_paper_introduces_is_asked_for(sentence: str, question: str, answer: str) -> None:
    pair = pairs_of(sentence)["definition"]
    assert (pair["question"], pair["answer"], pair["evidence"]) == (question, answer, sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "We propose PonderTab, a method like this one that rests on our table.",
        "We propose PonderTab, a surprise.",
        "We compare with others such as tables of rows (STR) here.",
        "Rows go on routes by consortia (ORC) here.",
    ],
)
def test_what_is_no_introduction_gives_nothing(sentence: str) -> None:
    assert pairs_of(sentence) == {}


@pytest.mark.parametrize(
    ("words", "short", "expected"),
    [
        ("we use high-angle annular dark-field", "HAADF", "high-angle annular dark-field"),
        ("the method of moments", "MoM", "method of moments"),
        ("by plane of the sky", "POS", "plane of the sky"),
        ("a semi-random walk", "RW", None),
        ("the network", "N", None),
        ("a table of rows", "XYZ", None),
    ],
)
def test_long_form_of_an_abbreviation(words: str, short: str, expected: str | None) -> None:
    assert introductions.long_form(words.split(), short) == expected


def test_abbreviation_is_asked_for_only_where_nothing_else_is() -> None:
    text = "Stochastic row descent (SRD) is an algorithm that goes down rows."
    assert pairs_of(text)["definition"]["question"] == "What is stochastic row descent (SRD)?"


def test_answer_follows_from_no_other_sentence_and_evidence_is_verbatim() -> None:
    text = "XR7 therefore stands for extended range of seven."
    assert pairs_of(text)["definition"]["answer"] == "XR7 stands for extended range of seven."
    assert pairs_of(text)["definition"]["evidence"] == text


def test_word_that_ties_clauses_of_one_sentence_stays() -> None:
    text = "XR7 stores rows of a table but also its columns."
    assert pairs_of(text)["method"]["answer"] == text


def test_no_sentence_is_used_for_two_pairs() -> None:
    text = "XR7 trains 12,000 parameters because layers are many. XR7 does not shrink its weights."
    found = pairs_of(text)
    assert len({pair["evidence"] for pair in found.values()}) == len(found) >= 2


def test_abbreviations_do_not_end_a_sentence() -> None:
    text = "Moore et al. Smith and others, cf. Fig. 2, e.g. Tables, did so. XR7 stands for extended range of seven."
    assert [sentence.raw for sentence in standalone_sentences(text)][-1] == "XR7 stands for extended range of seven."


@pytest.mark.parametrize(
    ("phrase", "context", "expected"),
    [
        ("The row", "", "the row"),
        ("Spark", "work in Spark and spark.sql.x", "Spark"),
        ("Checkpoints", "all checkpoints are kept", "checkpoints"),
        ("BM25", "", "BM25"),
        ("Moore and others", "", "Moore and others"),
        ("Distillation", "", "distillation"),
    ],
)
def test_first_word_is_lower_case_unless_it_is_a_name(phrase: str, context: str, expected: str) -> None:
    assert in_question(phrase, context) == expected


def test_clause_needs_agreement_of_subject_and_verb() -> None:
    assert parse("Two-stage systems needs a lot.", "") is None
    clause = parse("Two-stage systems need a lot.", "")
    assert clause is not None
    assert (clause.subject, clause.base, clause.does) == ("two-stage systems", "need", "do")


def test_empty_front_is_no_part_of_a_question() -> None:
    assert fronted("For example, XR7 is small.") == ("", "For example, XR7 is small.")
    assert fronted("On the contrary, XR7 is small.") == ("", "On the contrary, XR7 is small.")
    assert fronted("With rank 16, XR7 is small.") == ("With rank 16", "XR7 is small.")


def test_teacher_answers_the_type_asked_for_or_nothing() -> None:
    teacher = load_teacher("extractive", TeacherSettings())
    text = "XR7 stands for extended range of seven."
    requests = [TeacherRequest(text, "", "", kind, 0) for kind in BEST_FIRST]
    replies = dict(zip(BEST_FIRST, map(read_pair, teacher.write(requests)), strict=True))
    assert replies.pop("definition") == Pair("What does XR7 stand for?", text, text)
    assert set(replies.values()) == {"no_pair"}


def unanswered(text: str) -> Pair | str:
    (reply,) = load_teacher("extractive", TeacherSettings()).write(
        [TeacherRequest(text, "", "", "unanswerable", 0, UNANSWERABLE)]
    )
    return read_pair(reply, UNANSWERABLE)


def test_unanswerable_question_is_about_a_thing_of_the_passage_and_has_the_refusal() -> None:
    pair = unanswered("XR7 stores rows of a table but also its columns.")
    assert isinstance(pair, Pair)
    assert "XR7" in pair.question
    assert (pair.answer, pair.evidence) == (REFUSAL, "")


def test_every_unanswerable_question_stands_alone() -> None:
    for question, _ in unasked.ASPECTS:
        asked = QA(question.format(name="XR7"), REFUSAL, "", "XR7 stores rows.", is_answerable=False)
        assert first_reason(asked) is None, question


@pytest.mark.parametrize(
    "sentence",
    [
        "The XR7 method stores rows of a table.",
        "XR7 models store rows of a table.",
        "Moore finds that tables are small.",
        "Tables store rows in a fixed order.",
        "X7 stores rows of a table.",
        "XR7.py stores rows of a table.",
    ],
)
def test_nothing_is_asked_of_what_may_be_no_name(sentence: str) -> None:
    assert unanswered(sentence) == "no_pair"


def test_aspect_that_the_passage_touches_is_not_asked_for() -> None:
    near = [
        "energy",
        "phone",
        "company",
        "cost",
        "months",
        "patent",
        "award",
        "licence",
        "version",
        "maintained",
        "by",
        "people",
    ]
    text = "XR7 stores rows of a table. "
    assert all(unanswered(f"{text}It is {word}.") != unanswered(f"{text}It is {' '.join(near)}.") for word in near)
    assert unanswered(f"{text}It is {' '.join(near)}.") == "no_pair"


def test_two_passages_give_no_pair() -> None:
    both = TeacherRequest(
        "XR7 stands for nine.", "", "", "multi_chunk", 0, TWO_PASSAGES, PassageText("", "", "XR7 is a number of ten.")
    )
    assert read_pair(load_teacher("extractive", TeacherSettings()).write([both])[0], TWO_PASSAGES) == "no_pair"


@pytest.mark.parametrize(
    ("eaten", "restored"),
    [("\x08eta", r"\beta"), ("\x0crac{1}{2}", r"\frac{1}{2}"), ("\theta", r"\theta"),
     ("one\ntwo", "one two"), ("\rho", r"\rho"), ("\nabla", r"\nabla"), ("one\n two", "one\n two")],
)  # fmt: skip
def test_tex_that_json_ate_is_given_back(eaten: str, restored: str) -> None:
    assert restore_tex(eaten) == restored


def test_cut_reply_is_never_mended() -> None:
    text = json.dumps({"question": "What is it?", "answer": "A long answer.", "evidence": "A long answer."})
    assert read_pair(TeacherReply(text[:40], is_cut=True)) == "truncated"
