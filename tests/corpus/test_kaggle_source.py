"""Kaggle's snapshot: the version, the account, and bytes that go on where they ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import ContractError, InputMissingError, JobError, TryAgainError, UsageError
from jobs.corpus import kaggle_source, kaggle_token
from jobs.corpus.kaggle_source import KaggleServer
from jobs.corpus.pace import Pace
from jobs.corpus.web_client import Manners, WebClient
from tests.corpus.fake_arxiv import Clock, redirect, reset_after, respond
from tests.corpus.fake_kaggle import FakeKaggle, FakeStorage, zipped

pytestmark = pytest.mark.slow  # two servers a test: a tenth of a second each

CONTENT = zipped([b'{"id":"2401.%05d"}' % number for number in range(200)])
OTHER = zipped([b'{"id":"2402.%05d"}' % number for number in range(200)])
CANARY = "KGAT_canary"


@pytest.fixture
def storage() -> Iterator[FakeStorage]:
    with FakeStorage() as storage:
        yield storage


@pytest.fixture
def kaggle(storage: FakeStorage) -> Iterator[FakeKaggle]:
    with FakeKaggle(storage) as kaggle:
        kaggle.publish(7, CONTENT)
        yield kaggle


@pytest.fixture
def server(kaggle: FakeKaggle, storage: FakeStorage) -> Iterator[KaggleServer]:
    clock = Clock()
    with WebClient(
        kaggle.base_url,
        Manners(tries=3),
        pace=Pace(0.0, clock=clock, sleep=clock.sleep),
        hosts=(f"127.0.0.1:{storage.port}",),
        clock=clock,
        sleep=clock.sleep,
        seed=1,
    ) as client:
        yield KaggleServer(client)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account, whatever this machine has."""
    monkeypatch.setattr(kaggle_token, "authorization", lambda: None)


def get(server: KaggleServer, folder: Path) -> bytes:
    return server.download(server.newest_version(), folder).read_bytes()


