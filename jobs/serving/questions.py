"""Questions worth asking of a corpus, found in it: what a paper defines can be asked for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from jobs.retrieval.sentences import content_words, sentences, word_set

N_QUESTIONS = 12  # the app shows the first three that it can answer
_NAME = r"(?P<name>(?:[A-Z][\w-]+|\d+-bit)(?: (?:[a-z]+-)?[A-Za-z][\w-]+){0,3})(?: \([A-Za-z-]{2,8}\))?"
_STANDS_FOR = re.compile(rf"{_NAME} stands for [\w-]")
_IS_A = re.compile(rf"{_NAME} is an? \w")
# A name that begins with one of these is none.
_NO_NAME = word_set(
    "a an the this that these those it its they there here each every one our we such what which any all some another"
    " figure table section equation algorithm theorem appendix note paper work method approach given for in on if when"
    " since because so thus hence however therefore also both on towards toward how why can does is are"
)
_MAX_WORDS = 4
_TITLE_END = re.compile(r"[:,] | -+ | – | — | and | by | with | via | using | from ")
_MAX_TITLE_WORDS = 6


@dataclass(frozen=True)
class SourceText:
    """What a question is made from."""

    paper_id: str
    title: str
    text: str


@dataclass(frozen=True)
class _Question:
    text: str
    paper_id: str
    worth: int  # 0 is best


def questions_worth_asking(passages: Iterable[SourceText]) -> tuple[str, ...]:
    """Questions, best first, each of another paper; the same passages give the same questions in any order.

    What "stands for" something comes first, then what "is a" something, both where a word of the title is near, then
    what a short title names.
    """
    best: dict[str, _Question] = {}
    for passage in passages:
        for question in _questions_of(passage):
            known = best.get(passage.paper_id)
            if known is None or (question.worth, question.text) < (known.worth, known.text):
                best[passage.paper_id] = question
    ordered = sorted(best.values(), key=lambda one: (one.worth, _order(one.paper_id)))
    return tuple(dict.fromkeys(one.text for one in ordered))[:N_QUESTIONS]


def _questions_of(passage: SourceText) -> list[_Question]:
    about = frozenset(content_words(passage.title))
    found = []
    if named := _named_by(passage.title):
        found.append(_Question(named, passage.paper_id, 2))
    for sentence in sentences(passage.text):
        for worth, pattern, form in ((0, _STANDS_FOR, "What does {} stand for?"), (1, _IS_A, "What is {}?")):
            match = pattern.match(sentence)
            if match and _is_name(match["name"], _MAX_WORDS) and about & frozenset(content_words(sentence)):
                found.append(_Question(form.format(match["name"]), passage.paper_id, worth))
    return found


def _named_by(title: str) -> str | None:
    """The question for what a title begins with: `Paged Optimizers and 8-bit Adam` -> What are Paged Optimizers?"""
    name = _TITLE_END.split(title, maxsplit=1)[0].strip(" .")
    is_doing = re.match(r"\w+ing ", name) is not None  # "Evaluating Generated Answers"
    if is_doing or name.endswith("?") or not _is_name(name, _MAX_TITLE_WORDS):
        return None
    head = re.split(r" (?:of|for|in|on|to) ", name, maxsplit=1)[0]
    is_plural = head.endswith("s") and not head.endswith(("ss", "is", "us"))
    return f"What {'are' if is_plural else 'is'} {name}?"


def _is_name(name: str, max_words: int) -> bool:
    words = name.split()
    return 0 < len(words) <= max_words and words[0].lower() not in _NO_NAME


def _order(paper_id: str) -> bytes:
    """Some order that favours neither old papers nor new ones."""
    return hashlib.sha256(paper_id.encode()).digest()
