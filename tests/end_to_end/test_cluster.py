"""The Spark stages on a cluster of their own processes: the same parts as on one machine, or a sentence why not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.spark_cluster import standalone
from tests.end_to_end.stages_by_shell import command, environment, jobs, keys, leftovers
from tests.soaking import only_soaked

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.slow, only_soaked("a cluster of three JVMs")]

WEEK = "2024-01-01_2024-01-08"


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with standalone(tmp_path_factory.mktemp("cluster") / "spark") as url:
        yield url


def test_cluster_makes_the_parts_of_one_machine(master: str, tmp_path: Path) -> None:
    lakes = {}
    for name, spark in (("cluster", master), ("machine", "local[*]")):
        done = jobs(
            "run", "--goal", "papers", "--lake", tmp_path / name, "--spark-master", spark, SPARK_LOCAL_IP="127.0.0.1"
        )
        assert done.returncode == 0, done.stderr
        lakes[name] = keys(tmp_path / name)
        assert leftovers(tmp_path / name) == []
    assert lakes["cluster"] == lakes["machine"]


def test_lake_that_the_executors_do_not_see_is_refused(master: str, tmp_path: Path) -> None:
    lake = "/proc/self/cwd/lake"  # another folder for each process, as a laptop's is to a cluster
    args = ("--lake", lake, "--window", WEEK)
    for stage in ("fetch_snapshot", "filter_papers"):
        done = subprocess.run(
            [*command(stage, *args), *(("--spark-master", master) if stage == "filter_papers" else ())],
            env=environment(SPARK_LOCAL_IP="127.0.0.1"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert done.returncode == 64, done.stderr
    assert f"do not see this lake, {tmp_path / 'lake'}" in done.stderr
    assert "mounts at the same path" in done.stderr
    assert list((tmp_path / "lake").glob(".shared-*")) == []
