"""Whether a question stands alone or goes on from the one before it: `And how much memory does it need?`

A question goes on if it opens like one ("And …", "What about …"), if it has no word of its own ("Why?"), or if a
pronoun in it has nothing to stand for in the question itself. What seems to stand alone is searched alone: a doubt
costs a follow-up its subject, never a new question its passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from jobs.retrieval.words import words_of

MAX_TURNS = 3  # questions before that are read together: a subject is seldom named longer ago
MAX_BEFORE_CHARS = 300  # of each of them: the encoder reads 256 tokens, and the question asked must be among them

_OPENING = re.compile(
    r"\W*(?:and|but|or|so|then|also|what about|how about|what if|what else|which (?:ones?|of (?:them|these|those)))\b",
    re.IGNORECASE,
)
# "it" that stands for nothing: "is it better to …", "does it take to …".
_EMPTY_IT = re.compile(
    r"\b(?:is|was|be) it (?:\S+ ){0,2}?\S+ (?:to|that|if|whether|for)\b"
    r"|\bit (?:is|was|takes?|costs?) (?:\S+ ){0,2}?(?:to|that)\b"
    r"|\b(?:does|did|will|would) it (?:take|cost) (?:\S+ )?to\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her)\b"
    r"|\b(?:this|these|those(?!\s*$))\b(?!\s+(?:of|that|who|which|whose|it|they|are|is)\b)"
    r"|(?<=\bis )that\b|(?<=\b(?:do|in|of|on|to|by) )that\b|(?<=\b(?:are|was|did|can|for) )that\b"
    r"|(?<=\b(?:does|with|from|than|like|will|were) )that\b|(?<=\b(?:about|would|could|doing|after) )that\b"
    r"|\bthat(?=\W*$|\s+in\b)|\bthere(?=\W*$)",
    re.IGNORECASE,
)
_POINTS = re.compile(r"(?:this|these|those|there)$", re.IGNORECASE)
# An object is never the subject of its own clause, which would be "itself": so it stands for something said before.
_OBJECT = re.compile(
    r"(?:it|them|him)\b(?=\W*$|\s+(?:about|after|against|and|at|before|by|for|from|in|into|like|on|onto|or|over|than|to"
    r"|today|too|with|without)\b)|that\b",
    re.IGNORECASE,
)
_FORM = re.compile(r"(?:it|them|him)$", re.IGNORECASE)
_PREPOSITION = re.compile(r"\b(?:about|by|for|from|in|like|of|on|than|to|with|without)\s+$", re.IGNORECASE)
_SHARE_OF = re.compile(r"\b(?:all|any|both|each|none|one|some) of\s+$", re.IGNORECASE)
# What asks stands before it, as "how much memory" does before "does it need".
_AUXILIARY = re.compile(
    r"\b(?:do|does|did|is|are|was|were|has|have|had|can|could|will|would|should|must|may|might)\b", re.IGNORECASE
)
_NEXT_CLAUSE = re.compile(
    r"[,;:]\s+|\s+(?=(?:what|how|why|where|when|which|who|if|because|although|while|whether|before|after|so)\b)",
    re.IGNORECASE,
)
# Verbs that name nothing a pronoun could stand for: "What happens if it expires?"
_SAYS_NOTHING = frozenset({"happen", "mean", "go", "wrong", "work", "make", "use", "used", "need", "done"})


def thread(question: str, before: Sequence[str] = ()) -> tuple[str, ...]:
    """The question, and before it those that it goes on from, back to one that stands alone; oldest first.

    `before`: what was asked earlier in the conversation, oldest first. Without a question to go on from it is alone.
    """
    turns = [question]
    for earlier in reversed(before[-MAX_TURNS:]):
        if not goes_on(turns[0]):
            break
        if earlier := _shortened(earlier):
            turns.insert(0, earlier)
    return tuple(turns)


def goes_on(question: str) -> bool:
    """Whether the question needs the one before it to be understood."""
    if not words_of(question) or _OPENING.match(question):
        return True
    return _lacks_subject(_EMPTY_IT.sub(" ", question))


def _lacks_subject(question: str) -> bool:
    """Whether a pronoun comes before all that it could stand for."""
    is_named = False
    for clause in _clauses(question):
        auxiliary = _AUXILIARY.search(clause)
        start = auxiliary.end() if auxiliary else 0
        for pronoun in _PRONOUN.finditer(clause):
            if not is_named and (not _names(clause[start : pronoun.start()]) or _points_back(pronoun, clause)):
                return True
        is_named = is_named or _names(_PRONOUN.sub(" ", clause))
    return False


def _clauses(question: str) -> Iterator[str]:
    return (clause for clause in _NEXT_CLAUSE.split(question) if clause.strip())


def _names(text: str) -> bool:
    return not _SAYS_NOTHING.issuperset(words_of(text))


def _points_back(pronoun: re.Match[str], clause: str) -> bool:
    """Whether a pronoun behind a name cannot stand for it: "why does QLoRA use it?", "what do the layers do there?"."""
    if _POINTS.match(pronoun[0]):
        return True
    before = clause[: pronoun.start()]
    is_object = _OBJECT.match(clause, pronoun.start()) or (_FORM.match(pronoun[0]) and _PREPOSITION.search(before))
    return bool(is_object) and not _SHARE_OF.search(before)


def _shortened(text: str) -> str:
    """The begin of a question, up to the last whole word that fits."""
    text = " ".join(text.split())
    begin = text[:MAX_BEFORE_CHARS]
    return text if begin == text else begin.rpartition(" ")[0] or begin
