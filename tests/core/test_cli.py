"""The front door: exit codes and messages of real processes, and what it costs to ask for help."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.core import cli, durable
from jobs.core.lake import Lake
from jobs.core.stages import STAGES
from tests.core import toy
from tests.core.test_durable import HOLDER, kill, start

pytestmark = pytest.mark.slow  # children and files: a second here and there

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ("run", "plan", "list", "show", "config", "search", "copy", "prune")
WEEK = toy.WINDOWS[0]
HEAVY = ("torch", "pyspark", "pyarrow", "pandas", "numpy", "pymupdf", "transformers", "httpx", "yaml", "orjson")


def jobs(*args: object, cwd: Path = REPOSITORY, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m jobs ARGS` as a user calls it."""
    command = [sys.executable, "-m", "jobs", *map(str, args)]
    env = {name: value for name, value in os.environ.items() if name != "LAKE"} | {"PYTHONPATH": str(REPOSITORY)} | env
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """A command inside this process, for what does not depend on the process: its stdout is returned."""
    logger = logging.getLogger("jobs")
    before = (logger.handlers[:], logger.level, logger.propagate)

    def call(*args: object) -> str:
        assert cli.main([str(arg) for arg in args]) == 0
        return capsys.readouterr().out

    yield call
    logger.handlers[:], logger.level, logger.propagate = before


def test_help_takes_less_than_a_second_of_cpu() -> None:
    before = os.times()
    ended = jobs("--help")
    after = os.times()
    assert ended.returncode == 0
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.0


