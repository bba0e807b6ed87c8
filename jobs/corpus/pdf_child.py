"""The process that reads PDFs on behalf of `jobs.corpus.pdf`: whatever a hostile file does to it costs one document.

Launched as `python -m jobs.corpus.pdf_child FD`, FD being one end of a socket. Both sides send frames: four bytes of
length (big-endian), then JSON. The first frame holds `Settings` and is answered by `{"rss_mb"}`; after that each
request `{"operation", "path"}` gets one answer `{"reason", "detail", "value", "n_pages", "rss_mb"}`.

Only the standard library, orjson, pymupdf and the reading function are imported: a fresh process is ready in about
0.15 s (with compiled bytecode), which is what a crash costs.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import re
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.reasons import DOCUMENT_REASONS

if TYPE_CHECKING:
    import pymupdf

HEADER = struct.Struct(">I")

_END_BYTES = 2_048  # writers may append a little after %%EOF; MuPDF itself looks for startxref in the last 1,024
_MAX_DETAIL_CHARS = 500
_MAX_TITLE_CHARS = 300
_FOOTNOTE_MARKS = " *\u2217\u2020\u2021\u00a7\u00b6"  # thanks and affiliations: asterisks, daggers, section, pilcrow
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# MuPDF's fz_malloc, fz_calloc and fz_realloc, as RuntimeError: "code=2: calloc (4104 x 1 bytes) failed".
_OUT_OF_MEMORY = re.compile(r"\b(?:m|c|re)alloc \(.*\) failed")


@dataclass(frozen=True)
class Settings:
    """What a reading process is told once, at its start."""

    function: str  # module:function that turns an open document into a dataclass
    parent_pid: int
    max_pages: int
    max_text_chars: int
    cpu_s: int
    memory_mb: int
    without: tuple[str, ...] = ()  # cleaning steps that are left out


class Refused(Exception):  # noqa: N818 - says what became of the document; nothing went wrong here
    """This document ends here, with a reason from `DOCUMENT_REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def send_frame(channel: socket.socket, message: object) -> None:
    """Send one JSON frame. Raises TypeError if `message` is not JSON (a lone surrogate is not)."""
    import orjson

    body = orjson.dumps(message)
    channel.sendall(HEADER.pack(len(body)) + body)


def receive_frame(channel: socket.socket) -> dict[str, Any] | None:
    """The next frame, or None when the other side has gone."""
    import orjson

    header = _receive_exactly(channel, HEADER.size)
    body = header and _receive_exactly(channel, HEADER.unpack(header)[0])
    return orjson.loads(body) if body else None


def _receive_exactly(channel: socket.socket, n_bytes: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < n_bytes:
        part = channel.recv(n_bytes - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def rss_mb() -> int:
    """Resident memory of this process in MiB; elsewhere than on Linux the highest it ever was."""
    if sys.platform == "linux":
        return _statm_bytes(1) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes on macOS


def _statm_bytes(column: int) -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[column]
    return int(pages) * resource.getpagesize()


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, even in the middle of a document."""
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died before the line above
        sys.exit("the parent is gone")


def limit_resources(memory_mb: int) -> None:
    """Bound what the process may take: no file, no core dump, few descriptors, `memory_mb` beyond what it has now."""
    _lower_limit(resource.RLIMIT_FSIZE, 0)
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_NOFILE, 32)
    if sys.platform == "linux":  # macOS maps gigabytes at start and refuses limits below them
        _lower_limit(resource.RLIMIT_AS, _statm_bytes(0) + memory_mb * 2**20)


def _lower_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def allow_cpu(cpu_s: int) -> None:
    """Move the soft CPU limit to `cpu_s` seconds from now: it counts the life of the process, not of a document."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime) + cpu_s
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def answer(request: dict[str, Any], settings: Settings, read: Callable[..., object]) -> dict[str, Any]:
    """What to say about one PDF. Never raises Exception: whatever a file provokes becomes its reason."""
    content = b""
    facts: dict[str, Any] = {"reason": None, "detail": None, "value": None, "n_pages": None}
    try:
        content = Path(os.fsdecode(request["path"].encode("latin-1"))).read_bytes()
        with _open(content) as document:
            facts["n_pages"] = document.page_count
            _check_page_count(document.page_count, settings.max_pages)
            if request["operation"] == "first_page":
                facts["value"] = first_page(document)
            else:
                facts["value"] = _read_whole(document, settings, read)
    except Exception as error:  # noqa: BLE001 - the boundary: nothing is swallowed, it becomes the row's reason
        traceback.clear_frames(error.__traceback__)  # at the memory limit there is no room for an answer otherwise
        reason, detail = reason_of(error)
        facts["reason"], facts["detail"] = _or_truncated(reason, detail, content)
    return {**facts, "rss_mb": rss_mb()}


def _mupdf() -> Any:
    """PyMuPDF, most of which is untyped."""
    import pymupdf

    return pymupdf


def _open(content: bytes) -> pymupdf.Document:
    """The document from memory: MuPDF cannot open a path that is no UTF-8, and what we check is what it reads."""
    _mupdf().TOOLS.mupdf_warnings()  # empties its list, which otherwise grows with every document
    document: pymupdf.Document = _mupdf().open(stream=content, filetype="pdf")
    if not document.is_pdf:  # the content decides for MuPDF, not the type we ask for
        raise Refused("not_pdf", f"opens as {(document.metadata or {}).get('format')}")
    if document.needs_pass:
        raise Refused("encrypted", "needs a password")
    return document


def _check_page_count(n_pages: int, max_pages: int) -> None:
    if n_pages == 0:
        raise Refused("parse_error", "the file has no pages")
    if n_pages > max_pages:
        raise Refused("too_many_pages", f"{n_pages:,} pages; max_pages is {max_pages:,}")


def _read_whole(document: pymupdf.Document, settings: Settings, read: Callable[..., object]) -> dict[str, Any]:
    n_pages, max_text_chars = document.page_count, settings.max_text_chars
    options = {"max_text_chars": max_text_chars} | ({"without": settings.without} if settings.without else {})
    result: Any = read(document, **options)
    if result.n_pages != n_pages:  # MuPDF repaired the file meanwhile: what was read is of two states of it
        if document.page_count == 0:
            raise Refused("parse_error", f"no page is left of {n_pages} after a repair")
        result = read(document, **options)
    if len(result.text) > max_text_chars:
        raise Refused("text_too_long", f"{len(result.text):,} characters; max_text_chars is {max_text_chars:,}")
    if not result.text.strip():
        raise Refused("no_text", "nothing is left of the text after cleaning")
    value = {field.name: getattr(result, field.name) for field in fields(result)}  # orjson writes what is inside
    if document.is_repaired:
        value["cleaned"]["repaired"] = 1
    return value


def first_page(document: pymupdf.Document) -> dict[str, str]:
    """Text of page 1 in the order of the file, and the text in the largest type of its upper half."""
    page: Any = document[0]
    text_page = page.get_textpage(flags=_mupdf().TEXTFLAGS_TEXT & ~_mupdf().TEXT_PRESERVE_LIGATURES)
    lines = [line for block in text_page.extractDICT()["blocks"] for line in block["lines"]]
    middle = page.rect.y0 + page.rect.height / 2
    return {"text": text_page.extractText(), "title_guess": guess_title(lines, middle)}


def guess_title(lines: list[dict[str, Any]], middle: float) -> str:
    """The first run of lines above `middle` (points) in the page's largest type; "" if there is none.

    Lines that are not level do not count (arXiv's stamp is often larger than the title), nor do ornaments and numbers.
    A wide gap ends the run: authors may be set as large as the title.
    """
    level = [line for line in lines if line["spans"] and line["dir"][0] > 0.98 and line["bbox"][3] < middle]
    worded = [line for line in level if sum(map(str.isalpha, _text_of(line))) >= 2]
    largest = max(map(_size_of, worded), default=0.0)
    title: list[dict[str, Any]] = []
    for line in worded:
        is_far = bool(title) and line["bbox"][1] - title[-1]["bbox"][3] > largest
        if _size_of(line) > largest - 0.5 and not is_far:
            title.append(line)
        elif title:
            break
    text = " ".join(" ".join(map(_text_of, title)).split())
    return text.rstrip(_FOOTNOTE_MARKS)[:_MAX_TITLE_CHARS]


def _size_of(line: dict[str, Any]) -> float:
    """In points, of its largest span: small capitals have two sizes."""
    return max(float(span["size"]) for span in line["spans"])


def _text_of(line: dict[str, Any]) -> str:
    return "".join(span["text"] for span in line["spans"])


def reason_of(error: BaseException) -> tuple[str, str]:
    """Reason and detail of an exception, by the whole chain behind it: PyMuPDF wraps MuPDF's own errors."""
    chain = list(_chain(error))
    reason = getattr(error, "reason", None)  # of Refused here, and of what the reading function refuses
    detail = str(getattr(error, "detail", "")) or f"{type(chain[-1]).__name__}: {chain[-1]}"
    if any(isinstance(link, MemoryError) or _OUT_OF_MEMORY.search(str(link)) for link in chain):
        return "memory", detail
    if reason in DOCUMENT_REASONS:
        return reason, detail
    if any("crypt" in str(link) for link in chain):  # a handler that MuPDF does not know, such as Adobe.PubSec
        return "encrypted", detail
    return "parse_error", detail


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _or_truncated(reason: str, detail: str, content: bytes) -> tuple[str, str]:
    """`truncated` where nothing came out of a file that lacks its end, else the reason as it is."""
    detail = detail[:_MAX_DETAIL_CHARS].encode("utf-8", "replace").decode()
    if reason in ("parse_error", "no_text") and b"%%EOF" not in content[-_END_BYTES:]:
        return "truncated", f"no %%EOF in the last {_END_BYTES:,} bytes; {detail}"
    return reason, detail


def load_function(name: str) -> Callable[..., object]:
    """The function behind `module:function`."""
    module, _, function = name.partition(":")
    loaded: Callable[..., object] = getattr(importlib.import_module(module), function)
    return loaded


def serve(channel: socket.socket) -> None:
    """Answer requests until the other side closes the socket."""
    first = receive_frame(channel)
    if first is None:
        return
    settings = Settings(**first)
    die_with_parent(settings.parent_pid)
    read = load_function(settings.function)
    for be_quiet in (_mupdf().TOOLS.mupdf_display_errors, _mupdf().TOOLS.mupdf_display_warnings):
        be_quiet(False)
    gc.freeze()  # what was imported stays: the search for cycles after each document need not look at it again
    limit_resources(settings.memory_mb)
    send_frame(channel, {"rss_mb": rss_mb()})
    while request := receive_frame(channel):
        allow_cpu(settings.cpu_s)
        _send_answer(channel, answer(request, settings, read))


def _send_answer(channel: socket.socket, reply: dict[str, Any]) -> None:
    try:
        send_frame(channel, reply)
    except (TypeError, MemoryError) as error:  # raised by the encoder, before anything was sent
        reason, detail = reason_of(error)
        send_frame(channel, {**reply, "reason": reason, "detail": f"answer cannot be sent: {detail}", "value": None})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes the socket
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    serve(socket.socket(fileno=int(sys.argv[1])))
