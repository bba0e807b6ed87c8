"""A chat behind HTTP: any server that speaks OpenAI's chat protocol (vLLM, llama.cpp, Ollama, a paid one).

What the server answers is a stranger's text: it is read up to a limit and a deadline, asked for again where that may
help, and judged by whoever asked. The key comes from the environment alone, and goes to the named server alone.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from jobs.core.errors import UsageError
from jobs.corpus.web_client import REDIRECTS, retry_after_s
from jobs.tuning.chat import FAILED, MALFORMED, OVERSIZED, REFUSED, ChatPrompt, ChatReply, ChatSettings

if TYPE_CHECKING:
    from jobs.tuning.exchange import Answer, Exchange

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
LONGEST_WAIT_S = 60.0
RETRIED_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FAILED = ChatReply(None, FAILED)
_MALFORMED = ChatReply(None, MALFORMED)
_OVERSIZED = ChatReply(None, OVERSIZED)
_BROKEN_OFF = ("abort", "error")  # vLLM's words, and routers', for an answer that did not end by itself
_MOST_TOKENS = 1 << 40  # a server that counts more counts nonsense


def formats(schema: dict[str, Any]) -> tuple[dict[str, Any] | None, ...]:
    """What a server may be asked for, the strictest first; one that knows none is only asked in words."""
    strict = {"name": "reply", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": strict}, {"type": "json_object"}, None


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
        from jobs.tuning.exchange import Exchange

        n_at_once = self._settings.concurrency
        with Exchange(n_at_once, MAX_BODY_BYTES) as exchange, ThreadPoolExecutor(n_at_once) as threads:
            return list(threads.map(lambda prompt: self._ask(exchange, prompt), prompts))

    def _ask(self, exchange: Exchange, prompt: ChatPrompt) -> ChatReply:
        """The reply, asked for again while the server fails."""
        for attempt in range(self._settings.tries):
            answer = self._post_accepted(exchange, prompt)
            reply = self._reply(answer) if answer is not None else None
            if reply is not None:
                return reply
            if attempt + 1 < self._settings.tries:
                self._sleep(_wait_s(attempt, answer, prompt.seed))
        return _FAILED

    def _post_accepted(self, exchange: Exchange, prompt: ChatPrompt) -> Answer | None:
        """The server's answer in the strictest form that it takes; None if none came in time.

        A form is given up for good only where a weaker one is taken: a question that is too long is refused in each.
        """
        answer, known = None, formats(prompt.schema)
        first = self._format
        for form in range(first, len(known)):
            answer = self._post(exchange, prompt, known[form])
            if answer is None or answer.status != 400:
                if answer is not None and answer.status == 200 and form > first:
                    log.info("%s refuses response_format %s", self.name, known[form - 1])
                    self._format = max(self._format, form)
                break
        return answer

    def _post(self, exchange: Exchange, prompt: ChatPrompt, form: dict[str, Any] | None) -> Answer | None:
        from jobs.tuning.exchange import ExchangeError

        content = {
            "model": self._settings.model,
            "messages": list(prompt.messages),
            "max_tokens": self._settings.max_new_tokens,
            "temperature": 0,
            "seed": prompt.seed,
        } | ({"response_format": form} if form else {})
        try:
            return exchange.ask(
                "POST", self._address, self._settings.timeout_s, json.dumps(content).encode(), self._headers()
            )
        except ExchangeError as error:
            log.info("%s: %s", self.name, error)
            return None

    def _headers(self) -> dict[str, str]:
        key = next((os.environ[name] for name in self._key_names if os.environ.get(name)), "")
        return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})

    def _reply(self, answer: Answer) -> ChatReply | None:
        """What the answer is worth, or None if the next may be better. Raises UsageError for what no try changes."""
        if answer.status in (401, 403, 404):
            raise UsageError(
                f"{self._address} answers {answer.status} for model {self._settings.model!r}. Check "
                f"--{self._settings.role}-url, --{self._settings.role}-model and the key in "
                f"{' or '.join(self._key_names)}."
            )
        if answer.status in REDIRECTS:
            log.warning(
                "%s points to %s, which is not followed: the key is not for others. Give the address that answers "
                "as --%s-url.",
                self._address,
                answer.location,
                self._settings.role,
            )
            return _FAILED
        if answer.status in RETRIED_STATUS:
            return None
        if answer.body is None:
            return _OVERSIZED
        return read_completion(answer.body) if answer.status == 200 else _MALFORMED


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


def read_completion(body: bytes) -> ChatReply | None:
    """The reply in the body of a chat completion; None for what is none: a proxy's page, half an answer."""
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        text = _text_of(message["content"]) if "content" in message else None
        is_refused = bool(message.get("refusal"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if finish in _BROKEN_OFF:
        return None
    n_prompt, n_made = (_n_tokens(content, name) for name in ("prompt_tokens", "completion_tokens"))
    reason = None
    if finish == "content_filter" or is_refused:
        reason = REFUSED
    elif text is None:  # a call of a tool has no content
        reason = MALFORMED
    return ChatReply(text, reason, finish == "length", n_prompt, n_made)


def _text_of(content: Any) -> str | None:
    """The text of a message; newer servers send it in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") in ("text", "output_text"))
    return content if isinstance(content, str) else None


def _n_tokens(content: dict[str, Any], name: str) -> int:
    """What the server counted; 0 where it does not say, or says what no count is."""
    usage = content.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < _MOST_TOKENS else 0


def _wait_s(attempt: int, answer: Answer | None, seed: int) -> float:
    """What the server asks for, else 1, 2, 4 … seconds, each moved by up to a half so that shards do not meet."""
    asked_s = retry_after_s(answer.retry_after) if answer is not None else None
    if asked_s is not None:
        return min(asked_s, LONGEST_WAIT_S)
    jitter = random.Random(f"{seed} {attempt} {os.getpid()}").uniform(0.5, 1.5)  # noqa: S311  no secret
    return float(min(2**attempt * jitter, LONGEST_WAIT_S))
