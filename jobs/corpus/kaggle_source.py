"""arXiv's snapshot at Kaggle: which version is the newest, and its zip, fetched so that a kill costs nothing.

Kaggle answers with a signed address of a storage server. Both are asked anew for every try; the bytes go on where they
ended if the storage still has the same file (ETag and size). Addresses and answers are those of the official client
(`kagglesdk`), the bytes are not fetched by it: docs/decisions says why.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import httpcore

from jobs.core import durable
from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.core.progress import Progress
from jobs.corpus import kaggle_token, web_client
from jobs.corpus.web_client import AnswerError, WebClient, as_answer_error

log = logging.getLogger(__name__)

OWNER, NAME = "Cornell-University", "arxiv"
HOSTS = ("www.kaggle.com", "kaggle.com", "api.kaggle.com", "storage.googleapis.com")
MAX_ANSWER_BYTES = 8 << 20
UNPACKED_RATIO = 4  # JSON of papers deflates to about a third
_ZIP_MAGIC = b"PK"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_MD5 = re.compile(r"md5=([A-Za-z0-9+/]+=*)")

T = TypeVar("T")


@dataclass(frozen=True)
class Version:
    """A version of the data set, by its number."""

    number: int
    updated_on: dt.date


@dataclass(frozen=True)
class Remote:
    """The file that the storage has, as its headers tell: what must not change between two tries."""

    size_bytes: int
    etag: str | None
    md5: str | None  # hexadecimal

    @classmethod
    def of(cls, response: httpcore.Response, total_bytes: str | None) -> Remote:
        """Raises AnswerError if the server does not say how large the file is."""
        if not (total_bytes or "").isdecimal():
            raise AnswerError("the server does not say how large the file is", response.status, may_pass=False)
        hashes = ",".join(web_client.headers(response, "x-goog-hash"))
        match = _MD5.search(hashes)
        md5 = base64.b64decode(match[1]).hex() if match else None
        return cls(int(str(total_bytes)), web_client.header(response, "etag"), md5)

    def is_same(self, other: Remote) -> bool:
        """Whether bytes of the one may be put behind bytes of the other."""
        return (self.etag, self.size_bytes) == (other.etag, other.size_bytes)


class KaggleServer:
    """The data set at Kaggle, asked without an account first, with one where it is wanted."""

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._secrets: dict[str, str] = {}

    def newest_version(self) -> Version:
        """The newest version. Raises UsageError where an account is wanted, InputMissingError where nothing is."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDataset, ApiGetDatasetRequest

        url = self._url_of(ApiGetDatasetRequest())
        answer = self._ask(lambda: self._read(url))
        try:
            found = ApiDataset.from_dict(json.loads(answer))
            return Version(int(found.current_version_number), found.last_updated.date())
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ContractError(
                f"{url} did not describe a data set ({type(error).__name__}). Expected Kaggle's JSON with a version "
                "number and a date. Is --kaggle-url right?"
            ) from error

    def download(self, version: Version, folder: Path) -> Path:
        """The zip of a version, whole and verified, below `folder`; a partial one of that version is gone on with.

        Raises UsageError, before a byte comes, if the disk cannot take the zip and its text.
        """
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        _remove_other_versions(folder, keep := f"v{version.number}")
        partial = _Partial(folder / keep)
        url = f"{self._url_of(ApiDownloadDatasetRequest())}?datasetVersionNumber={version.number}"
        self._ask(lambda: self._go_on(url, partial))
        return partial.path

    def _url_of(self, request: Any) -> str:
        request.owner_slug, request.dataset_slug = OWNER, NAME
        return f"{self._client.base_url}{request.endpoint()}"

    def _read(self, url: str) -> bytes:
        return self._client.read(url, MAX_ANSWER_BYTES, {"Accept": "application/json"}, self._secrets)

    def _ask(self, ask: Callable[[], T]) -> T:
        """Ask without an account; once more with one if the server wants it."""
        try:
            return self._client.persist(ask)
        except AnswerError as error:
            if error.status not in (401, 403):
                _refuse(error)
            account = None if self._secrets else kaggle_token.authorization()
            if account is None:
                tried = "does not accept the account" if self._secrets else "wants an account"
                raise UsageError(f"Kaggle {tried} ({error}). {kaggle_token.advice()}") from error
        self._secrets = {"Authorization": account}
        log.info("Kaggle wants an account; asking with the one that is configured")
        return self._ask(ask)

    def _go_on(self, url: str, partial: _Partial) -> None:
        """One try to get what is missing. Raises AnswerError; what came before stays."""
        with self._open(url, partial) as response:
            remote = partial.begin(response)
            if partial.n_bytes < remote.size_bytes:
                _check_room(partial.path.parent, remote.size_bytes - partial.n_bytes, remote.size_bytes)
                partial.append(response)
        partial.verify(remote)

    @contextlib.contextmanager
    def _open(self, url: str, partial: _Partial) -> Iterator[httpcore.Response]:
        headers = partial.range_headers()
        with self._client.open(url, headers, secrets=self._secrets, accepted=(200, 206, 416)) as response:
            yield response


