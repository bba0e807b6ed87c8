"""What a server behind the teacher may answer, by name, and what must become of it: a pair, or its reason.

Texts are in the form of one passage. A kind whose reply is right, in whatever wrapping, is a pair.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.tuning.fake_openai import PAIR, Answer, completion, drips, hangs_up, says, send

GOOD = json.dumps(PAIR)
PAIR_COMES, FAILED, MALFORMED = "pair", "teacher_failed", "malformed"
OTHER_HOST = "http://192.0.2.1/v1/chat/completions"  # of a network that nobody has (RFC 5737)
HANG_S = 30.0  # longer than any deadline here


@dataclass(frozen=True)
class Kind:
    """How a server answers, and what becomes of the question: "pair", or a reason of drafts."""

    answer: Answer
    ends_as: str
    is_repaired: bool = False
    hangs: bool = False  # until the deadline, so it costs seconds


def message(finish: str | None = "stop", **fields: Any) -> Answer:
    """A completion whose message has exactly these fields."""
    choice = {"index": 0, "message": {"role": "assistant"} | fields, "finish_reason": finish}
    return send(json.dumps({"choices": [choice]}).encode())


def raw(*pieces: bytes, pause_s: float = 0.0, resets: bool = False) -> Answer:
    """Bytes as they are, then the end of the connection; `resets`: an end that the other side sees as an error."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause_s)
        if resets:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()

    return answer


