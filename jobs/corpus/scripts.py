"""Raised digits: exponents, which a number must not swallow, and marks of footnotes, which a word must not.

Plain text has no raised characters: 10⁴ set as 10 and a small 4 becomes 104, and the footnote mark of `network.³`
glues two sentences together.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from jobs.corpus import cleaning
from jobs.corpus.looks import Look

SMALL = 0.85  # of the size of the line, at most
RAISED = 0.15  # of the size of the line above its baseline, at least
_DIGITS = re.compile(r"[−-]?\d{1,4}(?:[.,/]\d{1,3})?")
EXPONENT = re.compile(r"\^[−-]?\d{1,4}$")
_NO_BASE = " =+−×·(,⌈⌊"
_MARK = re.compile(r"\d{1,2}(?:,\d{1,2})*")
# What a mark may stand behind: the end of a clause, or a word that is no unit (km²) and no function (log²).
_MARKED = re.compile(r"(?:[^\W\d_]{2}|[\])\d%])[.,;:!?]$|[A-Za-z\])][”’\"]$|(?<![^\W_])(?P<word>[A-Za-zÀ-ÿ]{3,})$")
_FUNCTIONS = frozenset(["log", "exp", "min", "max", "sin", "cos", "tan", "det", "dim", "sup", "inf", "lim"])


def written(
    parts: list[str], spans: list[dict[str, Any]], looks: list[Look], base: float, size: float, counts: Counter[str]
) -> str:
    """The text of a line of several sizes: `10^4` for a raised number, nothing for the mark of a footnote.

    `parts` are the texts of the spans; `base` and `size` are the line's, in points.
    """
    text = ""
    i = 0
    while i < len(parts):
        end = i
        while end < len(parts) and rise(spans[end], base, size) > 0:
            end += 1
        if end == i:
            if spans[i]["size"] >= SMALL * size and not parts[i].isspace():
                base = spans[i]["origin"][1]  # inside a fraction it is another than the line's
            text += parts[i]
            i += 1
            continue
        after = parts[end] if end < len(parts) else ""
        text = joined(text, "".join(parts[i:end]), after, bool(i) and looks[i - 1].is_math, counts)
        if after[:1].isdigit() and rise(spans[end], base, size) < 0 and EXPONENT.search(text):
            text += "_"  # an index below it
        i = end
    return text


def joined(before: str, raised: str, after: str, is_formula: bool, counts: Counter[str]) -> str:
    """What stands before a raised text on its line, together with it.

    `after` is what follows; `is_formula`: what it stands behind is in a font of formulas.
    """
    script = raised.strip()
    if not script or not (script[0].isdigit() or script[0] in "−-") or not _DIGITS.fullmatch(script):
        return before + raised
    if not before.strip():  # the mark at the head of a footnote
        return f"{raised} " if after[:1].isalpha() else raised
    if raised[0].isspace() or before[-1].isspace():
        return before + raised
    is_mark = not is_formula and bool(_MARK.fullmatch(script)) and _can_be_marked(before)
    if is_mark and not cleaning.is_off(counts, "footnote_marks"):
        counts["footnote_marks"] += 1
        return before + raised[len(raised.rstrip()) :]
    if cleaning.is_off(counts, "exponents"):
        return before + raised
    counts["exponents"] += 1
    return f"{before}^{raised}"


def n_raised(span: dict[str, Any], base: float, size: float) -> int:
    """Characters of the last span of a line with this base and size, if it is small and raised; else 0."""
    return len(span["text"].rstrip()) if rise(span, base, size) > 0 else 0


def is_numerator(before: str, n_raised: int) -> bool:
    """Whether the raised end of a text is no exponent, because nothing stands before it that could have one."""
    return n_raised > 0 and not before[-n_raised - 1 : -n_raised].strip(_NO_BASE)


def _can_be_marked(before: str) -> bool:
    found = _MARKED.search(before[-40:])
    return found is not None and (found["word"] or "").lower() not in _FUNCTIONS


def rise(span: dict[str, Any], base: float, size: float) -> int:
    """1 for a small text that is raised, -1 for one that is lowered, else 0."""
    if span["size"] >= SMALL * size:
        return 0
    above = base - span["origin"][1]
    return 1 if above > RAISED * size else -1 if above < 0 else 0
