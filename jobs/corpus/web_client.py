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
from typing import Literal, Self, TypeVar

import httpcore

from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus.network_guard import Clock, Deadline, GuardedBackend, InternalAddressError
from jobs.corpus.pace import FORBIDDEN_WAIT_S, LONGEST_WAIT_S, Pace
from jobs.corpus.web_addresses import WebAddresses, without_query

log = logging.getLogger(__name__)

AGENT = "spark-arxiv/0.1.0"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
FORBIDS = frozenset({401, 403})

# Faults without an answer: none in time, a broken connection, a body cut short, a redirect that is not followed.
FaultKind = Literal["answer", "timeout", "network", "truncated", "astray"]

T = TypeVar("T")


@dataclass(frozen=True)
class Manners:
    """How long and how patiently a server is asked; how often says its Pace."""

    tries: int = 5
    timeout_s: float = 60.0  # to connect, and for each read
    deadline_s: float = 600.0  # one request with its body
    first_wait_s: float = 5.0  # upper end of the first random wait; doubled with every try
    longest_wait_s: float = 120.0  # upper end of every random wait
    redirects: int = 3

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UsageError(f"tries is {self.tries}: expected 1 or more.")


class AnswerError(Exception):
    """A request did not bring what was asked for. `status` is None if no whole answer came; then `kind` says why."""

    def __init__(
        self,
        detail: str,
        status: int | None = None,
        retry_after_s: float | None = None,
        *,
        may_pass: bool,
        kind: FaultKind = "answer",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s
        self.may_pass = may_pass
        self.kind = kind


class WebClient:
    """One connection to a server, kept open between requests only where no pause is asked for. A context manager.

    `contact` (an address or URL of whoever runs this) goes into the User-Agent. `hosts` are those that the server may
    redirect to beside itself. Clock, sleep and seed are for tests. Raises UsageError for a base URL that is none.
    """

    def __init__(
        self,
        base_url: str,
        manners: Manners,
        contact: str = "",
        *,
        pace: Pace,
        hosts: Collection[str] = (),
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self._pace = pace
        self._addresses = WebAddresses(base_url, hosts)
        self.base_url = self._addresses.base_url
        self._manners = manners
        self._agent = agent(contact)
        self._sleep, self._random = sleep, random.Random(seed)  # noqa: S311 - jitter
        self._deadline = Deadline(clock)
        backend = GuardedBackend(self._deadline, may_be_internal=self._addresses.is_internal())
        # A connection that idles through the pause would be a second one, should another process have its turn.
        self._pool = httpcore.ConnectionPool(
            ssl.create_default_context(),
            max_connections=1,
            max_keepalive_connections=0 if pace.interval_s else 1,
            network_backend=backend,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def persist(self, ask: Callable[[], T]) -> T:
        """As `insist`, for what the job cannot do without. Raises TryAgainError when the tries are used up."""
        try:
            return self.insist(ask)
        except AnswerError as error:
            if not error.may_pass:
                raise
            raise TryAgainError(
                f"{self.base_url}: {error}, at try {self._manners.tries}. Run this again later; what was fetched is "
                "kept."
            ) from error

    def insist(self, ask: Callable[[], T]) -> T:
        """Ask until it works or cannot; a Retry-After is waited for, else a random time that grows.

        Raises AnswerError when the tries are used up or it does not pass by itself, TryAgainError where the server asks
        for a longer wait than an attempt of the job can last.
        """
        for number in range(1, self._manners.tries):
            try:
                return ask()
            except AnswerError as error:
                if not error.may_pass:
                    raise
                if error.retry_after_s is None:  # else the pace waits before the next request
                    self._wait_a_while(number, error)
        return ask()

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
        with self._pace.turn():
            for _ in range(self._manners.redirects + 1):
                self._pace.wait()
                own = {**(headers or {}), **((secrets or {}) if self._addresses.is_own(url) else {})}
                with contextlib.ExitStack() as stack:
                    with as_answer_error():
                        response = stack.enter_context(self._send(url, own))
                    if response.status in accepted:
                        yield response
                        return
                    target = self._redirect_of(url, response)
                url = self._follow(url, target)
        raise AnswerError(f"more than {self._manners.redirects} redirects", may_pass=False, kind="astray")

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
            raise AnswerError(
                f"{without_query(url)} redirects astray: {error}", may_pass=False, kind="astray"
            ) from error

    def _redirect_of(self, url: str, response: httpcore.Response) -> str:
        """Where an answer leads. Raises AnswerError if nowhere; what it says of later requests counts for all of ours.

        Raises TryAgainError if the server asks for a longer wait than an attempt of the job can last.
        """
        status, target = response.status, header(response, "location")
        if status in REDIRECTS and target:
            return target
        detail = f"{without_query(url)} answered {status}"
        wait_s = retry_after_s(header(response, "retry-after"))
        if wait_s is not None:
            self._pace.put_off(wait_s)
        elif status in FORBIDS and self._pace.file:
            self._pace.put_off(FORBIDDEN_WAIT_S)
        if wait_s is not None and wait_s > LONGEST_WAIT_S:
            raise TryAgainError(
                f"{detail} and asks for a wait of {wait_s:.0f} s. Run this again then; what was fetched is kept."
            )
        raise AnswerError(detail, status, wait_s, may_pass=status in _MAY_PASS)

    def _wait_a_while(self, number: int, error: AnswerError) -> None:
        """Full jitter: anything up to an upper end that doubles with every try."""
        longest_s = min(self._manners.longest_wait_s, self._manners.first_wait_s * 2 ** (number - 1))
        wait_s = self._random.uniform(0, longest_s)
        log.info("%s: %s; asking again in %.1f s", self.base_url, error, wait_s)
        self._sleep(wait_s)


@contextlib.contextmanager
def as_answer_error(*, in_body: bool = False) -> Iterator[None]:
    """Turn what the network raises into an AnswerError; an address inside our network does not pass by itself."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise AnswerError(_named(error), may_pass=True, kind="timeout") from error
    except httpcore.RemoteProtocolError as error:
        raise AnswerError(_named(error), may_pass=True, kind="truncated" if in_body else "network") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise AnswerError(_named(error), may_pass=True, kind="network") from error
    except InternalAddressError as error:
        raise AnswerError(str(error), may_pass=False, kind="astray") from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


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
