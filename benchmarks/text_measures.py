"""How good a text is that was read from a page, against the truth: each measure with its exact meaning.

All of them take texts apart from blanks and page breaks; what compares letters alone (`letters`) also leaves out signs,
case, hyphens and accents, so that a sentence counts as whole where only a sign of it was read another way.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

NEAR = 40  # letters between two lines that still count as next to each other: the room of a footnote mark or a formula
MIN_LINE = 15  # letters of a printed line that can be told from others
_HYPHENED = re.compile(r"\b([^\W\d_]+)[-\u2010\u00ad\ufffe\x02]\s*([^\W\d_]+)")
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_BAD = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060\ufeff\ufffc-\uffff\ue000-\uf8ff]")
_EDGES = "".join(chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()) + "“”‘’–—•…□"


def letters(text: str) -> str:
    """Letters and digits alone, without case, accents and ligatures."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return folded if folded.isascii() and folded.isalnum() else "".join(filter(str.isalnum, folded))


def words(text: str) -> list[str]:
    """What stands between blanks, without the signs around it and without case; signs alone are no word."""
    return [word for token in text.casefold().split() if (word := token.strip(_EDGES))]


def longest_common(a: Sequence[object], b: Sequence[object]) -> int:
    """Length of the longest common subsequence, a bit for each element of `a`.

    Source: Hyyrö 2004, Bit-parallel LCS-length computation revisited. The integers of Python do 30,000 at a time.
    """
    places: dict[object, int] = {}
    for i, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << i
    all_ones = (1 << len(a)) - 1
    state = all_ones
    for item in b:
        matched = state & places.get(item, 0)
        state = ((state + matched) | (state - matched)) & all_ones
    return len(a) - state.bit_count()


def similarity_01(text: str, body: str, floats: Iterable[str]) -> float:
    """2 * common / (both lengths) of the characters without blanks: what `Levenshtein.ratio` gives, 0 to 1.

    `body` is the truth in reading order. A float or footnote may stand anywhere: where it is found whole it is taken
    out first and counts as common; else its characters are compared behind those of the body.
    """
    found, wanted, n_floats = _dense(text), _dense(body), 0
    for one in map(_dense, floats):
        start = found.find(one)
        if start < 0:
            wanted += one
        else:
            found = found[:start] + found[start + len(one) :]
            n_floats += len(one)
    total = len(found) + len(wanted) + 2 * n_floats
    return 2 * (longest_common(wanted, found) + n_floats) / total if total else 1.0


def _dense(text: str) -> str:
    return "".join(text.split())


def word_precision_recall(text: str, truth: str) -> tuple[float, float]:
    """Share of the text's words that are true, and share of the true words that are there; each as often as it is."""
    found, wanted = Counter(words(text)), Counter(words(truth))
    common = (found & wanted).total()
    return common / max(1, found.total()), common / max(1, wanted.total())


def n_left(printed: Iterable[str], text: str, truth: str) -> tuple[int, int]:
    """(how many are left, how many were printed) of heads, notices or stamps.

    One is left as often as its letters come in the text more often than in the truth, at most as often as printed.
    """
    heads = Counter(filter(None, map(letters, printed)))
    found, wanted = letters(text), letters(truth)
    left = sum(min(n, max(0, found.count(head) - wanted.count(head))) for head, n in heads.items())
    return left, heads.total()


def n_folios_left(folios: Iterable[int], text: str, truth: str) -> tuple[int, int]:
    """(how many page numbers are left, how many were printed): words of the text that the truth has less often."""
    extra = Counter(words(text)) - Counter(words(truth))
    numbers = Counter(map(str, folios))
    return sum(min(n, extra[number]) for number, n in numbers.items()), numbers.total()


def n_whole(sentences: Iterable[str], text: str) -> tuple[int, int]:
    """(how many sentences are whole, how many there are): all letters of one, uninterrupted."""
    found = letters(text)
    flags = [letters(sentence) in found for sentence in sentences]
    return sum(flags), len(flags)


def n_lines_in_order(lines: Iterable[str], paragraphs: Iterable[str], text: str) -> tuple[int, int]:
    """(how many pairs are in order, how many there are) of printed lines that follow each other in a paragraph.

    `lines` are those that the page shows. A line has its place in the truth where its letters come once. A pair is in
    order if the second line begins in the text behind the end of the first, at most `NEAR` letters away.
    """
    found, truth = letters(text), [letters(paragraph) for paragraph in paragraphs]
    places: list[tuple[int, int, str]] = []
    for line in map(letters, lines):
        at = [(i, paragraph.find(line)) for i, paragraph in enumerate(truth) if line in paragraph]
        if len(line) >= MIN_LINE and len(at) == 1:
            places.append((*at[0], line))
    places.sort()
    pairs = [(a, b) for (i, x, a), (j, y, b) in pairwise(places) if i == j and 0 <= y - x - len(a) <= 2]
    return sum(_follows(found, a, b) for a, b in pairs), len(pairs)


def _follows(found: str, a: str, b: str) -> bool:
    end = found.find(a) + len(a)
    return end >= len(a) and 0 <= found.find(b, end) - end <= NEAR


def n_hyphens(text: str, truth: str) -> tuple[int, int]:
    """(hyphens left, hyphens lost): words cut by a hyphen that the truth writes in one, and the other way round."""
    known = Counter(words(truth))
    cut = {word for word in known if "-" in word}
    left = sum(
        known[(a + b).lower()] > 0
        and known[f"{a}-{b}".lower()] == 0
        and not any(f"{a}-{b}".lower() in one for one in cut)
        for a, b in _HYPHENED.findall(text)
    )
    joined = {word.replace("-", "") for word in cut} - set(known)
    return left, sum(word in joined for word in words(text))


def n_ligatures(text: str) -> int:
    """Characters that are ligatures, such as ﬁ."""
    return len(_LIGATURE.findall(text))


def n_bad(text: str) -> int:
    """Characters without meaning: U+FFFD, private use, control and invisible ones, soft hyphens."""
    return len(_BAD.findall(text))


def n_sections(found: Sequence[str], wanted: Sequence[tuple[str, str]]) -> tuple[int, int, int]:
    """(how many are right, found, wanted): longest run of found titles that stands in the truth in the same order.

    A wanted one is (title, heading as printed): with its number or without, letters alone are compared.
    """
    names = {letters(form): letters(title) for title, heading in wanted for form in (title, heading)}
    mine = [names.get(letters(title), "") for title in found]
    theirs = [letters(title) for title, _ in wanted]
    return longest_common(theirs, [title for title in mine if title]), len(found), len(wanted)
