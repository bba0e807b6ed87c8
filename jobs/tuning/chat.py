"""A chat model that is asked one prompt at a time for JSON of a given form: what a teacher and a judge rest on.

`transformers` is a model in this process, `openai` a server that speaks OpenAI's protocol. Neither knows what it is
asked for; `teacher.py` and `judge.py` say what a reply is worth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jobs.core.errors import UsageError
from jobs.tuning.prompts import Message

MAX_REPLY_CHARS = 20_000  # ten times the largest pair that a schema of ours admits
MAX_REPAIRED_CHARS = 5_000  # twice that pair; json_repair takes 10 to 19 s for 20,000 hostile ones (2026-11-30)
FAILED, MALFORMED, OVERSIZED, REFUSED, TRUNCATED = "failed", "malformed", "oversized", "refused", "truncated"
_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class ChatPrompt:
    """What is asked, and the JSON schema of the reply. `seed` depends on what is asked alone."""

    messages: Sequence[Message]
    schema: dict[str, Any]
    seed: int = 0


@dataclass(frozen=True)
class ChatReply:
    """Raw JSON text, or why there is none: FAILED (the next try may do), MALFORMED, OVERSIZED or REFUSED.

    `is_cut`: it ended at the token limit. The counts of tokens are what a server says, 0 where it says nothing.
    """

    text: str | None
    reason: str | None = None
    is_cut: bool = False
    n_prompt_tokens: int = 0
    n_reply_tokens: int = 0


@dataclass(frozen=True)
class ChatSettings:
    """What a chat needs to know; each kind reads its own. `role` is what flags and keys are named after."""

    model: str | None = None
    url: str | None = None
    batch_size: int = 8
    concurrency: int = 8
    max_new_tokens: int = 700  # the longest reply of two passages that its schema admits
    timeout_s: float = 120.0
    tries: int = 5
    quantize: bool = False
    device: str = "auto"
    role: str = "teacher"


class Chat(Protocol):
    """A model that replies. `name` carries its revision."""

    name: str

    def reply(self, prompts: Sequence[ChatPrompt]) -> list[ChatReply]:
        """One reply a prompt, in order. Deterministic for equal prompts as far as the kind can be."""


def load_chat(kind: str, settings: ChatSettings) -> Chat:
    """The chat of that kind; a model in this process is loaded when it is first asked.

    Raises UsageError for an unknown kind or a setting that it lacks.
    """
    if kind not in CHATS:
        raise UsageError(f"{settings.role} {kind!r} is unknown. Expected one of: {', '.join(sorted(CHATS))}.")
    return CHATS[kind](settings)


def read_json(reply: ChatReply) -> tuple[Any, bool] | str:
    """What a reply's JSON says and whether it had to be mended, or the reason why there is none.

    A reply that was cut is never mended: json_repair would close half a reply into a plausible short one.
    """
    if reply.reason is not None:
        return reply.reason
    text = reply.text or ""
    if len(text) > MAX_REPLY_CHARS:
        return OVERSIZED
    if reply.is_cut:
        return TRUNCATED
    return _object_of(text)


def read_object(reply: ChatReply, names: Sequence[str]) -> dict[str, Any] | str:
    """The reply's object, which has all of `names`, or the reason why there is none."""
    read = read_json(reply)
    if isinstance(read, str):
        return read
    content, _ = read
    if not isinstance(content, dict) or any(name not in content for name in names):
        return MALFORMED
    return content


def _object_of(text: str) -> tuple[Any, bool]:
    """What a reply's JSON says, None for nothing; whether it was mended. What a model thought before is left out."""
    said = text.rpartition(_END_OF_THOUGHT)[2] if _END_OF_THOUGHT in text else text
    for candidate in dict.fromkeys((text, said)):
        try:
            return json.loads(candidate), False
        except ValueError:
            continue
        except RecursionError:
            return None, False
    if len(said) > MAX_REPAIRED_CHARS or said.lstrip().startswith(_THOUGHT):
        return None, False  # a thought without an end may hold what looks like a reply
    from json_repair import repair_json

    try:
        return repair_json(said, return_objects=True), True
    except (ValueError, RecursionError):
        return None, False


def _transformers(settings: ChatSettings) -> Chat:
    from jobs.tuning.transformers_chat import TransformersChat

    return TransformersChat(settings)


def _openai(settings: ChatSettings) -> Chat:
    from jobs.tuning.openai_chat import OpenAIChat

    return OpenAIChat(settings)


CHATS: dict[str, Callable[[ChatSettings], Chat]] = {"transformers": _transformers, "openai": _openai}
