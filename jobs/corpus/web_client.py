"""Requests to strangers' servers, politely and suspiciously.

Politely: one connection, a pause between requests, `Retry-After`, growing waits, who asks in the User-Agent.
Suspiciously: bounded bytes and seconds, few redirects and only to known hosts, no private addresses, no cookies, no
decompression; a secret is shown to the named server alone, never to where it redirects. httpcore is used instead of
httpx because it does none of these by itself.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import random
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TypeVar

import httpcore

from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus.network_guard import Clock, Deadline, GuardedBackend, InternalAddressError
from jobs.corpus.web_addresses import WebAddresses, without_query

log = logging.getLogger(__name__)

AGENT = "spark-arxiv/0.1.0"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


@dataclass(frozen=True)
class Manners:
    """How often, how long and how patiently a server is asked."""

    request_interval_s: float = 3.0  # from request to request; arXiv's terms: one in three seconds
    tries: int = 5
    timeout_s: float = 60.0  # to connect, and for each read
    deadline_s: float = 600.0  # one request with its body
    first_wait_s: float = 5.0  # upper end of the first random wait; doubled with every try
    longest_wait_s: float = 120.0  # upper end of every random wait
    longest_retry_after_s: float = 900.0  # a server that asks for more is asked by the next attempt of the job
    redirects: int = 3


class AnswerError(Exception):
    """A request did not bring what was asked for. `status` is None if no whole answer came."""

    def __init__(
        self, detail: str, status: int | None = None, retry_after_s: float | None = None, *, may_pass: bool
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s
        self.may_pass = may_pass


class WebClient:
    """One connection to a server. A context manager.

    `contact` (an address or URL of whoever runs this) goes into the User-Agent. `hosts` are those that the server may
    redirect to beside itself. Clock, sleep and seed are for tests. Raises UsageError for a base URL that is none.
    """

    def __init__(
        self,
        base_url: str,
        manners: Manners,
        contact: str = "",
        *,
        hosts: Collection[str] = (),
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self._addresses = WebAddresses(base_url, hosts)
        self.base_url = self._addresses.base_url
        self._manners = manners
        self._agent = agent(contact)
        self._clock, self._sleep, self._random = clock, sleep, random.Random(seed)  # noqa: S311 - jitter
        self._deadline = Deadline(clock)
        self._next_at = clock()
        backend = GuardedBackend(self._deadline, may_be_internal=self._addresses.is_internal())
        self._pool = httpcore.ConnectionPool(ssl.create_default_context(), max_connections=1, network_backend=backend)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def persist(self, ask: Callable[[], T]) -> T:
        """Ask until it works or cannot; a Retry-After is waited for, else a random time that grows.

        Raises AnswerError for what does not pass by itself, TryAgainError when the tries are used up.
        """
        number = 0
        while True:
            number += 1
            try:
                return ask()
            except AnswerError as error:
                if not error.may_pass:
                    raise
                wait_s = self._wait_s(number, error.retry_after_s)
                if number >= self._manners.tries or wait_s > self._manners.longest_retry_after_s:
                    raise TryAgainError(
                        f"{self.base_url}: {error}, at try {number}. It asks for a wait of {wait_s:.0f} s. Run this "
                        "again later; what was fetched is kept."
                    ) from error
                log.info("%s: %s; asking again in %.1f s", self.base_url, error, wait_s)
                self._sleep(wait_s)

    def read(
        self,
        url: str,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of one answer with status 200. Raises AnswerError, also for more than `max_bytes`."""
        body = bytearray()
        with self.open(url, headers, secrets=secrets) as response, as_answer_error():
            for block in response.iter_stream():
                body += block
                if len(body) > max_bytes:
                    raise AnswerError(f"the answer has more than {max_bytes} bytes", 200, may_pass=False)
        return bytes(body)

    @contextlib.contextmanager
    def open(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        secrets: Mapping[str, str] | None = None,
        accepted: Collection[int] = (200,),
    ) -> Iterator[httpcore.Response]:
        """One request with its redirects; `secrets` are headers for the named server alone.

        Raises AnswerError for every status that is not `accepted` and for what the network does.
        """
        for _ in range(self._manners.redirects + 1):
            self._pace()
            own = {**(headers or {}), **((secrets or {}) if self._addresses.is_own(url) else {})}
            with contextlib.ExitStack() as stack:
                with as_answer_error():
                    response = stack.enter_context(self._send(url, own))
                if response.status in accepted:
                    yield response
                    return
                target = _redirect_of(url, response)
            url = self._follow(url, target)
        raise AnswerError(f"more than {self._manners.redirects} redirects", may_pass=False)

    def _send(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpcore.Response]:
        sent: dict[bytes | str, bytes | str] = {"User-Agent": self._agent, "Accept-Encoding": "identity"}
        sent.update(headers.items())
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._manners.timeout_s)
        self._deadline.set_in(self._manners.deadline_s)
        return self._pool.stream("GET", url, headers=sent, extensions={"timeout": timeouts})

    def _follow(self, url: str, target: str) -> str:
        try:
            return self._addresses.follow(url, target)
        except ValueError as error:
            raise AnswerError(f"{without_query(url)} redirects astray: {error}", may_pass=False) from error

    def _pace(self) -> None:
        wait_s = self._next_at - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_at = max(self._clock(), self._next_at) + self._manners.request_interval_s

    def _wait_s(self, number: int, retry_after_s: float | None) -> float:
        """What the server asked for, else full jitter: anything up to an upper end that doubles with every try."""
        if retry_after_s is not None:
            return retry_after_s
        longest_s = min(self._manners.longest_wait_s, self._manners.first_wait_s * 2 ** (number - 1))
        return self._random.uniform(0, longest_s)


@contextlib.contextmanager
def as_answer_error() -> Iterator[None]:
    """Turn what the network raises into an AnswerError; an address inside our network does not pass by itself."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise AnswerError(f"{type(error).__name__}: {error}", may_pass=True) from error
    except InternalAddressError as error:
        raise AnswerError(str(error), may_pass=False) from error


def _redirect_of(url: str, response: httpcore.Response) -> str:
    target = header(response, "location")
    if response.status in REDIRECTS and target:
        return target
    wait_s = retry_after_s(header(response, "retry-after"))
    status = response.status
    raise AnswerError(f"{without_query(url)} answered {status}", status, wait_s, may_pass=status in _MAY_PASS)


def header(response: httpcore.Response, name: str) -> str | None:
    """The first header of that name."""
    return next(headers(response, name), None)


def headers(response: httpcore.Response, name: str) -> Iterator[str]:
    """All headers of that name."""
    wanted = name.encode()
    return (value.decode("latin-1") for key, value in response.headers if key.lower() == wanted)


def retry_after_s(value: str | None) -> float | None:
    """Seconds from `Retry-After`, which is a number or a date; None for neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def agent(contact: str) -> str:
    """The User-Agent. Raises UsageError for a contact that no header can hold."""
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError(f"contact {contact!r}: expected printable ASCII, an e-mail address or a URL.")
    return f"{AGENT} (+{contact})" if contact else AGENT