def begun(server: KaggleServer, storage: FakeStorage, folder: Path, content: bytes = CONTENT) -> None:
    """A download whose connection breaks after 1,000 bytes, and then again and again."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: %s\r\n\r\n"
    etag = storage.headers_of(content)["ETag"].encode()
    storage.faults = [reset_after(head % (len(content), etag) + content[:1000]), respond(500), respond(500)]
    with pytest.raises(TryAgainError):
        get(server, folder)


def test_newest_version_is_asked_for(server: KaggleServer) -> None:
    version = server.newest_version()
    assert (version.number, version.updated_on.isoformat()) == (7, "2024-01-07")


def test_zip_comes_by_the_signed_address(server: KaggleServer, tmp_path: Path) -> None:
    assert get(server, tmp_path) == CONTENT


def test_killed_download_goes_on_where_it_ended(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    begun(server, storage, tmp_path)
    assert get(server, tmp_path) == CONTENT
    assert storage.requests[-1].headers["range"] == "bytes=1000-"


def test_file_that_is_there_is_not_fetched_again(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    get(server, tmp_path)
    assert get(server, tmp_path) == CONTENT
    assert storage.requests[-1].headers["range"] == f"bytes={len(CONTENT)}-"


def test_file_that_changed_on_resume_is_fetched_whole(
    server: KaggleServer, kaggle: FakeKaggle, storage: FakeStorage, tmp_path: Path
) -> None:
    begun(server, storage, tmp_path)
    kaggle.publish(7, OTHER)
    assert get(server, tmp_path) == OTHER


def test_range_of_another_file_is_not_put_behind_ours(
    server: KaggleServer, kaggle: FakeKaggle, storage: FakeStorage, tmp_path: Path
) -> None:
    """A server that knows no If-Range sends the rest of whatever it has."""
    begun(server, storage, tmp_path)
    kaggle.publish(7, OTHER)
    span = f"bytes 1000-{len(OTHER) - 1}/{len(OTHER)}"
    storage.faults = [respond(206, OTHER[1000:], Content_Range=span, ETag='"other"')]
    assert get(server, tmp_path) == OTHER


def test_range_from_another_byte_is_not_taken(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    begun(server, storage, tmp_path)
    n_before, etag = len(storage.requests), storage.headers_of(CONTENT)["ETag"]
    span = f"bytes 2000-{len(CONTENT) - 1}/{len(CONTENT)}"
    storage.faults = [respond(206, CONTENT[2000:], Content_Range=span, ETag=etag)]
    assert get(server, tmp_path) == CONTENT
    assert len(storage.requests) == n_before + 2, "the wrong range, then the whole"


def test_shorter_file_than_ours_is_fetched_whole(
    server: KaggleServer, kaggle: FakeKaggle, storage: FakeStorage, tmp_path: Path
) -> None:
    begun(server, storage, tmp_path)
    short = zipped([b"{}"])
    kaggle.publish(7, short)
    storage.faults = [respond(416)]
    assert get(server, tmp_path) == short


def test_server_without_etag_is_asked_for_the_whole(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    storage.has_etag = False
    storage.faults = [respond(200, CONTENT[:1000], length=len(CONTENT))]
    assert get(server, tmp_path) == CONTENT
    assert "range" not in storage.requests[-1].headers


def test_newer_version_does_not_go_on_with_the_old_ones_bytes(
    server: KaggleServer, kaggle: FakeKaggle, storage: FakeStorage, tmp_path: Path
) -> None:
    begun(server, storage, tmp_path)
    kaggle.publish(8, OTHER)
    assert get(server, tmp_path) == OTHER
    assert [path.name for path in tmp_path.iterdir()] == ["v8"]


def test_body_that_is_cut_short_is_completed(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    headers = storage.headers_of(CONTENT)
    storage.faults = [respond(200, CONTENT[:777], length=len(CONTENT), ETag=headers["ETag"])]
    assert get(server, tmp_path) == CONTENT
    assert storage.requests[-1].headers["range"] == "bytes=777-"


def test_wrong_bytes_are_fetched_again(server: KaggleServer, storage: FakeStorage, tmp_path: Path) -> None:
    storage.faults = [respond(200, b"x" * len(CONTENT), **storage.headers_of(CONTENT))]
    assert get(server, tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (respond(200, b"<html>sign in</html>"), ContractError, "what came is no zip file"),
        (redirect("http://10.0.0.1/v7.zip"), ContractError, "redirects astray"),
        (respond(404), InputMissingError, "Kaggle has no data set"),
        (respond(503, Retry_After="86400"), TryAgainError, "wait of 86400 s"),
        (b"", ContractError, "does not say how large"),
    ],
    ids=["html", "private address", "gone", "long wait", "no length"],
)
def test_answer_of_the_storage_that_is_no_snapshot(
    server: KaggleServer, storage: FakeStorage, tmp_path: Path, fault: Any, error: type[JobError], says: str
) -> None:
    storage.faults = [fault or reset_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]
    with pytest.raises(error, match=says):
        get(server, tmp_path)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"currentVersionNumber": "x"}'])
def test_description_that_is_none_is_told(server: KaggleServer, kaggle: FakeKaggle, answer: bytes) -> None:
    kaggle.faults = [respond(200, answer)]
    with pytest.raises(ContractError, match="did not describe a data set"):
        server.newest_version()


def test_disk_that_is_too_small_is_told_before_a_byte_comes(
    server: KaggleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        kaggle_source.shutil, "disk_usage", lambda _place: type("Usage", (), {"free": 5 * len(CONTENT) - 1})
    )
    with pytest.raises(UsageError, match="Disk: Kaggle's snapshot needs"):
        get(server, tmp_path)
    assert not (tmp_path / "v7" / "archive.zip").exists()


def test_account_is_asked_for_only_where_one_is_wanted(server: KaggleServer, kaggle: FakeKaggle) -> None:
    kaggle.account = f"Bearer {CANARY}"
    with pytest.raises(
        UsageError, match=r"Kaggle wants an account .* Make a token at https://www\.kaggle\.com/settings"
    ):
        server.newest_version()


def test_account_is_given_where_it_is_wanted_and_to_nobody_else(
    server: KaggleServer, kaggle: FakeKaggle, storage: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.account = f"Bearer {CANARY}"
    monkeypatch.setattr(kaggle_token, "authorization", lambda: f"Bearer {CANARY}")
    assert get(server, tmp_path) == CONTENT
    assert "authorization" not in kaggle.requests[0].headers
    assert all("authorization" not in request.headers for request in storage.requests)


def test_account_that_is_not_accepted_is_told(
    server: KaggleServer, kaggle: FakeKaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.account = "Bearer another"
    monkeypatch.setattr(kaggle_token, "authorization", lambda: f"Bearer {CANARY}")
    with pytest.raises(UsageError, match="Kaggle does not accept the account"):
        server.newest_version()


@pytest.mark.parametrize("fault", [401, 404, 418, 500])
def test_neither_account_nor_signature_is_in_a_log_or_an_error(
    server: KaggleServer,
    kaggle: FakeKaggle,
    storage: FakeStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: int,
) -> None:
    kaggle.account = f"Bearer {CANARY}"
    monkeypatch.setattr(kaggle_token, "authorization", lambda: f"Bearer {CANARY}")
    storage.faults = [respond(fault) for _ in range(3)]
    with caplog.at_level(logging.DEBUG, "jobs"), pytest.raises(JobError) as caught:
        get(server, tmp_path)
    told, error = caplog.text, caught.value
    while error is not None:
        told += repr(error) + str(error)
        error = error.__cause__
    assert "canary" not in told.lower()
    assert "asking with the one that is configured" in told
