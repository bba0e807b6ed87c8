"""Fixtures that several rooms share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.core import store
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake
from tests.core import toy
from tests.core.fake_s3 import FakeS3, Machine
from tests.soaking import ROUNDS

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as jobs/__main__.py: before torch is loaded

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


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """A store on loopback that clients of this process, and of its children, find by the environment."""
    monkeypatch.setattr(store, "RETRIES", 2)
    store._open.cache_clear()
    with FakeS3() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Become another machine: one with a mirror of its own."""

    def become(name: str) -> None:
        monkeypatch.setenv("LAKE_MIRROR", str(tmp_path / name))

    become("first")
    return become
