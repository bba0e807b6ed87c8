"""Hostile requests against the running app: each is refused, and the page asks nobody else for anything."""

import re
import socket
from urllib.parse import urlsplit

import pytest

from jobs.serving.guard import content_policy, script_hashes
from tests.serving.house import App

pytestmark = pytest.mark.slow  # Gradio takes seconds to import
PATHS = [
    "/../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2fetc/passwd",
    "/assets/../../config",
    "//evil.example/x",
    "/\\evil.example",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=https://evil.example",
    "/gradio_api/file/etc/passwd",
    "/file=/etc/passwd",
    "/gradio_api/proxy=https://evil.example/x",
    "/proxy=https://evil.example/x",
    "/gradio_api/upload_progress",
    "/gradio_api/openapi.json",
    "/gradio_api/deep_link",
    "/gradio_api/runs",
    "/gradio_api/dev/reload",
    "/gradio_api/vibe-code",
    "/gradio_api/token",
    "/gradio_api/stream/a/1/2/playlist.m3u8",
    "/gradio_api/custom_component/x/client/y",
    "/login_check",
    "/monitoring",
    "/svelte/x",
    "/docs",
    "/openapi.json",
    "/lakes/sample/LAKE.json",
    "/assets/%00",
    "/static/nothing.png",
]
POSTS = [
    "/gradio_api/upload",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-code",
    "/gradio_api/call/chat",
    "/gradio_api/api/predict",
    "/gradio_api/process_recording",
    "/gradio_api/component_server",
    "/gradio_api/stream/x",
    "/login",
    "/healthz",
]


def raw_request(app: App, text: bytes) -> int:
    """Status of a request that is written as it is: clients would tidy it up."""
    place = urlsplit(app.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(text)
        return int(connection.recv(64).split()[1])


@pytest.mark.parametrize("path", PATHS)
def test_address_that_the_page_does_not_need_is_refused(app: App, path: str) -> None:
    status = raw_request(app, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert 400 <= status < 500


@pytest.mark.parametrize("path", POSTS)
def test_post_that_the_page_does_not_need_is_refused(app: App, path: str) -> None:
    assert 400 <= app.client.post(path, files={"files": b"x"}).status_code < 500


def test_thousand_ranges_are_refused(app: App) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(1000))
    assert app.client.get("/favicon.ico", headers={"Range": ranges}).status_code == 416


@pytest.mark.parametrize("path", ["/search", "/v1/chat/completions", "/admin/load"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 20_000])
def test_body_that_is_no_json_object_is_refused(app: App, path: str, body: bytes) -> None:
    reply = app.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= reply.status_code < 500


@pytest.mark.parametrize("path", ["/search", "/v1/chat/completions"])
def test_question_of_3000_characters_is_refused(app: App, path: str) -> None:
    asked = {"question": "x" * 3000, "messages": [{"role": "user", "content": "x" * 3000}]}
    assert 400 <= app.client.post(path, json=asked).status_code < 500


def test_announced_body_that_is_too_large_is_refused(app: App) -> None:
    assert app.client.post("/search", content=b"x" * 70_000).status_code == 413


def test_body_without_a_length_is_cut_off(app: App) -> None:
    blocks = (b"x" * 10_000 for _ in range(100))
    assert 400 <= app.client.post("/search", content=blocks).status_code < 500


def test_websocket_is_refused(app: App) -> None:
    request = (
        b"GET /gradio_api/queue/join HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert 400 <= raw_request(app, request) < 500


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing"])
def test_every_reply_has_the_security_headers(app: App, path: str) -> None:
    headers = app.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


def test_page_allows_only_the_scripts_that_it_brings(app: App) -> None:
    reply = app.client.get("/")
    scripts = re.search(r"script-src ([^;]*)", reply.headers["content-security-policy"])[1]
    assert "unsafe" not in scripts
    assert scripts == " ".join(["'self'", *(f"'sha256-{one}'" for one in script_hashes(reply.content))])


def test_script_hash_is_the_one_that_browsers_compute() -> None:
    # echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
    page = b"<script src=/a.js></script><script>alert(1)</script>"
    assert content_policy(script_hashes(page)).count("sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI=") == 1


def test_page_names_no_other_host(app: App) -> None:
    text = app.client.get("/").text + app.client.get("/theme.css").text
    loaded = re.findall(r"""(?:src=|href=|url\(|@import\s+)["']?((?:https?:)?//[^"'\s)>]+)""", text)
    assert [one for one in loaded if urlsplit(one).hostname != "127.0.0.1"] == []
