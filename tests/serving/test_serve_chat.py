"""The command that serves: a process of its own over a real index, from start to stop."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.core.errors import UsageError
from jobs.serving.serve_chat import serve_command
from tests.conftest import REPOSITORY
from tests.serving import house
from tests.serving.real_index import build_real_index

START = "import sys; from jobs.serving.serve_chat import serve_command; sys.exit(serve_command(sys.argv))"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a served lake whose index was made by the real stages."""
    lake = build_real_index(tmp_path_factory.mktemp("served") / "lake")
    house.deploy(lake)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", START, "--lake", str(lake.root), "--port", str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"APP_TOKEN": ""})
    try:
        url = f"http://127.0.0.1:{port}"
        house.wait_until(lambda: is_ready(url), wait_s=60)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_served_lake_finds_the_passage(address: str) -> None:
    reply = httpx.post(f"{address}/search", json={"question": "What does NF4 stand for?"}, trust_env=False)
    assert reply.json()["results"][0]["chunk_id"] == "sample/2401002v1#0"


@pytest.mark.slow
def test_served_lake_filters_by_day_and_category(address: str) -> None:
    def n_found(**filters: object) -> int:
        body = {"question": "ranking function"} | filters
        reply = httpx.post(f"{address}/search", json=body, trust_env=False)
        assert reply.status_code == 200
        return len(reply.json()["results"])

    assert n_found() == 3
    assert n_found(submitted_before="2024-01-01") == 0
    assert n_found(categories=["math.AG"]) == 0
    assert n_found(paper_id="sample/2401005") == 1


@pytest.mark.slow
def test_served_lake_answers_in_the_chat(address: str) -> None:
    body = {"messages": [{"role": "user", "content": "What does NF4 stand for and why does QLoRA use NF4?"}]}
    content = httpx.post(f"{address}/v1/chat/completions", json=body, trust_env=False).json()
    assert content["citations"][0]["paper_id"] == "sample/2401002"


def test_port_that_is_taken_is_a_usage_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}"):
            serve_command(["serve_chat", "--lake", str(tmp_path), "--port", str(port)])


def test_flag_that_is_unknown_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--share"):
        serve_command(["serve_chat", "--share"])


def test_app_needs_no_pdf_reader() -> None:
    code = "import sys, jobs.serving.app, jobs.serving.serve_chat; sys.exit('pymupdf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
