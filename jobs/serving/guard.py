"""The wall in front of every route: which addresses exist at all, how large a request may be, what headers go out.

Gradio brings some sixty routes (uploads, files, proxies, an editor). Only those that the page needs are let through;
the list was made by watching Chromium use it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.serving.meters import Meters

API_ROUTES = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/search",
    "/v1/models",
    "/v1/chat/completions",
    "/admin/load",
)
_PAGE = re.compile(
    r"/|/config|/theme\.css|/robots\.txt|/manifest\.json|/favicon\.ico|/(?:assets|static)/[\w./@-]+"
    r"|/gradio_api/(?:info|startup-events|theme\.css|queue/join|queue/data|run/predict|cancel|reset|heartbeat/[\w-]+)"
)
MAX_API_BYTES = 64 * 1024
MAX_PAGE_BYTES = 1024 * 1024  # the page sends its conversation back
MAX_RANGES = 4
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware: refuses, counts, and adds headers."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page needs no websocket: a connection that is not accepted is refused by the server
        reply = _Reply(send, is_page=scope["path"] == "/")
        begun_at = time.monotonic()
        try:
            refused = refusal(scope)
            if refused is not None:
                await refused(scope, receive, reply.send)
            else:
                await self._app(scope, _Limited(receive, _max_bytes(scope["path"])).receive, reply.send)
        finally:
            self._meters.count(_route(scope["path"]), reply.status, time.monotonic() - begun_at)


def refusal(scope: Scope) -> PlainTextResponse | None:
    """Why a request is not passed on, or None."""
    path = scope["path"]
    raw: bytes = scope.get("raw_path") or path.encode()
    is_odd = ".." in path or "//" in path or "\\" in path or b"%" in raw
    if is_odd or not (path in API_ROUTES or _PAGE.fullmatch(path)):
        return PlainTextResponse("There is nothing at this address.\n", 404)
    headers = dict(scope["headers"])
    if headers.get(b"range", b"").count(b",") >= MAX_RANGES:
        return PlainTextResponse(f"At most {MAX_RANGES} ranges.\n", 416)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > _max_bytes(path):
        return PlainTextResponse(f"The request may have {_max_bytes(path)} bytes.\n", 413)
    return None


def content_policy(script_hashes: Iterable[str] = ()) -> str:
    """The Content-Security-Policy: nothing from elsewhere, no script but the server's files and those hashed.

    Gradio sets inline styles, so styles stay open.
    """
    scripts = " ".join(["'self'", *(f"'sha256-{found}'" for found in script_hashes)])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def script_hashes(page: bytes) -> list[str]:
    """Base64 sha256 of every inline script of a page, as a Content-Security-Policy wants them."""
    return [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in _INLINE_SCRIPT.findall(page)]


def _max_bytes(path: str) -> int:
    return MAX_API_BYTES if path in API_ROUTES else MAX_PAGE_BYTES


def _route(path: str) -> str:
    if path in API_ROUTES:
        return path
    return "page" if _PAGE.fullmatch(path) else "unknown"


class _Limited:
    """A request's body, cut off where it gets too long (a length need not be announced)."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._left = max_bytes

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return {"type": "http.disconnect"}
        return message


class _Reply:
    """What goes out: the page itself is held back until its inline scripts are known."""

    def __init__(self, send: Send, *, is_page: bool) -> None:
        self.status = 499  # the client left before anything was answered
        self._send = send
        self._is_page = is_page
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._is_page:
                self._start = message
                return
            _add_headers(message, content_policy())
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            _add_headers(self._start, content_policy(script_hashes(self._body)))
            await self._send(self._start)
            self._start = None
            message = {"type": "http.response.body", "body": self._body}
        await self._send(message)


def _add_headers(start: Message, policy: str) -> None:
    names = {*_HEADERS, "content-security-policy", "server"}
    kept = [(name, value) for name, value in start.get("headers", []) if name.decode().lower() not in names]
    ours = _HEADERS | {"content-security-policy": policy}
    start["headers"] = kept + [(name.encode(), value.encode()) for name, value in ours.items()]
