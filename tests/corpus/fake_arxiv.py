"""A web server on loopback that serves PDFs and misbehaves on demand, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

PDF = b"%PDF-1.5\n" + b"0123456789abcdef" * 200 + b"\n%%EOF\n"

Answer = Callable[[socket.socket], bool]  # writes to the connection; True if it can be used again


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    at_s: float  # monotonic


class FakeArxiv:
    """`answer` scripts a path: one answer a request, the last one repeated. Other paths are 404."""

    def __init__(self):
        self.requests: list[Request] = []
        self.most_connections = 0  # at one time
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.is_closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self):
        return [request.path for request in self.requests]

    def answer(self, path, *answers):
        self._answers[path] = list(answers)

    def next_answer(self, path):
        answers = self._answers[path]
        if not answers:
            return respond(404)
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Clock:
    """Goes on by itself and jumps when somebody sleeps."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self._jumped_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._jumped_s

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._jumped_s += seconds


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: FakeArxiv

    def __init__(self, *args):
        super().__init__(*args)
        self.is_closing = threading.Event()
        self.counting = threading.Lock()
        self.n_connections = 0


class _Handler(socketserver.BaseRequestHandler):
    def setup(self):
        self._count(1)

    def finish(self):
        self._count(-1)

    def _count(self, change):
        with self.server.counting:
            self.server.n_connections += change
            self.server.owner.most_connections = max(self.server.owner.most_connections, self.server.n_connections)

    def handle(self):
        with contextlib.suppress(OSError):  # the client hangs up whenever it has seen enough
            while not self.server.is_closing.is_set() and (request := self._read()):
                self.server.owner.requests.append(request)
                if not self.server.owner.next_answer(request.path)(self.request):
                    return

    def _read(self):
        head = b""
        while b"\r\n\r\n" not in head:
            block = self.request.recv(4096)
            if not block:
                return None
            head += block
        first, *rest = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        return Request(first.split()[1], headers, time.monotonic())


def respond(status, body=b"", *, length=None, **headers):
    """An answer with a body; `length` announces another number of bytes than come."""
    lines = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def write(connection):
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return length is None

    return write


def redirect(target):
    return respond(302, Location=target)


def pdf(body=PDF):
    return respond(200, body, Content_Type="application/pdf")


def drip(content, every_s=0.05):
    """An answer of which a byte comes now and then."""

    def write(connection):
        for number in range(len(content)):
            connection.sendall(content[number : number + 1])
            time.sleep(every_s)
        return False

    return write


def silence(seconds):
    """No answer."""

    def write(_connection):
        time.sleep(seconds)
        return False

    return write


def reset_after(content):
    """The beginning of an answer, then a reset of the connection."""

    def write(connection):
        connection.sendall(content)
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return False

    return write


def endless(head=b"%PDF-1.5\n"):
    """A PDF that does not end and whose length is not announced."""

    def write(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
        while True:
            connection.sendall(b"x" * 65_536)

    return write


HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(PDF)}\r\n\r\n".encode()
