"""Sentences that stand alone, taken apart into subject, verb and the rest.

No parser and no model: a list of verbs, and rules about what may stand before one. What they are not sure of they give
up, so a sentence that is returned is nearly always taken apart rightly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.retrieval.sentences import word_set
from jobs.tuning.english import (
    ADVERBS,
    AFTER_VERB,
    ALSO_NOUNS,
    AUXILIARIES,
    NEVER_FIRST,
    NEVER_IN_SUBJECT,
    NEVER_OBJECT,
    NOUNS_TOO,
    NUMBERS,
    PLURAL_AUXILIARIES,
    PREPOSITIONS,
    SINGULAR_AUXILIARIES,
    VERBS,
    base_form,
)

_NAME_TAIL = re.compile(r"\b(?:and (?:others|colleagues|co-workers|co-authors)|et al)$")
_LISTED_NAME = re.compile(r"[A-Z][^\W\d_]+(?:-[A-Z][^\W\d_]+)?,")
_LIST_OF_NAMES = re.compile(
    r"[A-Z][^\W\d_]{2,}(?:-[A-Z]\w+)?(?:, [A-Z][^\W\d_]{2,}(?:-[A-Z]\w+)?)* and [A-Z][^\W\d_]{2,}(?:-[A-Z]\w+)?"
)
_COMMON_ENDINGS = tuple(
    word_set("tion tions sion ing ings ment ity ness ance ence ism ics es ers")
)  # of words that are no names
_NAME = re.compile(r"[A-Z]|\d[a-z]|[a-z]\d|_")
_PLACED = re.compile(r"the [a-z]+ (?:in|on|at|under) the [a-z]+$")  # "the code in the string": of which text?
_ACTIVITIES = (["training"], ["inference"], ["search"], ["retrieval"], ["evaluation"])  # of what?
_POINTS_BACK = re.compile(r"\b(?:of|before|after) (?:it|them)$")
_BOTH = re.compile(r"that (?:both|they|neither) (?!of\b)[a-z]+")
_OF_ITS_TEXT = re.compile(r"the [^A-Z\d]*\b(?:of|in|for|on|from) (?:the|an?) [^A-Z\d]*$")  # "the slit of the device"
# Of a figure: "the middle and bottom rows", "dashed curves".
_DRAWN = re.compile(
    r"\b(?:top|middle|bottom|upper|lower|left|right|outer|inner|dashed|dotted|solid|shaded|purple|red|blue|green|orange"
    r"|gr[ae]y|black)\b.*\b(?:row|column|band|curve|line|bar|dot|plot|region)s?\b"
)
_GERUND = re.compile(r"[A-Z]?[a-z-]+ing (?P<article>an?|the|each|all)?\b")
_GERUND_NOUNS = word_set(
    "learning training sampling clustering pooling encoding embedding packing masking scaling pruning caching batching"
    " decoding indexing parsing reasoning modelling modeling ranking smoothing weighting matching voting boosting"
    " bagging fine-tuning pre-training tuning processing computing engineering"
)
_ADJECTIVE = re.compile(r"[A-Z][a-z-]+(?:al|ic|ive|ous|ary|ble|ed|ful|less)")
_KNOWN = re.compile(r"the [a-z]+(?: (?:with|by|where|when)\b|[:;]|$)")
MAX_SUBJECT_WORDS = 8


@dataclass(frozen=True)
class Clause:
    """`subject` as it stands inside a question; `verb` as written; `rest` follows it, without the final stop."""

    subject: str
    verb: str
    rest: str
    is_plural: bool

    @property
    def has_name(self) -> bool:
        """Whether its subject has a name in it: what a paper says of its own parts is only known there."""
        return _NAME.search(self.subject[1:] if self.is_plural else self.subject) is not None

    @property
    def is_activity(self) -> bool:
        """Whether its subject says what is done: `setting the learning rate`."""
        match = _GERUND.match(self.subject)
        return match is not None and (match["article"] is not None or self.subject.split()[0] not in _GERUND_NOUNS)

    @property
    def has_known_object(self) -> bool:
        """Whether its object is something that the text has spoken of: `chooses the cuts by optimisation`."""
        return _KNOWN.match(self.rest) is not None

    @property
    def base(self) -> str:
        """The verb's base form; an auxiliary stays as it is."""
        return self.verb if self.verb in AUXILIARIES else base_form(self.verb)

    @property
    def does(self) -> str:
        """The auxiliary that asks for the verb: do, does or did."""
        if self.verb != self.base and not self.verb.endswith("s"):
            return "did"
        return "do" if self.is_plural else "does"


