"""Objects of a store (S3, Google, Azure): read, written and swapped whole, with the store's own conditions.

The only file that speaks to a store. Credentials and addresses of servers come from the environment, as the store's
own clients name them; nothing of them is logged.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jobs.core.errors import TryAgainError, UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
# A path object has swallowed one of the slashes: s3:/bucket is meant as it was typed.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)")
_BLOCK_BYTES = 8 << 20
PAGE = 1000  # objects of a list at a time, as many as a store sends
SWAPS = 5
RETRIES, RETRY_S = 8, 120.0  # of a request that meets a 5xx or a dead line


@dataclass(frozen=True)
class Seen:
    """Content of an object, and the version to name when it is swapped; a file has none."""

    content: bytes
    version: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Listed:
    """An object of a list."""

    name: str
    size_bytes: int
    changed_at: dt.datetime


def is_store(address: str | os.PathLike[str]) -> bool:
    """Whether a lake's address names a store rather than a folder."""
    return _ADDRESS.fullmatch(os.fspath(address)) is not None


def store_address(address: str | os.PathLike[str]) -> str:
    """One spelling of a store's address. Raises UsageError for a scheme, a bucket or a name that cannot be one."""
    found = _ADDRESS.fullmatch(os.fspath(address))
    scheme, path = found.groups() if found else ("", "")
    parts = path.rstrip("/").split("/")
    if scheme not in SCHEMES or len(parts) < 2 or not all(parts):
        raise UsageError(
            f"Lake {os.fspath(address)} is on no object store that is known. Expected a local folder, or s3://, gs:// "
            "or az:// with a bucket and a folder in it, such as s3://my-bucket/lakes/mine."
        )
    if any(sign in path for sign in "@?#%:"):
        raise UsageError(
            f"Lake {scheme}://…: the address holds one of @ ? # % :. Expected a bucket and a folder alone; credentials "
            "come from the environment (docs/operations.md)."
        )
    return f"{scheme}://{'/'.join(parts)}"


class Store:
    """The objects below an address. Names are relative to it; no request is made before the first is needed."""

    def __init__(self, address: str) -> None:
        self.address = store_address(address)

    def read(self, name: str) -> Seen | None:
        """An object, or None."""
        with self._explaining("read", name):
            try:
                found = self._client.get(name)
                content = bytes(found.bytes())
            except FileNotFoundError:
                return None
            told = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
            return Seen(content, tuple((key, value) for key, value in told.items() if value))

    def write(self, name: str, content: bytes | Path) -> None:
        """Put an object, whatever was there; a file goes up in parts and is seen whole or not at all."""
        with self._explaining("write", name):
            self._client.put(name, content)

    def swap(self, name: str, content: bytes, seen: Seen | None) -> bool:
        """Put an object if it still is what was seen (None: not there); False if another writer was faster.

        A put whose answer was lost is repeated and then refused by its own success: who finds its own content has won.
        S3 may refuse two puts of one moment, both (409): who finds that nothing changed puts again.
        """
        for _ in range(SWAPS):
            if self._put_if(name, content, seen):
                return True
            there = self.read(name)
            if there != seen:
                return there is not None and there.content == content
        raise TryAgainError(
            f"{self.address}: {name} could not be swapped in {SWAPS} tries, though nobody changed it. Run this again; "
            "if it stays, the store does not know conditional puts (If-Match, If-None-Match), which a lake needs."
        )

    def _put_if(self, name: str, content: bytes, seen: Seen | None) -> bool:
        from obstore import exceptions

        mode: Any = dict(seen.version) if seen else "create"
        with self._explaining("write", name):
            try:
                self._client.put(name, content, mode=mode)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
        return True

    def find(self, name: str) -> Listed | None:
        """What a list would tell of an object, or None."""
        with self._explaining("look at", name):
            try:
                found = self._client.head(name)
            except FileNotFoundError:
                return None
        return Listed(name, found["size"], found["last_modified"])

    def download(self, name: str, file: BinaryIO) -> str | None:
        """Write an object into a file; the sha256 of what came, or None if there is no such object."""
        digest = hashlib.sha256()
        with self._explaining("read", name):
            try:
                for block in self._client.get(name).stream(min_chunk_size=_BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
            except FileNotFoundError:
                return None
        return digest.hexdigest()

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Objects below a folder in order of name, those behind `after` only."""
        with self._explaining("list", prefix):
            for page in self._client.list(prefix, offset=after or None, chunk_size=PAGE):
                for one in page:
                    yield Listed(one["path"], one["size"], one["last_modified"])

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects; what is not there is no error."""
        names = list(names)
        with self._explaining("remove", names[0] if names else ""), contextlib.suppress(FileNotFoundError):
            if names:
                self._client.delete(names)

    @property
    def _client(self) -> ObjectStore:
        # Another server in the environment is another client: a process may meet two, as tests do.
        return _open(self.address, os.environ.get("AWS_ENDPOINT_URL"))

    @contextlib.contextmanager
    def _explaining(self, verb: str, name: str) -> Iterator[None]:
        """Turn what a store answers into our errors: refusals are the owner's to mend, the rest may pass."""
        from obstore import exceptions

        try:
            yield
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise UsageError(
                f"{self.address} refuses to {verb} {name or 'objects'} ({_first_line(error)}). Expected credentials "
                "in the environment that may get, put, list and delete there (docs/operations.md)."
            ) from error
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.address}: could not {verb} {name or 'objects'}: there is no such bucket. Make it, or correct "
                "the lake's address."
            ) from error
        except exceptions.BaseError as error:
            raise TryAgainError(
                f"{self.address}: could not {verb} {name or 'objects'} ({_first_line(error)}). What was published "
                "stands. Run this again; if it stays, look at the store, its address and the credentials."
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]


@functools.lru_cache(maxsize=8)
def _open(address: str, server: str | None) -> ObjectStore:
    from obstore.store import from_url

    # A whole request may take as long as a snapshot does; a line that gives nothing for a minute is dead.
    client: ClientConfig = {"timeout": "12h", "read_timeout": "60s", "connect_timeout": "10s"}
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true":  # options that are given hide the environment's
        client["allow_http"] = True
    elif address.startswith("s3://") and (server or "").startswith("http://"):
        raise UsageError(
            f"AWS_ENDPOINT_URL is {server}: papers would cross the line unencrypted. Expected https://, or "
            "AWS_ALLOW_HTTP=true beside it where that is meant."
        )
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": dt.timedelta(seconds=RETRY_S),
        "backoff": {"init_backoff": dt.timedelta(milliseconds=100), "max_backoff": dt.timedelta(seconds=10), "base": 2},
    }
    return from_url(address, client_options=client, retry_config=retry)
