"""Reading functions that a test has the child run in place of `layout.read_document`, named as module:function."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING

from jobs.corpus.layout import Document

if TYPE_CHECKING:
    import pymupdf

_hoard: list[bytearray] = []


def document_of(doc: pymupdf.Document, text: str) -> Document:
    return Document(text, [], [], [0] * doc.page_count, doc.page_count, 1.0, {}, None)


def plain(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    return document_of(doc, "".join(page.get_text() for page in doc))


def about_the_process(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Its process id, the names in its environment, its limits and what it imported."""
    kinds = ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
    limits = {kind: resource.getrlimit(getattr(resource, kind))[0] for kind in kinds}
    return document_of(
        doc, repr({"pid": os.getpid(), "env": sorted(os.environ), **limits, "modules": sorted(sys.modules)})
    )


def hang(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    time.sleep(3600)
    raise AssertionError


def burn(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Use as many seconds of CPU as the page's text says."""
    until = time.process_time() + float(doc[0].get_text())
    while time.process_time() < until:
        pass
    return document_of(doc, "burnt")


def segfault(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Crash on a page that says so."""
    if "crash" in doc[0].get_text():
        ctypes.string_at(0)
    return plain(doc, max_text_chars=max_text_chars)


def segfault_when_used(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Crash on every document but the first, as after damage done by that one."""
    if _hoard:
        ctypes.string_at(0)
    _hoard.append(bytearray(1))
    return plain(doc, max_text_chars=max_text_chars)


def leave(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    sys.exit(3)


def eat_memory(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    while True:
        _hoard.append(bytearray(2**20))


def leak(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Keep 20 MB more after each document."""
    _hoard.append(bytearray(b"x") * 20 * 2**20)
    return plain(doc, max_text_chars=max_text_chars)


def chatter(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Print ten times what a pipe holds, on both streams and past Python."""
    for _ in range(10):
        sys.stdout.write("o" * 65_536)
        os.write(2, b"e" * 65_536)
    return plain(doc, max_text_chars=max_text_chars)


def write_file(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    with open(doc[0].get_text().strip(), "wb", buffering=0) as file:  # noqa: PTH123
        file.write(b"x")
    raise AssertionError


def surrogate(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    return document_of(doc, "half a character: \ud800")


def repaired_on_the_way(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Lose the last page while reading, as a file may whose repair MuPDF puts off until it must."""
    doc.delete_page(-1)
    return plain(doc, max_text_chars=max_text_chars) if doc.page_count else document_of(doc, "half of page 1")


def nothing(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    return document_of(doc, " \n")


def talk_nonsense(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Send bytes of its own on the socket, as a process that was taken over might."""
    os.write(int(sys.argv[1]), b"\x00\x00\x00\x04oops")
    time.sleep(3600)
    raise AssertionError


def announce_too_much(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    os.write(int(sys.argv[1]), b"\xff\xff\xff\xff")
    time.sleep(3600)
    raise AssertionError


def invent_reason(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    error = ValueError("no wish to")
    error.reason = "bored"  # type: ignore[attr-defined]
    raise error


def die_later(doc: pymupdf.Document, *, max_text_chars: int) -> Document:
    """Answer, and be killed while idle."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return plain(doc, max_text_chars=max_text_chars)
