"""Questions that a passage does not answer, for the teacher made of rules: of a thing that it names, what papers of
methods hardly ever say.

The thing is the name that a sentence of the passage is about, so that the question is English whatever it is. An aspect
that the passage touches with a single word is not asked for; whether the rest of the paper answers, curation looks.
"""

from __future__ import annotations

import hashlib
import re

from jobs.tuning.clauses import Clause
from jobs.tuning.english import AUXILIARIES

# What is asked, and the words of a passage that come near to an answer.
ASPECTS: tuple[tuple[str, str], ...] = (
    ("How much electricity does {name} use?", r"electric|energy|power|watt|joule|carbon|emission"),
    ("How does {name} perform on a mobile phone?", r"phone|mobile|android|device|embedded|edge"),
    ("Which company sells a product that is built on {name}?", r"compan|commercial|product|sell|sold|vendor|industr"),
    ("How much money did the development of {name} cost?", r"cost|money|dollar|price|expens|budget|cheap|\$|€"),
    ("How many months did the development of {name} take?", r"months?\b|years?\b|weeks?\b|develop"),
    ("Which patents cover {name}?", r"patent|intellectual"),
    ("Which awards has {name} won?", r"award|prize|winn|\bwon\b"),
    ("Under which license is {name} released?", r"licen[cs]|open.source|released|copyright|apache|\bmit\b|\bgpl\b"),
    ("Which version of {name} is the newest?", r"version|newest|latest|release"),
    ("Who maintains {name} today?", r"maintain|contributor|community"),
    ("How many people use {name} every day?", r"people|users?\b|daily|every day|popular"),
)
_MADE = re.compile(
    r"\b(?:system|model|library|framework|toolkit|tool|program|package|application|software|service|engine|platform"
    r"|dataset|corpus|benchmark|network|method|algorithm|implementation|language|compiler|database)s?\b"
)
_NAME = re.compile(r"(?=\w*[a-zA-Z]\w)[A-Z][\w-]*[A-Z\d][\w-]*")


def question_of(clauses: list[Clause], text: str) -> str | None:
    """A question about the first named thing that a clause of the text is about; None if there is none."""
    name = next((clause.subject for clause in clauses if _is_name(clause) and _is_made(clause)), None)
    if name is None:
        return None
    ordered = sorted(ASPECTS, key=lambda aspect: hashlib.sha256(f"{aspect[0]}\n{text}".encode()).digest())
    asked = next((question for question, near in ordered if not re.search(near, text, re.IGNORECASE)), None)
    return asked.format(name=name) if asked else None


def _is_name(clause: Clause) -> bool:
    """One word that cannot be a common one; a plural or `the GPU` would need another verb or an article."""
    return not clause.is_plural and len(clause.subject) >= 3 and _NAME.fullmatch(clause.subject) is not None


def _is_made(clause: Clause) -> bool:
    """Whether people made it, as a system or a corpus: nobody holds a patent on a loss or uses a molecule daily."""
    return clause.verb not in AUXILIARIES or (clause.verb == "is" and _MADE.search(clause.rest) is not None)
