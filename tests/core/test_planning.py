"""What a plan says before anything runs: papers, parts to do and why, costs, and what is missing."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core import cli, planning, spark
from jobs.core.lake import Lake
from jobs.corpus import chunk_documents, network_guard
from tests.core.toy import WINDOWS
from tests.corpus.test_filter_papers import WEEK, lake_of_lines, line, make, point_to, publish_rows

pytestmark = pytest.mark.usefixtures("own_log")

Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def own_log() -> Iterator[None]:
    """The command line sets the log up for its process; here it is put back."""
    logger = logging.getLogger("jobs")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose metadata of three papers was fetched, and nothing else."""
    lake = lake_of_lines(tmp_path, [line(number) for number in (1, 2, 3)])
    (tmp_path / "pdf").mkdir()
    return Lake.create(lake.root, point_to(lake, pdfs=str(tmp_path / "pdf")).lake_file)


@pytest.fixture
def plan(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Plan:
    """The plan of the window as JSON; `exit_code` is put beside."""

    def call(*words: str) -> dict[str, Any]:
        argv = ["plan", "--lake", str(lake.root), "--window", WEEK, "--goal", "papers", "--json", *words]
        exit_code = cli.main(argv)
        captured = capsys.readouterr()
        made: dict[str, Any] = json.loads(captured.out)
        return made | {"exit_code": exit_code, "said": captured.err}

    return call


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(spark, "REPOSITORY", tmp_path)


def stage(made: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in made["stages"] if one["stage"] == name)
    return found


def walk(lake: Lake) -> None:
    """Make all parts of the window without a JVM; no PDF is there, so documents and chunks are empty."""
    for name in ("filter_papers", "fetch_pdfs", "extract_text", "chunk_documents"):
        make(name, lake)


def test_papers_of_the_window_are_counted_from_the_source(plan: Plan) -> None:
    assert plan()["papers"] == 3


def test_papers_outside_the_windows_are_not_counted(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--lake", str(lake.root), "--window", WINDOWS[1], "--goal", "papers"]) == 0
    assert capsys.readouterr().out.startswith(f"lake {lake.root}: 1 windows, 0 papers\n")


def test_stages_are_those_of_the_goal_in_order(plan: Plan) -> None:
    names = [one["stage"] for one in plan()["stages"]]
    assert names == ["fetch_snapshot", "filter_papers", "fetch_pdfs", "extract_text", "chunk_documents"]


def test_done_and_to_do_are_told_apart_with_the_reason(plan: Plan) -> None:
    made = plan()
    assert (stage(made, "fetch_snapshot")["done"], stage(made, "fetch_snapshot")["to_do"]) == (1, 0)
    assert stage(made, "filter_papers")["why"] == {"never made": 1}
    assert stage(made, "fetch_pdfs")["why"] == {"if its input changes": 1}
    assert made["to_do"] == 4


def test_what_is_behind_a_stage_that_runs_counts_as_to_do(lake: Lake, plan: Plan, tmp_path: Path) -> None:
    walk(lake)
    assert stage(plan("--max-pages", "10"), "extract_text")["why"] == {"max_pages 600 -> 10": 1}
    assert stage(plan("--max-pages", "10"), "chunk_documents")["why"] == {"if its input changes": 1}


def test_parts_of_an_older_stage_version_are_counted_and_stand(
    lake: Lake, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(lake)
    older = chunk_documents.VERSION
    monkeypatch.setattr(chunk_documents, "VERSION", older + 1)
    made = stage(plan(), "chunk_documents")
    assert (made["older_version"], made["done"], made["to_do"]) == (1, 1, 0)
    upgraded = stage(plan("--upgrade"), "chunk_documents")
    assert upgraded["why"] == {f"made by stage version {older}, --upgrade asks for {older + 1}": 1}


@pytest.mark.usefixtures("no_java")
def test_missing_java_stops_the_plan_when_spark_has_work(plan: Plan) -> None:
    made = plan()
    assert made["exit_code"] == 64
    assert any("Spark needs Java 17 or newer; found none" in sentence for sentence in made["missing"])


@pytest.mark.usefixtures("no_java")
def test_missing_java_does_not_matter_when_nothing_is_to_do(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk(lake)
    argv = ["plan", "--lake", str(lake.root), "--window", WEEK, "--goal", "papers"]
    assert cli.main(argv) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_missing_metadata_is_64_and_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = tmp_path / "absent.jsonl"
    argv = ["plan", "--lake", str(tmp_path / "new"), "--metadata", str(absent), "--window", WEEK, "--goal", "papers"]
    assert cli.main([*argv, "--grid", "week"]) == 64
    captured = capsys.readouterr()
    assert f"--metadata {absent}: no such file" in captured.out + captured.err


def test_missing_folder_of_pdfs_is_64_and_names_it(plan: Plan, lake: Lake, tmp_path: Path) -> None:
    shutil.rmtree(lake.root / "snapshots")
    made = plan("--pdfs", str(tmp_path / "absent"))
    assert (made["exit_code"], str(tmp_path / "absent") in made["said"]) == (64, True)


def test_plan_writes_nothing(tmp_path: Path, lake: Lake) -> None:
    new = tmp_path / "new"
    argv = ["--lake", str(new), "--metadata", str(lake.lake_file.source.metadata), "--window", WEEK, "--goal", "papers"]
    cli.main(["plan", *argv])
    assert not new.exists()


def test_define_writes_the_definition_and_says_where(
    tmp_path: Path, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    source = ["--metadata", str(lake.lake_file.source.metadata), "--categories", "cs.CL"]
    assert cli.main(["define", "--lake", str(new), "--window", WEEK, "--grid", "week", *source]) == 0
    assert Lake.open(new).definition.categories == ("cs.CL",)
    assert capsys.readouterr().out == f"{new}\n"
    assert Lake.open(new).parts("snapshots") == []


@pytest.mark.parametrize(
    ("pdfs", "seconds"), [("gs://arxiv-dataset https://export.arxiv.org", 0.22), ("https://export.arxiv.org", 4.3)]
)
def test_pdfs_from_afar_cost_what_arxivs_servers_usually_give(
    lake: Lake, plan: Plan, pdfs: str, seconds: float
) -> None:
    Lake.create(lake.root, point_to(lake, pdfs=pdfs).lake_file)
    made = stage(plan(), "fetch_pdfs")
    assert made["rate_from"] == "what arXiv's servers usually give"
    assert (made["hours"], made["gb"]) == (round((3 * seconds + 1) / 3600, 4), round(3 * 4.3e6 / 1e9, 4))


def test_cost_comes_from_benchmarks_until_the_lake_knows(
    lake: Lake, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = tmp_path / "rates.json"
    rate = {"seconds_per_paper": 3600.0, "fixed_seconds": 1800.0, "bytes_per_paper": 1e9}
    rates.write_text(json.dumps({"filter_papers": rate}))
    monkeypatch.setattr(planning, "RATES_FILE", rates)
    made = stage(plan(), "filter_papers")
    assert (made["hours"], made["gb"], made["rate_from"]) == (3.5, 3.0, "benchmarks")
    assert stage(plan(), "fetch_pdfs")["hours"] is None


def test_cost_comes_from_the_lakes_own_manifests_once_they_saw_enough(
    lake: Lake, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "RATES_FILE", tmp_path / "absent.json")
    papers = [{"paper_id": f"2401.{number:05d}", "version": 1, "categories": [], "authors": []} for number in range(99)]
    publish_rows(lake, "papers", papers, part=WINDOWS[1])
    assert stage(plan(), "filter_papers")["rate_from"] == ""
    papers.append(papers[0] | {"paper_id": "2401.00100"})
    publish_rows(lake, "papers", papers, part=WINDOWS[1])
    assert stage(plan(), "filter_papers")["rate_from"] == "this lake"


def test_disk_that_is_too_small_stops_the_plan(lake: Lake, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 500_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    made = plan()
    assert made["exit_code"] == 64
    assert any(sentence.startswith("Disk: 1.0 GB are needed") for sentence in made["missing"])


def test_text_of_a_plan_has_a_line_a_stage(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--lake", str(lake.root), "--window", WEEK, "--goal", "papers"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"lake {lake.root}: 1 windows, 3 papers"
    assert [one.split()[0] for one in lines] == [
        "fetch_snapshot",
        "filter_papers",
        "fetch_pdfs",
        "extract_text",
        "chunk_documents",
    ]
    assert lines[1].endswith("never made")


def test_submission_gives_a_scheduler_the_parts_of_the_command(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["extract_text", "--lake", str(lake.root), "--window", WEEK]
    assert cli.main(["submission", *args]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["application_args"], made["name"], made["py_files"]) == (args, "extract_text", None)
    assert made["binary"].endswith("spark-submit")


@pytest.fixture
def plan_of_kaggle(tmp_path: Path, capsys: pytest.CaptureFixture[str], no_network: None) -> Callable[..., str]:
    """What the plan says of a lake of Kaggle's; no server may be asked."""

    def call(*words: str) -> str:
        argv = ["plan", "--lake", str(tmp_path / "kaggle"), "--source", "kaggle", "--window", WEEK, "--goal", "papers"]
        cli.main([*argv, *words])
        return "".join(capsys.readouterr())

    return call


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(network_guard, "resolve", refuse)


def test_plan_without_a_snapshot_knows_the_cap_alone(plan_of_kaggle: Callable[..., str]) -> None:
    said = plan_of_kaggle("--max-papers-per-window", "20")
    assert "1 windows, 20 papers at most: no snapshot is here yet" in said
    assert "1 windows, ? papers at most" in plan_of_kaggle()


def test_plan_with_a_snapshot_counts_in_it(tmp_path: Path, plan_of_kaggle: Callable[..., str]) -> None:
    root = tmp_path / "kaggle"
    Lake.create(root, point_to(lake_of_lines(tmp_path / "file", [line(1), line(2)]), source="kaggle").lake_file)
    shutil.copytree(tmp_path / "file" / "lake" / "snapshots" / "file", root / "snapshots" / "oai")
    manifest = next((root / "snapshots" / "oai").glob("*/_MANIFEST.json"))
    content = json.loads(manifest.read_text()) | {"part": "oai"}
    content["extra"] = {"since": "2024-01-01", "sets": [], "kaggle": "", "until": "2024-01-09"}
    manifest.write_text(json.dumps(content))
    assert "1 windows, 2 papers in the snapshot that is here" in plan_of_kaggle()
    assert "1 windows, 1 papers in the snapshot" in plan_of_kaggle("--max-papers-per-window", "1")


def test_room_for_the_snapshot_is_looked_for_before_it_is_fetched(
    plan_of_kaggle: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=9_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert "Disk: 10.0 GB are needed" in plan_of_kaggle()
