"""A chat behind HTTP: any server that speaks OpenAI's chat protocol (vLLM, llama.cpp, Ollama, a paid one).

What the server answers is a stranger's text: it is read up to a limit and a deadline, asked for again where that may
help, and judged by whoever asked. The key comes from the environment alone.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.core.errors import UsageError
from jobs.tuning.chat import FAILED, MALFORMED, OVERSIZED, ChatPrompt, ChatReply, ChatSettings

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
LONGEST_WAIT_S = 60.0
RETRIED_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FAILED = ChatReply(None, FAILED)
_MALFORMED = ChatReply(None, MALFORMED)
_OVERSIZED = ChatReply(None, OVERSIZED)


def formats(schema: dict[str, Any]) -> tuple[dict[str, Any] | None, ...]:
    """What a server may be asked for, the strictest first; one that knows none is only asked in words."""
    strict = {"name": "reply", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": strict}, {"type": "json_object"}, None


@dataclass(frozen=True)
class _Got:
    """One answer of the server: its status, its body (None: longer than any reply may be), when to come back."""

    status: int
    body: bytes | None
    retry_after_s: float | None


class OpenAIChat:
    """See the module. `sleep` is what tests replace so that waiting costs nothing."""

    def __init__(self, settings: ChatSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises UsageError without an address or a model."""
        self._settings = settings
        self._address = address_of(settings.url, settings.model, settings.role)
        self._sleep = sleep
        self._format = 0  # place in `formats`; only ever moves on
        self._key_names = key_names(settings.role)
        self.name = f"openai:{settings.model}"

    def reply(self, prompts: Sequence[ChatPrompt]) -> list[ChatReply]:
        """Ask with bounded concurrency; replies in the order of the prompts.

        Raises UsageError where the server refuses key, model or address (401, 403, 404): the next try would too.
        """
        if not prompts:
            return []
        import httpx

        limits = httpx.Limits(max_connections=self._settings.concurrency)
        key = next((os.environ[name] for name in self._key_names if os.environ.get(name)), "")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with (
            httpx.Client(headers=headers, timeout=self._settings.timeout_s, limits=limits, trust_env=False) as client,
            ThreadPoolExecutor(self._settings.concurrency) as threads,
        ):
            return list(threads.map(lambda prompt: self._ask(client, prompt), prompts))

    def _ask(self, client: httpx.Client, prompt: ChatPrompt) -> ChatReply:
        for attempt in range(self._settings.tries):
            got = self._post_accepted(client, prompt)
            if got is not None and got.status not in RETRIED_STATUS:
                return self._reply(got)
            if attempt + 1 < self._settings.tries:
                self._sleep(_wait_s(attempt, got, prompt.seed))
        return _FAILED

    def _post_accepted(self, client: httpx.Client, prompt: ChatPrompt) -> _Got | None:
        """The server's answer in the strictest form that it does not refuse (400)."""
        got, known = None, formats(prompt.schema)
        for form in range(self._format, len(known)):
            got = self._post(client, prompt, known[form])
            if got is None or got.status != 400 or known[form] is None:
                break
            log.info("%s refuses response_format %s", self.name, known[form])
            self._format = max(self._format, form + 1)
        return got

    def _post(self, client: httpx.Client, prompt: ChatPrompt, form: dict[str, Any] | None) -> _Got | None:
        """The server's answer, or None if none came in time."""
        import httpx

        content = {
            "model": self._settings.model,
            "messages": list(prompt.messages),
            "max_tokens": self._settings.max_new_tokens,
            "temperature": 0,
            "seed": prompt.seed,
        } | ({"response_format": form} if form else {})
        ends_at = time.monotonic() + self._settings.timeout_s
        try:
            with client.stream("POST", self._address, json=content) as response:
                body = _read(response, ends_at)
                return _Got(response.status_code, body, _retry_after_s(response.headers.get("retry-after")))
        except (httpx.HTTPError, TimeoutError) as error:
            log.info("%s: %s", self.name, error or type(error).__name__)
            return None

    def _reply(self, got: _Got) -> ChatReply:
        if got.status in (401, 403, 404):
            raise UsageError(
                f"{self._address} answers {got.status} for model {self._settings.model!r}. Check "
                f"--{self._settings.role}-url, --{self._settings.role}-model and the key in "
                f"{' or '.join(self._key_names)}."
            )
        if got.body is None:
            return _OVERSIZED
        return read_completion(got.body) if got.status == 200 else _MALFORMED


def address_of(url: str | None, model: str | None, role: str) -> str:
    """Where completions are asked for. Raises UsageError without an address or a model."""
    if not url or not url.startswith(("http://", "https://")):
        raise UsageError(f"{role} openai has no address. Expected --{role}-url http://127.0.0.1:8000/v1 or the like.")
    if not model:
        raise UsageError(f"{role} openai has no model. Expected --{role}-model NAME, as the server calls it.")
    return f"{url.rstrip('/')}/chat/completions"


def key_names(role: str) -> tuple[str, str]:
    """Where the key is looked for, in this order: a judge's server is never shown the teacher's own key."""
    return f"SPARK_ARXIV_{role.upper()}_KEY", "OPENAI_API_KEY"


def read_completion(body: bytes) -> ChatReply:
    """The reply in the body of a chat completion."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        return _MALFORMED
    if not isinstance(text, str):  # a refusal or a tool call has no content
        return _MALFORMED
    return ChatReply(text, is_cut=finish == "length")


def _read(response: httpx.Response, ends_at: float) -> bytes | None:
    """The body; None if it is too long. Raises TimeoutError for a server that drips past the deadline."""
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
        if time.monotonic() > ends_at:
            raise TimeoutError("the reply did not end in time")
    return body


def _retry_after_s(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None


def _wait_s(attempt: int, got: _Got | None, seed: int) -> float:
    """What the server asks for, else 1, 2, 4 … seconds, each moved by up to a half so that shards do not meet."""
    if got is not None and got.retry_after_s is not None:
        return min(got.retry_after_s, LONGEST_WAIT_S)
    jitter = random.Random(f"{seed} {attempt} {os.getpid()}").uniform(0.5, 1.5)  # noqa: S311  no secret
    return float(min(2**attempt * jitter, LONGEST_WAIT_S))
