"""PDFs from web servers: asked in their order, each as politely as it wants to be asked.

A server that wants a pause is asked by one connection of all our processes (`pace.py`); a bucket by several. What comes
is bounded, must begin as a PDF does, and has its name only when it is whole. How requests are made: `web_client.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore

from jobs.corpus import arxiv, web_client
from jobs.corpus.fetched import HEAD_BYTES, Fetched, Refused, head_problem, size_problem
from jobs.corpus.pace import Pace
from jobs.corpus.pdf_addresses import PdfAddresses
from jobs.corpus.web_client import FORBIDS, AnswerError, Manners, WebClient

log = logging.getLogger(__name__)

# arXiv's own hosts may send programs from one to another.
ARXIV_HOSTS = ("export.arxiv.org", "arxiv.org")
_ACCEPT = {"Accept": "application/pdf"}
# What a status means for the paper; other statuses from 400 on are `server_error`.
_REASONS = {404: "not_found", 410: "not_found", 401: "forbidden", 403: "forbidden", 451: "blocked"} | {
    408: "timeout",
    429: "rate_limited",
    503: "rate_limited",
}
_FAULT_REASONS = {"timeout": "timeout", "network": "network", "truncated": "truncated", "astray": "bad_redirect"}

MakeClient = Callable[[], WebClient]


class _RefusalError(Exception):
    """Unwinds a request whose body is not what was asked for."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


