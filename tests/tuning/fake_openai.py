"""A server on loopback that speaks OpenAI's chat protocol, badly on demand: each request gets the next answer."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]

PAIR = {
    "question": "What does a tipping bucket measure?",
    "answer": "A tipping bucket measures rain in steps of 0.2 mm.",
    "evidence": "The bucket tips after every 0.2 mm of rain.",
}


@dataclass
class FakeServer:
    """`answers` are used up one by one, the last one for ever; `asked` are the bodies that came."""

    answers: list[Answer]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            asked = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
            self.asked.append(asked)
            handler.asked = asked  # type: ignore[attr-defined]  # an answer may look at what it answers
            self.keys.append(handler.headers.get("authorization"))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with contextlib.suppress(ConnectionError):
            answer(handler)
        with self._lock:
            self._now -= 1


@contextlib.contextmanager
def serving(*answers: Answer) -> Iterator[FakeServer]:
    """A server on a free port for the block."""
    fake = FakeServer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.handle(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer with this body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"content-length": str(len(body))} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(text: Any, finish: str = "stop", delay_s: float = 0.0) -> Answer:
    """A chat completion with this content."""
    plain = send(json.dumps({"choices": [{"message": {"content": text}, "finish_reason": finish}]}).encode())

    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(delay_s)
        plain(handler)

    return answer


def replies(to: Callable[[str], Any]) -> Answer:
    """A chat completion with what `to` says to the last message: an object, or another answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        said = to(handler.asked["messages"][-1]["content"])  # type: ignore[attr-defined]
        (said if callable(said) else says(json.dumps(said)))(handler)

    return answer


def drips(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, without end."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    """Half an answer, then nothing."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True
