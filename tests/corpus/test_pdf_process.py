"""The process that reads: its limits, its deaths, and that nothing of it stays behind."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UsageError
from jobs.corpus.pdf import Limits, PdfReader
from tests.corpus import make_pdfs

READERS = "tests.corpus.hostile_readers"
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # each test starts a process or more

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does this on Linux alone")


def reader(function: str, **limits: Any) -> PdfReader:
    return PdfReader(Limits(**limits), f"{READERS}:{function}")


def saying(words: str) -> bytes:
    return make_pdfs.one_page(b"BT /F1 9 Tf 72 700 Td (%b) Tj ET" % words.encode())


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "paper.pdf"
    path.write_bytes(saying("a good paper"))
    return path


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    path = tmp_path / "crashing.pdf"
    path.write_bytes(saying("crash"))
    return path


def test_one_process_reads_many_documents(paper: Path) -> None:
    with reader("plain") as one:
        one.read(paper)
        first = one.pid
        for _ in range(5):
            one.read(paper)
        assert one.pid == first


def test_process_is_replaced_after_its_share_of_documents(paper: Path) -> None:
    with reader("about_the_process", recycle_after=3) as one:
        pids = [ast.literal_eval(one.read(paper).text or "")["pid"] for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_memory_of_a_leaking_process_stays_bounded(paper: Path) -> None:
    most_mb = 0
    with reader("leak", recycle_rss_mb=250) as one:
        for _ in range(15):  # one process would have 300 MB more than the 50 to 150 of its start
            assert one.read(paper).status == "ok"
            most_mb = max(most_mb, resident_mb(one.pid))
    assert 0 < most_mb <= 250


def resident_mb(pid: int | None) -> int:
    if pid is None:
        return 0
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True).stdout) // 1024


def test_reused_process_gets_new_cpu_time_for_each_document(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(saying("0.3"))
    with reader("burn", cpu_s=1) as one:
        one.read(path)
        first = one.pid
        assert all(one.read(path).status == "ok" for _ in range(29))  # 9 s in all, of which 1 s is allowed each
        assert one.pid == first


def test_document_that_uses_up_its_cpu_time_is_timeout(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(saying("60"))
    with reader("burn", cpu_s=1, timeout_s=60) as one:
        extraction = one.read(path)
    assert (extraction.reason, extraction.detail) == ("timeout", "used 1 s of CPU")


def test_hanging_process_is_killed(paper: Path) -> None:
    with reader("hang", timeout_s=0.3) as one:
        one.read(paper)
        assert one.pid is None
    assert one.read(paper).reason == "timeout"
    one.close()


def test_crash_names_its_signal(crashing: Path) -> None:
    with reader("segfault") as one:
        extraction = one.read(crashing)
    assert (extraction.reason, extraction.detail) == ("crashed", "SIGSEGV")


def test_exit_names_its_code(paper: Path) -> None:
    with reader("leave") as one:
        extraction = one.read(paper)
    assert (extraction.reason, extraction.detail) == ("crashed", "exit code 3")


def test_results_after_a_crash_belong_to_their_files(paper: Path, crashing: Path) -> None:
    with reader("segfault") as one:
        results = [one.read(path) for path in (paper, crashing, paper, crashing, paper)]
    assert [result.reason for result in results] == [None, "crashed", None, "crashed", None]
    assert [result.text for result in results if result.text] == ["a good paper\n"] * 3


def test_document_is_not_blamed_for_damage_done_by_another(paper: Path) -> None:
    with reader("segfault_when_used") as one:
        assert [one.read(paper).status for _ in range(3)] == ["ok", "ok", "ok"]


def test_process_that_dies_between_documents_costs_none(paper: Path) -> None:
    with reader("die_later") as one:
        assert one.read(paper).status == "ok"
        first = one.pid
        assert first
        assert wait_until(lambda: not is_running(first))
        assert one.read(paper).status == "ok"
        assert one.pid != first


@linux_only
def test_python_that_eats_memory_is_memory(paper: Path) -> None:
    with reader("eat_memory", memory_mb=100) as one:
        assert one.read(paper).reason == "memory"
        assert one.pid is None  # what is left of such a process reads no other document


@pytest.mark.parametrize("function", ["talk_nonsense", "announce_too_much"])
def test_answer_that_is_none_is_crashed(function: str, paper: Path) -> None:
    with reader(function) as one:
        assert one.read(paper).reason == "crashed"


def test_output_does_not_disturb_the_answer(paper: Path) -> None:
    with reader("chatter", timeout_s=20) as one:
        assert one.read(paper).text == "a good paper\n"


def test_output_goes_to_the_log_in_bounds(paper: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "jobs.corpus.pdf_process"), reader("chatter") as one:
        one.read(paper)
    assert 1_000 < sum(len(record.getMessage()) for record in caplog.records) < 10_000


def test_process_cannot_write_a_file(tmp_path: Path) -> None:
    target = Path(f"/tmp/spark-arxiv-{os.getpid()}")
    path = tmp_path / "paper.pdf"
    path.write_bytes(saying(str(target)))
    try:
        with reader("write_file") as one:
            extraction = one.read(path)
        assert extraction.detail == "OSError: [Errno 27] File too large"
        assert target.stat().st_size == 0
    finally:
        target.unlink(missing_ok=True)


def test_process_is_limited_and_light(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_ARXIV_TEST_SECRET", "x")
    with reader("about_the_process", memory_mb=512) as one:
        facts = ast.literal_eval(one.read(paper).text or "")
    assert "SPARK_ARXIV_TEST_SECRET" not in facts["env"]
    assert (facts["RLIMIT_FSIZE"], facts["RLIMIT_NOFILE"], facts["RLIMIT_CORE"]) == (0, 32, 0)
    assert not {"numpy", "pandas", "pyarrow", "pyspark"} & set(facts["modules"])
    if sys.platform == "linux":
        assert 512 < facts["RLIMIT_AS"] / 2**20 < 1024


def test_function_that_is_not_there_is_a_usage_error(paper: Path) -> None:
    with PdfReader(function="jobs.corpus.missing:read") as one, pytest.raises(UsageError, match="No module named"):
        one.read(paper)


def test_close_leaves_no_process(paper: Path) -> None:
    with reader("plain") as one:
        one.read(paper)
        pid = one.pid
        assert pid
        assert is_running(pid)
    assert not is_running(pid)


def test_interrupt_leaves_no_process_and_no_stale_answer(paper: Path) -> None:
    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with reader("hang") as one:
            one._running_process()
            pid = one.pid
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                one.read(paper)
            assert one.pid is None
            assert pid
            assert not is_running(pid)
    finally:
        signal.signal(signal.SIGALRM, before)


# Reads a paper with the function given, and says which process does; a function that hangs keeps it busy.
PARENT = """
import sys, threading, time
from pathlib import Path
from jobs.corpus.pdf import PdfReader
reader = PdfReader(function=sys.argv[1])
def tell():
    while not reader.pid:
        time.sleep(0.01)
    time.sleep(0.3)
    print(reader.pid, flush=True)
threading.Thread(target=tell).start()
reader.read(Path(sys.argv[2]))
time.sleep(3600)
"""


@pytest.mark.parametrize("function", ["plain", pytest.param("hang", marks=linux_only)])
def test_killed_parent_leaves_no_process(function: str, paper: Path) -> None:
    arguments = [sys.executable, "-c", PARENT, f"{READERS}:{function}", str(paper)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        was_running = is_running(pid)
        parent.kill()
        assert was_running
        assert wait_until(lambda: not is_running(pid))
