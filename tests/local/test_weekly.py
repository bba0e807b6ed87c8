"""Weeks of a growing source in the real Airflow: scheduled runs, their lookback, and a backfill, at servers of our own.

The last complete week's scheduled run is made twice: its windows are looked at again, as by that of the next week.
"""

from __future__ import annotations

import datetime as dt
import shlex
import time
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.core import cli
from jobs.core.config import REPOSITORY
from jobs.core.lake import Lake
from local.follow import follow
from local.layout import Layout
from local.rest import Airflow
from tests.corpus.fake_arxiv import FakeArxiv, pdf
from tests.corpus.fake_oai import FakeOai, Listed
from tests.local.stack import DAG_ID, keys, states
from tests.local.test_stack import wait_for_backfill
from tests.soaking import only_soaked

pytestmark = [
    *(pytest.mark.airflow, pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(1200)),
    only_soaked("minutes in the real Airflow"),
]
EARLY, OF_BEFORE, OF_WEEK, LATE = "2401.00001", "2401.00002", "2401.00003", "2401.00004"
WEEK = dt.timedelta(weeks=1)


class World:
    """arXiv, as far as a lake sees it: OAI-PMH, the bucket, the server of PDFs. `monday` begins the run's own week."""

    def __init__(self, oai: FakeOai, bucket: FakeArxiv, server: FakeArxiv, monday: dt.datetime) -> None:
        self.oai, self.bucket, self.server, self.monday = oai, bucket, server, monday
        for paper_id, weeks in ((EARLY, 2), (OF_BEFORE, 1), (OF_WEEK, 0)):
            self.submit(paper_id, weeks)
        self.answer_on(7)

    def submit(self, paper_id: str, weeks_before: int) -> None:
        """A paper of a week, told of on the next day; its PDF is in the bucket."""
        day = self.monday - weeks_before * WEEK
        self.oai.records.append(
            Listed(paper_id, f"{day + dt.timedelta(days=1):%Y-%m-%d}", versions=((http(day), "D"),))
        )
        self.bucket.answer(in_bucket(paper_id, 1), pdf(sample_pdf(paper_id)))

    def revise(self, paper_id: str, letter: str) -> None:
        """A second version, on the first day after the run's week; `I` withdraws the paper."""
        (record,) = (one for one in self.oai.records if one.paper_id == paper_id)
        day = self.monday + WEEK
        record.versions = (*record.versions, (http(day), letter))
        record.datestamp = f"{day:%Y-%m-%d}"

    def answer_on(self, days: int) -> None:
        self.oai.response_date = f"{self.monday + dt.timedelta(days=days):%Y-%m-%d}T04:00:00Z"

    @property
    def asked_pdfs(self) -> list[str]:
        return [*self.bucket.paths, *self.server.paths]

    def window(self, weeks_before: int) -> str:
        first = self.monday - weeks_before * WEEK
        return f"{first:%Y-%m-%d}_{first + WEEK:%Y-%m-%d}"


def http(day: dt.datetime) -> str:
    return format_datetime(day + dt.timedelta(hours=10), usegmt=True)


def in_bucket(paper_id: str, version: int) -> str:
    return f"/arxiv-dataset/arxiv/arxiv/pdf/{paper_id[:4]}/{paper_id}v{version}.pdf"


def sample_pdf(paper_id: str, version: int = 1) -> bytes:
    return (REPOSITORY / "sample" / "pdf" / f"sample_24010{int(paper_id[-5:]):02d}v{version}.pdf").read_bytes()


@pytest.fixture
def scheduled(airflow: Airflow) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while not (found := airflow.runs(DAG_ID, run_type="scheduled")) or found[0]["state"] != "success":
        assert time.monotonic() < deadline, "the schedule never made its run"
        time.sleep(1)
    return found[0]


@pytest.fixture
def world(scheduled: dict[str, Any]) -> Iterator[World]:
    monday = dt.datetime.fromisoformat(scheduled["data_interval_start"])
    with FakeOai() as oai, FakeArxiv() as bucket, FakeArxiv() as server:
        yield World(oai, bucket, server, monday)


