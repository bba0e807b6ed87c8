"""Text of strangers as Markdown: what a Markdown reader makes of it is that text again, and nothing else."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from jobs.serving import chat
from jobs.serving.rendering import escaped, link, plain, sources, sources_title
from tests.serving import house
from tests.serving.house import ask
from tests.serving.payloads import PAYLOADS

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})


def tokens_of(markdown: str) -> list[str]:
    found = MARKDOWN.parse(markdown)
    return [token.type for outer in found for token in (outer, *(outer.children or []))]


def text_of(markdown: str) -> str:
    inline = [token for token in MARKDOWN.parse(markdown) if token.type == "inline"]
    return "".join(child.content for token in inline for child in token.children or [])


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_is_shown_as_the_text_it_is(payload: str) -> None:
    assert text_of(escaped(payload)) == plain(payload)


@given(st.text(max_size=60))
def test_any_text_is_shown_as_itself(text: str) -> None:
    assert text_of(escaped(text)) == plain(text)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_source_of_a_hostile_paper_is_no_markup_but_ours(payload: str) -> None:
    citation = ask("What does NF4 stand for?").citations[0]
    hostile = dataclasses.replace(citation, title=payload, section=payload, quote=payload, url=payload)
    ours = {"paragraph", "blockquote", "strong"}
    kinds = {kind.removesuffix("_open").removesuffix("_close") for kind in tokens_of(sources([hostile]))}
    assert kinds <= ours | {"inline", "text", "text_special", "hardbreak", "softbreak"}


def test_address_of_a_paper_becomes_a_link() -> None:
    assert link("https://arxiv.org/abs/2205.14135v1").endswith("](https://arxiv.org/abs/2205.14135v1)")


@pytest.mark.parametrize(
    "url", [None, "", "http://arxiv.org/abs/1", "https://arxiv.org.evil.example/abs/1", "https://arxiv.org/abs/1)[x](y"]
)
def test_any_other_address_becomes_nothing(url: str | None) -> None:
    assert link(url) == ""


def test_characters_that_turn_the_text_round_are_removed() -> None:
    assert plain("a\u202eb\u200b\x00c\n d") == "abc d"


def test_source_names_title_section_page_and_link() -> None:
    passage = house.passage_of(house.BM25)
    shown = text_of(sources(ask("What is BM25?", passage).citations[:1]))
    for part in ("[1] BM25 and what came after", "Ranking › BM25", "page 2", "arxiv.org/abs/2205.14135v1"):
        assert part in shown


def test_passages_that_the_answer_does_not_name_are_not_called_sources() -> None:
    answer = ask("What is BM25?")
    assert sources_title(answer) == "1 source"
    assert "names none" in sources_title(dataclasses.replace(answer, is_cited=False))


def test_questions_of_the_history_are_those_of_the_reader() -> None:
    history = [
        {"role": "user", "content": [{"type": "text", "text": "What is NF4?"}]},
        {"role": "assistant", "content": "A data type. [1]"},
        {"role": "assistant", "content": "**[1]** …", "metadata": {"title": "1 source"}},
        {"role": "user", "content": " Why is it used? "},
    ]
    assert chat._asked_in(history) == ("What is NF4?", "Why is it used?")
    assert chat._asked_in("forged") == chat._asked_in([["pair", "of old"], None]) == ()
