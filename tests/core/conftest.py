"""A small lake for the commands that look at one, and what they say."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.core import cli
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake
from tests.core import toy
from tests.core.fake_s3 import FAR, FakeS3, Machine
from tests.corpus.test_filter_papers import lake_of_lines, line, make, publish_rows

Say = Callable[..., list[str]]
PAPER = {"paper_id": "2401.00001", "version": 1}
TEXT = "A passage about graphs. " * 40


@pytest.fixture(scope="session")
def looked_at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two papers, one of which has a document and two chunks; `looked_at` hands out copies."""
    lake = lake_of_lines(tmp_path_factory.mktemp("looked_at"), [line(1), line(2)], categories=("cs.LG",))
    make("filter_papers", lake)
    publish_rows(lake, "pdfs", [PAPER | {"status": "ok", "sha256": "0" * 64, "path": "a.pdf", "size_bytes": 9}])
    publish_rows(lake, "documents", [PAPER | {"status": "ok", "text": TEXT, "pages": [0, 100], "n_pages": 2}])
    publish_rows(lake, "chunks", [PAPER | {"chunk_id": f"2401.00001v1#{i}", "text": TEXT[:90]} for i in (0, 1)])
    return lake.root


@pytest.fixture
def looked_at(looked_at_once: Path, tmp_path: Path) -> Lake:
    """A lake of its own in which these are."""
    return Lake.open(shutil.copytree(looked_at_once, tmp_path / "lake"))


@pytest.fixture
def say(looked_at: Lake, capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Lines that a command prints about the lake."""
    logger = logging.getLogger("jobs")
    before = (logger.handlers[:], logger.level, logger.propagate)

    def call(command: str, *words: str, code: int = 0) -> list[str]:
        assert cli.main([command, "--lake", str(looked_at.root), *words]) == code
        captured = capsys.readouterr()
        return (captured.err if code else captured.out).splitlines()

    yield call
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def far(s3: FakeS3, machine: Machine) -> Lake:
    """An empty lake on a store."""
    return Lake.create(FAR, LakeFile("toy", Definition(), Source(metadata="toy.jsonl"), "demo"))


@pytest.fixture
def made_far(far: Lake) -> Lake:
    """A lake on a store in which the toy chain is made."""
    toy.write_source(far, toy.rows_of_two_windows())
    toy.make_chain(far)
    return far