def endless(head: bytes, piece: bytes) -> Answer:
    """A head, then a piece again and again until the other side has had enough."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        ends_at = time.monotonic() + HANG_S
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_at:
                handler.wfile.write(piece)

    return answer


def silent(handler: BaseHTTPRequestHandler) -> None:
    """Not a word until the other side leaves."""
    handler.connection.settimeout(HANG_S)
    with contextlib.suppress(OSError):
        handler.connection.recv(1)
    handler.close_connection = True


def _pair(**others: Any) -> str:
    return json.dumps(PAIR | others)


def _thought(text: str, end: str = "</think>") -> Answer:
    return says(f"<think>A pair like {_pair(question='Is this a draft?')} may do.{end}\n{text}")


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PAGE = b"<!doctype html><html><body>We are down for maintenance.</body></html>"
BODY = completion(GOOD)


def _server_form(choice: dict[str, Any], usage: dict[str, Any], **others: Any) -> bytes:
    message = {"role": "assistant", "content": GOOD} | choice.pop("message", {})
    choices = [{"index": 0, "message": message, "finish_reason": "stop"} | choice]
    known = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1767225600, "model": "toy"}
    return json.dumps(known | {"choices": choices, "usage": usage} | others).encode()


# The fields that three servers send; which of them a reader may count on, the tests say.
VLLM = _server_form(
    {
        "message": {"refusal": None, "annotations": None, "audio": None, "tool_calls": [], "reasoning": None},
        "logprobs": None,
        "stop_reason": None,
        "token_ids": None,
    },
    {"prompt_tokens": 412, "total_tokens": 509, "completion_tokens": 97, "prompt_tokens_details": None},
    service_tier=None,
    system_fingerprint=None,
    prompt_logprobs=None,
    kv_transfer_params=None,
)
LLAMA_CPP = _server_form(
    {},
    {"completion_tokens": 90, "prompt_tokens": 398, "total_tokens": 488, "prompt_tokens_details": {"cached_tokens": 0}},
    system_fingerprint="b6700-abcdef",
    timings={"prompt_n": 398, "prompt_ms": 8123.4, "predicted_n": 90, "predicted_per_second": 11.2},
)
OLLAMA = _server_form(
    {},
    {"prompt_tokens": 405, "completion_tokens": 88, "total_tokens": 493},
    system_fingerprint="fp_ollama",
)
# 20 million characters in 20,000 bytes.
BOMB = gzip.compress(b'{"choices": [{"message": {"content": "' + b"a" * (20 << 20))
DEEP = 100_000

KINDS: dict[str, Kind] = {
    # right, whatever is around it
    "good": Kind(says(GOOD), PAIR_COMES),
    "good in parts": Kind(
        message(content=[{"type": "text", "text": GOOD[:30]}, {"type": "text", "text": GOOD[30:]}]), PAIR_COMES
    ),
    "good after a thought": Kind(_thought(GOOD), PAIR_COMES),
    "good after half a thought": Kind(says(f"So be it.</think>{GOOD}"), PAIR_COMES),
    "good with a field for thoughts": Kind(message(content=GOOD, reasoning_content="Hm.", tool_calls=None), PAIR_COMES),
    "good as text/plain": Kind(send(BODY, headers={"content-type": "text/plain"}), PAIR_COMES),
    "good in gzip": Kind(send(gzip.compress(BODY), headers={"content-encoding": "gzip"}), PAIR_COMES),
    "good in a fence": Kind(says(f"```json\n{GOOD}\n```"), PAIR_COMES, is_repaired=True),
    "good after a word": Kind(says(f"Here is the pair: {GOOD}"), PAIR_COMES, is_repaired=True),
    "good but for a comma": Kind(says(GOOD[:-1] + ",}"), PAIR_COMES, is_repaired=True),
    "good with NaN beside it": Kind(says(GOOD[:-1] + ', "score": NaN, "rank": Infinity}'), PAIR_COMES),
    "keys twice, the last counts": Kind(says('{"question": "What is it?", ' + GOOD[1:]), PAIR_COMES),
    "TeX with single backslashes": Kind(
        says(GOOD.replace("0.2 mm.", r"$\alpha \frac{1}{2} \nabla x$ mm.")), PAIR_COMES, is_repaired=True
    ),
    "no finish reason": Kind(message(finish=None, content=GOOD), PAIR_COMES),
    # no pair
    "empty text": Kind(says(""), MALFORMED),
    "no content": Kind(message(content=None), MALFORMED),
    "a tool is called": Kind(message("tool_calls", content=None, tool_calls=[{"function": {"name": "f"}}]), MALFORMED),
    "an apology": Kind(says("I am sorry, but I cannot help with that."), MALFORMED),
    "a refusal by field": Kind(message(content=None, refusal="I cannot."), "refused"),
    "cut by a filter": Kind(message("content_filter", content=GOOD[:60]), "refused"),
    "cut at the limit": Kind(says(GOOD[: len(GOOD) // 2], finish="length"), "truncated"),
    "broken JSON": Kind(says('{"question": "What", "answer" "It'), MALFORMED),
    "a field lacks": Kind(says(json.dumps({"question": "What is it?"})), MALFORMED),
    "a list of pairs": Kind(says(json.dumps([PAIR, PAIR])), MALFORMED),
    "a number for a text": Kind(says(_pair(answer=42)), MALFORMED),
    "NaN for a text": Kind(says(_pair(answer=float("nan"))), MALFORMED),
    "an empty field": Kind(says(_pair(evidence="  ")), MALFORMED),
    "half a pair of surrogates": Kind(says(_pair(answer="It is \ud83d broken.")), MALFORMED),
    "NUL in a text": Kind(says(_pair(answer="It ends\0here.")), MALFORMED),
    "deep brackets": Kind(says("[" * 15_000), MALFORMED),
    "deep objects without end": Kind(says('{"a":' * 900), MALFORMED),
    "what takes long to repair": Kind(says('["a" ' * 3_900), MALFORMED),
    "a thought without end": Kind(_thought("", end=""), MALFORMED),
    "parts without text": Kind(message(content=[{"type": "image_url", "image_url": {"url": OTHER_HOST}}]), MALFORMED),
    "too long a text": Kind(says("x" * 30_000), "oversized"),
    "a bomb of gzip": Kind(send(BOMB, headers={"content-encoding": "gzip"}), "oversized"),
    "10 MB": Kind(send(b" " * (10 << 20)), "oversized"),
    "without end": Kind(endless(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"), "oversized"),
    "not taken (422)": Kind(send(b"{}", status=422), MALFORMED),
    "too long a prompt (400)": Kind(send(b'{"error": "maximum context length is 2048"}', status=400), MALFORMED),
    # no answer
    "a page of HTML": Kind(send(PAGE, headers={"content-type": "text/html"}), FAILED),
    "no byte": Kind(send(b""), FAILED),
    "no choices": Kind(send(b'{"choices": []}'), FAILED),
    "an error with 200": Kind(send(b'{"error": {"message": "out of memory"}}'), FAILED),
    "choices that are none": Kind(send(b'{"choices": {"0": 7}}'), FAILED),
    "parts that are none": Kind(message(content=[7]), FAILED),
    "deep choices": Kind(send(b'{"choices": ' + b"[" * DEEP), FAILED),
    "no UTF-8": Kind(send(b'{"choices": [{"message": {"content": "\xff\xfe\xff"}}]}'), FAILED),
    "broken off": Kind(says(GOOD[:50], finish="abort"), FAILED),
    "no gzip": Kind(send(BODY, headers={"content-encoding": "gzip"}), FAILED),
    "a packing that we do not know": Kind(send(BODY, headers={"content-encoding": "br"}), FAILED),
    "busy (429)": Kind(send(b"busy", status=429), FAILED),
    "broken (500)": Kind(send(b"oops", status=500), FAILED),
    "overloaded (503)": Kind(send(b"", status=503, headers={"retry-after": "\u00b2"}), FAILED),
    "elsewhere (307)": Kind(send(b"", status=307, headers={"location": OTHER_HOST}), FAILED),
    "elsewhere (301)": Kind(send(b"", status=301, headers={"location": OTHER_HOST}), FAILED),
    "no HTTP": Kind(raw(b"SSH-2.0-OpenSSH_9.6\r\n"), FAILED),
    "half a body": Kind(hangs_up, FAILED),
    "half of the chunks": Kind(raw(CHUNKED + b"40\r\n" + BODY[:32]), FAILED),
    "a reset in the body": Kind(raw(OK + b"Content-Length: 1000\r\n\r\n{", resets=True), FAILED),
    "headers without end": Kind(endless(OK, b"X-Filler: " + b"x" * 4000 + b"\r\n"), FAILED),
    "a body that drips": Kind(drips, FAILED, hangs=True),
    "headers that drip": Kind(raw(OK, *[b"X"] * 600, pause_s=0.05), FAILED, hangs=True),
    "silence": Kind(silent, FAILED, hangs=True),
}


class Scattered:
    """Gives each question one kind of the table, the same at every try. `kinds` says which, by the question's seed."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self.kinds: dict[int, str] = {}

    def __call__(self, body: dict[str, Any]) -> Answer:
        name = self.kinds.setdefault(body["seed"], self._names[len(self.kinds) % len(self._names)])
        return KINDS[name].answer