def parse(sentence: str, context: str) -> Clause | None:
    """Subject, verb and rest of a sentence whose subject stands alone; None if in doubt.

    `context` is the text around it, which tells names from words that are capital because they come first.
    """
    words = sentence.removesuffix(".").split()
    place = _verb_place(words)
    if place is None:
        return None
    subject_words = words[:place]
    while subject_words and subject_words[-1] in ADVERBS:
        subject_words.pop()
    verb, rest = words[place], " ".join(words[place + 1 :])
    rest = re.sub(rf"^(?:{'|'.join(sorted(ADVERBS))}) ", "", rest)
    if not _stands_alone(subject_words):
        return None
    if len(subject_words) == 1 and verb in ALSO_NOUNS and _ADJECTIVE.fullmatch(subject_words[0]):
        return None  # "Semi-empirical models of …": the noun passed for a verb
    is_plural = _is_plural(subject_words)
    if not _agrees(verb, is_plural) or not rest or _points_back(rest):
        return None
    return Clause(in_question(" ".join(subject_words), context), verb, rest, is_plural)


def in_question(phrase: str, context: str) -> str:
    """A phrase from the start of a sentence as it stands inside one: lower case unless it is a name."""
    first, _, others = phrase.partition(" ")
    if first in ("A", "An", "The"):
        return f"{first.lower()} {others}"
    if not first[1:].islower() or first.endswith("’s") or _NAME_TAIL.search(phrase):
        return phrase
    n_as_name = len(re.findall(rf"[a-z,;(] {re.escape(first)}\b", context))
    n_as_word = len(re.findall(rf"(?<![\w.]){re.escape(first.lower().removesuffix('s'))}s?(?![\w.]\w)", context))
    if n_as_name > n_as_word or re.match(r"(?:[A-Z]|and [A-Z])", others):
        return phrase
    is_common = n_as_word or others[:1].islower() or first.endswith(_COMMON_ENDINGS)
    return first.lower() + (f" {others}" if others else "") if is_common else phrase


def _verb_place(words: list[str]) -> int | None:
    for place, word in enumerate(words[: MAX_SUBJECT_WORDS + 2]):
        if word.endswith((",", ";", ":")):
            if _LISTED_NAME.fullmatch(word):
                continue
            return None
        if place == 0:
            continue
        if word in AUXILIARIES:
            return place
        if base_form(word) in VERBS and place + 1 < len(words) and _is_verb(words, place):
            return place
    return None


def _is_verb(words: list[str], place: int) -> bool:
    """Whether a word that may be a verb or a noun is a verb here."""
    verb, after = words[place], words[place + 1]
    if verb in ALSO_NOUNS and after == "of":  # "polarized emission maps of"
        return False
    if (after in AFTER_VERB or after[0].isdigit()) and (verb in VERBS or verb.endswith("s")):
        return True
    is_noun = after in VERBS and verb in ALSO_NOUNS  # "XR7 models generate"
    if is_noun or after in NEVER_OBJECT or after in AUXILIARIES or after.endswith("ly"):
        return False
    if verb in VERBS or not verb.endswith("s"):  # base form or past
        return _is_list_of_names(words[:place])
    is_singular = words[0] in ("A", "An") and place <= 4  # "a retriever finds": no plural noun stands behind "a"
    is_name = place == 1 and words[0][0].isupper() and any(char.isdigit() or char.isupper() for char in words[0][1:])
    return is_singular or is_name or words[place - 1] in ADVERBS or verb not in ALSO_NOUNS


