"""The Spark stages on a lake that lies on a store, with executors that share no folder with the driver."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.config import REPOSITORY
from jobs.core.definition import Source
from jobs.core.lake import Lake
from jobs.core.mirror import disk_of
from tests.core import toy
from tests.core.fake_s3 import BUCKET, FakeS3, Machine
from tests.corpus.test_filter_papers import WEEK, LocalContext, LocalRows, make, stage_lake

pytestmark = pytest.mark.slow

ADDRESS = f"s3://{BUCKET}/lakes/sample"
SAMPLE = REPOSITORY / "sample"
FETCHES = ("fetch_snapshot", "filter_papers", "fetch_pdfs")
STAGES = (*FETCHES, "extract_text", "chunk_documents")


class FarContext(LocalContext):
    """Spark whose executors run on another machine: what they read and write goes through the store."""

    def parallelize(self, rows: list[Any], n: int) -> LocalRows:
        return FarRows(super().parallelize(rows, n)._partitions)


class FarRows(LocalRows):
    def mapPartitions(self, function: Any) -> LocalRows:  # noqa: N802  Spark's name
        with executors():
            return super().mapPartitions(function)

    def foreachPartition(self, function: Any) -> None:  # noqa: N802
        with executors():
            super().foreachPartition(function)


class DyingContext(FarContext):
    """Loses its executors behind the first partition."""

    def parallelize(self, rows: list[Any], n: int) -> LocalRows:
        return FarRows([[rows[0]], ["no bucket"]])


@contextlib.contextmanager
def executors() -> Iterator[None]:
    """Be on the executors' machine for the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKE_MIRROR", os.environ.get("LAKE_MIRROR", "") + "-executors")
        yield


def sample_on(address: Path | str) -> Lake:
    return stage_lake(address, Source(metadata=str(SAMPLE / "metadata.jsonl"), pdfs=str(SAMPLE / "pdf")))


def make_all(lake: Lake, context: type) -> dict[str, list[str]]:
    return {stage: made for stage in STAGES if (made := make(stage, lake, context=context))}


@pytest.fixture
def far(s3: FakeS3, machine: Machine) -> Lake:
    return sample_on(ADDRESS)


def test_stages_on_a_store_make_the_keys_of_a_disk(far: Lake, tmp_path: Path, s3: FakeS3) -> None:
    near = sample_on(tmp_path / "near")
    make_all(near, LocalContext)
    make_all(far, FarContext)
    assert toy.keys(far) == toy.keys(near)
    assert len(toy.keys(far)) == 4
    assert [name for name in s3.names() if "/_work/" in name] == []
    with executors():
        files = [path for path in disk_of(ADDRESS).root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if "pdfs" in path.parts} == {".pdf"}, (
        "executors fetch what they read, no more"
    )
    assert make_all(far, LocalContext) == {}


def test_what_executors_finished_is_taken_over_by_another_machine(far: Lake, machine: Machine) -> None:
    for stage in FETCHES:
        make(stage, far, context=FarContext)
    with pytest.raises(AttributeError):
        make("extract_text", far, context=DyingContext)
    machine("second")
    lake = Lake.open(ADDRESS)
    make("extract_text", lake, context=FarContext)
    part = lake.current("documents", WEEK)
    assert part is not None
    assert 0 < sum(map(len, FarContext.given)) < part.manifest.rows
