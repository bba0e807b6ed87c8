"""Releases: opening one whole, trying it, and putting it in the place of another while requests run.

A request takes the release once and keeps it to its end, so no answer mixes two. A release that cannot be opened or
does not answer never becomes the one that serves.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError, InputMissingError, JobError
from jobs.core.lake import Lake, Part
from jobs.core.manifest import KEY_LENGTH, Manifest
from jobs.retrieval.quoting import Answer, Found, Retriever, answer_quoted

if TYPE_CHECKING:
    from jobs.retrieval.encoder import Encoder

log = logging.getLogger(__name__)

RELEASE_FILE = "release.json"
QUESTIONS_FILE = "prompts/questions.txt"
INTRO_FILE = "prompts/intro.txt"
QUOTED = "quoted"
PASSAGES_READ = 8
EXAMPLES = 3
RETRY_S = 60.0  # how long a release that failed is left alone while nothing serves

OpenRetriever = Callable[[Part], Retriever]


@dataclass(frozen=True)
class Release:
    """Everything an answer is made of. `key` names the release's part, `facts` is its release.json."""

    release_id: str
    key: str
    serves: tuple[str, ...]
    facts: dict[str, Any]
    questions: tuple[str, ...]
    intro: str
    retriever: Retriever

    def search(self, question: str, k: int = PASSAGES_READ, **filters: Any) -> Found:
        """The k best passages for a question; `filters` as in `Retriever.search`."""
        return self.retriever.search(question, k, **filters)

    def answer(self, question: str) -> Answer:
        """Quoted sentences for a question."""
        return answer_quoted(question, self.search(question), min_support_01=self.facts["min_support_01"])


class SearcherOpener:
    """Opens searchers over published indexes; one encoder serves them all as long as it is the same model."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None

    def __call__(self, index: Part) -> Retriever:
        """The searcher over an index."""
        from jobs.retrieval.index_view import View
        from jobs.retrieval.searcher import Searcher

        encoder = self._encoder
        is_same = encoder is not None and encoder.card.revision == View.read(index).revision
        searcher = Searcher.open(index, encoder if is_same else None)
        self._encoder = searcher.encoder
        return searcher


def open_release(lake: Lake, key: str, open_index: OpenRetriever) -> Release:
    """The release with this key and the index that it names, every file verified. Raises JobError."""
    part = lake.published("releases", "all", key)
    facts: dict[str, Any] = json.loads(part.file(RELEASE_FILE).read_bytes())
    questions = part.file(QUESTIONS_FILE).read_text().splitlines()
    try:
        retriever = open_index(lake.published("indexes", "all", facts["index"]))
    except JobError:
        raise
    except Exception as error:  # whatever a damaged index does to its readers, the release is what is wrong
        raise ContractError(f"Release {facts['release_id']}: its index does not open ({error!r}).") from error
    return Release(
        facts["release_id"],
        key,
        tuple(facts["serves"]),
        facts,
        tuple(questions),
        part.file(INTRO_FILE).read_text().strip(),
        retriever,
    )


def key_of_release(lake: Lake, release_id: str) -> str:
    """The key of a published release, current or not. Raises InputMissingError."""
    if not re.fullmatch(rf"[0-9a-f]{{{KEY_LENGTH}}}", release_id):
        raise InputMissingError(f"{release_id[:80]!r} is no release id. Expected {KEY_LENGTH} hexadecimal digits.")
    if not lake.has("releases", "all", release_id):
        raise InputMissingError(f"Release {release_id} is not in this app's lake ({lake.root}).")
    return Manifest.read(lake.part_folder("releases", "all") / release_id).key


def smoke_answer(release: Release) -> Answer:
    """Ask a release its own question. Raises ContractError if what comes back is no answer."""
    question = release.facts["smoke_question"]
    try:
        found = release.search(question)
        answer = answer_quoted(question, found, min_support_01=release.facts["min_support_01"])
    except JobError:
        raise
    except Exception as error:  # as above: a release that raises when asked does not serve
        raise ContractError(f"Release {release.release_id} fails when asked {question!r}: {error!r}.") from error
    scores = [found.support_01, *(passage.score for passage in found.passages)]
    if not all(math.isfinite(score) for score in scores):
        raise ContractError(f"Release {release.release_id}: scores of {question!r} are not numbers: {scores[:4]}.")
    if release.facts["passages"] and not answer.citations:
        raise ContractError(
            f"Release {release.release_id} finds nothing for {question!r} among {release.facts['passages']} passages. "
            "Expected at least one source. Build the index again (python -m jobs build_index)."
        )
    return answer


def examples_of(release: Release) -> tuple[str, ...]:
    """The first of the release's questions that it answers: what a newcomer is shown must work."""
    answered = (question for question in release.questions if release.answer(question).supported)
    return tuple(itertools.islice(answered, EXAMPLES))


class Served:
    """The release that answers now, behind one reference, and how another takes its place.

    `root` may become a lake later: until then there is no release, and `why_not` says so.
    """

    def __init__(self, root: Path, open_index: OpenRetriever) -> None:
        self.root = root
        self.reloads = {"ok": 0, "failed": 0}
        self.why_not = f"No release in {root} yet. Make one with: python -m jobs run --goal index --lake {root}"
        self._open_index = open_index
        self._release: Release | None = None
        self._loading = threading.Lock()
        self._seen_key: str | None = None
        self._failed_at = -math.inf

    @property
    def release(self) -> Release | None:
        """The release that answers now. Take it once a request."""
        return self._release

    def load(self, release_id: str) -> tuple[Release, Answer]:
        """Open a release beside the one that serves, try it, and let it serve. Raises JobError; then the old stays."""
        with self._loading:
            lake = Lake.open(self.root)
            return self._swap(lake, key_of_release(lake, release_id))

    def follow(self) -> None:
        """Serve what CURRENT names if it moved since the last look; a failure is logged once and changes nothing.

        Only a move counts: `load` runs ahead of the pointer, and must not be undone by it.
        """
        with self._loading:
            try:
                key = Lake.open(self.root).current_key("releases", "all")
            except InputMissingError:
                return
            if key is not None and self._is_news(key):
                self._seen_key = key
                self._try(key)

    def _is_news(self, key: str) -> bool:
        if key != self._seen_key:
            return self._release is None or key != self._release.key
        return self._release is None and time.monotonic() - self._failed_at > RETRY_S

    def _try(self, key: str) -> None:
        said_before, self.why_not = self.why_not, f"Release {key[:KEY_LENGTH]} is being loaded."
        try:
            self._swap(Lake.open(self.root), key)
        except JobError as error:
            self._failed_at = time.monotonic()
            said = f"Release {key[:KEY_LENGTH]} does not load: {error}"
            serving = self._release.release_id if self._release else "nothing"
            if said != said_before:
                log.error("%s %s serves on.", said, serving)
            self.why_not = said

    def _swap(self, lake: Lake, key: str) -> tuple[Release, Answer]:
        try:
            release = open_release(lake, key, self._open_index)
            answer = smoke_answer(release)
            release = dataclasses.replace(release, questions=examples_of(release))
        except JobError:
            self.reloads["failed"] += 1
            raise
        self._release = release
        self.reloads["ok"] += 1
        log.info("release %s serves: %s passages", release.release_id, release.facts["passages"])
        return release, answer
