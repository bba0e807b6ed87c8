"""Serve the chat app: the page, the OpenAI form and the search, over what a lake has released.

Run: python -m jobs serve_chat --lake lakes/sample --port 7860
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.core.cli import Parser
from jobs.core.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

DEFAULT_PORT = 7860
GRACE_S = 5  # seconds that requests in flight have when the app is stopped; an open page always uses them up


def serve_command(argv: list[str]) -> int:
    """Serve until stopped. Raises UsageError for a port that is taken."""
    options = _parser().parse_args(argv[1:])
    is_public = options.public == "yes" if options.public else not _is_loopback(options.host)
    listener = _listen(options.host, options.port)
    with listener:
        server = make_server(options.lake, is_public=is_public, device=options.device)
        port = listener.getsockname()[1]
        log.info("http://%s:%d serves %s%s", options.host, port, options.lake, " to the public" if is_public else "")
        server.run(sockets=[listener])
    return EXIT_DONE


def make_server(lake: Path | str, *, is_public: bool, device: str = "auto") -> uvicorn.Server:
    """The app over a lake, in a server that has no socket yet."""
    import uvicorn

    from jobs.serving.app import make_app
    from jobs.serving.release import SearcherOpener
    from jobs.serving.served import Served
    from jobs.serving.speaker import SpeakerOpener

    app = make_app(Served(lake, SearcherOpener(), SpeakerOpener(device)), is_public=is_public)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws="none",
    )
    return uvicorn.Server(config)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m jobs serve_chat", description=__doc__, allow_abbrev=False)
    lake, port = os.environ.get("LAKE", "lakes/sample"), os.environ.get("APP_PORT", str(DEFAULT_PORT))
    parser.add_argument("--lake", metavar="DIR", default=lake, help="the lake's folder (or environment LAKE)")
    parser.add_argument("--port", type=int, default=port, help="port (or environment APP_PORT); 0: a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; only this machine by default")
    parser.add_argument("--device", default="auto", help="where the student runs: auto (a GPU if any), cpu or cuda:N")
    parser.add_argument(
        "--public",
        choices=("yes", "no"),
        help="strangers read it: passages without a permissive licence are cut (default: yes unless on loopback)",
    )
    return parser


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"Cannot listen at {host}:{port} ({error}). Another app may be there; choose another --port."
        ) from error
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
