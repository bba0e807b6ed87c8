"""A server on loopback that speaks OpenAI's chat protocol, badly on demand: each request gets the next answer.

Started as a script it is a process as a model server is one; `--help` lists its bad habits. It needs no package.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]

PAIR = {
    "question": "What does a tipping bucket measure?",
    "answer": "A tipping bucket measures rain in steps of 0.2 mm.",
    "evidence": "The bucket tips after every 0.2 mm of rain.",
}


@dataclass
class FakeServer:
    """`answers` are used up one by one, the last one for ever; `asked` are the bodies that came.

    `choose` takes their place: it is given the body and answers how it is answered.
    """

    answers: list[Answer]
    choose: Callable[[dict[str, Any]], Answer] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
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
            answer = self._next() if self.choose is None else self.choose(self.asked[-1])
        with contextlib.suppress(ConnectionError):
            answer(handler)
        with self._lock:
            self._now -= 1

    def _next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def handler_of(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.handle(self)

        def do_GET(self) -> None:
            models = json.dumps({"object": "list", "data": [{"id": name} for name in fake.models]})
            send(models.encode(), 200 if fake.models else 503)(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(*answers: Answer, choose: Callable[[dict[str, Any]], Answer] | None = None) -> Iterator[FakeServer]:
    """A server on a free port for the block."""
    fake = FakeServer(list(answers), choose)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(fake))
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


def completion(text: Any, finish: str | None = "stop", **others: Any) -> bytes:
    """The body of a chat completion with this content."""
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": finish}]} | others).encode()


def says(text: Any, finish: str = "stop", delay_s: float = 0.0) -> Answer:
    """A chat completion with this content."""
    plain = send(completion(text, finish))

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


def main(argv: list[str]) -> None:
    """Serve until a signal, or behave as badly as the flags say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", action="append", default=[], help="a name that it serves; none: never ready")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--wait-s", type=float, default=0.0, help="before it listens")
    parser.add_argument("--dies", metavar="MESSAGE", help="at once, with exit code 3")
    parser.add_argument("--lasts", type=int, default=-1, help="questions after which it is gone")
    parser.add_argument("--deaf", action="store_true", help="to SIGTERM, and so is its child")
    parser.add_argument("--child", choices=("near", "apart"), help="start one, in its own session if apart")
    parser.add_argument("--notes", type=Path, help="file for the pids of all and the environment's names")
    options = parser.parse_args(argv)
    print("loading the model", flush=True)  # noqa: T201  a log to be read
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a child takes it over
    pids = [os.getpid()]
    if options.child:
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        pids.append(subprocess.Popen(sleep, start_new_session=options.child == "apart").pid)
    if options.notes:
        unfinished = options.notes.with_suffix(".tmp")
        unfinished.write_text(json.dumps({"pids": pids, "names": sorted(os.environ)}))
        unfinished.replace(options.notes)
    if options.dies:
        print(options.dies, flush=True)  # noqa: T201
        sys.exit(3)
    time.sleep(options.wait_s)
    fake = FakeServer([says(json.dumps(PAIR))], models=options.model)
    if options.lasts >= 0:
        fake.choose = lambda _body: os._exit(9) if len(fake.asked) > options.lasts else fake.answers[0]
    ThreadingHTTPServer((options.host, options.port), handler_of(fake)).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
