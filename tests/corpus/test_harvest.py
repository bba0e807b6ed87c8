"""A harvest goes on where it was killed, and ends with the newest record of each paper."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import ContractError, TryAgainError
from jobs.corpus.harvest import MAX_EXPIRIES, Asked, Harvest, Newest, rows_of
from jobs.corpus.oai import OaiServer
from jobs.corpus.pace import Pace
from jobs.corpus.web_client import Manners, WebClient
from tests.corpus import kaggle_lines
from tests.corpus.fake_arxiv import Clock, respond
from tests.corpus.fake_oai import FakeOai, Listed, page_xml, record_xml

pytestmark = pytest.mark.slow  # a server a test: a tenth of a second each

ASKED = Asked(dt.date(2024, 1, 1), (), "")
Run = Callable[..., list[str]]


def listed(*days: int) -> list[Listed]:
    return [Listed(f"2401.{number:05d}", f"2024-01-{day:02d}") for number, day in enumerate(days, start=1)]


def ids_of(n: int) -> list[str]:
    return [f"2401.{number:05d}" for number in range(1, n + 1)]


@pytest.fixture
def server() -> Iterator[FakeOai]:
    with FakeOai(listed(2, 3, 3, 3, 4)) as server:
        yield server


@pytest.fixture
def harvest(server: FakeOai, tmp_path: Path) -> Iterator[Callable[..., Harvest]]:
    """Makes a harvest in one folder, as each attempt of a job does."""
    clock = Clock()
    pace = Pace(0.0, clock=clock, sleep=clock.sleep)
    client = WebClient(server.url, Manners(tries=2), pace=pace, clock=clock, sleep=clock.sleep, seed=1)

    def make(asked: Asked = ASKED, max_bytes: int = 10**6) -> Harvest:
        return Harvest(tmp_path / "pages", OaiServer(client), asked, max_bytes)

    with client:
        yield make


def rows(pages: list[Path], elsewhere: dict[str, Any] | None = None, before: Path | None = None) -> list[dict]:
    newest = Newest()
    if before:
        newest.add_lines(before)
    for page in pages:
        newest.add_page(page)
    buffer = io.BytesIO()
    newest.write(buffer, elsewhere or {})
    return [json.loads(line) for line in buffer.getvalue().splitlines()]


def ids(pages: list[Path]) -> list[str]:
    return [row["id"] for row in rows(pages)]


def killed_at(server: FakeOai, harvest: Callable[..., Harvest], n_pages: int) -> None:
    """A harvest whose server went away after some pages."""
    begun = harvest()
    for _ in range(n_pages):
        begun.step()
    server.faults = [respond(500), respond(500)]
    with pytest.raises(TryAgainError):
        begun.run()


def test_pages_are_followed_to_the_end(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    pages, until, refused = harvest().run()
    assert (ids(pages), until, refused) == (ids_of(5), dt.date(2024, 1, 9), {})
    assert len(server.requests) == 3


def test_killed_harvest_costs_one_page(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    killed_at(server, harvest, 2)
    n_before = len(server.requests)
    pages, _, _ = harvest().run()
    assert ids(pages) == ids_of(5)
    assert len(server.requests) == n_before + 1


def test_harvest_of_something_else_begins_anew(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    killed_at(server, harvest, 2)
    pages, _, _ = harvest(Asked(dt.date(2024, 1, 4), (), "")).run()
    assert ids(pages) == ["2401.00005"]


def test_expired_token_restarts_from_the_last_day_that_may_not_be_whole(
    server: FakeOai, harvest: Callable[..., Harvest]
) -> None:
    killed_at(server, harvest, 2)
    server.midnight()
    pages, _, _ = harvest().run()
    asked_from = [asked.get("from") for asked in server.asked if "from" in asked]
    assert asked_from == ["2024-01-01", "2024-01-03"]
    assert ids(pages) == ids_of(5)


def test_tokens_that_keep_dying_end_the_attempt(
    server: FakeOai, harvest: Callable[..., Harvest], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [server.error("badResumptionToken") for _ in range(MAX_EXPIRIES + 1)]
    with pytest.raises(TryAgainError, match="forgot 5 resumption tokens"):
        harvest().run()


def test_page_that_names_itself_as_the_next_ends_the_harvest(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    record = record_xml(listed(2)[0])
    page = page_xml(f"<ListRecords>{record}<resumptionToken>again</resumptionToken></ListRecords>")
    server.faults = [respond(200, page), respond(200, page)]
    with pytest.raises(ContractError, match="names itself"):
        harvest().run()


def test_list_without_end_is_left(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    with pytest.raises(ContractError, match="more than 1,000 bytes and does not end"):
        harvest(max_bytes=1000).run()


def test_page_cut_inside_a_day_loses_nothing(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    server.records, server.page_size = listed(*[3] * 7), 3
    pages, _, _ = harvest().run()
    assert ids(pages) == ids_of(7)


def test_record_that_changes_between_pages_is_there_once_and_new(
    server: FakeOai, harvest: Callable[..., Harvest]
) -> None:
    begun = harvest()
    begun.step()
    server.records[0] = Listed("2401.00001", "2024-01-05", fields={"title": "Changed"})
    pages, _, _ = begun.run()
    found = rows(pages)
    assert [row["id"] for row in found] == ids_of(5)
    assert (found[0]["title"], found[0]["update_date"]) == ("Changed", "2024-01-05")


def test_token_that_leads_to_nothing_any_more_is_the_end(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    begun = harvest()
    begun.step()
    server.records = []
    pages, _, _ = begun.run()
    assert ids(pages) == ids_of(2)


def test_sets_are_harvested_one_after_another_and_a_paper_of_two_comes_once(
    server: FakeOai, harvest: Callable[..., Harvest]
) -> None:
    both = Listed("2401.00009", "2024-01-06", sets=("cs:cs:LG", "stat:stat:ML"))
    other = Listed("2401.00010", "2024-01-02", sets=("math:math:CO",))
    server.records += [both, other]
    pages, _, _ = harvest(Asked(ASKED.since, ("cs:cs:LG", "stat:stat:ML"), "")).run()
    assert ids(pages) == [*ids_of(5), "2401.00009"]


def test_second_set_begins_on_the_first_day_again(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    harvest(Asked(ASKED.since, ("cs:cs:LG", "stat:stat:ML"), "")).run()
    assert [asked["from"] for asked in server.asked if "set" in asked] == ["2024-01-01", "2024-01-01"]


def test_no_news_is_a_harvest_of_nothing(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    server.records = []
    pages, until, _ = harvest().run()
    assert (ids(pages), until) == ([], dt.date(2024, 1, 9))


def test_refused_records_are_counted_over_a_kill(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    server.records = [Listed("no id", "2024-01-01"), *server.records, Listed("none", "2024-01-09")]
    killed_at(server, harvest, 2)
    assert harvest().run()[2] == {"malformed": 2}


def test_rows_of_before_are_taken_over_and_replaced(
    server: FakeOai, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    lines = [kaggle_lines.row(1, title="Old", update_date="2024-01-01"), kaggle_lines.row(8, title="Kept")]
    before = kaggle_lines.write(tmp_path / "before.jsonl", [json.dumps(line).encode() for line in lines])
    found = rows(harvest().run()[0], before=before)
    assert [row["id"] for row in found] == [*ids_of(5), "2401.00008"]
    assert "Old" not in [row["title"] for row in found]


def test_deleted_paper_is_withdrawn_by_its_last_row(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    server.records.append(Listed("2401.00001", "2024-01-08", is_deleted=True))
    found = rows(harvest().run()[0])
    assert found[0]["versions"][-1]["source_type"] == "I"
    assert found[0]["update_date"] == "2024-01-08"


def test_paper_that_came_back_is_no_longer_deleted(server: FakeOai, harvest: Callable[..., Harvest]) -> None:
    server.records = [Listed("2401.00001", "2024-01-05", is_deleted=True), Listed("2401.00001", "2024-01-08")]
    found = rows(harvest().run()[0])
    assert found[0]["versions"][-1]["source_type"] == "D"


def test_deleted_paper_that_only_another_snapshot_knows_is_withdrawn(
    server: FakeOai, harvest: Callable[..., Harvest], tmp_path: Path
) -> None:
    server.records = [Listed("2401.00007", "2024-01-05", is_deleted=True), Listed("2401.00008", "2024-01-05", (), True)]
    lines = [json.dumps(kaggle_lines.row(number)).encode() for number in range(1, 8)]
    known = rows_of(kaggle_lines.write(tmp_path / "kaggle.jsonl", [b"{broken", *lines]), {"2401.00007", "2401.00008"})
    found = rows(harvest().run()[0], known)
    assert [(row["id"], row["versions"][-1]["source_type"]) for row in found] == [("2401.00007", "I")]
