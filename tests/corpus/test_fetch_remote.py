"""Kaggle and OAI-PMH as sources of a lake: what is asked for again, what is kept, what the papers are."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.definition import Source
from jobs.core.errors import ContractError, TryAgainError, UsageError
from jobs.core.lake import Lake
from jobs.corpus import fetch_snapshot, kaggle_token
from tests.corpus import kaggle_lines
from tests.corpus.fake_arxiv import respond
from tests.corpus.fake_kaggle import FakeKaggle, FakeStorage, zipped
from tests.corpus.fake_oai import FakeOai, Listed
from tests.corpus.test_filter_papers import current, line, make, stage_lake

pytestmark = pytest.mark.slow  # three servers a test: a tenth of a second each

WEEK, WEEK_BEFORE = "2024-01-01_2024-01-08", "2023-12-25_2024-01-01"
LINES = [line(1), line(2), line(3)]
CANARY = "KGAT_canary"


@pytest.fixture
def storage() -> Iterator[FakeStorage]:
    with FakeStorage() as storage:
        yield storage


@pytest.fixture
def kaggle(storage: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKaggle]:
    monkeypatch.setattr(fetch_snapshot.kaggle_source, "HOSTS", (f"127.0.0.1:{storage.port}",))
    monkeypatch.setattr(kaggle_token, "authorization", lambda: None)
    with FakeKaggle(storage) as kaggle:
        kaggle.publish(7, zipped(LINES))
        yield kaggle


@pytest.fixture
def oai() -> Iterator[FakeOai]:
    with FakeOai([Listed("2401.00001", "2024-01-03"), Listed("2401.00004", "2024-01-04")]) as server:
        yield server


@pytest.fixture
def of_kaggle(tmp_path: Path) -> Lake:
    return stage_lake(tmp_path / "lake", Source(source="kaggle"))


@pytest.fixture
def of_oai(tmp_path: Path) -> Lake:
    return stage_lake(tmp_path / "lake", Source(source="oai"), categories=("cs.LG",))


class Servers:
    """Runs the stage against the local servers. `is_due`: as if the last look was long ago."""

    def __init__(self, kaggle: FakeKaggle, oai: FakeOai) -> None:
        self._flags = {"kaggle_url": kaggle.base_url, "oai_url": oai.url, "request_interval_s": 0.0}

    def fetch(self, lake: Lake, *windows: str, is_due: bool = True) -> list[str]:
        age = -1.0 if is_due else 20.0
        return make("fetch_snapshot", lake, windows=windows or (WEEK,), max_age_hours=age, **self._flags)


@pytest.fixture
def servers(kaggle: FakeKaggle, oai: FakeOai) -> Servers:
    return Servers(kaggle, oai)


def rows(lake: Lake, part: str) -> list[dict[str, Any]]:
    text = current(lake, "snapshots", part).file("metadata.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def ids(lake: Lake, part: str) -> list[str]:
    return [row["id"] for row in rows(lake, part)]


def papers(lake: Lake) -> list[tuple[str, int, bool]]:
    make("filter_papers", lake)
    return [(row["paper_id"], row["version"], row["is_withdrawn"]) for row in current(lake, "papers").rows()]


def keys(lake: Lake) -> list[str | None]:
    return [lake.current_key("snapshots", part) for part in ("kaggle", "oai")]


def digest(lake: Lake, part: str) -> str:
    return current(lake, "snapshots", part).manifest.digest


def test_kaggles_version_and_what_is_newer_are_two_parts(of_kaggle: Lake, servers: Servers, oai: FakeOai) -> None:
    assert servers.fetch(of_kaggle) == ["kaggle", "oai"]
    assert (ids(of_kaggle, "kaggle"), ids(of_kaggle, "oai")) == (
        ["2401.00001", "2401.00002", "2401.00003"],
        ["2401.00001", "2401.00004"],
    )
    assert oai.asked[0]["from"] == "2024-01-03", "the newest update_date of the snapshot"


def test_papers_of_both_are_the_newest_of_each(of_kaggle: Lake, servers: Servers, oai: FakeOai) -> None:
    oai.records[0].versions = (*oai.records[0].versions, ("Wed, 03 Jan 2024 10:00:00 GMT", "D"))
    servers.fetch(of_kaggle)
    assert papers(of_kaggle) == [(f"2401.{n:05d}", version, False) for n, version in ((1, 2), (2, 1), (3, 1), (4, 1))]


def test_servers_are_not_asked_again_before_their_time(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle, oai: FakeOai
) -> None:
    servers.fetch(of_kaggle)
    n_before = len(kaggle.requests) + len(oai.requests)
    assert servers.fetch(of_kaggle, is_due=False) == []
    assert len(kaggle.requests) + len(oai.requests) == n_before


def test_unchanged_version_is_looked_at_and_nothing_is_written(
    of_kaggle: Lake, servers: Servers, storage: FakeStorage
) -> None:
    servers.fetch(of_kaggle)
    manifest = current(of_kaggle, "snapshots", "kaggle").folder / "_MANIFEST.json"
    written_at, n_before = manifest.stat().st_mtime_ns, len(storage.requests)
    servers.fetch(of_kaggle)
    assert (manifest.stat().st_mtime_ns, len(storage.requests)) == (written_at, n_before)
    assert servers.fetch(of_kaggle, is_due=False) == []


def test_same_papers_under_another_version_number_change_nothing_behind(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle
) -> None:
    servers.fetch(of_kaggle)
    papers(of_kaggle)
    key, before = of_kaggle.current_key("snapshots", "kaggle"), digest(of_kaggle, "kaggle")
    kaggle.publish(8, zipped(LINES[::-1]), "2024-01-14")
    servers.fetch(of_kaggle)
    assert (of_kaggle.current_key("snapshots", "kaggle") == key, digest(of_kaggle, "kaggle")) == (False, before)
    assert make("filter_papers", of_kaggle) == []


def test_newer_version_starts_what_is_newer_anew(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle, oai: FakeOai
) -> None:
    servers.fetch(of_kaggle)
    kaggle.publish(8, zipped([*LINES, line(4, update_date="2024-01-05")]), "2024-01-14")
    oai.records.append(Listed("2401.00005", "2024-01-06"))
    servers.fetch(of_kaggle)
    assert oai.asked[-1]["from"] == "2024-01-05"
    assert ids(of_kaggle, "oai") == ["2401.00005"]


def test_next_harvest_goes_on_from_the_last_answer_and_takes_over_its_rows(
    of_kaggle: Lake, servers: Servers, oai: FakeOai
) -> None:
    servers.fetch(of_kaggle)
    oai.records = [Listed("2401.00005", "2024-01-10")]
    oai.response_date = "2024-01-11T04:00:00Z"
    servers.fetch(of_kaggle)
    assert oai.asked[-1]["from"] == "2024-01-09"
    assert ids(of_kaggle, "oai") == ["2401.00001", "2401.00004", "2401.00005"]


def test_no_news_keeps_the_part_and_remembers_the_day(of_kaggle: Lake, servers: Servers, oai: FakeOai) -> None:
    servers.fetch(of_kaggle)
    before = keys(of_kaggle)
    oai.records, oai.response_date = [], "2024-01-11T04:00:00Z"
    servers.fetch(of_kaggle)
    assert keys(of_kaggle) == before
    servers.fetch(of_kaggle)
    assert oai.asked[-1]["from"] == "2024-01-11"


def test_update_date_of_the_future_does_not_hide_what_is_newer(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle, oai: FakeOai
) -> None:
    kaggle.publish(8, zipped([line(1, update_date="2099-01-01"), line(2, update_date="2024-13-77")]), "2024-01-07")
    servers.fetch(of_kaggle)
    assert oai.asked[0]["from"] == "2024-01-07"


def test_record_deleted_since_kaggles_version_is_a_withdrawn_paper(
    of_kaggle: Lake, servers: Servers, oai: FakeOai
) -> None:
    oai.records = [Listed("2401.00002", "2024-01-05", is_deleted=True), Listed("2401.00009", "2024-01-05", (), True)]
    servers.fetch(of_kaggle)
    assert current(of_kaggle, "snapshots", "oai").manifest.counts.dropped == {"deleted": 1}
    assert papers(of_kaggle) == [("2401.00001", 1, False), ("2401.00002", 1, True), ("2401.00003", 1, False)]


def test_killed_download_is_gone_on_with(of_kaggle: Lake, servers: Servers, storage: FakeStorage) -> None:
    content = zipped(LINES)
    etag = storage.headers_of(content)["ETag"]
    storage.faults = [respond(200, content[:100], length=len(content), ETag=etag), respond(503, Retry_After="9999")]
    with pytest.raises(TryAgainError):
        servers.fetch(of_kaggle)
    servers.fetch(of_kaggle)
    assert storage.requests[-1].headers["range"] == "bytes=100-"
    assert len(ids(of_kaggle, "kaggle")) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(LINES, "readme.txt"), "holds 0 files ending in .json"),
        (zipped(LINES)[:-30], "damaged zip"),
        (zipped(LINES, "../../x.json"), "a name that leaves the archive"),
        (zipped([b" " * 5000]), "holds more than 1,073 bytes"),
    ],
    ids=["wrong member", "damaged", "hostile name", "bomb"],
)
def test_zip_that_is_no_snapshot_publishes_nothing_and_is_not_kept(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle, content: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.publish(8, content)
    monkeypatch.setitem(servers._flags, "max_snapshot_gb", 1e-6)
    with pytest.raises(ContractError, match=says):
        servers.fetch(of_kaggle)
    assert of_kaggle.parts("snapshots") == []
    assert list(of_kaggle.root.rglob("archive.zip")) == []


def test_account_is_in_no_manifest_and_no_log(
    of_kaggle: Lake,
    servers: Servers,
    kaggle: FakeKaggle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kaggle.account = f"Bearer {CANARY}"
    monkeypatch.setattr(kaggle_token, "authorization", lambda: f"Bearer {CANARY}")
    with caplog.at_level(logging.DEBUG, "jobs"):
        servers.fetch(of_kaggle)
    files = [path.read_bytes() for path in of_kaggle.root.rglob("*") if path.is_file()]
    assert files
    assert not [content for content in [*files, caplog.text.encode()] if b"canary" in content.lower()]


def test_account_that_is_missing_is_told_with_where_to_get_one(
    of_kaggle: Lake, servers: Servers, kaggle: FakeKaggle
) -> None:
    kaggle.account = "Bearer some"
    with pytest.raises(UsageError, match=r"Make a token at https://www\.kaggle\.com/settings .* --source oai"):
        servers.fetch(of_kaggle)


def test_oai_alone_begins_with_the_earliest_window_and_asks_for_sets(
    of_oai: Lake, servers: Servers, oai: FakeOai, kaggle: FakeKaggle
) -> None:
    assert servers.fetch(of_oai, WEEK, WEEK_BEFORE) == ["oai"]
    assert (oai.asked[0]["from"], oai.asked[0]["set"]) == ("2023-12-25", "cs:cs:LG")
    assert kaggle.requests == []
    assert papers(of_oai) == [("2401.00001", 1, False), ("2401.00004", 1, False)]


def test_earlier_window_extends_a_harvest_even_if_it_is_not_due(of_oai: Lake, servers: Servers, oai: FakeOai) -> None:
    servers.fetch(of_oai)
    oai.records.insert(0, Listed("2312.00001", "2023-12-28"))
    assert servers.fetch(of_oai, WEEK_BEFORE, is_due=False) == ["oai"]
    assert ids(of_oai, "oai") == ["2312.00001", "2401.00001", "2401.00004"]
    assert servers.fetch(of_oai, WEEK_BEFORE, WEEK, is_due=False) == []


def test_other_categories_are_harvested_anew(of_oai: Lake, servers: Servers, oai: FakeOai) -> None:
    servers.fetch(of_oai)
    oai.records.append(Listed("2401.00007", "2024-01-02", sets=("cs:cs:CL",)))
    wider = stage_lake(of_oai.root, Source(source="oai"), categories=("cs.CL", "cs.LG"))
    assert servers.fetch(wider, is_due=False) == ["oai"]
    assert ids(wider, "oai") == ["2401.00001", "2401.00004", "2401.00007"]


def test_killed_harvest_goes_on_with_its_pages(of_oai: Lake, servers: Servers, oai: FakeOai) -> None:
    oai.page_size = 1
    oai.faults = []
    answered = oai.next_answer
    oai.next_answer = lambda path: answered(path) if len(oai.requests) == 1 else respond(503, Retry_After="9999")
    with pytest.raises(TryAgainError):
        servers.fetch(of_oai)
    oai.next_answer = answered
    servers.fetch(of_oai)
    assert "resumptionToken" in oai.asked[-1]
    assert ids(of_oai, "oai") == ["2401.00001", "2401.00004"]


def test_same_records_in_other_pages_are_the_same_part(
    of_oai: Lake, servers: Servers, oai: FakeOai, tmp_path: Path
) -> None:
    servers.fetch(of_oai)
    other = stage_lake(tmp_path / "other", Source(source="oai"), categories=("cs.LG",))
    oai.page_size = 1
    servers.fetch(other)
    assert other.current_key("snapshots", "oai") == of_oai.current_key("snapshots", "oai")


def test_snapshot_in_the_lake_is_counted_by_window(of_kaggle: Lake, servers: Servers) -> None:
    from jobs.core.windows import parse_window

    windows = [parse_window(name, "week") for name in (WEEK, WEEK_BEFORE)]
    assert fetch_snapshot.papers_fetched(of_kaggle, windows) is None
    servers.fetch(of_kaggle)
    assert [fetch_snapshot.papers_fetched(of_kaggle, [window]) for window in windows] == [4, 0]


def test_lines_are_kaggles_own(of_kaggle: Lake, servers: Servers) -> None:
    servers.fetch(of_kaggle)
    assert rows(of_kaggle, "kaggle") == [kaggle_lines.row(number) for number in (1, 2, 3)]
