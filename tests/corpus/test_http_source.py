import gzip
import hashlib
import random
import time
import tomllib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus import network_guard
from jobs.corpus.downloader import Fetched, Refused
from jobs.corpus.http_source import HttpSource, PdfServers
from jobs.corpus.pace import Pace
from jobs.corpus.pdf_addresses import ARXIV_TEMPLATE, PdfAddresses
from jobs.corpus.web_addresses import WebAddresses
from jobs.corpus.web_client import Manners, WebClient
from tests.corpus.fake_arxiv import (
    HEAD,
    PDF,
    Clock,
    FakeArxiv,
    drip,
    endless,
    pdf,
    redirect,
    reset_after,
    respond,
    silence,
)

pytestmark = pytest.mark.slow  # children and files: a second here and there

PAPER = "2205.14135"
PATH = f"/pdf/{PAPER}v1"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with FakeArxiv() as server:
        yield server


@pytest.fixture
def connect(server, clock):
    """Makes a source of the fake server; the pause between requests is 0 unless a test is about it."""
    opened = []

    def make(
        base_url=None, contact="", *, hosts=(), template=ARXIV_TEMPLATE, max_pdf_mb=100, interval_s=0.0, **manners
    ):
        addresses = PdfAddresses(base_url or server.base_url, template)
        pace = Pace(interval_s, clock=clock, sleep=clock.sleep)
        settings = Manners(**{"tries": 4, "timeout_s": 2.0, "deadline_s": 600.0, **manners})

        def client():
            return WebClient(
                addresses.base_url, settings, contact, pace=pace, hosts=hosts, clock=clock, sleep=clock.sleep, seed=1
            )

        source = PdfServers([HttpSource(addresses, client, max_pdf_mb=max_pdf_mb)])
        opened.append(source)
        return source

    yield make
    for source in opened:
        source.__exit__(None, None, None)


@pytest.fixture
def fetch(server, connect, tmp_path):
    """Fetches the paper with the given answers of its first version, and checks that no partial file stays."""

    def run(*answers, version=1, **settings):
        server.answer(PATH, *answers)
        outcome = connect(**settings).fetch(PAPER, version, tmp_path)
        assert list(tmp_path.iterdir()) == ([outcome.path] if isinstance(outcome, Fetched) else [])
        return outcome

    return run


def test_pdf_is_fetched_with_hash_and_size(fetch, server):
    outcome = fetch(pdf())
    assert outcome == Fetched(
        PAPER, 1, outcome.path, hashlib.sha256(PDF).hexdigest(), len(PDF), server.base_url + PATH, is_temporary=True
    )
    assert outcome.path.read_bytes() == PDF


def test_request_names_us_and_carries_nothing_else(fetch, server):
    fetch(respond(503, Set_Cookie="a=b"), pdf(), contact="mailto:owner@example.org")
    version = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert server.requests[1].headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"spark-arxiv/{version} (+mailto:owner@example.org)",
        "accept": "application/pdf",
        "accept-encoding": "identity",
    }


def test_environment_changes_nothing(fetch, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert isinstance(fetch(pdf()), Fetched)


def test_version_falls_back_downwards(fetch, server):
    assert fetch(pdf(), version=3).pdf_version == 1
    assert server.paths == [f"/pdf/{PAPER}v3", f"/pdf/{PAPER}v2", PATH]


def test_paper_without_any_version_is_not_found(fetch, server):
    assert fetch(respond(404), version=2).reason == "not_found"
    assert len(server.requests) == 2


def test_old_id_keeps_its_slash_in_the_address_and_not_in_the_file(server, connect, tmp_path):
    server.answer("/pdf/hep-th/9108004v1", pdf())
    assert connect().fetch("hep-th/9108004", 1, tmp_path).path.parent == tmp_path


def test_template_moves_the_address(server, connect, tmp_path):
    server.answer("/mirror/2205.14135v1.pdf", pdf())
    source = connect(server.base_url + "/mirror/", template="{base}/{paper_id}v{version}.pdf")
    assert isinstance(source.fetch(PAPER, 1, tmp_path), Fetched)


def test_what_is_no_id_makes_no_address(server, connect, tmp_path):
    with pytest.raises(ValueError, match="arXiv id"):
        connect().fetch("../../etc/passwd", 1, tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_forbidden_stops_the_run(server, connect, tmp_path, status):
    server.answer(PATH, respond(status))
    source = connect()
    outcomes = [source.fetch(paper_id, 1, tmp_path) for paper_id in (PAPER, "2205.14136", "2205.14137")]
    assert [outcome.reason for outcome in outcomes] == ["forbidden", "not_asked", "not_asked"]
    assert len(server.requests) == 1


def test_paper_that_is_blocked_by_law_stops_no_other(server, connect, tmp_path):
    server.answer(PATH, respond(451))
    server.answer("/pdf/2205.14136v1", pdf())
    source = connect()
    assert source.fetch(PAPER, 1, tmp_path).reason == "blocked"
    assert isinstance(source.fetch("2205.14136", 1, tmp_path), Fetched)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(429, "rate_limited"), (503, "rate_limited"), (500, "server_error"), (502, "server_error"), (408, "timeout")],
)
def test_passing_trouble_is_tried_again_until_the_tries_are_used_up(fetch, server, status, reason):
    assert fetch(respond(status), tries=3).reason == reason
    assert len(server.requests) == 3


