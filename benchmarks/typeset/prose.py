"""Our own prose to typeset: sentences and titles of the sample notes, and formulas, as TeX and as a reader reads it."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from benchmarks.measuring import REPOSITORY

NOTES = REPOSITORY / "sample" / "tex"
_PLAIN = re.compile(r"[A-Z](?:[A-Za-z0-9 ,;:.()'?]|-(?!-))+[.?]")
_TITLE = re.compile(r"\\(?:sub)?section\{([A-Za-z ,'?-]{5,50})\}")


class Phrase(NamedTuple):
    """The same words as TeX and as they are read on the page."""

    tex: str
    text: str


SPECIAL = (
    Phrase(r"We set $\alpha = 0.1$ and $\beta = 0.9$ in all runs.", "We set α = 0.1 and β = 0.9 in all runs."),
    Phrase(r"Each row $x_i$ has a weight $w_i \geq 0$ of its own.", "Each row xi has a weight wi ≥ 0 of its own."),
    Phrase(
        r"The cost grows as $O(n^2)$ where the bound needs $n \leq 10^6$ only.",
        "The cost grows as O(n^2) where the bound needs n ≤ 10^6 only.",
    ),
    Phrase(
        r"The names Schr\"odinger, Poincar\'e, H\"ormander and Garc\'ia keep their accents.",
        "The names Schrödinger, Poincaré, Hörmander and García keep their accents.",
    ),
    Phrase(
        r"An efficient office finds flows of affluent fifths difficult to classify.",
        "An efficient office finds flows of affluent fifths difficult to classify.",
    ),
    Phrase(r"It holds for every $k \in \{1, 2, 3\}$ that we tried.", "It holds for every k ∈ {1, 2, 3} that we tried."),
    Phrase(
        r"Values between 5--10\% are normal---nobody knows why.", "Values between 5–10% are normal—nobody knows why."
    ),
    Phrase(
        r"One calls this a ``well-behaved'' state-of-the-art map.",
        "One calls this a “well-behaved” state-of-the-art map.",
    ),
)
DISPLAYS = (
    Phrase(r"y = W x + b", "y = Wx + b"),
    Phrase(r"f(x) = \max(0, 1 - x)", "f(x) = max(0, 1 − x)"),
    Phrase(r"\alpha + \beta + \gamma \leq 1", "α + β + γ ≤ 1"),
    Phrase(r"g(t) = a t + b, \qquad t > 0", "g(t) = at + b, t > 0"),
)


@functools.cache
def sentences() -> tuple[str, ...]:
    """All sentences of the notes without formulas or commands, 8 to 40 words long, sorted."""
    found = set()
    for source in sorted(NOTES.glob("2*.tex")):
        body = source.read_text().partition(r"\end{abstract}")[2].partition(r"\begin{thebibliography}")[0]
        for paragraph in re.split(r"\n\s*\n", body):
            if r"\begin" not in paragraph:
                found.update(re.split(r"(?<=[.?])\s+(?=[A-Z])", " ".join(paragraph.split())))
    return tuple(sorted(one for one in found if _PLAIN.fullmatch(one) and 8 <= len(one.split()) <= 40))


@functools.cache
def titles() -> tuple[str, ...]:
    """Titles of the notes' sections, sorted."""
    found: set[str] = set()
    for source in sorted(NOTES.glob("2*.tex")):
        found.update(_TITLE.findall(source.read_text()))
    return tuple(sorted(found))


def as_read(tex: str) -> str:
    """Plain TeX prose as it is read: typewriter apostrophes are printed as curved ones."""
    return tex.replace("'", "’")
