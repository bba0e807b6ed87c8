"""Pages of OAI-PMH: what is a page, what may pass, what is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.core.errors import ContractError, JobError, TryAgainError, UsageError
from jobs.corpus import oai
from jobs.corpus.oai import ExpiredTokenError, OaiServer
from jobs.corpus.pace import Pace
from jobs.corpus.web_client import Manners, WebClient
from tests.corpus.fake_arxiv import Clock, redirect, respond
from tests.corpus.fake_oai import FakeOai, Listed, page_xml, record_xml

pytestmark = pytest.mark.slow  # a server a test: a tenth of a second each

DAY = dt.date(2024, 1, 1)
RECORDS = [Listed(f"2401.{number:05d}", f"2024-01-{day:02d}") for number, day in enumerate((2, 3, 3, 3, 4), start=1)]
GOOD = page_xml(f"<ListRecords>{record_xml(RECORDS[0])}</ListRecords>")
BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><OAI-PMH>&b;</OAI-PMH>'
EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><OAI-PMH>&a;</OAI-PMH>'
NO_PAGES = {
    "html": b"<!doctype html><html><body>Be right back<br></body></html>",
    "xhtml": b"<html><body>Be right back</body></html>",
    "nothing": b"",
    "cut short": GOOD[:-20],
    "wrong bytes": GOOD.replace(b"spectrum", b"spectr\xffm"),
    "wrong encoding": GOOD.replace(b"UTF-8", b"EBCDIC-9"),
    "without date": GOOD.replace(b"responseDate", b"responseTime"),
    "without records": page_xml("<Identify/>"),
    "undeclared entity": GOOD.replace(b"spectrum", b"&spectrum;"),
}


@pytest.fixture
def server() -> Iterator[FakeOai]:
    with FakeOai(RECORDS) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def oai_server(server: FakeOai, clock: Clock) -> Iterator[OaiServer]:
    manners, pace = Manners(timeout_s=2.0), Pace(0.0, clock=clock, sleep=clock.sleep)
    with WebClient(server.url, manners, "ada@example.org", pace=pace, clock=clock, sleep=clock.sleep, seed=1) as client:
        yield OaiServer(client)


def ids(page: oai.Page) -> list[str]:
    return [one.paper_id for one in page.records]


def test_first_page_asks_for_raw_records_since_a_day(server: FakeOai, oai_server: OaiServer) -> None:
    page = oai_server.first_page(dt.date(2024, 1, 4), "cs:cs:LG")
    assert server.asked == [
        {"verb": "ListRecords", "metadataPrefix": "arXivRaw", "from": "2024-01-04", "set": "cs:cs:LG"}
    ]
    assert (ids(page), page.token, page.responded_on) == (["2401.00005"], None, dt.date(2024, 1, 9))


def test_day_before_arxivs_earliest_is_not_named(server: FakeOai, oai_server: OaiServer) -> None:
    oai_server.first_page(dt.date(1991, 8, 1), None)
    assert "from" not in server.asked[0]


def test_next_page_sends_the_token_alone_and_encoded(server: FakeOai, oai_server: OaiServer) -> None:
    token = oai_server.first_page(DAY, None).token
    assert token is not None
    assert "&" in token
    assert ids(oai_server.next_page(token)) == ["2401.00003", "2401.00004"]
    assert server.asked[1] == {"verb": "ListRecords", "resumptionToken": token}


def test_no_records_match_is_no_news(oai_server: OaiServer) -> None:
    page = oai_server.first_page(dt.date(2024, 2, 1), None)
    assert (page.records, page.token) == ([], None)


def test_token_that_the_server_forgot_is_told(server: FakeOai, oai_server: OaiServer) -> None:
    token = oai_server.first_page(DAY, None).token
    server.midnight()
    with pytest.raises(ExpiredTokenError):
        oai_server.next_page(str(token))


@pytest.mark.parametrize("name", NO_PAGES)
def test_what_is_no_page_is_asked_for_again(server: FakeOai, oai_server: OaiServer, clock: Clock, name: str) -> None:
    server.faults = [respond(200, NO_PAGES[name])]
    assert ids(oai_server.first_page(DAY, None)) == ["2401.00001", "2401.00002"]
    assert len(clock.sleeps) == 1


def test_server_that_never_sends_a_page_is_left_for_later(server: FakeOai, oai_server: OaiServer) -> None:
    server.faults = [respond(200, b"") for _ in range(5)]
    with pytest.raises(TryAgainError, match="no XML"):
        oai_server.first_page(DAY, None)


@pytest.mark.parametrize("page", [BOMB, EXTERNAL], ids=["bomb", "external"])
def test_document_type_is_refused_at_once(server: FakeOai, oai_server: OaiServer, page: bytes) -> None:
    server.faults = [respond(200, page)]
    with pytest.raises(ContractError, match="declares a document type"):
        oai_server.first_page(DAY, None)
    assert len(server.requests) == 1


def test_huge_page_is_refused(server: FakeOai, oai_server: OaiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oai, "MAX_PAGE_BYTES", 1000)
    with pytest.raises(ContractError, match="more than 1000 bytes"):
        oai_server.first_page(DAY, None)


def test_huge_token_is_refused() -> None:
    with pytest.raises(ContractError, match="resumption token has 5000 characters"):
        oai.parse_page(page_xml(f"<ListRecords><resumptionToken>{'x' * 5000}</resumptionToken></ListRecords>"))


def test_bad_argument_blames_the_request(server: FakeOai, oai_server: OaiServer) -> None:
    server.faults = [server.error("badArgument", "Set does not exist")]
    with pytest.raises(ContractError, match="badArgument: Set does not exist"):
        oai_server.first_page(DAY, "cs:cs:XX")


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (respond(403), UsageError, "Nothing more is asked"),
        (respond(404), ContractError, "Is --oai-url right"),
        (redirect("http://10.0.0.1/oai"), ContractError, "redirects astray"),
        (respond(503, Retry_After="86400"), TryAgainError, "wait of 86400 s"),
    ],
    ids=["forbidden", "not there", "redirect", "long wait"],
)
def test_answer_that_will_not_pass_ends_the_harvest(
    server: FakeOai, oai_server: OaiServer, fault: Any, error: type[JobError], says: str
) -> None:
    server.faults = [fault]
    with pytest.raises(error, match=says):
        oai_server.first_page(DAY, None)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("category", "set_spec"),
    [
        ("cs.CL", "cs:cs:CL"),
        ("math.NA", "math:math:NA"),
        ("hep-th", "physics:hep-th"),
        ("math-ph", "physics:math-ph"),
        ("cond-mat.str-el", "physics:cond-mat:str-el"),
        ("physics.optics", "physics:physics:optics"),
        ("q-bio.NC", "q-bio:q-bio:NC"),
        ("alg-geom", None),
        ("cs.CL&verb=x", None),
    ],
)
def test_set_of_a_category(category: str, set_spec: str | None) -> None:
    assert oai.set_of(category) == set_spec


@pytest.mark.parametrize(
    ("categories", "sets"),
    [
        (["cs.LG", "cs.CL"], ("cs:cs:CL", "cs:cs:LG")),
        ([], ()),
        (["cs.LG", "alg-geom"], ()),
        ([f"math.{letters}" for letters in ["AC", "AG", "AP", "AT", "CA", "CO", "CT", "CV", "DG", "DS", "FA"]], ()),
    ],
    ids=["few", "none", "one without a set", "many"],
)
def test_sets_of_categories(categories: list[str], sets: tuple[str, ...]) -> None:
    assert oai.sets_of(categories) == sets
