"""Which sentences are quoted for a question, and how they are cited."""

import dataclasses

import pytest

from jobs.retrieval.quoting import MAX_SENTENCES, UNSUPPORTED, Answer, answer_quoted, source_url
from jobs.retrieval.sentences import sentences
from tests.serving import house
from tests.serving.house import ToyFound, ToyPassage, ask

PASSAGES = tuple(house.passage_of(row) for row in house.ROWS)
NF4, BM25 = PASSAGES


def about(text: str, **values: object) -> ToyPassage:
    return dataclasses.replace(NF4, text=text, **values)


def test_question_for_a_name_gets_what_it_stands_for() -> None:
    assert ask("What does NF4 stand for?").text.startswith("NF4 stands for 4-bit NormalFloat. [1]")


def test_two_questions_in_one_get_two_sentences() -> None:
    text = ask("What does NF4 stand for and why does QLoRA use it?").text
    assert "NF4 stands for 4-bit NormalFloat. [1]" in text
    assert "QLoRA uses NF4 because" in text


def test_follow_up_is_answered_about_its_subject() -> None:
    passage = about("LoRA was made for language models. The matrices of LoRA need 40 MB. Plain training needs 80 GB.")
    found = ToyFound(0.9, (passage,))
    before = ["What is LoRA?"]
    assert (
        answer_quoted("And how much does it need?", found, before=before).text == "The matrices of LoRA need 40 MB. [1]"
    )
    assert "80 GB" in answer_quoted("How much does plain training need?", found, before=before).text


def test_what_question_prefers_the_definition() -> None:
    passage = about("Many engines offer BM25. BM25 is a ranking function. Nobody tunes BM25.")
    assert ask("What is BM25?", passage).text.startswith("BM25 is a ranking function. [")


def test_why_question_is_answered_by_the_cause() -> None:
    passage = about("Training needs warm-up in all runs. Warm-up helps training because early steps are noisy.")
    assert "because early steps are noisy" in ask("Why does training need warm-up?", passage).text


def test_how_many_question_prefers_the_number() -> None:
    passage = about("The model has many layers. The model has 32 layers in its body.")
    assert ask("How many layers does the model have?", passage).text.startswith("The model has 32 layers")


def test_long_form_before_brackets_tells_what_letters_stand_for() -> None:
    passage = about("RAG is popular. We study retrieval-augmented generation (RAG) on papers.")
    assert "retrieval-augmented generation (RAG)" in ask("What does RAG stand for?", passage).text


def test_pronoun_brings_the_sentence_before_it() -> None:
    passage = about("A paged optimizer moves its state to the host. It avoids memory spikes during training steps.")
    answer = ask("What avoids memory spikes during training?", passage)
    assert answer.text == (
        "A paged optimizer moves its state to the host. [1] It avoids memory spikes during training steps. [1]"
    )


def test_neighbours_share_one_citation_that_quotes_both() -> None:
    passage = about("A paged optimizer moves its state to the host. It avoids memory spikes during training steps.")
    answer = ask("What avoids memory spikes during training?", passage)
    assert [citation.quote for citation in answer.citations] == [passage.text]


def test_same_sentence_in_two_papers_is_quoted_once() -> None:
    twin = dataclasses.replace(NF4, chunk_id="twin", paper_id="2401.00001")
    assert ask("What does NF4 stand for?", NF4, twin).text.count("NF4 stands for") == 1


@pytest.mark.parametrize("question", ["What is NF4?", "Why NF4?", "What do BM25 and NF4 score?", "normal distribution"])
def test_every_sentence_is_verbatim_and_cited(question: str) -> None:
    answer = ask(question)
    quoted = " ".join(citation.quote for citation in answer.citations)
    for citation in answer.citations:
        passage = next(one for one in PASSAGES if one.chunk_id == citation.chunk_id)
        assert citation.quote in " ".join(passage.text.split())
        assert f"[{citation.n}]" in answer.text
    plain = answer.text
    for citation in answer.citations:
        plain = plain.replace(f" [{citation.n}]", "")
    assert plain == quoted
    assert 1 <= len(sentences(plain)) <= MAX_SENTENCES


def test_low_support_is_a_refusal_with_the_nearest_passages() -> None:
    answer = answer_quoted("Who won the cup?", ToyFound(0.2, PASSAGES), min_support_01=0.5)
    assert (answer.text, answer.supported) == (UNSUPPORTED, False)
    assert [citation.chunk_id for citation in answer.citations] == [NF4.chunk_id, BM25.chunk_id]


def test_no_passage_at_all_is_a_refusal_without_sources() -> None:
    assert answer_quoted("Anything?", ToyFound(0.9, ())) == Answer(UNSUPPORTED, False, ())


def test_question_without_a_common_word_is_a_refusal() -> None:
    assert not ask("Xylophone?").supported


def test_bibliography_is_never_quoted() -> None:
    entry = about("Dettmers et al. NF4 stands for a reference.", kind="references")
    assert not ask("What does NF4 stand for?", entry).supported


def test_passage_without_permission_gives_300_characters_at_most() -> None:
    ends = ("the first morning after rain", "a slow Tuesday in some cold laboratory", "every empty corridor downstairs")
    text = " ".join(f"Adapters train quickly and well on {end}, {end[::-1]}, {end.upper()} and more." for end in ends)
    bound = about(text, license="http://arxiv.org/licenses/nonexclusive-distrib/1.0/")
    quoted = [sum(len(one.quote) for one in ask("How do adapters train?", p).citations) for p in (bound, about(text))]
    assert quoted[0] <= 300 < quoted[1]


def test_sentence_of_400_characters_is_not_quoted() -> None:
    long = "NF4 is " + "very " * 80 + "good."
    assert ask("What is NF4?", about(f"{long} NF4 is a type.")).text == "NF4 is a type. [1]"


def test_sentence_that_was_cut_off_loses_to_a_whole_one() -> None:
    passage = about("NF4 is a data type of four\n\nThe data type NF4 has sixteen levels.")
    assert ask("What is the data type NF4?", passage).text.startswith("The data type NF4 has sixteen levels.")


def test_citation_says_where_the_quote_stands() -> None:
    (citation,) = ask("Which ranking function scores a document?", BM25).citations[:1]
    assert (citation.n, citation.paper_id, citation.version, citation.page) == (1, "2205.14135", 1, 2)
    assert (citation.section, citation.url) == ("Ranking › BM25", "https://arxiv.org/abs/2205.14135v1")


def test_note_of_the_sample_has_no_address() -> None:
    assert source_url("sample/2401002", 1) is None


@pytest.mark.parametrize("paper_id", ["../../etc", "2205.14135/../x", "javascript:alert(1)", "2205.14135v2?x"])
def test_id_that_is_none_has_no_address(paper_id: str) -> None:
    assert source_url(paper_id, 1) is None
