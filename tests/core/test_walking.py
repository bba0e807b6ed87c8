"""`python -m jobs run`: stages in order, one process each, until one fails."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.core import walking
from jobs.core.lake import Lake
from tests.core.test_cli import jobs
from tests.corpus.test_filter_papers import WEEK, lake_of_lines, line, make, point_to

STAGES_OF_PAPERS = ["fetch_snapshot", "filter_papers", "fetch_pdfs", "extract_text", "chunk_documents"]


class Processes:
    """Stands for `subprocess.run`: answers with the exit codes it was given, by stage."""

    def __init__(self, **codes: int) -> None:
        self._codes = codes
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        self.commands.append(command)
        return subprocess.CompletedProcess(command, self._codes.get(command[3], 0))

    @property
    def stages(self) -> list[str]:
        return [command[3] for command in self.commands]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = lake_of_lines(tmp_path, [line(1)])
    (tmp_path / "pdf").mkdir()
    (tmp_path / "pdf" / "2401.00001v1.pdf").write_bytes(b"<html>")
    return Lake.create(lake.root, point_to(lake, pdfs=str(tmp_path / "pdf")).lake_file)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Lines of the walk are of no interest here."""
    logger = logging.getLogger("jobs")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def walk(monkeypatch: pytest.MonkeyPatch, lake: Lake, *words: str, **codes: int) -> tuple[int, Processes]:
    processes = Processes(**codes)
    monkeypatch.setattr(subprocess, "run", processes)
    code = walking.run_command(["run", "--lake", str(lake.root), "--goal", "papers", "--window", WEEK, *words])
    return code, processes


def test_stages_run_in_the_order_of_the_table(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    code, processes = walk(monkeypatch, lake)
    assert (code, processes.stages) == (0, STAGES_OF_PAPERS)


@pytest.mark.parametrize("failure", [64, 65, 66, 75, 1, -9])
def test_walk_ends_with_the_code_of_the_first_stage_that_fails(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    code, processes = walk(monkeypatch, lake, fetch_pdfs=failure, chunk_documents=70)
    assert (code, processes.stages) == (failure, STAGES_OF_PAPERS[:3])


def test_stage_that_is_not_wanted_stops_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    code, processes = walk(monkeypatch, lake, fetch_snapshot=99)
    assert (code, processes.stages) == (0, STAGES_OF_PAPERS)


def test_each_stage_is_given_lake_windows_and_settings(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--profile", "demo", "--only", "window", "--upgrade", "--max-pages", "10")
    _, processes = walk(monkeypatch, lake, *words)
    assert processes.commands[3][1:] == [
        *("-m", "jobs", "extract_text", "--lake", str(lake.root), "--goal", "papers", "--window", WEEK),
        *("--profile", "demo", "--only", "window", "--upgrade", "--max-pages", "10"),
    ]


def test_run_that_cannot_end_well_starts_no_stage(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").unlink()
    ended = jobs("run", "--lake", lake.root, "--goal", "papers", "--window", WEEK)
    assert (ended.returncode, "no such file" in ended.stderr) == (66, True)


@pytest.mark.slow
def test_real_walk_over_what_is_done_ends_with_0_and_below_a_floor_with_65(lake: Lake) -> None:
    """No JVM: every part is made, so that stages only look; the one PDF that came is none."""
    for name in STAGES_OF_PAPERS[1:]:
        make(name, lake, min_yield_01=0.0)
    args = ("run", "--lake", lake.root, "--goal", "papers", "--window", WEEK)
    passed, failed = jobs(*args, "--min-yield-01", "0"), jobs(*args)
    assert (passed.returncode, failed.returncode) == (0, 65)
    assert "made=1" not in passed.stderr
    assert "YieldError: fetch_pdfs kept 0 of 1" in failed.stderr
    assert "fetch_pdfs ended with exit code 65" in failed.stderr
    assert "extract_text" not in failed.stderr.partition("YieldError")[2]
