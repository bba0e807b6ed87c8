"""A server that a stage starts: real processes, with the habits of bad ones; none of them outlives the stage."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.core.config import PROFILES, resolve
from jobs.core.errors import TryAgainError, UsageError
from jobs.core.lake import Lake
from jobs.core.stages import STAGES, load
from jobs.tuning import local_server
from jobs.tuning.local_server import LocalServer, ServerSettings
from jobs.tuning.openai_chat import OpenAIChat
from jobs.tuning.teacher import Pair, TeacherRequest, TeacherSettings, load_teacher, read_pair
from tests.tuning import chunk_house as house
from tests.tuning import fake_openai

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")]

REPOSITORY = Path(__file__).resolve().parents[2]
PART = f"{house.WINDOW}/0-of-1"
SOON_S = 20.0  # nothing here takes a second on an idle machine


def command(*habits: str, model: str = "{model}") -> tuple[str, ...]:
    return (sys.executable, fake_openai.__file__, "--port", "{port}", "--model", model, *habits)


def server(tmp_path: Path, *habits: str, start_s: float = SOON_S, **others: Any) -> LocalServer:
    """A server that notes its processes in notes.json."""
    words = command("--notes", str(tmp_path / "notes.json"), *habits, **others)
    return LocalServer(ServerSettings(words, "toy", start_s), tmp_path / "server.log")


def notes(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "notes.json").read_text())


def is_there(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent to look does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < ends_at, f"not in {SOON_S:g} s: {what}"
        time.sleep(0.01)


def port_of(one: LocalServer) -> int:
    return int(one.url.split(":")[2].split("/")[0])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "GRACE_S", 0.3)


@pytest.mark.parametrize(
    "habits",
    [
        (),
        ("--wait-s", "0.5"),
        ("--child", "near"),
        ("--child", "apart"),
        ("--deaf", "--child", "near"),
        ("--deaf", "--child", "apart"),
    ],
)
def test_server_answers_inside_the_block_and_none_of_it_is_left_after(tmp_path: Path, habits: tuple[str, ...]) -> None:
    with server(tmp_path, *habits) as running:
        teacher = load_teacher("openai", TeacherSettings(model="toy", url=running.url))
        (reply,) = teacher.write([TeacherRequest("A passage.", "", "", "why", 1)])
        pids = notes(tmp_path)["pids"]
        assert all(map(is_there, pids))
    assert isinstance(read_pair(reply), Pair)
    assert len(pids) == 1 + ("--child" in habits)
    assert not any(map(is_there, pids))
    assert not listens(port_of(running))
    assert "loading the model" in (tmp_path / "server.log").read_text()


def test_error_in_the_block_ends_it_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), server(tmp_path, "--child", "near"):
        _ = 1 / 0
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_server_that_dies_at_once_is_explained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UsageError, match=r"exit code 3; its last line: CUDA out of memory.*--port \d+") as raised:
        server(tmp_path, "--dies", "CUDA out of memory", "--child", "apart").__enter__()
    assert "{port}" not in str(raised.value)
    assert "server: loading the model" in caplog.text
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_server_that_is_never_ready_is_ended_at_its_limit(tmp_path: Path) -> None:
    words = [word for word in command() if word not in ("--model", "{model}")]
    never = ServerSettings((*words, "--notes", str(tmp_path / "notes.json")), "toy", start_s=1.0)
    with pytest.raises(TryAgainError, match="not ready after 1 s"):
        LocalServer(never, tmp_path / "server.log").__enter__()
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_server_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="serves other, not 'toy'"):
        server(tmp_path, model="other").__enter__()
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_server_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"listens on 0\.0\.0\.0"):
        server(tmp_path, "--host", "0.0.0.0").__enter__()
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_program_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = ServerSettings(("/nowhere/bin/vllm", "serve", "--port", "{port}"), "toy")
    with pytest.raises(UsageError, match="'/nowhere/bin/vllm' is not on this machine"):
        LocalServer(settings, tmp_path / "server.log").__enter__()


def give_up_after_its_death(tmp_path: Path) -> None:
    with server(tmp_path):
        (pid,) = notes(tmp_path)["pids"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_there(pid), "death by SIGKILL")
        raise TryAgainError("all failed.")


def test_server_that_ended_meanwhile_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TryAgainError, match=r"all failed\. The server ended by itself .* code 137"):
        give_up_after_its_death(tmp_path)


def test_server_gets_no_secrets_and_not_our_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = ("SPARK_ARXIV_TEACHER_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "APP_TOKEN", "PYTHONPATH")
    kept = ("HF_TOKEN", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM")
    for name in (*hidden, *kept):
        monkeypatch.setenv(name, "x")
    with server(tmp_path):
        names = set(notes(tmp_path)["names"])
    assert names.isdisjoint(hidden)
    assert names >= set(kept)


def test_guard_that_is_killed_itself_takes_the_server_along(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        (pid,) = notes(tmp_path)["pids"]
        running._guard.kill()
        wait_for(lambda: not is_there(pid), "death with its guard")


# --- the stage


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = house.new_lake(tmp_path / "lake")
    house.publish_chunks(made, house.chunks())
    return made


def settings(tmp_path: Path, *habits: str) -> dict[str, Any]:
    words = command("--notes", str(tmp_path / "notes.json"), *habits)
    return {"teacher": "openai", "teacher_model": "toy", "teacher_command": words, "teacher_start_s": SOON_S}


def test_stage_starts_its_server_for_all_shards_and_ends_it(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, **settings(tmp_path, "--child", "near"), n_shards=3)
    assert len(house.drafts(lake, 3)) == 24
    assert {row["teacher"] for row in house.drafts(lake, 3)} == {"openai:toy"}
    assert not any(map(is_there, notes(tmp_path)["pids"]))


def test_nothing_to_ask_starts_no_server_and_the_command_is_in_no_key(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, **settings(tmp_path))
    (tmp_path / "notes.json").unlink()
    assert house.synthesize(lake, **settings(tmp_path, "--wait-s", "1")) == []
    house.synthesize(lake, **settings(tmp_path), n_shards=2)
    assert len(house.drafts(lake, 2)) == 24
    assert not (tmp_path / "notes.json").exists()


def test_server_that_dies_while_it_is_asked_costs_what_was_not_answered(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIChat.__init__, "__defaults__", (lambda _seconds: None,))
    with pytest.raises(TryAgainError, match=r"failed on all .* The server ended by itself .* exit code 9"):
        house.synthesize(lake, **settings(tmp_path, "--lasts", "10"), teacher_batch=4, teacher_concurrency=1)
    assert list(lake.root.glob("drafts/*/*/_work/*/server.log"))
    house.synthesize(lake, **settings(tmp_path), teacher_batch=4)
    assert len(house.drafts(lake)) == 24


def test_server_and_address_together_are_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both given"):
        house.synthesize(lake, **settings(tmp_path), teacher_url="http://127.0.0.1:1/v1")


def test_command_without_a_port_is_refused_when_the_run_is_planned(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"has no \{port\}"):
        house.synthesize(lake, teacher="openai", teacher_model="toy", teacher_command=("vllm", "serve"))


def test_profile_t4_shows_a_command_that_works_once_its_marks_are_taken_off() -> None:
    lines = (PROFILES / "t4.yaml").read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("# teacher: openai"))
    end = next(number for number, line in enumerate(lines) if number > begin and not line.startswith("#"))
    shown = yaml.safe_load("\n".join(line.removeprefix("# ").removeprefix("#") for line in lines[begin:end]))
    config = resolve(load(STAGES["synthesize_qa"]).Config, {"profile": shown}).values
    words = ServerSettings(config.teacher_command, config.teacher_model).words(8123)
    assert {"--host", "127.0.0.1", "8123", "mistral-7b", "half"} <= set(words)
    assert not any("{" in word for word in words)


def test_other_teachers_pass_the_command_over(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, **settings(tmp_path) | {"teacher": "extractive"}, min_draft_yield_01=0.0)
    assert not (tmp_path / "notes.json").exists()


@pytest.mark.parametrize(
    ("whom", "number"), [("stage", signal.SIGTERM), ("stage", signal.SIGKILL), ("group", signal.SIGKILL)]
)
def test_stage_that_is_killed_leaves_nothing_that_listens(
    lake: Lake, tmp_path: Path, whom: str, number: signal.Signals
) -> None:
    """`group` is what Airflow does after five seconds: all of the task's process group at once."""
    words = command("--notes", str(tmp_path / "notes.json"), "--child", "apart", "--wait-s", "600")
    flags = ["--teacher", "openai", "--teacher-model", "toy", "--teacher-command", " ".join(words)]
    argv = [sys.executable, "-m", "jobs", "synthesize_qa", "--lake", str(lake.root), "--window", house.WINDOW, *flags]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(argv, env=environment, cwd=REPOSITORY, process_group=0, stderr=subprocess.DEVNULL) as stage:
        wait_for((tmp_path / "notes.json").exists, "the server's start")
        pids = notes(tmp_path)["pids"]
        assert all(map(is_there, pids))
        (os.killpg if whom == "group" else os.kill)(stage.pid, number)
        assert stage.wait(SOON_S) == -number
    wait_for(lambda: not any(map(is_there, pids)), "the end of the server and its child")
