"""What a paper introduces by name, and what its abbreviations stand for: facts that its sentences hold by the way.

`We propose X, a method that …` says what X is, though a question cannot take the sentence as it stands. Abbreviations
are those whose letters begin the words before them. Source of the idea: Schwartz and Hearst 2003, "A simple algorithm
for identifying abbreviation definitions in biomedical text".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.retrieval.sentences import sentences, word_set
from jobs.tuning.clauses import in_question
from jobs.tuning.standalone import is_fit, without_citations

MAX_ANSWER_CHARS = 260
_VERBS = r"(?:introduce|propose|present|develop|describe|design|release|call|study|consider)s?"
_NAMED = r"[A-Z][\w-]*[A-Z\d][\w-]*|[A-Z][\w-]+(?: [A-Z][\w-]+){0,4}"  # one word of two capitals, or capital words
_NAME = rf"(?P<name>(?:{_NAMED})(?: \([A-Z][\w-]*\))?)"
_WE = rf"\b(?:[Ww]e|[Tt]his (?:paper|work|article)) (?:also |then |first |further |thus |therefore )?{_VERBS} "
_APPOSED = re.compile(rf"{_WE}{_NAME}, (?P<what>an? [a-z][^;:]{{20,}})$")
_CALLED = re.compile(
    rf"{_WE}(?P<what>an? (?:[\w-]+ ){{1,6}}?)(?:called|named|termed|dubbed) {_NAME}"
    r"(?P<rest>,? (?:that|which|for|to) [^;:]+)$"
)
_SAYS_WHAT_IT_DOES = re.compile(r"\b(?:that|which|for|to|of|based on|[a-z]+ing)\b")
_GOES_ON = re.compile(r",? (?:and|but|while|where|whose|so) .*$")
_SHORT = re.compile(r"(?P<before>(?:[\w’'-]+ ){1,8})\((?P<short>[A-Z][A-Za-z-]{2,7})s?\)")
_SMALL_WORDS = word_set("of the for and in to a an on with by from")


@dataclass(frozen=True)
class Written:
    """A question, its answer, and the sentence (verbatim) that the answer is from."""

    question: str
    answer: str
    raw: str


def introductions(text: str) -> Iterator[Written]:
    """What the text introduces by name."""
    for raw in sentences(text):
        if (told := _told(without_citations(raw).removesuffix("."))) is not None:
            name, what = told
            yield Written(f"What is {name}?", f"{name} is {what}.", raw)


def abbreviations(text: str) -> Iterator[Written]:
    """What the text's abbreviations stand for."""
    for raw in sentences(text):
        for match in _SHORT.finditer(without_citations(raw)):
            short = match["short"]
            if words := long_form(match["before"].split(), short):
                yield Written(f"What does {short} stand for?", f"{short} stands for {in_question(words, text)}.", raw)


def _told(sentence: str) -> tuple[str, str] | None:
    """The name and what it is."""
    if match := _APPOSED.search(sentence):
        what = match["what"]
    elif match := _CALLED.search(sentence):
        what = match["what"].rstrip() + match["rest"]
    else:
        return None
    what = _GOES_ON.sub("", what) if "," in what else what
    is_clear = len(what) <= MAX_ANSWER_CHARS and _SAYS_WHAT_IT_DOES.search(what) is not None and is_fit(what)
    return (match["name"], what) if is_clear else None


def long_form(words: list[str], short: str) -> str | None:
    """The words at the end of `words` whose letters, one each, are those of `short`; None if there are none so."""
    letters = [letter.lower() for letter in short if letter.isalpha()]
    initials = [(place, part[0].lower()) for place, word in enumerate(words) for part in word.split("-") if part]
    place = len(words)
    for letter in reversed(letters):
        while initials and initials[-1][1] != letter and words[initials[-1][0]].lower() in _SMALL_WORDS:
            initials.pop()
        if not initials or initials[-1][1] != letter:
            return None
        place = initials.pop()[0]
    if words[place:] and words[place].lower() in _SMALL_WORDS:
        return None
    is_whole = not initials or initials[-1][0] < place  # not the end of a word with a hyphen
    return " ".join(words[place:]) if is_whole and len(words) - place > 1 else None
