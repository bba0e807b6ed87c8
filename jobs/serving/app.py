"""The app: routes for programs, the page for people, and the watch over CURRENT."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import AsyncIterator, Generator
from datetime import datetime
from typing import Annotated, Any, Literal

import anyio
from fastapi import FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from jobs.core.errors import JobError
from jobs.corpus import arxiv
from jobs.retrieval.licences import shown_text
from jobs.retrieval.quoting import Answer
from jobs.retrieval.ranking import DEFAULT_MODE
from jobs.retrieval.searcher import Found
from jobs.serving import completions
from jobs.serving.chat import mount_page
from jobs.serving.completions import MAX_QUESTION_CHARS, ChatBody
from jobs.serving.guard import Guard
from jobs.serving.meters import CONTENT_TYPE, Meters
from jobs.serving.release import Release
from jobs.serving.replies import Ask, Pieces, reply, whole
from jobs.serving.served import Served
from jobs.serving.speaker import BusyError

log = logging.getLogger(__name__)

FOLLOW_S = 3.0
LOOK_S = 0.2  # between two looks whether a client is still there
RELEASE_HEADER = "x-release-id"
TOKEN_VARIABLE = "APP_TOKEN"  # noqa: S105  the variable's name


class SearchBody(BaseModel):
    """What `/search` is asked. `before`: earlier questions of the conversation, oldest first."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARS)
    k: int = Field(default=8, ge=1, le=50)
    mode: Literal["hybrid", "dense", "bm25"] = DEFAULT_MODE
    paper_id: str | None = None
    categories: list[str] | None = Field(default=None, max_length=100)
    submitted_before: datetime | None = None
    before: list[Annotated[str, Field(max_length=MAX_QUESTION_CHARS)]] = Field(default=[], max_length=200)

    @field_validator("paper_id")
    @classmethod
    def _without_version(cls, text: str | None) -> str | None:
        return None if text is None else arxiv.parse_id(text).paper_id

    @field_validator("question")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("the question is blank")
        return text.strip()


class LoadBody(BaseModel):
    """What `/admin/load` is asked."""

    release_id: str = Field(pattern=r"^[0-9a-f]{12}$")


def make_app(served: Served, *, is_public: bool = False, follow_s: float = FOLLOW_S) -> FastAPI:
    """The app over what a lake has released. `is_public`: strangers read it, so passages are cut where they must be."""

    @contextlib.asynccontextmanager
    async def watching(_app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(_watch(served, follow_s))
        yield
        watch.cancel()

    app = FastAPI(title="Spark-ArXiv", docs_url=None, redoc_url=None, openapi_url=None, lifespan=watching)
    meters = Meters()
    app.add_exception_handler(RequestValidationError, _as_sentence)
    _add_looks(app, served, meters)
    _add_answers(app, served, is_public)
    _add_admin(app, served)
    mount_page(app, served)
    app.add_middleware(Guard, meters=meters)
    return app


async def _watch(served: Served, follow_s: float) -> None:
    """Follow CURRENT from the start on: the app is alive while its first release is loading."""
    while True:
        try:
            await asyncio.to_thread(served.follow)
        except JobError as error:  # such as a store that is away
            log.error("cannot see what the lake has released; what serves goes on: %s", error)
        except (OSError, ValueError):
            log.exception("cannot see what the lake has released; what serves goes on")
        await asyncio.sleep(follow_s)


def _add_looks(app: FastAPI, served: Served, meters: Meters) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        release = served.release
        if release is None:
            return JSONResponse({"detail": served.why_not}, 503)
        return JSONResponse({"release_id": release.release_id})

    @app.get("/metrics")
    def metrics() -> Response:
        return PlainTextResponse(meters.text(served), media_type=CONTENT_TYPE)

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return completions.models(served.release)


def _add_answers(app: FastAPI, served: Served, is_public: bool) -> None:
    @app.post("/search")
    def search(body: SearchBody) -> JSONResponse:
        release = served.release
        if release is None:
            return JSONResponse({"detail": served.why_not}, 503)
        filters = body.model_dump(exclude={"question", "k"})
        found = release.search(body.question, body.k, **filters)
        return JSONResponse(_results(found, is_public), headers={RELEASE_HEADER: release.release_id})

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        release = served.release
        refused = completions.why_refused(body, release, served.why_not)
        if refused is not None or release is None:
            return refused or completions.refused(503, served.why_not, "no_release")
        ask = body.ask_of(release)
        headers = {RELEASE_HEADER: release.release_id}
        try:
            pieces = await run_in_threadpool(reply, release, ask)
        except BusyError as error:
            return completions.busy(str(error))
        if body.stream:
            return StreamingResponse(_events(pieces, release, ask), media_type="text/event-stream", headers=headers)
        answer = await _whole(pieces, ask, request)
        return JSONResponse(completions.in_one_piece(answer, release, ask.model), headers=headers)


async def _whole(pieces: Pieces, ask: Ask, request: Request) -> Answer:
    """The whole of a reply; a client that leaves ends it."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await anyio.sleep(LOOK_S)
        ask.stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        answer = await run_in_threadpool(whole, pieces)
        tasks.cancel_scope.cancel()
    return answer


async def _events(pieces: Pieces, release: Release, ask: Ask) -> AsyncIterator[str]:
    """Server-sent events from a reply; a client that leaves ends it."""
    events = completions.streamed(pieces, release, ask.model)
    try:
        async for event in iterate_in_threadpool(events):
            yield event
    finally:
        ask.stop.set()
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(_close, events, pieces)


def _close(*generators: Generator[Any, None, None]) -> None:
    for one in generators:
        one.close()


def _add_admin(app: FastAPI, served: Served) -> None:
    @app.post("/admin/load")
    def load(body: LoadBody, authorization: Annotated[str, Header()] = "") -> JSONResponse:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            return JSONResponse({"detail": f"This app has no {TOKEN_VARIABLE}: it follows CURRENT alone."}, 403)
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"detail": f"The token is not this app's {TOKEN_VARIABLE}."}, 401)
        try:
            release, answer = served.load(body.release_id)
        except (JobError, OSError) as error:
            log.warning("release %s is refused: %s", body.release_id, error)
            return JSONResponse({"detail": str(error)}, 409)
        return JSONResponse({"release_id": release.release_id, "answer": answer.text})


def _results(found: Found, is_public: bool) -> dict[str, Any]:
    columns = ("chunk_id", "paper_id", "version", "title", "section", "page")
    results = [
        {name: getattr(passage, name) for name in columns}
        | {
            "score": float(passage.score),
            "text": shown_text(passage.text, passage.license, is_public=is_public),
        }
        for passage in found.passages
    ]
    return {"support_01": float(found.support_01), "results": results}


async def _as_sentence(request: Request, error: Exception) -> JSONResponse:
    """A request that does not fit, told in one sentence, in the form that the route's clients read."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"] if step != "body") or "body"
    sentence = f"{place}: {first['msg']}."
    if request.url.path.startswith("/v1/"):
        return completions.refused(422, sentence, "bad_request")
    return JSONResponse({"detail": sentence}, 422)
