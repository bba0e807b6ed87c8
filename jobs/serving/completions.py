"""The chat over HTTP in the form of OpenAI's API: what is asked, whole replies, streamed replies, errors.

Beside that form a reply has `supported` and `citations`, and names its release in `system_fingerprint`.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jobs.retrieval.quoting import Answer
from jobs.serving.release import QUOTED, Release

MAX_QUESTION_CHARS = 2000
MODELS = ("student", "base", QUOTED)


class Part(BaseModel):
    """One part of a message that comes in parts. Only text is read."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The message's text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class ChatBody(BaseModel):
    """What a client asks. Settings of sampling are allowed and have no meaning for quoted sentences."""

    model: str = QUOTED
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool = False
    retrieval: bool = True

    @property
    def question(self) -> str:
        """The newest message of the user."""
        asked = [message.text.strip() for message in self.messages if message.role == "user"]
        return asked[-1] if asked else ""


def refused(status: int, sentence: str, code: str) -> JSONResponse:
    """An error as OpenAI's clients understand it."""
    error = {"message": sentence, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)


def why_refused(body: ChatBody, release: Release | None, why_not: str) -> JSONResponse | None:
    """The error for a question that cannot be answered, or None."""
    if body.model not in MODELS:
        return refused(404, f"There is no model {body.model[:80]!r}. Expected one of {MODELS}.", "model_not_found")
    if release is None:
        return refused(503, why_not, "no_release")
    if body.model not in release.serves:
        sentence = f"Release {release.release_id} has no student: it answers with quoted sentences (model 'quoted')."
        return refused(404, sentence, "model_not_found")
    if not body.question or len(body.question) > MAX_QUESTION_CHARS:
        sentence = f"The question has {len(body.question)} characters. Expected 1 to {MAX_QUESTION_CHARS}."
        return refused(422, sentence, "bad_question")
    if not body.retrieval:
        return refused(422, "Quoted sentences come from retrieval: retrieval=false needs a model.", "bad_request")
    return None


def whole(answer: Answer, release: Release, model: str) -> dict[str, Any]:
    """A reply in one piece."""
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _envelope("chat.completion", release, model) | {"choices": [choice]} | _sources(answer)


def streamed(answer: Answer, release: Release, model: str) -> Iterator[str]:
    """A reply as server-sent events, a word each; the last one brings the sources."""
    envelope = _envelope("chat.completion.chunk", release, model)
    for n, word in enumerate(answer.text.split(" ")):
        delta = {"content": word if n == 0 else f" {word}"} | ({"role": "assistant"} if n == 0 else {})
        yield _event(envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield _event(envelope | last | _sources(answer))
    yield "data: [DONE]\n\n"


def models(release: Release | None) -> dict[str, Any]:
    """Who answers now."""
    serves = release.serves if release else ()
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "spark-arxiv"} for name in serves]}


def _envelope(kind: str, release: Release, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": release.release_id,
    }


def _sources(answer: Answer) -> dict[str, Any]:
    citations = [dataclasses.asdict(citation) for citation in answer.citations]
    return {"supported": answer.supported, "citations": citations}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