def test_passing_trouble_that_passes_is_no_trouble(fetch, server):
    assert isinstance(fetch(respond(503), reset_after(HEAD + PDF[:100]), respond(500), pdf()), Fetched)
    assert len(server.requests) == 4


def test_wait_is_what_the_server_asks_for_in_seconds(fetch, clock):
    assert isinstance(fetch(respond(429, Retry_After="170"), pdf()), Fetched)
    assert clock.sleeps == [pytest.approx(170, abs=0.5)]


def test_wait_is_what_the_server_asks_for_as_a_date(fetch, clock):
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert isinstance(fetch(respond(503, Retry_After=at), pdf()), Fetched)
    assert clock.sleeps == [pytest.approx(60, abs=5)]


def test_wait_that_makes_no_sense_is_ignored(fetch, clock):
    assert isinstance(fetch(respond(503, Retry_After="soon"), pdf(), first_wait_s=4.0), Fetched)
    assert 0 <= clock.sleeps[0] <= 4


def test_wait_that_no_attempt_can_last_ends_the_attempt(fetch, clock, server):
    with pytest.raises(TryAgainError, match="asks for a wait of 3600 s"):
        fetch(respond(429, Retry_After="3600"), pdf())
    assert (clock.sleeps, len(server.requests)) == ([], 1)


def test_waits_are_random_below_a_bound_that_doubles_up_to_the_longest(fetch, clock):
    fetch(respond(500), tries=6, first_wait_s=8.0, longest_wait_s=20.0)
    assert len(set(clock.sleeps)) == 5
    assert all(wait_s <= bound for wait_s, bound in zip(clock.sleeps, (8, 16, 20, 20, 20), strict=True))
    assert max(clock.sleeps) > 8


def test_requests_keep_their_distance_also_in_redirects(server, connect, clock, tmp_path):
    server.answer(PATH, redirect("/elsewhere"))
    server.answer("/elsewhere", pdf())
    source = connect(interval_s=3.0)
    source.fetch(PAPER, 2, tmp_path)
    assert len(server.requests) == 3
    assert clock.sleeps == [pytest.approx(3.0, abs=0.5)] * 2


def test_byte_a_moment_ends_at_the_deadline(fetch):
    began = time.monotonic()
    assert fetch(drip(HEAD + PDF), deadline_s=0.4, tries=1).reason == "timeout"
    assert time.monotonic() - began < 2


def test_headers_a_byte_a_moment_end_at_the_deadline(fetch):
    began = time.monotonic()
    assert fetch(drip(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: y\r\n" * 50), deadline_s=0.4, tries=1).reason == "timeout"
    assert time.monotonic() - began < 2


def test_silence_is_a_timeout(fetch, server):
    assert fetch(silence(0.5), timeout_s=0.1, tries=2).reason == "timeout"
    assert len(server.requests) == 2


def test_silence_ends_at_the_deadline(fetch):
    began = time.monotonic()
    assert fetch(silence(3), timeout_s=30.0, deadline_s=0.3, tries=1).reason == "timeout"
    assert time.monotonic() - began < 2


def test_reset_is_a_network_error(fetch):
    assert fetch(reset_after(HEAD + PDF[:1500]), tries=2).reason == "network"


def test_connection_that_ends_before_the_answer_is_a_network_error(fetch):
    assert fetch(drip(b""), tries=2).reason == "network"


def test_answer_that_is_not_http_is_a_network_error(fetch):
    assert fetch(drip(b"220 ftp ready\r\n\r\n", 0), tries=1).reason == "network"


def test_fewer_bytes_than_announced_are_truncated(fetch):
    assert fetch(respond(200, PDF, length=len(PDF) + 1), tries=2).reason == "truncated"


def test_refused_connection_is_a_network_error(connect, tmp_path):
    with FakeArxiv() as gone:
        address = gone.base_url
    assert connect(address, tries=2).fetch(PAPER, 1, tmp_path).reason == "network"


def test_host_without_address_is_a_network_error(connect, tmp_path, monkeypatch):
    monkeypatch.setattr(network_guard, "resolve", no_address)
    assert connect("http://nowhere.invalid", tries=2).fetch(PAPER, 1, tmp_path).reason == "network"


def no_address(host, port):
    raise OSError("Name or service not known")


@pytest.mark.parametrize(
    "body",
    [b"", b"<!DOCTYPE html><html>Rate exceeded.</html>", gzip.compress(PDF), b"\n" * 1024 + PDF],
    ids=["empty", "html", "gzip", "header_too_late"],
)
def test_what_is_no_pdf_is_refused_at_once(fetch, server, body):
    assert fetch(respond(200, body)).reason == "not_pdf"
    assert len(server.requests) == 1


def test_header_may_come_late_and_in_pieces(fetch):
    body = b"\n" * 1015 + b"%PDF-1.4\n" + b"x" * 100
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert fetch(drip(head + body, 0)).size_bytes == len(body)


def test_short_pdf_is_taken(fetch):
    assert fetch(pdf(b"%PDF-1.4")).size_bytes == 8


def test_endless_body_ends_at_the_limit(fetch):
    assert fetch(endless(), max_pdf_mb=1).reason == "too_large"


def test_endless_web_page_is_known_by_its_beginning(fetch):
    assert fetch(endless(b"<html>"), max_pdf_mb=1000).reason == "not_pdf"


def test_announced_size_is_refused_without_reading(fetch):
    outcome = fetch(respond(200, b"%PDF-", length=3 << 20), max_pdf_mb=2)
    assert outcome == Refused("too_large", "3145728 bytes, more than max_pdf_mb=2 allows")


def test_redirect_on_the_same_host_is_followed(fetch, server):
    server.answer("/files/1.pdf", pdf())
    assert isinstance(fetch(redirect("../files/1.pdf")), Fetched)


def test_redirect_loop_ends(fetch, server):
    assert fetch(redirect(PATH)).reason == "bad_redirect"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://example.org/x.pdf",
        "http://127.0.0.1:1/x.pdf",
        "http://localhost:{port}/x.pdf",
        "http://user:secret@127.0.0.1:{port}/x.pdf",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "/straße.pdf",
        "/two words.pdf",
    ],
)
def test_redirect_to_what_is_not_allowed_is_refused(fetch, server, target):
    assert fetch(redirect(target.format(port=server.port))).reason == "bad_redirect"
    assert len(server.requests) == 1