@pytest.fixture
def weekly(airflow: Airflow, lake: Path, layout: Layout, world: World) -> Iterator[Path]:
    """A lake of OAI-PMH that is the configured one while the test lasts."""
    made = layout.root / "weekly"
    source = ["--source", "oai", "--categories", "cs.LG", "--pdfs", f"gs://arxiv-dataset {world.server.base_url}"]
    assert cli.main(["define", "--lake", str(made), *source]) == 0
    standing = ["--goal", "papers", "--oai-url", world.oai.url, "--gcs-url", world.bucket.base_url]
    standing += ["--request-interval-s", "0.1", "--max-age-hours", "0"]
    airflow.set_variable("LAKE", str(made))
    airflow.set_variable("SPARK_ARXIV_SETTINGS", shlex.join(standing))
    yield made
    airflow.set_variable("LAKE", str(lake))
    airflow.set_variable("SPARK_ARXIV_SETTINGS", "")


def run_again(airflow: Airflow, run: dict[str, Any]) -> None:
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run['dag_run_id']}/clear"
    airflow._send("POST", path, {"dry_run": False})
    assert follow(airflow, DAG_ID, run["dag_run_id"])


def papers(lake: Path, dataset: str, *columns: str) -> dict[str, list[tuple[Any, ...]]]:
    """window -> what its rows say, windows without rows left out."""
    opened = Lake.open(lake)
    found = {part: opened.current(dataset, part) for part in opened.parts(dataset)}
    rows = {
        name: [tuple(row[column] for column in columns) for row in part.rows()] for name, part in found.items() if part
    }
    return {name: sorted(some) for name, some in rows.items() if some}


def test_weeks_of_a_growing_source(airflow: Airflow, scheduled: dict[str, Any], world: World, weekly: Path) -> None:
    """Late paper, new version and withdrawal land where they belong; nothing is asked twice, also not by a backfill."""
    run_again(airflow, scheduled)
    assert papers(weekly, "documents", "paper_id", "version") == {
        world.window(2): [(EARLY, 1)],
        world.window(1): [(OF_BEFORE, 1)],
        world.window(0): [(OF_WEEK, 1)],
    }
    assert len(papers(weekly, "pdfs", "paper_id")) == 3
    assert len(Lake.open(weekly).parts("chunks")) == 5, "the week itself and the four before it"
    assert sorted(world.asked_pdfs) == [in_bucket(one, 1) for one in (EARLY, OF_BEFORE, OF_WEEK)]
    assert states(airflow, scheduled["dag_run_id"])["embed_chunks"] == "skipped"
    before = keys(weekly)

    world.revise(EARLY, "D")
    world.server.answer(f"/pdf/{EARLY}v2", pdf(sample_pdf("2401.00008", 2)))
    world.revise(OF_BEFORE, "I")
    world.submit(LATE, 2)
    world.oai.records[-1].datestamp = f"{world.monday + WEEK:%Y-%m-%d}"
    world.answer_on(8)
    world.bucket.requests.clear()
    run_again(airflow, scheduled)
    assert papers(weekly, "documents", "paper_id", "version", "pdf_version") == {
        world.window(2): [(EARLY, 2, 2), (LATE, 1, 1)],
        world.window(0): [(OF_WEEK, 1, 1)],
    }
    assert papers(weekly, "pdfs", "paper_id", "reason")[world.window(1)] == [(OF_BEFORE, "withdrawn")]
    assert sorted(world.asked_pdfs) == [in_bucket(EARLY, 2), in_bucket(LATE, 1), f"/pdf/{EARLY}v2"]
    after = keys(weekly)
    unchanged = {name for name in after if before.get(name) == after[name]}
    assert {f"{dataset}/{world.window(0)}" for dataset in ("pdfs", "documents", "chunks")} <= unchanged

    world.bucket.requests.clear()
    world.server.requests.clear()
    first, last = world.monday - 2 * WEEK, world.monday - WEEK
    airflow.backfill(DAG_ID, first.isoformat(), last.isoformat(), {"goal": "papers"})
    runs = wait_for_backfill(airflow, 2, since=f"{first:%Y-%m-%d}")
    assert {run["state"] for run in runs} == {"success"}
    assert (world.asked_pdfs, {name: key for name, key in keys(weekly).items() if name in after}) == ([], after)
