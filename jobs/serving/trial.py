"""A release is asked its own question before it may serve."""

from __future__ import annotations

import math

from jobs.core.errors import ContractError, JobError
from jobs.retrieval.quoting import Answer, answer_quoted
from jobs.serving.release import STUDENT, Release
from jobs.serving.replies import Ask, messages_for, reply, whole

SMOKE_TOKENS = 16  # enough to see that it writes


def smoke_answer(release: Release) -> Answer:
    """Ask a release its own question. Raises ContractError if what comes back is no answer.

    A student that answers for another release already is not tried again: readers may have taken all places.
    """
    question = release.facts["smoke_question"]
    try:
        answer = _quoted(release, question)
        if release.speaker is not None and not release.speaker.is_tried:
            _require_speech(release, question)
    except JobError:
        raise
    except Exception as error:  # whatever a damaged release does to its readers, it does not serve
        raise ContractError(f"Release {release.release_id} fails when asked {question!r}: {error!r}.") from error
    return answer


def _quoted(release: Release, question: str) -> Answer:
    found = release.search(question)
    answer = answer_quoted(question, found, min_support_01=release.facts["min_support_01"])
    scores = [found.support_01, *(passage.score for passage in found.passages)]
    if not all(math.isfinite(score) for score in scores):
        raise ContractError(f"Release {release.release_id}: scores of {question!r} are not numbers: {scores[:4]}.")
    if release.facts["passages"] and not answer.citations and not release.taken_down:
        raise ContractError(
            f"Release {release.release_id} finds nothing for {question!r} among {release.facts['passages']} passages. "
            "Expected at least one source. Build the index again (python -m jobs build_index)."
        )
    return answer


def _require_speech(release: Release, question: str) -> None:
    """Raise ContractError unless the student's numbers are numbers and it writes something."""
    assert release.speaker is not None
    if not release.speaker.is_finite(messages_for(release, question, ())):
        raise ContractError(f"Release {release.release_id}: the student's logits for {question!r} are not numbers.")
    said = whole(reply(release, Ask(question, STUDENT, retrieval=False, max_tokens=SMOKE_TOKENS)))
    if not said.text:
        raise ContractError(f"Release {release.release_id}: the student says nothing to {question!r}.")
    release.speaker.is_tried = True
