"""PDFs from a web server, politely and suspiciously.

Politely: one connection, a pause between requests, `Retry-After`, growing waits, a full stop when the server forbids.
Suspiciously: bounded bytes and seconds, few redirects and only to known hosts, no private addresses, no cookies, no
credentials, no decompression. httpcore is used instead of httpx because it does none of these by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore

from jobs.core.errors import UsageError
from jobs.core.reasons import PDF_REASONS
from jobs.corpus import arxiv, web_client
from jobs.corpus.fetched import HEAD_BYTES, Fetched, Refused, head_problem, size_problem
from jobs.corpus.network_guard import Clock, Deadline, GuardedBackend, InternalAddressError
from jobs.corpus.pdf_addresses import ARXIV_TEMPLATE, PdfAddresses

__all__ = ["ARXIV_TEMPLATE", "HttpSource", "Limits"]

log = logging.getLogger(__name__)

# What a status means for the paper; other statuses from 400 on are `server_error`.
_REASONS = {404: "not_found", 410: "not_found", 401: "forbidden", 403: "forbidden", 451: "blocked"} | {
    408: "timeout",
    429: "rate_limited",
    503: "rate_limited",
}
# Asking on after these is treated as an attack (info.arxiv.org/help/robots). 451 is about one paper.
_STOPS = frozenset({401, 403})


@dataclass(frozen=True)
class Limits:
    """What a PDF may cost, and how often the server is asked."""

    max_pdf_mb: int = 100  # arXiv's own limit for a submission is 50 MB
    request_interval_s: float = 3.0  # from request to request; arXiv's terms: one in three seconds
    tries: int = 4  # a version
    timeout_s: float = 30.0  # to connect, and for each read
    deadline_s: float = 120.0  # a paper, with all tries and waits; 4.3 MB, the mean, take 5 s at arXiv
    first_wait_s: float = 5.0  # upper end of the first random wait; doubled with every try
    longest_wait_s: float = 120.0  # upper end of every random wait; a Retry-After may ask for more
    redirects: int = 3

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UsageError(f"tries is {self.tries}: expected 1 or more.")


class _RefusalError(Exception):
    """Unwinds a request. `retry_after_s` is what the server asked for; `is_final` forbids every further request."""

    def __init__(self, refused: Refused, retry_after_s: float | None = None, is_final: bool = False) -> None:
        super().__init__(refused.detail)
        self.refused = refused
        self.retry_after_s = retry_after_s
        self.is_final = is_final


class HttpSource:
    """The PDFs of a server, found by a template of their addresses. A context manager: it holds a connection.

    `contact` (an address or URL of whoever runs this) goes into the User-Agent. `hosts` are those that the server may
    redirect to beside itself: `name` or `name:port`. Clock, sleep and seed are for tests. Raises UsageError for a base
    URL that is none or holds a password, and for a template without {version}.
    """

    def __init__(
        self,
        base_url: str,
        limits: Limits,
        contact: str = "",
        *,
        template: str = ARXIV_TEMPLATE,
        hosts: Collection[str] = (),
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self._addresses = PdfAddresses(base_url, template, hosts)
        self._limits = limits
        self._agent = web_client.agent(contact)
        self._clock, self._sleep, self._random = clock, sleep, random.Random(seed)  # noqa: S311 - jitter
        self._deadline = Deadline(clock)
        self._next_at = clock()
        self._stop: Refused | None = None
        backend = GuardedBackend(self._deadline, may_be_internal=self._addresses.is_internal())
        self._pool = httpcore.ConnectionPool(ssl.create_default_context(), max_connections=1, network_backend=backend)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def fetch(self, paper_id: str, version: int, temporary: Path) -> Fetched | Refused:
        """The PDF of the version, else of the newest before it, as a file in the folder `temporary`.

        Raises ValueError if `paper_id` is no arXiv id: addresses are made of ids only.
        """
        stem = arxiv.file_stem(paper_id)
        self._deadline.set_in(self._limits.deadline_s)
        for number in range(version, 0, -1):
            url = self._addresses.url_of(paper_id, number)
            outcome = self._persist(url, temporary / f"{stem}v{number}.part")
            if isinstance(outcome, Refused):
                if outcome.reason == "not_found":
                    continue
                return outcome
            path, sha256, size_bytes = outcome
            return Fetched(paper_id, number, path, sha256, size_bytes, url, is_temporary=True)
        return Refused("not_found", f"none of the versions from {version} to 1 is at {self._addresses.base_url}")

    def _persist(self, url: str, path: Path) -> tuple[Path, str, int] | Refused:
        """Ask for a file until it came, or the tries or the time are used up."""
        refused = self._stop
        for number in range(0 if refused else self._limits.tries):
            try:
                return self._get(url, path)
            except _RefusalError as error:
                refused = error.refused
                if error.is_final:
                    self._stop_for_good(refused)
                    break
                wait_s = self._wait_s(number, error.retry_after_s)
                is_last = number + 1 == self._limits.tries or wait_s >= self._deadline.left_s
                if is_last or not PDF_REASONS[refused.reason].is_retried:
                    break
                log.info("%s: %s; asking again in %.1f s", url, refused.detail, wait_s)
                self._sleep(wait_s)
        assert refused is not None  # Limits has at least 1 of at least 1
        return refused

    def _stop_for_good(self, refused: Refused) -> None:
        self._stop = Refused("not_asked", f"the server refused before ({refused.detail})")
        log.warning("%s: %s. No further request is made in this run.", self._addresses.base_url, refused.detail)

    def _wait_s(self, number: int, retry_after_s: float | None) -> float:
        """What the server asked for, else full jitter: anything up to an upper end that doubles with every try."""
        if retry_after_s is not None:
            return retry_after_s
        return self._random.uniform(0, min(self._limits.longest_wait_s, self._limits.first_wait_s * 2**number))

    def _get(self, url: str, path: Path) -> tuple[Path, str, int]:
        """One request with its redirects. Raises _RefusalError; then nothing is left at `path`."""
        for _ in range(self._limits.redirects + 1):
            self._pace()
            with _as_refusal("network"), self._open(url) as response:
                target = _check_status(response)
                if target is None:
                    return self._save(response, path)
            url = self._follow(url, target)
        raise _RefusalError(Refused("bad_redirect", f"more than {self._limits.redirects} redirects, last to {url}"))

    def _open(self, url: str) -> AbstractContextManager[httpcore.Response]:
        headers: dict[bytes | str, bytes | str] = {
            "User-Agent": self._agent,
            "Accept": "application/pdf",
            "Accept-Encoding": "identity",
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._limits.timeout_s)
        return self._pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts})

    def _pace(self) -> None:
        wait_s = self._next_at - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_at = max(self._clock(), self._next_at) + self._limits.request_interval_s

    def _follow(self, url: str, target: str) -> str:
        try:
            return self._addresses.follow(url, target)
        except ValueError as error:
            raise _RefusalError(Refused("bad_redirect", f"{url} redirects to {target!r}: {error}")) from error

    def _save(self, response: httpcore.Response, path: Path) -> tuple[Path, str, int]:
        """Write a body to a file, as long as it is a PDF and within the limits."""
        announced = web_client.header(response, "content-length")
        if announced and announced.isdecimal():
            _raise(size_problem(int(announced), self._limits.max_pdf_mb))
        try:
            with path.open("wb") as file, _as_refusal("truncated"):
                digest, size_bytes = hashlib.sha256(), 0
                for block in _checked(response.iter_stream(), self._limits.max_pdf_mb):
                    digest.update(block)
                    size_bytes += file.write(block)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path, digest.hexdigest(), size_bytes


def _checked(blocks: Iterator[bytes], max_pdf_mb: int) -> Iterator[bytes]:
    """The blocks of a body, the first of at least HEAD_BYTES. Raises _RefusalError if it is no PDF or too large."""
    head, size_bytes, is_pdf = b"", 0, False
    for block in blocks:
        size_bytes += len(block)
        _raise(size_problem(size_bytes, max_pdf_mb))
        if is_pdf:
            yield block
            continue
        head += block
        if len(head) >= HEAD_BYTES:
            _raise(head_problem(head))
            is_pdf = True
            yield head
    if not is_pdf:
        _raise(head_problem(head))
        yield head


def _raise(problem: Refused | None) -> None:
    if problem:
        raise _RefusalError(problem)


@contextlib.contextmanager
def _as_refusal(when_cut_short: str) -> Iterator[None]:
    """Turn what the network raises into a refusal; a connection that ends early counts as `when_cut_short`."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise _RefusalError(Refused("timeout", f"{type(error).__name__}: {error}")) from error
    except httpcore.RemoteProtocolError as error:
        raise _RefusalError(Refused(when_cut_short, f"{type(error).__name__}: {error}")) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise _RefusalError(Refused("network", f"{type(error).__name__}: {error}")) from error
    except InternalAddressError as error:
        raise _RefusalError(Refused("bad_redirect", str(error))) from error


def _check_status(response: httpcore.Response) -> str | None:
    """None if a body follows, or where a redirect leads. Raises _RefusalError for every other answer."""
    status = response.status
    if status == 200:
        return None
    target = web_client.header(response, "location")
    if status in web_client.REDIRECTS and target:
        return target
    refused = Refused(_REASONS.get(status, "server_error"), f"the server answered {status}")
    raise _RefusalError(refused, web_client.retry_after_s(web_client.header(response, "retry-after")), status in _STOPS)
