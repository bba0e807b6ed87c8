"""Which web addresses may be asked, and where a server may send us on to."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urljoin, urlsplit

from jobs.core.errors import UsageError
from jobs.corpus import network_guard

_VISIBLE = re.compile(r"[!-~]+")  # ASCII without blanks and control characters
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, int]


class WebAddresses:
    """A server that the owner named, and the hosts that it may redirect to.

    `hosts` are those beside itself: `name` or `name:port`. Raises UsageError for a base that is no address or holds a
    password.
    """

    def __init__(self, base_url: str, hosts: Collection[str] = ()) -> None:
        self._base = _check_base(base_url)
        self.base_url = base_url.rstrip("/")
        self._origins = _origins(self._base, hosts)

    def follow(self, url: str, target: str) -> str:
        """Where a redirect from `url` leads.

        Raises ValueError with a sentence unless it is a known host, as well encrypted as before, and asks no password.
        """
        address = urljoin(url, target)
        parts = urlsplit(address)
        if not _VISIBLE.fullmatch(address):
            raise ValueError("an address has visible ASCII characters only")
        if _origin(parts) not in self._origins or "@" in parts.netloc:
            raise ValueError(f"{parts.netloc} is not among the hosts that are allowed")
        if url.startswith("https:") and parts.scheme != "https":
            raise ValueError("an encrypted address may not lead to one that is not")
        return address

    def is_own(self, url: str) -> bool:
        """Whether an address is on the named server itself, over the named scheme: only it is shown a secret."""
        parts = urlsplit(url)
        return parts.scheme == self._base.scheme and _origin(parts) == _origin(self._base)

    def is_internal(self) -> bool:
        """Whether the server that the owner named is inside the owner's network; then its answers may stay there."""
        host, port = _origin(self._base)
        try:
            return any(network_guard.is_internal(address) for address in network_guard.resolve(host, port))
        except OSError:  # no address now; should it have one later, that must be a public one
            return False


def without_query(url: str) -> str:
    """An address as it may be logged: storage servers sign the addresses they hand out, in the query."""
    return url.partition("?")[0]


def _check_base(base_url: str) -> SplitResult:
    advice = (
        f"{base_url!r} is no address of a server. Expected http:// or https:// with a host, and neither a password nor "
        "a query, such as https://export.arxiv.org"
    )
    try:
        parts = urlsplit(base_url)
        _origin(parts)
    except ValueError as error:
        raise UsageError(f"{advice} ({error})") from error
    if parts.query or parts.fragment or "@" in parts.netloc or not _VISIBLE.fullmatch(base_url):
        raise UsageError(advice)
    return parts


def _origin(parts: SplitResult) -> Origin:
    """Host and port. Raises ValueError for what is no address of the web."""
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("expected http:// or https:// and a host")
    return parts.hostname, parts.port or _PORTS[parts.scheme]


def _origins(base: SplitResult, hosts: Collection[str]) -> frozenset[Origin]:
    """Where requests may go: to the base, and to `hosts`; without a port, to both ports of the web."""
    origins = {_origin(base)}
    for parts in (*([base] if base.port is None else []), *(urlsplit(f"//{host}") for host in hosts)):
        ports = [parts.port] if parts.port else _PORTS.values()
        origins |= {(str(parts.hostname), port) for port in ports}
    return frozenset(origins)
