"""How well a sentence answers a question.

A sentence is scored by the share of the question's content words it has, rare words counting more, and by whether it
has the form of an answer: "X stands for" where that is asked, "because" for a why, a number for a how many.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.retrieval.sentences import content_words

MAX_ASKS = 3
_CONTEXT_SHARE = 0.5  # what a word in title or section counts for, beside one in the sentence
_RANK_BONUS = 0.5  # for a sentence of the best passage; half of it for the second, and so on


@dataclass(frozen=True)
class Candidate:
    """A sentence that may answer: its passage's rank, its place in it, and its content words.

    `context` are the content words of title and section, which the sentence may take for granted.
    """

    rank: int
    place: int
    text: str
    words: frozenset[str]
    context: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ask:
    """One thing that is asked: its content words, and the form that an answer to it has."""

    words: tuple[str, ...]
    names: tuple[str, ...]  # what is asked about, as it is written
    form: str  # stands_for, what, why, number, other


_NEXT_ASK = re.compile(r"(?:\?\s+|,?\s+and\s+)(?=(?:what|why|how|when|where|who|which|is|are|does|do|can)\b)", re.I)
_PRONOUN = re.compile(r"\b(?:it|its|they|their|them|this|these|those)\b", re.I)
_FORMS = (
    ("stands_for", re.compile(r"\bstands?\s+for\b|\bshort\s+for\b|\babbreviat|\bacronym", re.I)),
    ("why", re.compile(r"\bwhy\b|\breasons?\b|\bwhat\s+for\b", re.I)),
    ("number", re.compile(r"\bhow\s+(?:many|much|large|big|long|fast|often|high|small)\b|\bwhen\b", re.I)),
    ("what", re.compile(r"^\s*(?:what|who)\s+(?:is|are|was|were|does\s.+\bmean)\b|\bdefin", re.I)),
)


def asks_of(question: str, about: str = "") -> list[Ask]:
    """A question's parts: "What does NF4 stand for and why does QLoRA use it?" asks two things about NF4.

    `about`: the questions that a follow-up goes on from; what it asks, it asks about their subject.
    """
    asks: list[Ask] = []
    for part in _NEXT_ASK.split(question):
        words = content_words(part)
        if asks and (not words or _PRONOUN.search(part)):
            words = [*asks[0].words, *words]
        elif not asks:
            words = [*content_words(about), *words]
        if words:
            form = next((name for name, pattern in _FORMS if pattern.search(part)), "other")
            names = tuple(word for word in re.findall(r"[\w-]+", part) if content_words(word))
            asks.append(Ask(tuple(dict.fromkeys(words)), names, form))
    return asks[:MAX_ASKS]


def sentence_counts(candidates: Sequence[Candidate]) -> Counter[str]:
    """In how many sentences each word occurs."""
    return Counter(word for candidate in candidates for word in candidate.words)


def worth(ask: Ask, candidate: Candidate, counts: Counter[str], n_sentences: int) -> float:
    """How well a sentence answers what is asked: 0 without a common word, about 1 for all of them."""
    weights = {word: math.log((n_sentences + 1) / (counts[word] + 0.5)) + 0.1 for word in ask.words if counts[word]}
    said = sum(weight for word, weight in weights.items() if word in candidate.words)
    if not said:
        return 0.0
    understood = sum(weight for word, weight in weights.items() if word in candidate.context - candidate.words)
    coverage = (said + _CONTEXT_SHARE * understood) / sum(weights.values())
    # A "because" about something else answers no why: the form counts as far as the sentence is about the question.
    form = _form_bonus(ask, candidate.text) * min(1.0, 2 * coverage)
    return coverage + form + _RANK_BONUS / (1 + candidate.rank) - _flaws(candidate.text)


_CAUSE = re.compile(r"\b(?:because|since|so that|in order to|due to|therefore|thus|to avoid|the reason)\b", re.I)
_DEFINES = r"(?:\s*\([^)]*\))?\s+(?:stands? for|is short for|refers? to|denotes?|means|is an?|is the|are)\b"


def _form_bonus(ask: Ask, text: str) -> float:
    """How much the sentence looks like an answer of the form that is asked for. Chosen on the sample's questions."""
    if ask.form == "why":
        return 0.7 if _CAUSE.search(text) else 0.0
    if ask.form == "number":
        return 0.2 if re.search(r"\d", text) else 0.0
    if ask.form == "stands_for":
        spelled = any(re.search(rf"\b{re.escape(name)}\s+stands\s+for\b", text, re.I) for name in ask.names)
        in_brackets = any(re.search(rf"\w \({re.escape(name)}s?\)", text) for name in ask.names)
        return 0.6 if spelled else 0.4 if in_brackets else 0.0
    if ask.form == "what" and any(re.search(rf"\b{re.escape(name)}{_DEFINES}", text, re.I) for name in ask.names):
        return 0.35
    return 0.0


_LABEL = re.compile(r"(?:Table|Figure|Fig\.|Algorithm|Equation) \d+[:.]")
_SIGNPOST = re.compile(r"(?:In )?(?:this|the present) (?:note|paper|article|work|section|chapter|survey)\b", re.I)
_BACKWARDS = re.compile(r"\b(?:this|it|them|these|so)[.!]$")


def _flaws(text: str) -> float:
    """What makes a bad quote: cut, short, a caption, a signpost, a question, leaning on others, mostly signs."""
    letters_01 = sum(char.isalpha() or char == " " for char in text) / len(text)
    return (
        0.2 * text[0].islower()
        + 0.2 * text.endswith((",", ";", ":"))
        + 0.3 * bool(_LABEL.match(text))
        + 0.3 * bool(_SIGNPOST.match(text))
        + 0.3 * bool(_BACKWARDS.search(text))
        + 0.3 * (len(text.split()) < 5)
        + 0.3 * text.endswith("?")
        + 0.4 * (letters_01 < 0.75)
    )
