"""The polite, suspicious client: what it waits for, what it follows, what it gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus import network_guard
from jobs.corpus.pace import Pace
from jobs.corpus.web_client import AnswerError, Manners, WebClient
from tests.corpus.fake_arxiv import Clock, FakeArxiv, redirect, reset_after, respond, silence

pytestmark = pytest.mark.slow  # a server a test: a tenth of a second each

SECRET = {"Authorization": "Bearer canary-token"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[FakeArxiv]:
    with FakeArxiv() as server:
        yield server


@pytest.fixture
def connect(server: FakeArxiv, clock: Clock) -> Iterator[Callable[..., WebClient]]:
    """Makes a client of the fake server; the pause between requests is 0 unless a test is about it."""
    opened: list[WebClient] = []

    def make(contact: str = "", hosts: tuple[str, ...] = (), interval_s: float = 0.0, **manners: Any) -> WebClient:
        pace = Pace(interval_s, clock=clock, sleep=clock.sleep)
        asked = Manners(**{"timeout_s": 2.0, **manners})
        client = WebClient(
            server.base_url, asked, contact, pace=pace, hosts=hosts, clock=clock, sleep=clock.sleep, seed=1
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def get(client: WebClient, path: str = "/page") -> bytes:
    return client.persist(lambda: client.read(f"{client.base_url}{path}", 1000))


def test_requests_are_three_seconds_apart(server: FakeArxiv, connect: Callable[..., WebClient], clock: Clock) -> None:
    server.answer("/page", respond(200, b"x"))
    client = connect(interval_s=3.0)
    get(client)
    get(client)
    assert clock.sleeps == [pytest.approx(3.0, abs=0.5)]


def test_contact_is_told(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    server.answer("/page", respond(200, b"x"))
    get(connect("mailto:ada@example.org"))
    assert server.requests[0].headers["user-agent"].endswith("(+mailto:ada@example.org)")


@pytest.mark.parametrize("status", [429, 503])
def test_seconds_of_retry_after_are_waited_for(
    server: FakeArxiv, connect: Callable[..., WebClient], clock: Clock, status: int
) -> None:
    server.answer("/page", respond(status, Retry_After="17"), respond(200, b"x"))
    assert get(connect()) == b"x"
    assert clock.sleeps == [pytest.approx(17, abs=0.5)]


def test_date_of_retry_after_is_waited_for(server: FakeArxiv, connect: Callable[..., WebClient], clock: Clock) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server.answer("/page", respond(503, Retry_After=at), respond(200, b"x"))
    assert get(connect()) == b"x"
    assert clock.sleeps == [pytest.approx(40, abs=2)]


def test_long_retry_after_is_left_to_the_next_attempt(
    server: FakeArxiv, connect: Callable[..., WebClient], clock: Clock
) -> None:
    server.answer("/page", respond(503, Retry_After="7200"))
    with pytest.raises(TryAgainError, match="answered 503 and asks for a wait of 7200 s"):
        get(connect())
    assert clock.sleeps == []


def test_waits_grow_until_the_tries_are_used_up(
    server: FakeArxiv, connect: Callable[..., WebClient], clock: Clock
) -> None:
    server.answer("/page", respond(500))
    with pytest.raises(TryAgainError, match="at try 4"):
        get(connect(tries=4))
    assert len(clock.sleeps) == 3
    assert all(wait_s <= limit for wait_s, limit in zip(clock.sleeps, (5, 10, 20), strict=True))


@pytest.mark.parametrize(
    "fault", [reset_after(b"HTTP/1.1 200 OK\r\nContent-Le"), respond(200, b"cut", length=9)], ids=["reset", "cut"]
)
def test_broken_connection_is_tried_again(server: FakeArxiv, connect: Callable[..., WebClient], fault: Any) -> None:
    server.answer("/page", fault, respond(200, b"whole"))
    assert get(connect()) == b"whole"


def test_silent_server_is_left(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    server.answer("/page", silence(0.3))
    with pytest.raises(TryAgainError, match="ReadTimeout"):
        get(connect(timeout_s=0.05, tries=1))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451])
def test_refusal_is_not_asked_twice(server: FakeArxiv, connect: Callable[..., WebClient], status: int) -> None:
    server.answer("/page", respond(status))
    with pytest.raises(AnswerError, match=f"/page answered {status}"):
        get(connect())
    assert len(server.requests) == 1


def test_redirect_on_the_same_server_is_followed(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    server.answer("/page", redirect("/moved"))
    server.answer("/moved", respond(200, b"x"))
    assert get(connect()) == b"x"


@pytest.mark.parametrize(
    "target",
    ["http://10.0.0.1/", "http://169.254.169.254/latest", "file:///etc/passwd", "//evil.example/x", "http://a@b/"],
)
def test_redirect_to_a_host_that_was_not_named_is_refused(
    server: FakeArxiv, connect: Callable[..., WebClient], target: str
) -> None:
    server.answer("/page", redirect(target))
    with pytest.raises(AnswerError, match="/page redirects astray"):
        get(connect())
    assert len(server.requests) == 1


def test_named_host_with_an_address_inside_our_network_is_refused(
    server: FakeArxiv, connect: Callable[..., WebClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is public, the host that it sends us to resolves to a private address."""
    server.answer("/page", redirect("http://inside.example/"))
    resolved = network_guard.resolve
    monkeypatch.setattr(network_guard, "is_internal", lambda address: address != "127.0.0.1")
    monkeypatch.setattr(
        network_guard, "resolve", lambda host, port: ["10.0.0.1"] if "inside" in host else resolved(host, port)
    )
    with pytest.raises(AnswerError, match=r"inside\.example is at 10\.0\.0\.1, which is no public address"):
        get(connect(hosts=("inside.example",)))


def test_circle_of_redirects_ends(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    server.answer("/page", redirect("/page"))
    with pytest.raises(AnswerError, match="more than 3 redirects"):
        get(connect())


def test_secret_is_shown_to_the_named_server_alone(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    with FakeArxiv() as other:
        other.answer("/file", respond(200, b"x"))
        server.answer("/page", redirect(f"{other.base_url}/file"))
        client = connect(hosts=(f"127.0.0.1:{other.port}",))
        assert client.read(f"{client.base_url}/page", 10, secrets=SECRET) == b"x"
    assert server.requests[0].headers["authorization"] == "Bearer canary-token"
    assert "authorization" not in other.requests[0].headers


def test_body_over_the_limit_is_refused(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    server.answer("/page", respond(200, b"x" * 1001))
    with pytest.raises(AnswerError, match="more than 1000 bytes"):
        get(connect())


def test_query_of_an_address_is_not_in_the_error(server: FakeArxiv, connect: Callable[..., WebClient]) -> None:
    with pytest.raises(AnswerError) as caught:
        get(connect(), "/file?signature=canary")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("base", ["ftp://x", "https://user:pw@x", "x", "https://x/?a=b"])
def test_base_that_is_no_address_is_refused(base: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        WebClient(base, Manners(), pace=Pace(0.0))