def _is_list_of_names(words: list[str]) -> bool:
    text = " ".join(words)
    return _LIST_OF_NAMES.fullmatch(text) is not None or (_NAME_TAIL.search(text) is not None and len(words) <= 4)


def _stands_alone(words: list[str]) -> bool:
    lowered = [word.lower().strip("“”\"'()") for word in words]
    if (
        not words
        or len(words) > MAX_SUBJECT_WORDS
        or words[1:2] == ["to"]
        or lowered[0] in NEVER_FIRST
        or lowered[-1] in PREPOSITIONS
    ):
        return False
    if _is_list_of_names(words):
        return words[0][0].isupper()
    if "," in "".join(words):
        return False
    if "such" in lowered[:-1] and lowered[lowered.index("such") + 1] == "as":
        return _stands_alone(words[: lowered.index("such")])
    if any(word in NEVER_IN_SUBJECT or word.isdigit() for word in lowered) or len(lowered[-1]) < 2:
        return False
    if _PLACED.match(" ".join(lowered)) or lowered in _ACTIVITIES or "The" in words[1:]:
        return False
    if _DRAWN.search(" ".join(lowered)):
        return False
    if _OF_ITS_TEXT.match(f"{lowered[0]} {' '.join(words[1:])}") or _is_heading(words):
        return False
    if any(_is_symbol(word) for word in words) or (
        len(lowered[-1]) < 3 and len(words) <= 3
    ):  # σ, Pa+cpu; a negative RU
        return False
    if lowered[0].endswith("ly") or (lowered[0] in VERBS and lowered[0] not in NOUNS_TOO):
        return False
    if lowered[0] == "the":
        is_rich = len(words) > 3 or any(re.search(r"[A-Z\d-]", word) for word in words[1:])
        return is_rich and lowered[1] not in NUMBERS
    if lowered[0] in ("a", "an"):
        return len(words) >= 2
    is_word = words[0][0].isupper() or words[0][0].isdigit() or "." in words[0] or "_" in words[0]
    return is_word and any(len(word) > 2 or word.isupper() for word in words)


def _is_symbol(word: str) -> bool:
    """Whether a word is a part of a formula."""
    return (len(word) == 1 and not word.isascii()) or re.search(r"\w[+*^/]\w", word) is not None


def _is_heading(words: list[str]) -> bool:
    """Whether the words begin with a heading that ran into its paragraph: many capitals, one word twice."""
    capitals = [word for word in words if word[:1].isupper()]
    return len(capitals) >= 4 and len(set(words)) < len(words)


def _is_plural(words: list[str]) -> bool:
    lowered = [word.lower() for word in words]
    ends = [place for place, word in enumerate(lowered) if word in PREPOSITIONS and place > 0]
    head = lowered[ends[0] - 1] if ends else lowered[-1]
    before = lowered[: ends[0]] if ends else lowered
    if "and" in before:
        return True
    if "such" in lowered:
        return _is_plural(words[: lowered.index("such")])
    if words[0].lower() in ("a", "an"):
        return False
    head = head.strip("()")
    if any(map(str.isdigit, head)):
        return False
    return head.endswith("s") and not head.endswith(("ss", "us", "is", "ics")) and not words[-1].isupper()


def _points_back(rest: str) -> bool:
    """Whether the object is a pronoun, which only the sentence before explains."""
    first, second = [*rest.split(), ""][:2]
    place = second if first in PREPOSITIONS or first in VERBS or second == "them" else first
    return (
        place.strip(":,;.") in ("it", "them", "so", "ones")
        or _POINTS_BACK.search(rest[:60]) is not None
        or _BOTH.match(rest) is not None
    )


def _agrees(verb: str, is_plural: bool) -> bool:
    if verb in AUXILIARIES:
        return not (is_plural and verb in SINGULAR_AUXILIARIES) and not (not is_plural and verb in PLURAL_AUXILIARIES)
    is_past = verb not in VERBS and not verb.endswith("s")
    return is_past or is_plural == (verb in VERBS)
