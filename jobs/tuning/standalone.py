"""Sentences of a passage that can be understood alone, and what stands in front of their main clauses.

What the rules are not sure of they give up: better no sentence than one that points elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.retrieval.sentences import sentences, word_set
from jobs.tuning.english import NEVER_FRONTED

# An inline value, as in "k = 60", reads like prose.
_VALUE = re.compile(r"\b\w+ = [\d.,]+\w*")
# [3, 7], [AV07], [James et al., 1890], (Lewis et al., 2020), (§3)
_CITATION = re.compile(
    r"\s*(?:\[\d+(?:\s*[,–-]\s*\d+)*\]|\[[A-Z][A-Za-z+]{1,9}\d{2}[a-z]?(?:, [A-Z][A-Za-z+]{1,9}\d{2}[a-z]?)*\]"
    r"|\[(?=[A-Z])[^\[\]]*\b(?:1[89]|20)\d\d[a-z]?\]|\((?=[A-Z])[^()]*,? (?:1[89]|20)\d\d[a-z]?\)|\(§[^()]*\))"
)
# A sentence that answers a question follows from no other one.
_LINK = re.compile(
    r"(?<=[a-z\d)])(?<! but)(?<! not) (?:thus|therefore|hence|also|instead(?! of))(?=[ .;,](?! because))"
)
_UNFIT = re.compile(
    r"[∗∑∏√∈∉≤≥≪≫≈∞∂∇⊤∥⌈⌊¯˜ˆ∝→⇐⇔∩∪•=|{}\\]|\(\d+\)|[.!?]\d|\w{3,}\. [a-z]|“[^”]*$"
    r"|\b(?:Tables?|Figures?|Fig|Sections?|Listing|Algorithm|Appendix|Chapter|Eqs?|Proposition|Theorem|Lemma)\.? ?[\d(]"
    r"|\b(?:this|these|such(?! as)|the above|above(?! \d)|below|here|we|our|us|I|my|you|your)\b"
    r"|\b(?:latter|former|following)\b|\b(?:the|an) example\b|\b(?:all|the) others?\b|^[^,;:]*\bthen\b"
    r"|\bthose (?!of|that|who|in|with|by|from)"
    r"|(?-i:\b(?:(?!v)[a-z]\d+|[xyzhw][ijt])\b)"  # d2, yi: letters of a formula that lost its form
    r"|§|\b[a-z]{2,}\d \d\b|\bRefs?\.",  # conv5 1: an underscore that was lost
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"^(?P<subject>[^,;:]{3,70}), (?:which|who|whose|an?|the|or|by|published|introduced|proposed|described)\b"
    r"[^,;:]{2,140}, (?P<rest>(?!and |or |but |which |who )[^,]+.*)$"
)
_FRONTED = re.compile(
    r"^(?P<front>(?:In|With|For|At|On|From|After|Before|During|If|When|Where|Without|Under|Among|Unlike|To)"
    r" [^,;:]{3,90}), (?P<main>(?!and |or |but |which |who |when |if )[^,].*)$"
)
_THE_UNNAMED = re.compile(r"^\w+ (?:[^A-Z\d]* )?the [^A-Z\d]*$")  # "After the second transition": which?
_EMPTY_FRONT = re.compile(
    r"^(?:For (?:example|instance)|In (?:contrast|return|addition|turn|fact|other words|short|both)"
    r"|On the (?:contrary|other hand)|At the same time|In (?:most|many|some|such) cases|In practice"
    r"|In general|In particular|To \w+$"
    r"|For (?:further|fair|better|simplicity|clarity|completeness|comparison|reference)"
    r"|(?:In|On|For|With|Among|From|Under) (?:all|both) (?:two|three|four|five|\d+)?)\b"
)
MIN_CHARS, MAX_CHARS = 24, 330


@dataclass(frozen=True)
class Sentence:
    """`raw` is verbatim (blanks apart); `clean` has no citation marks."""

    raw: str
    clean: str

    @property
    def answer(self) -> str:
        """`clean` as it answers a question, without `therefore` and the like: it follows from no sentence before."""
        return _LINK.sub("", self.clean)


def standalone_sentences(text: str) -> Iterator[Sentence]:
    """Sentences of running text that point nowhere else: no formula, no pronoun of the text, no `Table 2`."""
    for raw in sentences(text):
        clean = without_citations(raw)
        if MIN_CHARS <= len(clean) <= MAX_CHARS and clean.endswith(".") and is_fit(clean):
            yield Sentence(raw, clean)


def without_aside(sentence: str) -> str:
    """The sentence without what stands between commas behind its subject: `X, a kind of Y, does Z` -> `X does Z`."""
    match = _ASIDE.match(sentence)
    return f"{match['subject']} {match['rest']}" if match else sentence


def fronted(sentence: str) -> tuple[str, str]:
    """What stands before the main clause (empty if nothing does, or it needs its context) and the main clause.

    `With rank 16, LoRA trains …` -> (`With rank 16`, `LoRA trains …`).
    """
    match = _FRONTED.match(sentence)
    if match is None or word_set(match["front"].lower()) & NEVER_FRONTED or _EMPTY_FRONT.match(match["front"]):
        return "", sentence
    if _THE_UNNAMED.search(match["front"]):
        return "", sentence
    main = match["main"]
    return match["front"], main[0].upper() + main[1:]


def without_citations(sentence: str) -> str:
    """The sentence without the marks of what it cites."""
    return _CITATION.sub("", sentence)


def is_fit(sentence: str) -> bool:
    """Whether a sentence points nowhere else and is no formula."""
    sentence = _VALUE.sub("", sentence)
    is_balanced = all(sentence.count(left) == sentence.count(right) for left, right in ("()", "[]", "“”"))
    return is_balanced and _UNFIT.search(sentence) is None and len(sentence.split()) <= 50
