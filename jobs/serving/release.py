"""A release: everything an answer is made of, opened whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.core import takedowns
from jobs.core.errors import ContractError, JobError
from jobs.core.lake import Lake, Part
from jobs.retrieval.quoting import Answer, answer_quoted
from jobs.serving.speaker import Speaker

if TYPE_CHECKING:
    from jobs.retrieval.encoder import Encoder
    from jobs.retrieval.reranker import Reranker
    from jobs.retrieval.searcher import Found, Searcher

RELEASE_FILE = "release.json"
QUESTIONS_FILE = "prompts/questions.txt"
INTRO_FILE = "prompts/intro.txt"
QUOTED, STUDENT, BASE = "quoted", "student", "base"
PASSAGES_FOUND = 8

OpenRetriever = Callable[[Part], "Searcher"]
OpenSpeaker = Callable[[Lake, Part], Speaker]


@dataclass(frozen=True)
class Release:
    """Everything an answer is made of. `key` names the release's part, `facts` is its release.json.

    `serves`: who may answer, the default first. Without a student there is no `speaker`.
    """

    release_id: str
    key: str
    serves: tuple[str, ...]
    facts: dict[str, Any]
    questions: tuple[str, ...]
    intro: str
    retriever: Searcher
    speaker: Speaker | None = None
    taken_down: frozenset[str] = frozenset()  # papers that it shows no more, though its index has them

    def search(self, question: str, k: int = PASSAGES_FOUND, **filters: Any) -> Found:
        """The k best passages for a question; `filters`, and `before`, as in `Searcher.search`."""
        return self.retriever.search(question, k, without=self.taken_down, **filters)

    def answer(self, question: str, before: Sequence[str] = ()) -> Answer:
        """Quoted sentences for a question, or for one that goes on from those before it."""
        found = self.search(question, before=before)
        return answer_quoted(question, found, min_support_01=self.facts["min_support_01"], before=before)


class SearcherOpener:
    """Opens searchers over published indexes; one encoder serves them all as long as it is the same model.

    So does one reranker, where indexes name one.
    """

    def __init__(self) -> None:
        self._encoder: Encoder | None = None
        self._reranker: Reranker | None = None

    def __call__(self, index: Part) -> Searcher:
        """The searcher over an index."""
        from jobs.retrieval.index_view import View
        from jobs.retrieval.searcher import Searcher

        encoder = self._encoder
        is_same = encoder is not None and encoder.card.revision == View.read(index).revision
        searcher = Searcher.open(index, encoder if is_same else None, self._reranker)
        self._encoder, self._reranker = searcher.encoder, searcher.reranker
        return searcher


def open_release(lake: Lake, key: str, open_index: OpenRetriever, open_speaker: OpenSpeaker) -> Release:
    """The release with this key, its index and its student, every file verified. Raises JobError."""
    part = lake.published("releases", "all", key)
    facts: dict[str, Any] = json.loads(part.file(RELEASE_FILE).read_bytes())
    questions = part.file(QUESTIONS_FILE).read_text().splitlines()
    try:
        retriever = open_index(lake.published("indexes", "all", facts["index"]))
        speaker = open_speaker(lake, lake.published("adapters", "all", facts["adapter"])) if facts["adapter"] else None
    except JobError:
        raise
    except Exception as error:  # whatever damaged files do to their readers, the release is what is wrong
        raise ContractError(f"Release {facts['release_id']}: it does not open ({error!r}).") from error
    return Release(
        facts["release_id"],
        key,
        tuple(facts["serves"]),
        facts,
        tuple(questions),
        part.file(INTRO_FILE).read_text().strip(),
        retriever,
        speaker,
        takedowns.taken_down(lake),
    )