class HttpSource:
    """The PDFs of one server or bucket, for as many threads as it may have connections. A context manager.

    `max_requests` bounds how many files it is asked for; None is no bound. Raises UsageError as PdfAddresses and
    WebClient do.
    """

    def __init__(
        self,
        addresses: PdfAddresses,
        connect: MakeClient,
        *,
        max_pdf_mb: int,
        connections: int = 1,
        max_requests: int | None = None,
    ) -> None:
        self._addresses = addresses
        self._max_pdf_mb = max_pdf_mb
        self._left = max_requests
        self._stop: Refused | None = None
        self._clients = [connect() for _ in range(connections)]
        self._idle: queue.SimpleQueue[WebClient] = queue.SimpleQueue()
        for client in self._clients:
            self._idle.put(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.__exit__(kind, error, trace)

    def fetch(self, paper_id: str, version: int, temporary: Path) -> Fetched | Refused:
        """The PDF of exactly this version, as a file in the folder `temporary`.

        Raises ValueError if `paper_id` is no arXiv id, and TryAgainError where the server wants no request for long.
        """
        url = self._addresses.url_of(paper_id, version)
        path = temporary / f"{arxiv.file_stem(paper_id)}v{version}.part"
        with self._client() as client:
            refused = self._stop or self._over_budget()
            if refused:
                return refused
            try:
                sha256, size_bytes = client.insist(lambda: self._save(client, url, path))
            except _RefusalError as error:
                return error.refused
            except AnswerError as error:
                return self._refused(error)
        return Fetched(paper_id, version, path, sha256, size_bytes, url, is_temporary=True)

    @contextlib.contextmanager
    def _client(self) -> Iterator[WebClient]:
        client = self._idle.get()
        try:
            yield client
        finally:
            self._idle.put(client)

    def _over_budget(self) -> Refused | None:
        if self._left is None:
            return None
        if self._left == 0:
            return Refused("over_budget", f"the run's requests to {self._addresses.base_url} are used up")
        self._left -= 1  # one connection, so one thread, where requests are counted
        return None

    def _refused(self, error: AnswerError) -> Refused:
        if error.status is None:
            return Refused(_FAULT_REASONS[error.kind], str(error))
        refused = Refused(_REASONS.get(error.status, "server_error"), str(error))
        if error.status in FORBIDS and self._stop is None:
            # Asking on is treated as an attack (info.arxiv.org/help/robots). 451 is about one paper.
            self._stop = Refused("not_asked", f"the server refused before ({refused.detail})")
            log.warning("%s. No further request to %s is made in this run.", error, self._addresses.base_url)
        return refused

    def _save(self, client: WebClient, url: str, path: Path) -> tuple[str, int]:
        """One request; its body becomes a file, as long as it is a PDF and within the limits: sha256, bytes.

        Raises AnswerError or _RefusalError; then nothing is left at `path`.
        """
        with client.open(url, _ACCEPT) as response:
            announced = web_client.header(response, "content-length")
            if announced and announced.isdecimal():
                _raise(size_problem(int(announced), self._max_pdf_mb))
            with contextlib.ExitStack() as undo:
                undo.callback(path.unlink, missing_ok=True)
                written = _write(response, path, self._max_pdf_mb)
                undo.pop_all()
            return written


class PdfServers:
    """Several servers, each asked where those before it have no answer. A context manager; for several threads.

    `max_download_gb` bounds what is fetched in all; 0 is no bound.
    """

    def __init__(self, servers: Iterable[HttpSource], *, connections: int = 1, max_download_gb: float = 0.0) -> None:
        self._servers = list(servers)
        self.connections = connections
        self._max_bytes = max_download_gb * 1e9
        self._n_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.__exit__(kind, error, trace)

    def fetch(self, paper_id: str, version: int, temporary: Path) -> Fetched | Refused:
        """The PDF of the version, else of the newest before it, as a file in the folder `temporary`.

        Every server is asked for a version before any is asked for an older one: Google's bucket lags behind arXiv, and
        an old text under a new version's name would stay. Raises as HttpSource.fetch.
        """
        if self._max_bytes and self._n_bytes >= self._max_bytes:
            return Refused("over_budget", f"{self._n_bytes / 1e9:.1f} GB were fetched in this run")
        for number in range(version, 0, -1):
            outcome = self._ask(paper_id, number, temporary)
            if isinstance(outcome, Fetched):
                self._n_bytes += outcome.size_bytes
                return outcome
            if outcome.reason != "not_found":
                return outcome
        return Refused("not_found", f"no server has a version from {version} to 1")

    def _ask(self, paper_id: str, number: int, temporary: Path) -> Fetched | Refused:
        """The file; else what the last server said that said more than that it is not there."""
        told = Refused("not_found")
        for server in self._servers:
            outcome = server.fetch(paper_id, number, temporary)
            if isinstance(outcome, Fetched):
                return outcome
            told = outcome if outcome.reason != "not_found" else told
        return told


def make_servers(
    addresses: Sequence[PdfAddresses],
    pace_of: Callable[[PdfAddresses], Pace],
    manners: Manners,
    contact: str = "",
    *,
    max_pdf_mb: int,
    bucket_connections: int = 1,
    max_requests: int = 0,
    max_download_gb: float = 0.0,
) -> PdfServers:
    """Servers and buckets, in their order. One that wants a pause has one connection and a bound of requests."""

    def open_one(one: PdfAddresses) -> HttpSource:
        pace = pace_of(one)
        return HttpSource(
            one,
            lambda: WebClient(one.base_url, manners, contact, pace=pace, hosts=_hosts(one)),
            max_pdf_mb=max_pdf_mb,
            connections=bucket_connections if one.is_bucket else 1,
            max_requests=max_requests if max_requests and pace.interval_s else None,
        )

    connections = bucket_connections if any(one.is_bucket for one in addresses) else 1
    return PdfServers([open_one(one) for one in addresses], connections=connections, max_download_gb=max_download_gb)


def _hosts(addresses: PdfAddresses) -> tuple[str, ...]:
    return ARXIV_HOSTS if any(f"//{host}" in addresses.base_url for host in ARXIV_HOSTS) else ()


def _write(response: httpcore.Response, path: Path, max_pdf_mb: int) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("wb") as file, web_client.as_answer_error(in_body=True):
        for block in _checked(response.iter_stream(), max_pdf_mb):
            digest.update(block)
            size_bytes += file.write(block)
    return digest.hexdigest(), size_bytes


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
