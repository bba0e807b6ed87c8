"""The chat over HTTP in the form of OpenAI's API: what is asked, whole replies, streamed replies, errors.

Beside that form a reply has `supported` and `citations`, and names its release in `system_fingerprint`.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Generator
from typing import Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jobs.retrieval.quoting import Answer
from jobs.serving.release import BASE, QUOTED, STUDENT, Release
from jobs.serving.replies import Ask, Pieces
from jobs.serving.speaker import RETRY_AFTER_S

MAX_QUESTION_CHARS = 2000
MODELS = (STUDENT, BASE, QUOTED)


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
    """What a client asks. Other settings of OpenAI's form are allowed and passed over.

    Without a model whoever the release puts first answers. Length and temperature mean nothing for quoted sentences.
    """

    model: str | None = None
    messages: list[Message] = Field(min_length=1, max_length=200)
    stream: bool = False
    retrieval: bool = True
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)

    @property
    def question(self) -> str:
        """The newest message of the user."""
        return self._asked[-1] if self._asked else ""

    @property
    def _asked(self) -> tuple[str, ...]:
        """What the user asked, oldest first."""
        return tuple(message.text.strip() for message in self.messages if message.role == "user")

    def ask_of(self, release: Release) -> Ask:
        """What is asked, of whom."""
        return Ask(
            self.question,
            self.model or release.serves[0],
            self.retrieval,
            self.max_completion_tokens or self.max_tokens,
            self.temperature,
            self._asked[:-1],
        )


def refused(status: int, sentence: str, code: str) -> JSONResponse:
    """An error as OpenAI's clients understand it."""
    error = {"message": sentence, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status)


def why_refused(body: ChatBody, release: Release | None, why_not: str) -> JSONResponse | None:
    """The error for a question that cannot be answered, or None."""
    if body.model is not None and body.model not in MODELS:
        return refused(404, f"There is no model {body.model[:80]!r}. Expected one of {MODELS}.", "model_not_found")
    if release is None:
        return refused(503, why_not, "no_release")
    model = body.model or release.serves[0]
    if model not in release.serves:
        sentence = f"Release {release.release_id} has no student: it answers with quoted sentences (model 'quoted')."
        return refused(404, sentence, "model_not_found")
    if not body.question or len(body.question) > MAX_QUESTION_CHARS:
        sentence = f"The question has {len(body.question)} characters. Expected 1 to {MAX_QUESTION_CHARS}."
        return refused(422, sentence, "bad_question")
    if not body.retrieval and model == QUOTED:
        return refused(422, "Quoted sentences come from retrieval: retrieval=false needs a model.", "bad_request")
    return None


def busy(sentence: str) -> JSONResponse:
    """The error where as many answers wait as may."""
    reply = refused(503, sentence, "busy")
    reply.headers["retry-after"] = str(RETRY_AFTER_S)
    return reply


def in_one_piece(answer: Answer, release: Release, model: str) -> dict[str, Any]:
    """A reply in one piece."""
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    return _envelope("chat.completion", release, model) | {"choices": [choice]} | _sources(answer)


def streamed(pieces: Pieces, release: Release, model: str) -> Generator[str, None, None]:
    """A reply as server-sent events, one a piece; the last one brings the sources."""
    envelope = _envelope("chat.completion.chunk", release, model)
    role: dict[str, str] = {"role": "assistant"}
    for piece in pieces:
        if isinstance(piece, Answer):
            last = {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish_reason(piece)}]}
            yield _event(envelope | last | _sources(piece))
        else:
            yield _event(
                envelope | {"choices": [{"index": 0, "delta": role | {"content": piece}, "finish_reason": None}]}
            )
            role = {}
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


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.is_cut else "stop"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
