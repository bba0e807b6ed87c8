"""The release that answers now, and how another takes its place while requests run.

A request takes the release once and keeps it to its end, so no answer mixes two. A release that cannot be opened or
does not answer never becomes the one that serves.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import threading
import time
from pathlib import Path

from jobs.core import takedowns
from jobs.core.errors import ContractError, InputMissingError, JobError
from jobs.core.lake import Lake
from jobs.core.manifest import KEY_LENGTH
from jobs.retrieval.quoting import Answer
from jobs.serving.candidate import learnt_from_taken_down
from jobs.serving.release import RELEASE_FILE, OpenRetriever, OpenSpeaker, Release, open_release
from jobs.serving.trial import smoke_answer

log = logging.getLogger(__name__)

EXAMPLES = 3
RETRY_S = 60.0  # how long a release that failed is left alone while nothing serves


def examples_of(release: Release) -> tuple[str, ...]:
    """The first of the release's questions that it answers: what a newcomer is shown must work."""
    answered = (question for question in release.questions if release.answer(question).supported)
    return tuple(itertools.islice(answered, EXAMPLES))


def _refuse_what_learnt_too_much(lake: Lake, key: str) -> None:
    facts = json.loads(lake.published("releases", "all", key).file(RELEASE_FILE).read_bytes())
    adapter = facts["adapter"]
    if adapter and (learnt := learnt_from_taken_down(lake, lake.published("adapters", "all", adapter))):
        raise ContractError(
            f"Release {facts['release_id']} is not served again: its student learnt from {learnt}, taken down since. "
            f"Make another one: python -m jobs run --lake {lake.address}"
        )


class Served:
    """The release that answers now, behind one reference, and how another takes its place.

    `address` may become a lake later: until then there is no release, and `why_not` says so.
    """

    def __init__(self, address: Path | str, open_index: OpenRetriever, open_speaker: OpenSpeaker) -> None:
        self.address = address
        self.reloads = {"ok": 0, "failed": 0}
        self.why_not = f"No release in {address} yet. Make one with: python -m jobs run --goal index --lake {address}"
        self._open_index = open_index
        self._open_speaker = open_speaker
        self._release: Release | None = None
        self._loading = threading.Lock()
        self._seen_key: str | None = None
        self._takedowns_key: str | None = None
        self._failed_at = -math.inf

    @property
    def release(self) -> Release | None:
        """The release that answers now. Take it once a request."""
        return self._release

    def load(self, release_id: str) -> tuple[Release, Answer]:
        """Open a release beside the one that serves, try it, and let it serve. Raises JobError; then the old stays.

        One whose student learnt from a paper that was taken down is refused, unless it is the lake's current one.
        """
        with self._loading:
            lake = Lake.open(self.address)
            key = lake.whole_key("releases", "all", release_id)
            if key != lake.current_key("releases", "all"):
                _refuse_what_learnt_too_much(lake, key)
            return self._swap(lake, key)

    def follow(self) -> None:
        """Serve what CURRENT names if it moved since the last look; a failure is logged once and changes nothing.

        Only a move counts: `load` runs ahead of the pointer, and must not be undone by it. What was taken down since
        the last look is shown no more.
        """
        with self._loading:
            try:
                lake = Lake.open(self.address)
            except InputMissingError:
                return
            self._hide(lake)
            key = lake.current_key("releases", "all")
            if key is not None and self._is_news(key):
                self._seen_key = key
                self._try(key)

    def _hide(self, lake: Lake) -> None:
        """Let the release that serves find nothing of papers that were taken down, nor ask about them."""
        key = lake.current_key(takedowns.DATASET, takedowns.PART)
        if key == self._takedowns_key or self._release is None:
            return
        release = dataclasses.replace(self._release, taken_down=takedowns.taken_down(lake))
        self._release = dataclasses.replace(release, questions=examples_of(release))
        self._takedowns_key = key
        log.info("%d papers are taken down: they are found no more", len(release.taken_down))

    def _is_news(self, key: str) -> bool:
        if key != self._seen_key:
            return self._release is None or key != self._release.key
        return self._release is None and time.monotonic() - self._failed_at > RETRY_S

    def _try(self, key: str) -> None:
        said_before, self.why_not = self.why_not, f"Release {key[:KEY_LENGTH]} is being loaded."
        try:
            self._swap(Lake.open(self.address), key)
        except JobError as error:
            self._failed_at = time.monotonic()
            said = f"Release {key[:KEY_LENGTH]} does not load: {error}"
            serving = self._release.release_id if self._release else "nothing"
            if said != said_before:
                log.error("%s %s serves on.", said, serving)
            self.why_not = said

    def _swap(self, lake: Lake, key: str) -> tuple[Release, Answer]:
        try:
            release = open_release(lake, key, self._open_index, self._open_speaker)
            answer = smoke_answer(release)
            release = dataclasses.replace(release, questions=examples_of(release))
        except JobError:
            self.reloads["failed"] += 1
            raise
        self._release = release
        self.reloads["ok"] += 1
        log.info(
            "release %s serves: %s passages, answers by %s",
            release.release_id,
            release.facts["passages"],
            ", ".join(release.serves),
        )
        return release, answer
