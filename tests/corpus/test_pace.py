"""The pause between requests: in a process, between processes, after what a server asked for."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.core.config import REPOSITORY
from jobs.core.errors import TryAgainError, UsageError
from jobs.corpus import pace
from jobs.corpus.pace import Pace

# Takes `n` turns and prints when each began, by the clock that all processes share.
TAKE_TURNS = """
import sys, time
from pathlib import Path
from jobs.corpus.pace import Pace
pace = Pace(0.2, Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with pace.turn():
        pace.wait()
        print(time.time(), flush=True)
        time.sleep(0.05)
        print(time.time(), flush=True)
"""
HOLD = """
import sys, time
from pathlib import Path
from jobs.corpus.pace import Pace
with Pace(0.2, Path(sys.argv[1])).turn():
    print("held", flush=True)
    time.sleep(60)
"""


class Clock:
    """Jumps when somebody sleeps and stands still otherwise."""

    def __init__(self) -> None:
        self.now, self.sleeps = 1_000_000.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def paced(clock: Clock, file: Path | None = None, interval_s: float = 3.0) -> Pace:
    return Pace(interval_s, file, clock=clock, sleep=clock.sleep)


def ask(one: Pace) -> None:
    with one.turn():
        one.wait()


def start(program: str, *args: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_first_request_waits_for_nothing_and_the_next_for_the_pause(clock: Clock) -> None:
    one = paced(clock)
    ask(one)
    ask(one)
    assert clock.sleeps == [pytest.approx(3.0)]


def test_pause_is_over_when_its_time_is(clock: Clock) -> None:
    one = paced(clock)
    ask(one)
    clock.now += 3.1
    ask(one)
    assert clock.sleeps == []


def test_pause_holds_for_whoever_meets_at_the_file(clock: Clock, tmp_path: Path) -> None:
    ask(paced(clock, tmp_path / "arxiv.org"))
    ask(paced(clock, tmp_path / "arxiv.org"))
    ask(paced(clock, tmp_path / "elsewhere"))
    assert clock.sleeps == [pytest.approx(3.0, abs=0.01)]


def test_wait_that_a_server_asked_of_one_holds_for_all(clock: Clock, tmp_path: Path) -> None:
    paced(clock, tmp_path / "arxiv.org").put_off(60)
    ask(paced(clock, tmp_path / "arxiv.org"))
    assert clock.sleeps == [pytest.approx(60, abs=0.01)]


def test_longer_wait_that_was_asked_before_stands(clock: Clock, tmp_path: Path) -> None:
    one = paced(clock, tmp_path / "arxiv.org")
    one.put_off(60)
    one.put_off(5)
    ask(one)
    assert clock.sleeps == [pytest.approx(60, abs=0.01)]


def test_wait_that_no_attempt_can_last_is_not_begun(clock: Clock, tmp_path: Path) -> None:
    one = paced(clock, tmp_path / "arxiv.org")
    one.put_off(1000)
    with pytest.raises(TryAgainError, match=rf"no request for another 1000 s, as {tmp_path / 'arxiv.org'} says"):
        ask(one)
    assert clock.sleeps == []


def test_file_cut_short_by_a_dying_machine_is_no_wait(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "arxiv.org").write_text("")
    ask(paced(clock, tmp_path / "arxiv.org"))
    assert clock.sleeps == []


def test_without_a_pause_there_is_no_file(clock: Clock, tmp_path: Path) -> None:
    ask(paced(clock, tmp_path / "mirror", interval_s=0.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # two processes
def test_processes_take_turns_and_keep_the_pause(tmp_path: Path) -> None:
    both = [start(TAKE_TURNS, tmp_path / "arxiv.org", 4) for _ in range(2)]
    told = [list(map(float, process.communicate(timeout=60)[0].split())) for process in both]
    turns = sorted(pair for times in told for pair in zip(times[::2], times[1::2], strict=True))
    assert len(turns) == 8
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(turns)), "no two at once"
    assert turns[-1][0] - turns[0][0] > 6 * 0.2, "seven pauses, the first and the last told late by chance"


@pytest.mark.slow  # a process
def test_turn_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    holder = start(HOLD, tmp_path / "arxiv.org")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    begun_at = time.monotonic()
    ask(Pace(0.2, tmp_path / "arxiv.org"))
    assert time.monotonic() - begun_at < 2


@pytest.mark.slow  # a process
def test_server_that_others_hold_on_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_WAIT_S", 0.1)
    holder = start(HOLD, tmp_path / "arxiv.org")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(TryAgainError, match="one connection at a time is allowed"):
            ask(Pace(0.2, tmp_path / "arxiv.org"))
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://export.arxiv.org", "arxiv.org"),
        ("https://oaipmh.arxiv.org/oai", "arxiv.org"),
        ("https://arxiv.org", "arxiv.org"),
        ("https://notarxiv.org", "notarxiv.org"),
        ("http://127.0.0.1:8000", "127.0.0.1"),
    ],
)
def test_hosts_of_arxiv_are_one_server(tmp_path: Path, url: str, name: str) -> None:
    assert pace.shared("", tmp_path / "lakes" / "mine", 3.0, url).file == tmp_path / "lakes" / "_clocks" / name


def test_folder_of_the_settings_is_where_jobs_meet(tmp_path: Path) -> None:
    found = pace.shared(str(tmp_path / "shared"), tmp_path / "lake", 3.0, "https://arxiv.org").file
    assert found == tmp_path / "shared" / "arxiv.org"


def test_folder_that_cannot_be_written_says_which_other_to_give(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--clock-folder DIR"):
        ask(Pace(3.0, tmp_path / "file" / "arxiv.org"))
