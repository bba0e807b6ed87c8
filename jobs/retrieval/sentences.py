"""Sentences and content words of scientific prose."""

from __future__ import annotations

import re


def word_set(text: str) -> frozenset[str]:
    """Words parted by blanks, as a set."""
    return frozenset(text.split())


_PARAGRAPH = re.compile(r"\n\s*\n")
_STOP = re.compile(r"[.!?][\"”’)\]]*\s+")
# A dot after these ends no sentence, whatever follows.
_ALWAYS_OPEN = word_set(
    "fig figs eq eqs eqn sec secs sect tab ref refs vs cf eg e.g ie i.e approx resp dr prof mr mrs st"
    " def thm lem prop alg w.r.t viz ca"
)
# After these a number belongs to them: "No. 5", but "He said no. Then …".
_OPEN_BEFORE_NUMBERS = word_set("no nos p pp vol ch app")
# After these a capital letter begins a sentence: "as in Hu et al. The rank …".
_OPEN_BEFORE_OTHERS = word_set("al etc inc ltd u.s")
_LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*$")
_MIN_STEM = 2  # use, uses, used and using meet
_WORD = re.compile(r"[a-z0-9]+")

STOP_WORDS = word_set(
    "a about after again all also am an and any are as at be because been before being between both but by can could"
    " did do does doing down during each few for from further had has have having he her here hers him his how i if in"
    " into is it its itself just many me mean means might more most much must my no nor not of off on once one only or"
    " other our out over own paper papers please same say says shall she should show so some stand stands such tell"
    " than that the their them then there these they this those through to too under until up us very was we were what"
    " when where which while who whom why will with would you your"
)


def sentences(text: str) -> list[str]:
    """The sentences in order, blanks collapsed. A blank line ends one; "et al." and "Fig." do not."""
    return [found for paragraph in _PARAGRAPH.split(text) for found in _of_paragraph(" ".join(paragraph.split()))]


def content_words(text: str) -> list[str]:
    """The words that carry meaning, in order, in lower case and without the endings of plural and past."""
    return [stem(word) for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def stem(word: str) -> str:
    """A word without its commonest endings. Only good for comparing a question with a sentence."""
    for ending in ("ing", "ed", "es", "s", "e"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _MIN_STEM and not (ending == "s" and rest.endswith("s")):
            return stem(rest)
    return word


def _of_paragraph(text: str) -> list[str]:
    found, start = [], 0
    for stop in _STOP.finditer(text):
        if _is_end(text[start : stop.start()], text[stop.start()], text[stop.end() :]):
            found.append(text[start : stop.end()].strip())
            start = stop.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def _is_end(before: str, mark: str, after: str) -> bool:
    first = after.lstrip('"“‘([')[:1]
    if not first or first.islower():
        return not first
    if mark != ".":
        return True
    match = _LAST_WORD.search(before)
    if match is None:
        return True
    word = match[0].lower()
    is_initial = len(word) == 1 and match[0].isupper() and not before[: match.start()].endswith(("-", "is ", "are "))
    if word in _ALWAYS_OPEN or (is_initial and first.isalpha()):
        return False
    if word in _OPEN_BEFORE_NUMBERS:
        return not first.isdigit()
    return word not in _OPEN_BEFORE_OTHERS or after[:1].isupper()
