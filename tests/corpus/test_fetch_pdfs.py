"""Getting PDFs from a folder and from a server that misbehaves, through the whole stage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core import runner, tables
from jobs.core.config import REPOSITORY
from jobs.core.contracts import DATASETS
from jobs.core.definition import Source
from jobs.core.errors import InputMissingError, YieldError
from jobs.core.lake import Lake
from jobs.core.manifest import Counts
from jobs.core.stages import STAGES
from jobs.corpus import batches
from jobs.corpus.downloader import FolderSource
from tests.core import toy
from tests.corpus.fake_arxiv import PDF, Answer, FakeArxiv, pdf, respond, silence
from tests.corpus.test_filter_papers import NEXT_WEEK, WEEK, current, make, point_to, publish_rows, stage_lake, why

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

QUICK = {"request_interval_s": 0.0, "min_yield_01": 0.0}


@pytest.fixture
def server() -> Iterator[FakeArxiv]:
    with FakeArxiv() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pdf"
    root.mkdir()
    return root


def paper(number: int, version: int = 1, *, is_withdrawn: bool = False) -> dict[str, Any]:
    return {"paper_id": f"2401.{number:05d}", "version": version, "is_withdrawn": is_withdrawn}


def lake_of(tmp_path: Path, pdfs: object, *papers: dict[str, Any]) -> Lake:
    """A lake that looks for the PDFs of these papers in a folder or at an address."""
    lake = stage_lake(tmp_path / "lake", Source(metadata="none.jsonl", pdfs=str(pdfs)))
    publish_rows(lake, "papers", list(papers))
    return lake


def path_of(number: int, version: int = 1) -> str:
    return f"/pdf/2401.{number:05d}v{version}"


def script(server: FakeArxiv, *answers: Answer) -> None:
    """Paper 1 gets the first answer, paper 2 the second …"""
    for number, answer in enumerate(answers, start=1):
        server.answer(path_of(number), answer)


def reasons(lake: Lake) -> dict[int, str | None]:
    """What became of each paper: None for a PDF, else the reason."""
    return {int(row["paper_id"][-5:]): row["reason"] for row in current(lake, "pdfs").rows()}


def test_pdf_of_a_folder_lies_in_the_lake_under_its_hash(tmp_path: Path, folder: Path) -> None:
    (folder / "2401.00001v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1))
    make("fetch_pdfs", lake)
    (row,) = current(lake, "pdfs").rows()
    assert (row["status"], row["pdf_version"], row["size_bytes"]) == ("ok", 1, len(PDF))
    assert (lake.pdf_files / row["path"]).read_bytes() == PDF
    assert row["sha256"][:12] in row["path"]


def test_absent_pdf_does_not_count_as_read(tmp_path: Path, folder: Path) -> None:
    lake = lake_of(tmp_path, folder, paper(1))
    make("fetch_pdfs", lake)
    assert reasons(lake) == {1: "not_there"}
    assert current(lake, "pdfs").manifest.counts == Counts(0, 0, {}, {"not_there": 1})


def test_pdf_that_came_into_the_folder_is_noticed_and_got(tmp_path: Path, folder: Path) -> None:
    lake = lake_of(tmp_path, folder, paper(1), paper(2))
    make("fetch_pdfs", lake)
    assert why("fetch_pdfs", lake) == "up to date"
    (folder / "2401.00002v1.pdf").write_bytes(PDF)
    assert why("fetch_pdfs", lake) == f"1 PDFs came into {folder}"
    make("fetch_pdfs", lake)
    assert reasons(lake) == {1: "not_there", 2: None}
    assert why("fetch_pdfs", lake) == "up to date"


def test_pdf_replaced_by_one_of_the_same_size_is_noticed_and_got(tmp_path: Path, folder: Path) -> None:
    for number in (1, 2):
        (folder / f"2401.{number:05d}v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1), paper(2))
    make("fetch_pdfs", lake)
    (folder / "2401.00002v1.pdf").write_bytes(PDF[::-1][:-5] + PDF[:5])
    assert why("fetch_pdfs", lake) == f"1 PDFs of {folder} changed"
    make("fetch_pdfs", lake, min_yield_01=0.0)
    assert reasons(lake) == {1: None, 2: "not_pdf"}
    assert why("fetch_pdfs", lake) == "up to date"


def test_touched_pdf_is_looked_at_again_and_keeps_the_key(tmp_path: Path, folder: Path) -> None:
    (folder / "2401.00001v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1))
    make("fetch_pdfs", lake)
    before = lake.current_key("pdfs", WEEK)
    os.utime(folder / "2401.00001v1.pdf", ns=(1, 1))
    assert make("fetch_pdfs", lake) == [WEEK]
    assert (lake.current_key("pdfs", WEEK), why("fetch_pdfs", lake)) == (before, "up to date")


def test_only_the_pdf_that_changed_is_read_again(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        (folder / f"2401.{number:05d}v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1), paper(2))
    make("fetch_pdfs", lake)
    os.utime(folder / "2401.00002v1.pdf", ns=(1, 1))
    read: list[str] = []
    fetch = FolderSource.fetch
    monkeypatch.setattr(FolderSource, "fetch", lambda *args: (read.append(args[1]), fetch(*args))[1])
    make("fetch_pdfs", lake)
    assert read == ["2401.00002"]


def test_pdf_that_left_the_folder_stays_in_the_lake(tmp_path: Path, folder: Path) -> None:
    (folder / "2401.00001v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1))
    make("fetch_pdfs", lake)
    (folder / "2401.00001v1.pdf").unlink()
    assert why("fetch_pdfs", lake) == "up to date"


def test_file_that_is_no_pdf_is_a_reason(tmp_path: Path, folder: Path) -> None:
    (folder / "2401.00001v1.pdf").write_bytes(b"<html>" * 400)
    lake = lake_of(tmp_path, folder, paper(1))
    make("fetch_pdfs", lake, min_yield_01=0.0)
    assert reasons(lake) == {1: "not_pdf"}


def test_withdrawn_paper_is_not_looked_for(tmp_path: Path, server: FakeArxiv) -> None:
    lake = lake_of(tmp_path, server.base_url, paper(1, is_withdrawn=True))
    make("fetch_pdfs", lake, **QUICK | {"min_yield_01": 1.0})
    assert (reasons(lake), server.requests) == ({1: "withdrawn"}, []), "a week of one withdrawn paper is no failure"


def test_window_without_papers_is_published_empty(tmp_path: Path, folder: Path) -> None:
    lake = lake_of(tmp_path, folder)
    make("fetch_pdfs", lake)
    assert (reasons(lake), current(lake, "pdfs").manifest.counts) == ({}, Counts(0, 0))


def test_no_pdfs_given_is_missing_input(tmp_path: Path) -> None:
    lake = stage_lake(tmp_path / "lake", Source(metadata="none.jsonl"))
    publish_rows(lake, "papers", [paper(1)])
    with pytest.raises(InputMissingError, match="No --pdfs"):
        make("fetch_pdfs", lake)


def test_papers_of_two_windows_share_files(tmp_path: Path, folder: Path) -> None:
    for number in (1, 2):
        (folder / f"2401.{number:05d}v1.pdf").write_bytes(PDF)
    lake = lake_of(tmp_path, folder, paper(1))
    publish_rows(lake, "papers", [paper(1), paper(2)], part=NEXT_WEEK)
    make("fetch_pdfs", lake, windows=(WEEK, NEXT_WEEK))
    assert len([path for path in lake.pdf_files.rglob("*.pdf") if path.is_file()]) == 2


def test_key_follows_from_what_came_not_from_where(tmp_path: Path, folder: Path) -> None:
    (folder / "2401.00001v1.pdf").write_bytes(PDF)
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lake = lake_of(tmp_path / name, shutil.copytree(folder, tmp_path / name / "pdf"), paper(1))
        make("fetch_pdfs", lake)
        keys.append(lake.current_key("pdfs", WEEK))
    assert keys[0] == keys[1]


def test_version_that_a_server_lacks_falls_back_to_the_one_before(tmp_path: Path, server: FakeArxiv) -> None:
    server.answer(path_of(1, version=1), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1, version=2))
    make("fetch_pdfs", lake, **QUICK)
    (row,) = current(lake, "pdfs").rows()
    assert (row["version"], row["pdf_version"], row["reason"]) == (2, 1, None)
    assert server.paths == [path_of(1, 2), path_of(1, 1)]


def test_server_that_asks_to_slow_down_once_is_asked_again(tmp_path: Path, server: FakeArxiv) -> None:
    server.answer(path_of(1), respond(429, Retry_After="0"), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1))
    make("fetch_pdfs", lake, **QUICK)
    assert (reasons(lake), len(server.requests)) == ({1: None}, 2)


def test_server_that_stays_away_is_a_reason_to_try_again(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, respond(503, Retry_After="0"), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1), paper(2))
    make("fetch_pdfs", lake, **QUICK)
    assert reasons(lake) == {1: "rate_limited", 2: None}
    assert why("fetch_pdfs", lake) == "to be tried again: 1 rate_limited"


def test_try_again_asks_only_for_what_did_not_come(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, respond(503, Retry_After="0"), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1), paper(2))
    make("fetch_pdfs", lake, max_tries=1, **QUICK)
    server.requests.clear()
    server.answer(path_of(1), pdf())
    assert make("fetch_pdfs", lake, max_tries=1, **QUICK) == [WEEK]
    assert (reasons(lake), server.paths) == ({1: None, 2: None}, [path_of(1)])
    assert why("fetch_pdfs", lake) == "up to date"


def test_server_that_forbids_is_asked_for_nothing_more(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, pdf(), respond(403), pdf(), pdf())
    lake = lake_of(tmp_path, server.base_url, *(paper(number) for number in range(1, 5)))
    make("fetch_pdfs", lake, **QUICK)
    assert reasons(lake) == {1: None, 2: "forbidden", 3: "not_asked", 4: "not_asked"}
    assert server.paths == [path_of(1), path_of(2)]


def test_next_run_asks_for_what_was_not_asked_and_last_for_what_was_forbidden(
    tmp_path: Path, server: FakeArxiv
) -> None:
    script(server, respond(403), pdf(), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1), paper(2), paper(3))
    make("fetch_pdfs", lake, **QUICK)
    assert why("fetch_pdfs", lake) == "to be tried again: 1 forbidden, 2 not_asked"
    server.requests.clear()
    make("fetch_pdfs", lake, **QUICK)
    assert reasons(lake) == {1: "forbidden", 2: None, 3: None}
    assert server.paths == [path_of(2), path_of(3), path_of(1)]


def test_window_where_only_a_forbidden_paper_is_left_waits_for_the_others(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, respond(403), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1))
    make("fetch_pdfs", lake, **QUICK)
    publish_rows(lake, "papers", [paper(2)], part=NEXT_WEEK)
    make("fetch_pdfs", lake, windows=(WEEK, NEXT_WEEK), **QUICK)
    assert [row["status"] for row in current(lake, "pdfs", NEXT_WEEK).rows()] == ["ok"]


def test_paper_that_is_blocked_by_law_is_not_asked_for_again(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, respond(451), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1), paper(2))
    make("fetch_pdfs", lake, **QUICK)
    assert (reasons(lake), why("fetch_pdfs", lake)) == ({1: "blocked", 2: None}, "up to date")


def test_refusal_that_a_killed_attempt_left_does_not_hide_what_came_since(tmp_path: Path, server: FakeArxiv) -> None:
    papers = [paper(number) for number in range(1, 9)]
    script(server, *(pdf() for _ in papers))
    lake = lake_of(tmp_path, server.base_url, *papers)
    (task,) = runner.survey(STAGES["fetch_pdfs"], toy.request(lake, windows=(WEEK,), **QUICK))
    work = lake.part_folder("pdfs", WEEK) / "_work" / task.request_key[:12]
    work.mkdir(parents=True)
    for one in papers:
        identity = {"paper_id": one["paper_id"], "version": one["version"]}
        row = dict.fromkeys(DATASETS["pdfs"].columns) | identity | {"status": "rejected", "reason": "timeout"}
        batches.write_batch(work, tables.make_table(DATASETS["pdfs"], [row]))
    make("fetch_pdfs", lake, **QUICK)
    assert set(reasons(lake).values()) == {None}


def test_not_found_is_asked_again_only_at_another_address(tmp_path: Path, server: FakeArxiv) -> None:
    lake = lake_of(tmp_path, server.base_url, paper(1))
    make("fetch_pdfs", lake, **QUICK)
    assert (reasons(lake), why("fetch_pdfs", lake)) == ({1: "not_found"}, "up to date")
    assert why("fetch_pdfs", point_to(lake, pdfs=f"{server.base_url}/mirror")) == "1 PDFs may be at another address now"


def test_yield_below_the_floor_fails_each_time_and_leaves_the_part(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1), paper(2), paper(3))
    for _ in range(2):
        with pytest.raises(YieldError, match=r"kept 1 of 3 \(33.3%\), its floor is 50.0%") as refused:
            make("fetch_pdfs", lake, request_interval_s=0.0)
        assert refused.value.exit_code == 65
        assert reasons(lake) == {1: None, 2: "not_found", 3: "not_found"}
    assert Counter(server.paths) == {path_of(number): 1 for number in (1, 2, 3)}


def test_new_paper_in_the_window_costs_one_request(tmp_path: Path, server: FakeArxiv) -> None:
    script(server, pdf(), pdf())
    lake = lake_of(tmp_path, server.base_url, paper(1))
    make("fetch_pdfs", lake, **QUICK)
    server.requests.clear()
    publish_rows(lake, "papers", [paper(1), paper(2)])
    make("fetch_pdfs", lake, **QUICK)
    assert (reasons(lake), server.paths) == ({1: None, 2: None}, [path_of(2)])


@pytest.mark.slow
def test_killed_fetch_asks_for_nothing_twice_but_what_was_in_flight(tmp_path: Path, server: FakeArxiv) -> None:
    server.answer(path_of(4), silence(60), pdf())
    for number in (1, 2, 3, 5, 6):
        server.answer(path_of(number), pdf())
    lake = lake_of(tmp_path, server.base_url, *(paper(number) for number in range(1, 7)))
    flags = ["--lake", str(lake.root), "--window", WEEK, "--request-interval-s", "0", "--goal", "papers"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "fetch_pdfs", *flags],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "LAKE"},
    )
    try:
        wait_for(lambda: path_of(4) in server.paths)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert lake.parts("pdfs") == []
    make("fetch_pdfs", lake, **QUICK)
    assert set(reasons(lake).values()) == {None}
    assert Counter(server.paths) == {path_of(number): 2 if number == 4 else 1 for number in range(1, 7)}
    assert [*lake.root.glob("pdfs/*/_work/*"), *lake.root.glob("pdfs/*/_attempts/*")] == []


def wait_for(condition: Any, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the stage never asked"
        time.sleep(0.02)
