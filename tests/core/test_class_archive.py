"""The archive of Spark's classes: made by a real Spark, used by the next, and no harm when it is not usable."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs.core import class_archive, spark
from jobs.core.errors import ContractError
from jobs.core.spark import SparkConfig, find_java_home, submission

pytestmark = pytest.mark.spark


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without an archive. The option must reach the JVM, so the path has no blank."""
    monkeypatch.setattr(spark, "REPOSITORY", tmp_path)
    return tmp_path


def start(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    made = submission(SparkConfig(), ["warm_up"], tmp_path)
    java = f"{made.conf['spark.driver.extraJavaOptions']} {' '.join(options)}"
    argv = [made.binary, "--master", "local[1]", "--conf", f"spark.driver.extraJavaOptions={java}"]
    argv += ["--conf", "spark.ui.enabled=false", str(class_archive.WARM_UP)]
    return subprocess.run(argv, env=os.environ | made.env, capture_output=True, text=True, timeout=120, check=False)


def test_archive_is_made_once_and_read_by_the_next_spark(checkout: Path) -> None:
    assert class_archive.main() == 0
    path = spark.class_archive(find_java_home())
    made_at = path.stat().st_mtime_ns
    assert class_archive.main() == 0
    assert path.stat().st_mtime_ns == made_at
    assert list(path.parent.iterdir()) == [path]
    loaded = start(checkout, "-Xlog:class+load=info:stdout")
    assert loaded.returncode == 0
    assert "org.apache.spark.SparkContext source: shared objects file (top)" in loaded.stdout


def test_damaged_archive_is_ignored_quietly(checkout: Path) -> None:
    path = spark.class_archive(find_java_home())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no archive")
    ended = start(checkout)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_spark_that_fails_leaves_nothing_and_says_why(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_archive, "WARM_UP", checkout / "not_there.py")
    path = spark.class_archive(find_java_home())
    with pytest.raises(ContractError, match="exit"):
        class_archive.make_archive(path)
    assert list(path.parent.iterdir()) == []
