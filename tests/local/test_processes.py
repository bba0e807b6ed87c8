"""Parts are found again, end with all they started, and say why they crashed. Real processes."""

from __future__ import annotations

import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs.core.errors import TryAgainError, UsageError
from local import processes, running
from local.layout import HOST, Layout, choose_port

pytestmark = pytest.mark.slow
CHILD = (
    "import subprocess, sys, time; sleeper = [sys.executable, '-c', 'import time; time.sleep(60)']; "
    "print(subprocess.Popen(sleeper).pid, flush=True); "
)

# Answers at once, and is ready from its third look on.
LOADING_APP = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    n = 0
    def do_GET(self):
        Handler.n += self.path == "/readyz"
        self.send_response(200 if self.path == "/healthz" or Handler.n > 2 else 503)
        self.end_headers()
        self.wfile.write(b'{"release_id": "%d"}' % (1 if Handler.n < 5 else 2))
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    made = Layout(tmp_path / "stack")
    with made.locked():
        pass
    yield made
    processes.stop(made, ["part"], grace_s=0.1)


def start(layout: Layout, code: str) -> processes.Started:
    return processes.start(layout, "part", [sys.executable, "-c", code], os.environ)


def first_line(layout: Layout) -> str:
    deadline = time.monotonic() + 10
    while not (text := processes.log_file(layout, "part").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return text.splitlines()[0]


def test_part_is_found_again_by_its_file(layout: Layout) -> None:
    started = start(layout, "import time; time.sleep(60)")
    found = processes.running(layout, "part")
    assert found
    assert found.pid == started.pid


def test_foreign_process_with_the_same_pid_is_not_ours(layout: Layout) -> None:
    other = processes.Started("part", os.getpid(), psutil.Process().create_time() - 100, {})
    assert other.process is None


def test_stop_ends_children_too(layout: Layout) -> None:
    start(layout, CHILD + "time.sleep(60)")
    child = int(first_line(layout))
    processes.stop(layout, ["part"], grace_s=2.0)
    assert not psutil.pid_exists(child)
    assert not processes.was_started(layout, "part")


def test_stop_ends_a_part_that_ignores_the_signal(layout: Layout) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    started = start(layout, code)
    first_line(layout)
    processes.stop(layout, ["part"], grace_s=0.5)
    assert started.process is None


def test_child_whose_parent_crashed_is_a_stray(layout: Layout) -> None:
    env = os.environ | {processes.STACK_VARIABLE: str(layout.root)}
    processes.start(layout, "part", [sys.executable, "-c", CHILD], env)
    child = int(first_line(layout))
    assert child in {process.pid for process in processes.strays(layout)}
    processes.end_processes(processes.strays(layout), [], grace_s=2.0)
    assert processes.strays(layout) == []


def test_crash_while_starting_is_told_with_the_log(layout: Layout) -> None:
    start(layout, "raise SystemExit('no such port')")
    failed = processes.wait_until(layout, ["part"], lambda: False, timeout_s=20)
    assert failed
    assert "ended while it was starting" in failed
    assert "no such port" in failed


def test_keys_are_made_once_for_their_owner_alone(layout: Layout) -> None:
    keys, password = layout.keys, layout.password
    assert (layout.keys, layout.password) == (keys, password)
    for name in ("keys.json", "passwords.json"):
        assert stat.S_IMODE((layout.root / name).stat().st_mode) == 0o600


def test_taken_port_is_replaced_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("APP_PORT", str(taken))
        port, sentence = choose_port("app")
    assert port != taken
    assert sentence
    assert f"port {taken} is taken" in sentence


def test_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_PORT", "http")
    with pytest.raises(UsageError, match="AIRFLOW_PORT='http' is no port"):
        choose_port("airflow")


def test_app_that_ends_while_it_starts_fails_the_start(layout: Layout) -> None:
    processes.start(layout, running.APP, [sys.executable, "-c", "raise SystemExit('no such lake')"], os.environ)
    with pytest.raises(TryAgainError, match="no such lake"):
        running.wait_for_app(layout, 1)
    processes.stop(layout, [running.APP])


def test_demo_waits_until_the_app_has_loaded_its_release(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    processes.start(layout, running.APP, [sys.executable, "-c", LOADING_APP, str(port)], os.environ, port=port)
    running.wait_for_app(layout, port)
    running.wait_for_release(layout, "2")
    assert caplog.text == ""
    monkeypatch.setattr(running, "RELEASE_READY_WITHIN_S", 0.0)
    processes.stop(layout, [running.APP], grace_s=0.1)
    processes.start(layout, running.APP, [sys.executable, "-c", LOADING_APP, str(port)], os.environ, port=port)
    running.wait_for_app(layout, port)
    running.wait_for_release(layout, "3")
    assert "has not loaded release 3 yet" in caplog.text
    processes.stop(layout, [running.APP], grace_s=0.1)


def test_airflow_with_other_plugins_is_started_again(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "AIRFLOW_PARTS", {"part": ["version"]})
    plugins = tmp_path / "plugins"
    plugins.mkdir()

    def pid_after_start(content: str) -> int:
        (plugins / "arxiv_x.py").write_text(content)
        running.start_airflow(layout, 1, os.environ, plugins)
        found = processes.running(layout, "part")
        assert found
        return found.pid

    first, same, other = pid_after_start("a = 1"), pid_after_start("a = 1"), pid_after_start("a = 2")
    assert first == same != other