@pytest.mark.parametrize("args", [("--help",), ("fetch_pdfs", "--help"), ("config", "fetch_pdfs")])
def test_reader_that_left_ends_a_command_quietly(args: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        ended = subprocess.run(
            [sys.executable, "-m", "jobs", *args], cwd=REPOSITORY, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (141, "")


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, jobs.core.cli as cli; cli.main(['--help']); print(sorted(set({HEAVY}) & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command_and_stage(said: Callable[..., str]) -> None:
    usage = said("--help")
    assert all(f"  {name}" in usage for name in COMMANDS)
    assert all(name in usage for name in STAGES)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "search"])
def test_help_of_a_command_ends_with_0(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert not ended.value.code
    assert f"python -m jobs {command}" in capsys.readouterr().out


def test_no_command_shows_the_usage_and_is_64() -> None:
    ended = jobs()
    assert (ended.returncode, "stages, in the pipeline's order" in ended.stdout) == (64, True)


def test_unknown_command_is_64_and_says_where_to_look() -> None:
    ended = jobs("filter")
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "UsageError: 'filter' is no command and no stage" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("list", "--lakes", "x"),
        ("run", "--goal", "everything"),
        ("copy", "--lake", "x"),
        ("prune", "--keep-pdfs", "never"),
        ("config",),
    ],
)
def test_flag_that_argparse_refuses_is_64(args: tuple[str, ...]) -> None:
    assert jobs(*args).returncode == 64


def test_unknown_setting_is_64_with_the_nearest(tmp_path: Path) -> None:
    ended = jobs("plan", "--lake", tmp_path / "lake", "--windows", WEEK, "--chunk-char", 7)
    assert (ended.returncode, "unknown setting" in ended.stderr) == (64, True)


def test_damaged_lake_file_is_65(lake: Lake) -> None:
    (lake.root / "LAKE.json").write_text("{")
    ended = jobs("list", "--lake", lake.root)
    assert (ended.returncode, "cannot be read as a lake's definition" in ended.stderr) == (65, True)


def test_no_lake_is_66(tmp_path: Path) -> None:
    ended = jobs("list", "--lake", tmp_path)
    assert (ended.returncode, "is no lake" in ended.stderr) == (66, True)


@pytest.mark.slow
def test_part_that_is_held_is_75(made: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    durable.make_dirs(target / "chunks" / WEEK)
    holder = start(HOLDER, target / "chunks" / WEEK / ".lock")
    code = "import jobs.core.copying as u, jobs.core.cli as c, sys; u.LOCK_WAIT_S = 0.2; sys.exit(c.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "copy", "--lake", str(made.root), "--to", str(target)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    kill(holder)
    assert (ended.returncode, "another process" in ended.stderr) == (75, True)


@pytest.mark.parametrize("extra", [("--goal", "papers"), ("--only", "window")])
def test_stage_that_the_run_does_not_want_is_99(lake: Lake, extra: tuple[str, ...]) -> None:
    ended = jobs("build_index", "--lake", lake.root, *extra)
    assert (ended.returncode, "is not wanted" in ended.stderr) == (99, True)


def test_missing_input_is_66_before_anything_starts(lake: Lake) -> None:
    ended = jobs("fetch_pdfs", "--lake", lake.root, "--window", WEEK)
    assert ended.returncode == 66
    assert f"python -m jobs filter_papers --lake {lake.root} --window {WEEK}" in ended.stderr


def test_spark_stage_without_input_starts_no_jvm(lake: Lake) -> None:
    ended = jobs("chunk_documents", "--lake", lake.root, "--window", WEEK, JAVA_HOME="/nowhere")
    assert (ended.returncode, "documents" in ended.stderr) == (66, True)


def test_check_says_10_while_there_is_something_to_do(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("")
    ended = jobs(
        "fetch_snapshot", "--lake", lake.root, "--metadata", tmp_path / "own.jsonl", "--window", WEEK, "--check"
    )
    assert (ended.returncode, "never made" in ended.stderr) == (10, True)


def test_list_tells_parts_rows_and_bytes(made: Lake, said: Callable[..., str]) -> None:
    lines = said("list", "--lake", made.root).splitlines()
    assert lines[0].startswith(f"toy ({made.root}) profile=demo")
    assert [line.split()[:3] for line in lines[1:]] == [
        ["snapshots", "parts=1", "rows=6"],
        ["papers", "parts=2", "rows=6"],
        ["documents", "parts=2", "rows=6"],
        ["chunks", "parts=2", "rows=6"],
    ]


def test_lake_comes_from_the_environment(made: Lake) -> None:
    assert jobs("list", LAKE=str(made.root)).stdout.startswith("toy (")


def test_show_tells_a_part_with_its_inputs(made: Lake, said: Callable[..., str]) -> None:
    shown = said("show", "documents", WEEK, "--lake", made.root)
    assert f"documents/{WEEK} key=" in shown
    assert f"  from papers/{WEEK}" in shown


def test_show_follows_a_paper_through_the_datasets(made: Lake, said: Callable[..., str]) -> None:
    lines = said("show", "2401.00002", "--lake", made.root).splitlines()
    rows = lines[: next(i for i, line in enumerate(lines) if line.startswith("came of"))]
    assert [line.split()[0] for line in rows] == [f"{name}/{WEEK}" for name in ("papers", "documents", "chunks")]


def test_show_of_what_is_not_there_is_66(made: Lake, said: Callable[..., str]) -> None:
    assert cli.main(["show", "2401.99999", "--lake", str(made.root)]) == 66


@pytest.mark.parametrize(("flags", "expected"), [((), "(default)"), (("--max-pdf-mb", "7"), "max_pdf_mb = 7  (flag)")])
def test_config_tells_where_a_value_came_from(flags: tuple[str, ...], expected: str, said: Callable[..., str]) -> None:
    told = said("config", "fetch_pdfs", *flags)
    assert expected in told
    assert "pdfs = sample/pdf  (profile demo)" in told


def test_config_tells_what_the_lake_decided(lake: Lake, said: Callable[..., str]) -> None:
    assert "chunk_chars = 1000  (lake)" in said("config", "chunk_documents", "--lake", lake.root)


def test_results_go_to_stdout_and_the_log_to_stderr_in_utc(lake: Lake) -> None:
    ended = jobs("list", "--lake", lake.root / "missing", TZ="Asia/Tokyo")
    hour = time.strftime("%Y-%m-%d %H:", time.gmtime())
    assert ended.stdout == ""
    assert ended.stderr.startswith(hour)
    assert " ERROR list: InputMissingError: " in ended.stderr


def test_every_error_that_a_job_explains_is_one_line(lake: Lake) -> None:
    assert len(jobs("list", "--lake", lake.root / "missing").stderr.splitlines()) == 1


def test_interrupt_is_130_and_says_what_stays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_command", lambda name, in_spark: interrupted)
    assert cli.main(["list"]) == 130
    assert "what was published stays" in capsys.readouterr().err
