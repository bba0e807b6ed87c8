"""A paper that a question names, by its id or its title: `what does 2205.14135 measure?`"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jobs.corpus import arxiv

MIN_TITLE_WORDS = 3  # a shorter title is more often the name of a thing than of a paper
_TOKEN = re.compile(r"\S+")
_EDGE = "\"'`.,:;!?()[]{}<>*“”‘’„«»"


@dataclass(frozen=True)
class Named:
    """The paper that was named, and the question without its name; (None, the question) if none was."""

    paper_id: str | None
    question: str


class NamedPapers:
    """Knows ids and titles. A title that two papers share names neither."""

    def __init__(self, titles: Iterable[tuple[str, str]]) -> None:
        """`titles`: (paper_id, title) of every paper."""
        self._ids: set[str] = set()
        self._by_first: dict[str, dict[tuple[str, ...], str | None]] = {}
        for paper_id, title in titles:
            self._ids.add(paper_id)
            words = tuple(_fold(token) for token in title.split())
            if len(words) >= MIN_TITLE_WORDS:
                alike = self._by_first.setdefault(words[0], {})
                alike[words] = paper_id if alike.get(words, paper_id) == paper_id else None

    def find(self, question: str) -> Named:
        """The paper that the question names. An id goes before a title, a longer title before a shorter one."""
        tokens = list(_TOKEN.finditer(question))
        for token in tokens:
            if (paper_id := self._by_id(token.group())) is not None:
                return Named(paper_id, _without(question, *token.span()))
        matches = [match for i in range(len(tokens)) if (match := self._by_title(tokens[i:])) is not None]
        if not matches:
            return Named(None, question)
        _, paper_id, start, end = max(matches)
        return Named(paper_id, _without(question, start, end))

    def _by_id(self, token: str) -> str | None:
        text = token.strip(_EDGE)
        text = re.sub(r"^(?:https?://)?(?:www\.)?arxiv\.org/(?:abs|pdf)/|^arxiv:", "", text, flags=re.IGNORECASE)
        try:
            paper_id = arxiv.parse_id(text).paper_id
        except ValueError:
            return None
        return paper_id if paper_id in self._ids else None

    def _by_title(self, tokens: list[re.Match[str]]) -> tuple[int, str, int, int] | None:
        """(words, paper, start, end) of the longest title that begins with the first token."""
        there = self._by_first.get(_fold(tokens[0].group()), {})
        found = [
            (len(words), paper_id, tokens[0].start(), tokens[len(words) - 1].end())
            for words, paper_id in there.items()
            if paper_id and tuple(_fold(token.group()) for token in tokens[: len(words)]) == words
        ]
        return max(found, default=None)


def _fold(token: str) -> str:
    return token.strip(_EDGE).casefold()


def _without(question: str, start: int, end: int) -> str:
    return " ".join((question[:start] + " " + question[end:]).split())
