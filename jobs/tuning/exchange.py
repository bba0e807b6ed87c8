"""One question and one answer over HTTP, with a server that may do anything: bounded bytes, one deadline for all of it.

httpcore is used instead of httpx because it follows no redirect (the key would go along), leaves unpacking to us (a
megabyte of gzip is a gigabyte of text) and the reading of headers, which a server may drip too, to our deadline.
"""

from __future__ import annotations

import ssl
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpcore

from jobs.corpus.network_guard import Deadline, GuardedBackend
from jobs.corpus.web_client import header

_FAULTS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)


class ExchangeError(Exception):
    """No whole answer came: none in time, a connection that broke, or bytes that are no HTTP."""


@dataclass(frozen=True)
class Answer:
    """What a server answered. `body` None: longer than allowed, as it came or unpacked."""

    status: int
    body: bytes | None
    location: str | None
    retry_after: str | None


class _ThreadDeadline(threading.local, Deadline):
    """Each thread has a deadline of its own: connections are shared, questions are not."""


class _OwnBackend(GuardedBackend):
    """Connects to any address, since the owner named the server, and reads no longer than the thread's deadline."""

    def _address(self, host: str, port: int) -> str:  # noqa: ARG002  the base class checks where it leads
        return host


class Exchange:
    """Up to `n_at_once` connections, kept open between questions; a context manager, used by several threads."""

    def __init__(self, n_at_once: int, max_bytes: int) -> None:
        self._deadline = _ThreadDeadline()
        self._max_bytes = max_bytes
        self._pool = httpcore.ConnectionPool(
            ssl.create_default_context(),
            max_connections=n_at_once,
            network_backend=_OwnBackend(self._deadline, may_be_internal=True),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def ask(
        self,
        method: str,
        url: str,
        deadline_s: float,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to one request, redirects not followed. Raises ExchangeError if none came whole and in time."""
        sent: dict[bytes | str, bytes | str] = {"accept-encoding": "identity"}
        sent.update((headers or {}).items())
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), deadline_s)
        self._deadline.set_in(deadline_s)
        try:
            with self._pool.stream(
                method, url, headers=sent, content=content, extensions={"timeout": timeouts}
            ) as response:
                return self._answer(response)
        except _FAULTS as error:
            raise ExchangeError(f"{type(error).__name__}: {error}") from error

    def _answer(self, response: httpcore.Response) -> Answer:
        body = bytearray()
        for piece in response.iter_stream():
            body += piece
            if len(body) > self._max_bytes:
                break
        coding = (header(response, "content-encoding") or "identity").strip().lower()
        plain = bytes(body) if coding == "identity" else self._unpacked(coding, bytes(body))
        return Answer(
            response.status,
            plain if max(len(body), len(plain)) <= self._max_bytes else None,
            header(response, "location"),
            header(response, "retry-after"),
        )

    def _unpacked(self, coding: str, body: bytes) -> bytes:
        """What a proxy packed although we asked for plain bytes, one byte more at most than is allowed."""
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise ExchangeError(f"the answer is packed as {coding[:20]!r}, although it was asked for as it is")
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            raise ExchangeError(f"the answer says that it is {coding}, and cannot be unpacked: {error}") from error
