"""One question, one reply: quoted sentences, or what the student or its base writes, with the passages behind it."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from jobs.retrieval.follow_ups import thread
from jobs.retrieval.licences import cut
from jobs.retrieval.passages import Passage
from jobs.retrieval.quoting import Answer, cite, nearest_sentence, refusal
from jobs.serving.release import BASE, QUOTED, Release
from jobs.tuning import prompts

Pieces = Generator[str | Answer, None, None]  # of the text, and last the whole answer

_MARK = re.compile(r"\s*\[(\d{1,3})\]")


@dataclass(frozen=True)
class Ask:
    """What is asked of whom. `stop` ends the reply early; `max_tokens` counts no more than the release allows.

    `before`: what the same person asked earlier in the conversation, oldest first.
    """

    question: str
    model: str = QUOTED
    retrieval: bool = True
    max_tokens: int | None = None
    temperature: float = 0.0
    before: tuple[str, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def in_full(self) -> str:
        """The question with those that it goes on from: a student learnt to answer one question, not a conversation."""
        return " ".join(thread(self.question, self.before))


def reply(release: Release, ask: Ask) -> Pieces:
    """Pieces of the reply's text as they come, and last the whole answer with its sources. Raises BusyError."""
    if ask.model == QUOTED:
        return _in_words(release.answer(ask.question, ask.before))
    if not ask.retrieval:
        return _spoken(release, ask, ())
    found = release.search(ask.question, before=ask.before)
    if not found.passages or found.support_01 < release.facts["min_support_01"]:
        return _in_words(refusal(ask.in_full, found.passages))
    return _spoken(release, ask, found.passages[: release.facts["passages_read"]])


def whole(pieces: Pieces) -> Answer:
    """The answer at the end of a reply."""
    *_, answer = pieces
    assert isinstance(answer, Answer)
    return answer


def messages_for(release: Release, question: str, read: Sequence[Passage]) -> list[dict[str, str]]:
    """The prompt, built as the student's training rows were."""
    shown = [prompts.PassageText(one.title, one.section, one.text) for one in read]
    return prompts.answer_messages(question, shown, passage_chars=release.facts["passage_chars"])


def _in_words(answer: Answer) -> Pieces:
    for n, word in enumerate(answer.text.split(" ")):
        yield word if n == 0 else f" {word}"
    yield answer


def _spoken(release: Release, ask: Ask, read: Sequence[Passage]) -> Pieces:
    """What the model writes. A place in the queue is taken now, not when the first piece is asked for."""
    assert release.speaker is not None
    longest = release.facts["max_answer_tokens"]
    pieces = release.speaker.say(
        messages_for(release, ask.in_full, read),
        min(ask.max_tokens or longest, longest),
        ask.stop,
        temperature=ask.temperature,
        with_adapter=ask.model != BASE,
    )
    return _collected(pieces, read)


def _collected(pieces: Generator[str, None, bool], read: Sequence[Passage]) -> Pieces:
    said: list[str] = []
    is_cut = yield from _heard(pieces, said)
    yield _with_sources("".join(said).strip(), read, is_cut)


def _heard(pieces: Generator[str, None, bool], said: list[str]) -> Generator[str, None, bool]:
    """The pieces, each noted in `said`; returns what they return."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return bool(end.value)
        said.append(piece)
        yield piece


def _with_sources(text: str, read: Sequence[Passage], is_cut: bool) -> Answer:
    """The text with the passages that it names; marks of passages that were not shown are taken out."""
    text = _MARK.sub(lambda mark: mark[0] if 1 <= int(mark[1]) <= len(read) else "", text)
    named = list(dict.fromkeys(int(number) for number in _MARK.findall(text)))
    citations = tuple(
        cite(n, read[n - 1], cut(nearest_sentence(read[n - 1], text))) for n in named or range(1, len(read) + 1)
    )
    is_answer = bool(text) and not prompts.is_refusal(text)
    return Answer(text, bool(read) and is_answer, citations, is_cited=bool(named), is_cut=is_cut)