def test_redirect_to_a_host_of_the_settings_is_followed(fetch):
    with FakeArxiv() as other:
        other.answer("/x.pdf", pdf())
        outcome = fetch(redirect(f"{other.base_url}/x.pdf"), hosts=[f"127.0.0.1:{other.port}"])
    assert isinstance(outcome, Fetched)


def test_encryption_may_be_gained_by_a_redirect_but_not_lost():
    addresses = WebAddresses("http://arxiv.org")
    assert addresses.follow("http://arxiv.org/pdf/1", "https://arxiv.org/pdf/1") == "https://arxiv.org/pdf/1"
    with pytest.raises(ValueError, match="encrypted"):
        addresses.follow("https://arxiv.org/pdf/1", "http://arxiv.org/pdf/1")


def test_public_name_that_turns_inwards_is_not_connected_to(server, connect, tmp_path, monkeypatch):
    """DNS rebinding: the name was public when it was looked at first."""
    addresses = iter(["203.0.114.7"])
    monkeypatch.setattr(network_guard, "resolve", lambda host, port: [next(addresses, "127.0.0.1")])
    outcome = connect(f"http://mirror.example:{server.port}").fetch(PAPER, 1, tmp_path)
    assert (outcome.reason, server.requests) == ("bad_redirect", [])


@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://arxiv.org", "arxiv.org", "http://", "http://me:secret@arxiv.org", "http://arxiv.org/?x=1",
        "http://arxiv.org:port", "http://arxiv.org/a b", "",
    ],
)  # fmt: skip
def test_base_that_is_no_address_is_refused(base_url):
    with pytest.raises(UsageError, match="no address of a server"):
        PdfAddresses(base_url)


@pytest.mark.parametrize("template", ["{base}/{paper_id}", "http://x/{version}", "{base}/{paper}v{version}", "{base"])
def test_template_that_cannot_work_is_refused(template):
    with pytest.raises(UsageError, match=r"Try \{base\}/pdf"):
        PdfAddresses("http://127.0.0.1", template)


def test_contact_cannot_add_headers():
    with pytest.raises(UsageError, match="printable"):
        WebClient("http://127.0.0.1", Manners(), "me\r\nCookie: a=b", pace=Pace(0.0))


def test_no_tries_are_refused():
    with pytest.raises(UsageError, match="1 or more"):
        Manners(tries=0)


@pytest.mark.parametrize("seed", range(20))
def test_any_run_of_faults_ends_in_a_file_or_a_reason(fetch, seed):
    """Three faults, then the PDF: what passes is outlived, what does not is a reason, and nothing partial stays."""
    passing = [respond(429), respond(503), respond(500), reset_after(b""), reset_after(HEAD + PDF[:9]), drip(b"")]
    passing += [respond(200, PDF, length=9_999), drip(b"HTTP/1.1 2", 0)]
    lasting = [respond(404), respond(403), respond(200, b"<html>"), redirect("http://10.0.0.1/"), endless()]
    rng = random.Random(seed)
    faults = rng.choices(passing, k=3)
    is_lasting = rng.random() < 0.5
    if is_lasting:
        faults[rng.randrange(3)] = rng.choice(lasting)
    outcome = fetch(*faults, pdf(), max_pdf_mb=1)
    assert isinstance(outcome, Refused if is_lasting else Fetched)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_addresses_that_not_everybody_can_be_at_are_internal(address):
    assert network_guard.is_internal(address)


@pytest.mark.parametrize("address", ["151.101.3.42", "2a04:4e42::810"])
def test_addresses_of_the_internet_are_not_internal(address):
    assert not network_guard.is_internal(address)