class _Partial:
    """A file that is being fetched, and beside it of which remote file its bytes are."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "archive.zip"
        self._note = folder / "REMOTE.json"
        durable.make_dirs(folder)
        self._remote = Remote(**json.loads(self._note.read_bytes())) if self._note.is_file() else None

    @property
    def n_bytes(self) -> int:
        """How much is there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def range_headers(self) -> dict[str, str]:
        """What asks for the rest, and for the whole should the file have changed."""
        if self._remote is None or self._remote.etag is None or not self.n_bytes:
            return {}
        return {"Range": f"bytes={self.n_bytes}-", "If-Range": self._remote.etag}

    def begin(self, response: httpcore.Response) -> Remote:
        """Make ready for an answer's bytes. Raises AnswerError if they do not belong behind what is there."""
        if response.status == 200:
            remote = Remote.of(response, web_client.header(response, "content-length"))
            self._start(remote)
            return remote
        if response.status == 416:  # nothing is left to send: all came, or the file is a shorter one now
            if self._remote and self.n_bytes == self._remote.size_bytes:
                return self._remote
            self._changed()
        match = _RANGE.fullmatch(web_client.header(response, "content-range") or "")
        if match is None or int(match[1]) != self.n_bytes:
            self._changed()
        remote = Remote.of(response, match[2])
        if self._remote is None or not self._remote.is_same(remote):
            self._changed()
        log.info("going on at byte %d of %d", self.n_bytes, remote.size_bytes)
        return remote

    def append(self, response: httpcore.Response) -> None:
        """Write an answer's bytes behind what is there."""
        assert self._remote is not None  # `begin` noted it
        progress = Progress("bytes of Kaggle's snapshot", self._remote.size_bytes)
        with self.path.open("ab") as file, as_answer_error():
            for block in response.iter_stream():
                file.write(block)
                progress.step(len(block))

    def verify(self, remote: Remote) -> None:
        """Raises AnswerError, which may pass, if the file is not what the server announced."""
        if self.n_bytes < remote.size_bytes:
            raise AnswerError(f"{self.n_bytes} of {remote.size_bytes} bytes came", 200, may_pass=True)
        with self.path.open("rb") as file:
            is_zip = file.read(2) == _ZIP_MAGIC
            file.seek(0)
            md5 = hashlib.file_digest(file, "md5").hexdigest() if remote.md5 else None
        if self.n_bytes > remote.size_bytes or md5 != remote.md5:
            self.drop()
            raise AnswerError("the bytes that came are not those that were announced", 200, may_pass=True)
        if not is_zip:
            self.drop()
            raise AnswerError("what came is no zip file", 200, may_pass=False)

    def drop(self) -> None:
        """Forget what is there."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self._remote = None

    def _start(self, remote: Remote) -> None:
        self.drop()
        self._remote = remote
        durable.write_atomic(self._note, durable.pretty_json(dataclasses.asdict(remote)))

    def _changed(self) -> NoReturn:
        self.drop()
        raise AnswerError("the file changed while it was fetched", 200, may_pass=True)


def _remove_other_versions(folder: Path, keep: str) -> None:
    """What a kill left of a version that is no longer the newest would take its room for nothing."""
    for other in folder.iterdir():
        if other.name != keep:
            durable.remove_tree(other)


def _check_room(place: Path, missing_bytes: int, size_bytes: int) -> None:
    needed_gb = (missing_bytes + UNPACKED_RATIO * size_bytes) / 1e9
    free_gb = shutil.disk_usage(place).free / 1e9
    if needed_gb > free_gb:
        raise UsageError(
            f"Disk: Kaggle's snapshot needs {needed_gb:.1f} GB for a while, {free_gb:.1f} GB are free. Expected room "
            "for the zip and its text; free some, or keep the lake on a larger disk."
        )


def _refuse(error: AnswerError) -> NoReturn:
    if error.status in (404, 410):
        raise InputMissingError(
            f"Kaggle has no data set {OWNER}/{NAME} ({error}). Is --kaggle-url right? Expected "
            f"https://www.kaggle.com, which has it at /datasets/{OWNER}/{NAME}."
        ) from error
    raise ContractError(f"Kaggle: {error}. Expected the zip of {OWNER}/{NAME}. Is --kaggle-url right?") from error
