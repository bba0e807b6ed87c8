"""How Spark is started: the command line, what a cluster is given, which Java is taken."""

from __future__ import annotations

import importlib.util
import itertools
import os
import zipfile
from pathlib import Path

import pytest

from jobs.core import spark
from jobs.core.errors import UsageError
from jobs.core.spark import SparkConfig, find_java_home, java_version, submission, submit_command

ARGS = ["extract_text", "--lake", "lakes/a b; rm -rf $HOME", "--window", "2024-01-01_2024-01-08"]
LOCAL = SparkConfig()
CLUSTER = SparkConfig(spark_master="spark://127.0.0.1:7077", spark_driver_memory="2g")


def put_java(home: Path, version: str | None = None, *, says: str = "") -> Path:
    """A folder that looks like a Java: a release file, or only a program that answers as Java does."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    if version:
        (home / "release").write_text(f'IMPLEMENTOR="None"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.fixture(autouse=True)
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one Java, named by JAVA_HOME; no other is in sight."""
    home = put_java(tmp_path / "java", "17.0.9")
    monkeypatch.setattr(spark, "REPOSITORY", tmp_path / "checkout")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path))
    return home


def test_command_ends_with_the_entry_and_the_stages_words_as_they_are(tmp_path: Path) -> None:
    argv, _ = submit_command(LOCAL, ARGS, tmp_path)
    assert argv[0].endswith("/bin/spark-submit")
    assert argv[-len(ARGS) - 1 :] == [str(spark.ENTRY), *ARGS]


def test_deploy_mode_is_client_and_the_master_is_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "zip_package", lambda folder: folder / "jobs.zip")
    argv, _ = submit_command(CLUSTER, ARGS, tmp_path)
    pairs = dict(itertools.pairwise(argv))
    assert (pairs["--master"], pairs["--deploy-mode"]) == ("spark://127.0.0.1:7077", "client")
    assert (pairs["--name"], pairs["--driver-memory"]) == ("extract_text", "2g")


def test_environments_secrets_are_not_in_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "very-secret-word")
    argv, env = submit_command(LOCAL, ARGS, tmp_path)
    assert "very-secret-word" not in " ".join(argv)
    assert env["KAGGLE_KEY"] == "very-secret-word"


def test_environment_is_the_callers_and_what_spark_needs(
    tmp_path: Path, java: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    _, env = submit_command(LOCAL, ARGS, tmp_path)
    assert env.items() >= {**os.environ, **submission(LOCAL, ARGS, tmp_path).env}.items()
    assert (env["JAVA_HOME"], env["SPARK_LOCAL_IP"]) == (str(java), "127.0.0.1")
    assert env["PYTHONPATH"] == f"{spark.REPOSITORY}:/mine"


def test_spark_of_one_machine_listens_on_loopback_and_takes_no_archive(tmp_path: Path) -> None:
    made = submission(LOCAL, ARGS, tmp_path)
    assert (made.conf["spark.driver.bindAddress"], made.conf["spark.driver.host"]) == ("127.0.0.1", "127.0.0.1")
    assert made.py_files is None
    assert list(tmp_path.glob("_submit*")) == []


def test_cluster_gets_our_package_and_no_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "checkout" / "jobs" / "core"
    package.mkdir(parents=True)
    (package / "lake.py").write_text("")
    (package / "notes.txt").write_text("")
    made = submission(CLUSTER, ARGS, tmp_path)
    assert made.py_files is not None
    with zipfile.ZipFile(made.py_files) as archive:
        assert archive.namelist() == ["jobs/core/lake.py"]
    assert "spark.driver.bindAddress" not in made.conf
    assert "SPARK_LOCAL_IP" not in made.env


def test_submits_of_the_same_program_share_one_archive(tmp_path: Path) -> None:
    made = {submission(CLUSTER, ARGS, tmp_path).py_files for _ in range(2)}
    assert [str(path) for path in tmp_path.rglob("*.zip")] == list(made)


def test_another_program_has_an_archive_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "jobs" / "stage.py"
    module.parent.mkdir()
    monkeypatch.setattr(spark, "REPOSITORY", tmp_path)
    archives = []
    for content in ("VERSION = 1", "VERSION = 2"):
        module.write_text(content)
        archives.append(spark.zip_package(tmp_path))
    assert [zipfile.ZipFile(path).read("jobs/stage.py") for path in archives] == [b"VERSION = 1", b"VERSION = 2"]


def test_pyspark_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="make setup"):
        submission(LOCAL, ARGS, tmp_path)


def test_java_home_is_taken_first(java: Path) -> None:
    assert find_java_home() == java


def test_old_java_home_is_passed_over_for_the_projects_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(put_java(tmp_path / "old", "1.8.0_392")))
    own = put_java(tmp_path / "checkout" / ".java" / "jdk-21", "21.0.1")
    assert find_java_home() == own


def test_java_of_the_path_is_found_by_its_link(tmp_path: Path, java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME")
    links = tmp_path / "links"
    links.mkdir()
    (links / "java").symlink_to(java / "bin" / "java")
    monkeypatch.setenv("PATH", str(links))
    assert find_java_home() == java


def test_no_java_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(UsageError, match=r"needs Java 17 or newer; found none\. Install it") as refused:
        find_java_home()
    assert refused.value.exit_code == 64


def test_only_old_javas_are_named_in_the_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(put_java(tmp_path / "old", "11.0.2")))
    with pytest.raises(UsageError, match=r"found .*/old \(version 11\)"):
        find_java_home()


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ('openjdk version "17.0.9" 2023-10-17', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "22-ea" 2024-03-19', 22),
        ("Error: could not find libjava.so", None),
    ],
)
def test_version_of_a_java_without_release_file_is_asked(tmp_path: Path, says: str, version: int | None) -> None:
    assert java_version(put_java(tmp_path / "unknown", says=says)) == version


def test_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "nothing") is None


def test_archive_of_classes_is_used_where_it_was_made(java: Path, tmp_path: Path) -> None:
    def options() -> str:
        return submission(LOCAL, ARGS, tmp_path).conf["spark.driver.extraJavaOptions"]

    assert "SharedArchiveFile" not in options()
    archive = spark.class_archive(java)
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert f"-XX:SharedArchiveFile={archive} " in options()


def test_other_java_has_another_archive(java: Path, tmp_path: Path) -> None:
    assert spark.class_archive(java) != spark.class_archive(put_java(tmp_path / "other", "21.0.1"))
