"""Google's bucket, then arXiv's own server: addresses, order, versions, budgets, and who is asked how often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UsageError
from jobs.corpus import http_source
from jobs.corpus.downloader import Fetched
from jobs.corpus.http_source import PdfServers
from jobs.corpus.pace import Pace
from jobs.corpus.pdf_addresses import ARXIV_TEMPLATE, PdfAddresses, split_places
from jobs.corpus.web_client import Manners
from tests.corpus.fake_arxiv import PDF, FakeArxiv, pdf, respond, silence
from tests.corpus.test_fetch_pdfs import lake_of, paper, path_of, reasons
from tests.corpus.test_filter_papers import current, make

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

PAPER = "2205.14135"
DEFAULT = "gs://arxiv-dataset https://export.arxiv.org"


@pytest.fixture
def bucket() -> Iterator[FakeArxiv]:
    with FakeArxiv() as server:
        yield server


@pytest.fixture
def arxiv() -> Iterator[FakeArxiv]:
    with FakeArxiv() as server:
        yield server


@pytest.fixture
def servers(bucket: FakeArxiv, arxiv: FakeArxiv) -> Iterator[Callable[..., PdfServers]]:
    """Makes the pair; the pause is short, there is one try."""
    opened: list[PdfServers] = []

    def make_pair(**bounds: Any) -> PdfServers:
        addresses = [
            PdfAddresses("gs://arxiv-dataset", gcs_url=bucket.base_url),
            PdfAddresses(arxiv.base_url, ARXIV_TEMPLATE),
        ]

        def pace_of(one: PdfAddresses) -> Pace:
            return Pace(0.0 if one.is_bucket else 0.001)

        bounds = {"max_pdf_mb": 10, "bucket_connections": 2, **bounds}
        opened.append(http_source.make_servers(addresses, pace_of, Manners(tries=1, timeout_s=2.0), **bounds))
        return opened[-1]

    yield make_pair
    for one in opened:
        one.__exit__(None, None, None)


def in_bucket(paper_id: str = PAPER, version: int = 1) -> str:
    return f"/arxiv-dataset/arxiv/arxiv/pdf/{paper_id[:4]}/{paper_id}v{version}.pdf"


@pytest.mark.parametrize(
    ("paper_id", "path"),
    [
        ("2205.14135", "arxiv/arxiv/pdf/2205/2205.14135v2.pdf"),
        ("0704.0001", "arxiv/arxiv/pdf/0704/0704.0001v2.pdf"),
        ("hep-th/9108004", "arxiv/hep-th/pdf/9108/9108004v2.pdf"),
        ("cmp-lg/9404001", "arxiv/cmp-lg/pdf/9404/9404001v2.pdf"),
    ],
)
def test_bucket_has_arxivs_layout(paper_id: str, path: str) -> None:
    url = PdfAddresses("gs://arxiv-dataset").url_of(paper_id, 2)
    assert url == f"https://storage.googleapis.com/arxiv-dataset/{path}"


@pytest.mark.parametrize("bucket", ["gs://", "gs://a/b", "gs://a?x=1", "gs://me:pw@a"])
def test_what_is_no_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(UsageError):
        PdfAddresses(bucket)


def test_places_are_asked_in_their_order() -> None:
    assert split_places(DEFAULT) == ["gs://arxiv-dataset", "https://export.arxiv.org"]
    assert split_places("my papers/2024") == split_places(None) == []


def test_folder_among_servers_is_refused() -> None:
    with pytest.raises(UsageError, match="papers/ is neither a server nor a bucket"):
        split_places("papers/ https://export.arxiv.org")


def test_what_the_bucket_has_is_not_asked_of_arxiv(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    bucket.answer(in_bucket(), pdf())
    outcome = servers().fetch(PAPER, 1, tmp_path)
    assert isinstance(outcome, Fetched)
    assert (outcome.url, arxiv.requests) == (bucket.base_url + in_bucket(), [])


def test_new_version_comes_from_arxiv_while_the_bucket_has_only_the_old_one(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    bucket.answer(in_bucket(version=1), pdf(b"%PDF-1.4 old"))
    arxiv.answer(f"/pdf/{PAPER}v2", pdf())
    outcome = servers().fetch(PAPER, 2, tmp_path)
    assert isinstance(outcome, Fetched)
    assert (outcome.pdf_version, outcome.path.read_bytes()) == (2, PDF)


def test_version_that_nobody_has_falls_back_downwards(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    bucket.answer(in_bucket(version=1), pdf())
    outcome = servers().fetch(PAPER, 3, tmp_path)
    assert isinstance(outcome, Fetched)
    assert outcome.pdf_version == 1
    assert arxiv.paths == [f"/pdf/{PAPER}v3", f"/pdf/{PAPER}v2"]


@pytest.mark.parametrize("status", [403, 500, 503])
def test_bucket_in_trouble_leaves_it_to_arxiv(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path, status: int
) -> None:
    bucket.answer(in_bucket(), respond(status))
    arxiv.answer(f"/pdf/{PAPER}v1", pdf())
    assert isinstance(servers().fetch(PAPER, 1, tmp_path), Fetched)


def test_trouble_on_the_way_takes_no_older_version(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    """The next run gets the right one."""
    bucket.answer(in_bucket(version=1), pdf())
    arxiv.answer(f"/pdf/{PAPER}v2", respond(500))
    outcome = servers().fetch(PAPER, 2, tmp_path)
    assert getattr(outcome, "reason", None) == "server_error"


def test_arxiv_that_forbids_is_asked_no_more_while_the_bucket_goes_on(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    arxiv.answer(f"/pdf/{PAPER}v1", respond(403))
    bucket.answer(in_bucket("2205.14137"), pdf())
    pair = servers()
    outcomes = [pair.fetch(paper_id, 1, tmp_path) for paper_id in (PAPER, "2205.14136", "2205.14137")]
    assert [getattr(one, "reason", None) for one in outcomes] == ["forbidden", "not_asked", None]
    assert len(arxiv.requests) == 1


def test_requests_to_arxiv_are_bounded_and_those_to_the_bucket_are_not(
    servers: Callable[..., PdfServers], bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    arxiv.answer(f"/pdf/{PAPER}v1", pdf())
    bucket.answer(in_bucket("2205.14137"), pdf())
    pair = servers(max_requests=1)
    outcomes = [pair.fetch(paper_id, 1, tmp_path) for paper_id in (PAPER, "2205.14136", "2205.14137")]
    assert [getattr(one, "reason", None) for one in outcomes] == [None, "over_budget", None]
    assert (len(arxiv.requests), len(bucket.requests)) == (1, 3)


def test_bytes_of_a_run_are_bounded(servers: Callable[..., PdfServers], bucket: FakeArxiv, tmp_path: Path) -> None:
    bucket.answer(in_bucket(), pdf())
    pair = servers(max_download_gb=len(PDF) / 1e9)
    assert isinstance(pair.fetch(PAPER, 1, tmp_path), Fetched)
    assert getattr(pair.fetch("2205.14136", 1, tmp_path), "reason", None) == "over_budget"


class Stage:
    """`fetch_pdfs` over a lake, against the two servers."""

    def __init__(self, root: Path, bucket: FakeArxiv, arxiv: FakeArxiv, n_papers: int) -> None:
        papers = [paper(number) for number in range(1, n_papers + 1)]
        self.lake = lake_of(root, f"gs://arxiv-dataset {arxiv.base_url}", *papers)
        self._flags = {"gcs_url": bucket.base_url, "min_yield_01": 0.0, "request_interval_s": 0.1, "max_tries": 1}

    def run(self, **flags: Any) -> dict[int, str | None]:
        make("fetch_pdfs", self.lake, **{**self._flags, **flags})
        return reasons(self.lake)


@pytest.mark.slow  # waits
def test_bucket_is_asked_by_several_connections_and_arxiv_by_one(
    bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    def slow_404(connection: Any) -> bool:
        silence(0.1)(connection)
        return respond(404)(connection)

    for number in range(1, 9):
        bucket.answer(in_bucket(f"2401.{number:05d}"), slow_404)
        arxiv.answer(path_of(number), pdf())
    assert set(Stage(tmp_path, bucket, arxiv, 8).run(bucket_connections=4).values()) == {None}
    assert bucket.most_connections == 4
    assert arxiv.most_connections == 1
    times = [request.at_s for request in arxiv.requests]
    assert times[-1] - times[0] >= 0.65, "seven pauses of 0.1 s, each late by chance"


@pytest.mark.slow  # waits
def test_two_lakes_keep_one_pause(bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path) -> None:
    """The first lake's last request and the second one's first are as far apart as any."""
    arxiv.answer(path_of(1), pdf())
    for name in ("one", "two"):
        stage = Stage(tmp_path / name, bucket, arxiv, 1)
        assert stage.run(clock_folder=str(tmp_path / "clocks"), request_interval_s=0.5) == {1: None}
    first, second = (request.at_s for request in arxiv.requests)
    assert second - first >= 0.45


def test_used_up_budget_is_no_failure_and_the_next_run_goes_on(
    bucket: FakeArxiv, arxiv: FakeArxiv, tmp_path: Path
) -> None:
    for number in range(1, 5):
        arxiv.answer(path_of(number), pdf())
    stage = Stage(tmp_path, bucket, arxiv, 4)
    found = stage.run(max_requests=1, min_yield_01=1.0, request_interval_s=0.001)
    assert sorted(map(str, found.values())) == ["None", "over_budget", "over_budget", "over_budget"]
    counts = current(stage.lake, "pdfs").manifest.counts
    assert (counts.read, counts.kept) == (1, 1)
    assert set(stage.run(request_interval_s=0.001).values()) == {None}
    assert len(arxiv.requests) == 4, "what came is not asked for again"
