"""Words of a text as the word index, the title recogniser and the support estimate see them."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that say how something is asked or tied together, never what it is about.
STOPWORDS = _words(
    "a about after all also am an and any are as at be because been before being between both but by can could did do"
    " does doing each for from further had has have having he her here how i if in into is it its itself just may me"
    " might more most must my no nor not of off on once only or other our out over own per same shall she should so"
    " some such than that the their them then there these they this those through to too under until up us very was"
    " we were what when where which while who whom whose why will with within would you your"
)


def words_of(text: str) -> list[str]:
    """Content words in order: folded case and width, no stopwords, plurals cut."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [singular(word) for word in _WORD.findall(folded) if word not in STOPWORDS]


def singular(word: str) -> str:
    """The word without a plural's ending, by the three rules of the S stemmer (Harman 1991, JASIS 42(1)).

    A fourth rule, before its second, makes `indexes` and `losses` meet `index` and `loss`.
    """
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("aies", "eies")):
        return word[:-3] + "y"
    if word.endswith(("xes", "sses", "shes")):
        return word[:-2]
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
