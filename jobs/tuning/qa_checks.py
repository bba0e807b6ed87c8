"""Checks of question-answer pairs: each looks at one pair and its chunk, and answers why the pair is refused, or None.

The reasons are those of `qa` in contracts. Checks that compare pairs with each other are in `duplicates`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.core.contracts import DATASETS
from jobs.retrieval.sentences import word_set
from jobs.retrieval.words import words_of
from jobs.tuning.instructions import gives_instructions

QUESTION_WORDS = (3, 40)
ANSWER_WORDS = (3, 110)
LETTERS_SHARE_01 = 0.6  # of the characters that are no blanks; formulas and tables of numbers lie below
NEW_WORDS = 2  # words of meaning that an answer must add to its question

_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+(?:[-’'.][^\W_]+)*")
_EMPTY_WORDS = word_set(
    "a an the is are was were be been of in on for to from by with at as and or not no it its that which what who"
    " why how when where do does did can could may must should will would has have had than then so such into per"
)
_POINTS_ELSEWHERE = re.compile(
    r"\b(?:this|our|these|those|present|current) (?:paper|article|note|work|study|passage|text|section|chapter|appendix"
    r"|excerpt|document|author|table|figure|listing|equation|theorem|lemma|proposition|experiment)s?\b"
    r"|\bthe (?:(?:paper|article|note|study|excerpt)\b(?! of)|authors?\b)"
    r"|\b(?:does|do|in|to|by|from) the (?:passage|text|context)"
    r"(?: (?:say|state|mention|describe|give|discuss|suggest)|[?,.])"
    r"|\b(?:passages?|tables?|figs?\.?|figures?|sections?|eqs?\.?|equations?|listings?|theorem|lemma|proposition"
    r"|appendix)(?: ?\(?\d|\s\(?(?-i:[A-Z])\b)"
    r"|\b(?:the )?(?:above|below|aforementioned|former|latter|following)\b(?! \d)"
    r"|\b(?:we|our|ours|us)\b|\[\d+\]",
    re.IGNORECASE,
)
_BARE_PRONOUN = re.compile(
    r"^(?:it|they|this|that|these|those|he|she|both|such|here|there)\b"
    r"|\b(?:does|do|did|is|are|was|were|can|has|have) (?:it|they|this|these|those|he|she|them)\b",
    re.IGNORECASE,
)
_ET_AL_ALONE = re.compile(r"^(?:what|how|why) (?:do|does|did) [\w’'-]+ et al\.? (?:\w+)\?$", re.IGNORECASE)


@dataclass(frozen=True)
class QA:
    """A pair as its checks see it. `chunk_text` is the text of the chunk that `evidence` quotes."""

    question: str
    answer: str
    evidence: str
    chunk_text: str
    is_answerable: bool = True


def first_reason(qa: QA) -> str | None:
    """The first check's reason to refuse the pair, or None to keep it."""
    return next((reason for check in CHECKS if (reason := check(qa))), None)


def meaning_of(reason: str) -> str:
    """What a reason says, in words."""
    return DATASETS["qa"].reasons[reason].meaning


def check_instructions(qa: QA) -> str | None:
    """Papers are strangers' texts: what tells a model what to do is never trained on."""
    return "instructions" if any(map(gives_instructions, (qa.question, qa.answer, qa.evidence))) else None


def check_evidence(qa: QA) -> str | None:
    """The quote is really in the chunk, whatever its blanks and line ends."""
    if not qa.is_answerable:
        return None
    quote = without_blanks(qa.evidence)
    if not quote:
        return "no_evidence"
    return None if quote in without_blanks(qa.chunk_text) else "evidence_not_found"


def check_lengths(qa: QA) -> str | None:
    """Words of question and answer within their bounds."""
    for name, text, (least, most) in (("question", qa.question, QUESTION_WORDS), ("answer", qa.answer, ANSWER_WORDS)):
        n_words = len(text.split())
        if n_words < least:
            return f"{name}_too_short"
        if n_words > most:
            return f"{name}_too_long"
    return None


def check_form(qa: QA) -> str | None:
    """One question, ended by its mark."""
    is_one = qa.question.rstrip().endswith("?") and qa.question.count("?") == 1
    return None if is_one else "no_question"


def check_prose(qa: QA) -> str | None:
    """Mostly letters, as prose is, and no control characters."""
    for text in (qa.question, qa.answer):
        solid = without_blanks(text)
        n_letters = sum(char.isalpha() and "LATIN" in unicodedata.name(char, "") for char in solid)
        if n_letters < LETTERS_SHARE_01 * len(solid) or any(
            unicodedata.category(char) == "Cc" for char in text.strip()
        ):
            return "not_prose"
    return None


def check_standalone(qa: QA) -> str | None:
    """Someone who has not seen the paper understands question and answer."""
    if _POINTS_ELSEWHERE.search(qa.question) or _POINTS_ELSEWHERE.search(qa.answer):
        return "points_elsewhere"
    if _BARE_PRONOUN.search(qa.question) or _BARE_PRONOUN.match(qa.answer) or _ET_AL_ALONE.match(qa.question):
        return "points_elsewhere"
    return None


def check_subject(qa: QA) -> str | None:
    """A question without answer is about its passage: no quote says so, and a weak teacher repeats its example."""
    if qa.is_answerable or set(words_of(qa.question)) & set(words_of(qa.chunk_text)):
        return None
    return "off_subject"


def check_answer_adds(qa: QA) -> str | None:
    """The answer says more than its question."""
    added = meaningful_words(qa.answer) - meaningful_words(qa.question)
    return None if len(added) >= NEW_WORDS else "answer_in_question"


def needs_each(answer: str, texts: Sequence[str]) -> bool:
    """Whether every passage has a word of the answer that none of the others has."""
    said = [meaningful_words(answer) & meaningful_words(text) for text in texts]
    return all(own - frozenset().union(*said[:i], *said[i + 1 :]) for i, own in enumerate(said))


CHECKS: tuple[Callable[[QA], str | None], ...] = (
    check_instructions,
    check_evidence,
    check_form,
    check_lengths,
    check_prose,
    check_standalone,
    check_subject,
    check_answer_adds,
)


def normalised(question: str) -> str:
    """A question without case, punctuation and blanks at will: equal questions are equal then."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", question).casefold()))


def without_blanks(text: str) -> str:
    """The text's visible characters."""
    return _BLANKS.sub("", text)


def meaningful_words(text: str) -> frozenset[str]:
    """Words in lower case without articles, auxiliaries and the like."""
    return frozenset(_WORD.findall(text.casefold())) - _EMPTY_WORDS
