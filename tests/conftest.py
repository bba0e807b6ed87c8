"""Fixtures that several rooms share."""

import os
import shutil
from pathlib import Path

import pytest

from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake
from tests.core import toy
from tests.soaking import ROUNDS

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake on weekly windows."""
    return new_lake(tmp_path / "lake")


@pytest.fixture
def another_lake(tmp_path: Path) -> Lake:
    """A second empty lake with the same definition."""
    return new_lake(tmp_path / "another")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake in which the toy chain is made; `made` hands out copies, which cost no fsync."""
    lake = new_lake(tmp_path_factory.mktemp("made") / "lake")
    toy.write_source(lake, toy.rows_of_two_windows())
    toy.make_chain(lake)
    return lake.root


@pytest.fixture
def made(lake: Lake, made_once: Path) -> Lake:
    """A lake of its own in which the toy chain is made."""
    shutil.copytree(made_once, lake.root, dirs_exist_ok=True)
    return lake


@pytest.fixture
def soak() -> int:
    """How many times over random faults are repeated: 1, or 10 with SPARK_ARXIV_SOAK=1."""
    return ROUNDS


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real papers, which is no part of the repository; tests of it are skipped where it is not."""
    folder = Path(os.environ.get("SPARK_ARXIV_CORPUS", REPOSITORY.parent / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"no corpus of real papers in {folder} (SPARK_ARXIV_CORPUS names another folder)")
    return folder


def new_lake(root: Path) -> Lake:
    return Lake.create(root, LakeFile("toy", Definition(), Source(metadata="toy.jsonl"), "demo"))
