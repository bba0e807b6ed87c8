"""A network for strangers' servers: no address inside our own network, and an end to every wait.

It stands where the connection is made, so the address that was checked is the address that is used: a name that
resolves anew between check and use (DNS rebinding) gains nothing. And it cuts each read to what is left of the
deadline, because a timeout for each read never ends a server that sends a byte a second.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

Clock = Callable[[], float]


class InternalAddressError(Exception):
    """A host's address lies in a private, local or reserved network."""


class Deadline:
    """A moment of a monotonic clock that whoever waits looks at; set anew for every file."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._at = float("inf")

    def set_in(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        self._at = self._clock() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left, below 0 when it has passed."""
        return self._at - self._clock()


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only, unless `may_be_internal`, and reads no longer than the deadline."""

    def __init__(self, deadline: Deadline, may_be_internal: bool) -> None:
        self._deadline = deadline
        self._may_be_internal = may_be_internal
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of the host. Raises InternalAddressError, or httpcore's ConnectError."""
        address = self._address(host, port)
        timeout = _shorter(timeout, self._deadline, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
        return _DeadlineStream(stream, self._deadline)

    def _address(self, host: str, port: int) -> str:
        try:
            addresses = resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        internal = [address for address in addresses if is_internal(address)]
        if internal and not self._may_be_internal:
            raise InternalAddressError(f"{host} is at {internal[0]}, which is no public address")
        return addresses[0]


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _shorter(timeout, self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _shorter(timeout, self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        timeout = _shorter(timeout, self._deadline, httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _shorter(timeout: float | None, deadline: Deadline, error: type[Exception]) -> float:
    left_s = deadline.left_s
    if left_s <= 0:
        raise error("the deadline of the file has passed")
    return left_s if timeout is None else min(timeout, left_s)


def resolve(host: str, port: int) -> list[str]:
    """The host's addresses in the system's order. Raises OSError if it has none."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_internal(address: str) -> bool:
    """True unless the address is one that anybody on the internet can be at."""
    parsed = ipaddress.ip_address(address)
    return not parsed.is_global or parsed.is_multicast
