"""Drives Debian's Chromium over its debugging port: just what tests and pictures of our pages need."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--remote-debugging-port=0",
)


class PageChangedError(AssertionError):
    """The page that was asked gave way to another."""


class Browser:
    """One tab. `requests` are the addresses it asked for, `complaints` what it wrote to its console as errors."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs = 0
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser to do something; what it answers is returned."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise PageChangedError(message)
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif event["method"] == "Page.javascriptDialogOpening":
            self.dialogs += 1
            self._socket.send(
                json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
            )

    def evaluate(self, expression: str) -> Any:
        """Value of some JavaScript in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def text(self) -> str:
        """What a reader of the page sees."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait_for(self, expression: str, wait_s: float = 40.0) -> None:
        """Wait until some JavaScript is true of the page."""
        deadline = time.monotonic() + wait_s
        while not self._holds(expression):
            assert time.monotonic() < deadline, f"{expression} never came; the page says: {self.text()[:2000]}"
            time.sleep(0.1)

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.evaluate(f"Boolean({expression})"))
        except PageChangedError:
            return False

    def wait_for_text(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.wait_for(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    def fill(self, selector: str, text: str) -> None:
        """Replace the content of a field, as by typing."""
        self.evaluate(
            f"(field => {{ field.focus(); field.select(); }})(document.querySelector({json.dumps(selector)}))"
        )
        self.call("Input.insertText", text=text)

    def click_label(self, label: str) -> None:
        """Click what assistive technology calls by this name."""
        found = f"document.querySelector({json.dumps(f'[aria-label={json.dumps(label)}]')})"
        self.wait_for(found)
        self.evaluate(f"{found}.click()")

    def click_text(self, text: str, selector: str) -> None:
        """Click the first element of a kind that shows exactly this text."""
        kind = f"[...document.querySelectorAll({json.dumps(selector)})]"
        found = f"{kind}.find(one => one.innerText.trim() === {json.dumps(text)} && !one.disabled)"
        self.wait_for(found)
        self.evaluate(f"{found}.click()")

    def choose_day(self, selector: str, day: str) -> None:
        """Give a day (YYYY-MM-DD) to a date field of a page made by React, which watches its own setter."""
        field = f"document.querySelector({json.dumps(selector)})"
        setter = "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set"
        self.evaluate(f"{setter}.call({field}, {json.dumps(day)})")
        for event in ("input", "change"):
            self.evaluate(f"{field}.dispatchEvent(new Event('{event}', {{bubbles: true}}))")

    def choose(self, name: str, option: str) -> None:
        """Choose from a list that opens when one types into it; `name` is that of its hidden field."""
        hidden = f"document.querySelector('input[type=hidden][name={name}]')"
        self.wait_for(hidden)
        self.evaluate(f"{hidden}.parentElement.querySelector('input[type=text]').focus()")
        self.call("Input.insertText", text=option)
        self.press_enter()
        self.wait_for(f"{hidden}.value === {json.dumps(option)}")

    def press_enter(self) -> None:
        """Press Enter where the cursor is."""
        for kind in ("rawKeyDown", "char", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
            )

    def type_and_send(self, text: str) -> None:
        """Ask in the chat, once it has answered what was asked before."""
        self.wait_for("document.querySelector('textarea:enabled') && !document.querySelector('.stop-button')")
        self.evaluate("document.querySelector('textarea').focus()")
        self.call("Input.insertText", text=text)
        self.press_enter()
        self.wait_for(f"document.body.innerText.includes({json.dumps(text)})")

    def show_as(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Give the tab a size in pixels, and dark colours or light ones."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write what the tab shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A fresh Chromium with one empty tab."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is missing. Install Debian's package: apt-get install chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(
                _tab_address(Path(folder)), max_size=None, open_timeout=30, close_timeout=1, proxy=None
            ) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(20)


def _tab_address(folder: Path) -> str:
    port_file = folder / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if port_file.is_file() and (lines := port_file.read_text().splitlines()):
            tabs = httpx.get(f"http://127.0.0.1:{lines[0]}/json", trust_env=False, timeout=10).json()
            for tab in tabs:
                if tab["type"] == "page":
                    return tab["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise AssertionError("Chromium did not open its debugging port within 60 s")
