"""Read PDFs of strangers: each ends as text or as a reason, whatever it does to the process that reads it.

MuPDF is C: a bad file can make it hang, eat memory or crash, and no signal handler or thread stops it. So a child
process reads, under limits of time, CPU and memory, and is replaced when it dies. One child serves many PDFs: starting
one for each would cost more than reading.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jobs.core.reasons import DOCUMENT_REASONS
from jobs.corpus.pdf_child import Settings
from jobs.corpus.pdf_process import ProcessDiedError, ProcessTimeoutError, ReadingProcess

log = logging.getLogger(__name__)

READ_DOCUMENT = "jobs.corpus.layout:read_document"

_HEAD_BYTES = 1_024  # Adobe's readers, and MuPDF, take a PDF whose header begins within these
_HTML = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Limits:
    """What one PDF may cost. The defaults let every paper of a normal archive through and stop what is none."""

    max_pdf_mb: int = 100  # arXiv's own limit for a submission is 50 MB; the mean is 1.3
    max_pages: int = 600  # papers end below 100, theses below 400; proceedings are no paper
    max_text_chars: int = 5_000_000  # 600 dense pages are 3 million
    timeout_s: float = 60.0  # wall; the slowest of our 29 real papers takes under 1 s
    cpu_s: int = 20  # CPU, which a busy machine does not use up; what loops ends here
    memory_mb: int = 1_024  # address space beyond that of the fresh process (about 70 MB resident)
    recycle_after: int = 500  # documents a process: bounds every leak, costs 0.3 ms a document
    recycle_rss_mb: int = 700  # so that a process that grew leaves the next document its share of memory


@dataclass(frozen=True)
class Extraction:
    """What became of a PDF. `status` is `ok` or `rejected`; a rejected one has a reason and no text.

    The other fields are columns of `documents`, as plain JSON types; `stamp` is the arXiv stamp of page 1.
    """

    status: str
    reason: str | None = None
    detail: str | None = None
    text: str | None = None
    sections: list[dict[str, Any]] | None = None
    blocks: list[dict[str, Any]] | None = None
    pages: list[int] | None = None
    n_pages: int | None = None
    quality_01: float | None = None
    cleaned: dict[str, int] | None = None
    stamp: str | None = None


@dataclass(frozen=True)
class FirstPage:
    """Text of page 1 and the text in its largest type; empty, with a reason of `DOCUMENT_REASONS`, if unreadable."""

    text: str = ""
    title_guess: str = ""
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class _Answer:
    value: dict[str, Any] | None = None
    reason: str | None = None
    detail: str | None = None
    n_pages: int | None = None


class PdfReader:
    """Reads PDFs one after another in a child process that it starts, limits, replaces and ends.

    A context manager, for one thread: the child ends with the thread that started it. `function` is the
    `module:function` that the child calls with an open document and `max_text_chars`; tests name others. `without` are
    cleaning steps that are left out.
    """

    def __init__(
        self, limits: Limits | None = None, function: str = READ_DOCUMENT, without: tuple[str, ...] = ()
    ) -> None:
        self._without = without
        self._limits = limits or Limits()
        self._function = function
        self._process: ReadingProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, None between two."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the child, if there is one; the next `read` would start another."""
        if self._process:
            self._process.close()
        self._process = None

    def read(self, path: Path) -> Extraction:
        """One PDF's text or the reason why there is none; a bad PDF never raises.

        Raises OSError if the file cannot be read, UsageError or TryAgainError if no child can be started.
        """
        answer = self._answer(path, "document")
        if answer.value is None:
            return Extraction("rejected", answer.reason, answer.detail, n_pages=answer.n_pages)
        return Extraction("ok", **{name: answer.value.get(name) for name in _VALUE_FIELDS})

    def first_page(self, path: Path) -> FirstPage:
        """Page 1 of a PDF that has no metadata. Raises as `read` does."""
        answer = self._answer(path, "first_page")
        return FirstPage(reason=answer.reason, detail=answer.detail, **(answer.value or {}))

    def _answer(self, path: Path, operation: str) -> _Answer:
        refusal = _look_at(path, self._limits)
        if refusal:
            return refusal
        # JSON has no bytes, and a file name need not be UTF-8.
        request = {"operation": operation, "path": os.fsencode(path.absolute()).decode("latin-1")}
        suspects = self._suspects()
        answer = self._ask(request)
        if answer.reason in suspects:
            log.debug("%s: %s; reading it again in a fresh process", path, answer.reason)
            answer = self._ask(request)
        return answer

    def _suspects(self) -> set[str]:
        """Outcomes that earlier documents may be to blame for: of these, a fresh process has the last word."""
        if self._process is None or self._process.n_answers == 0:
            return set()
        lacks_memory = self._process.grown_mb > self._limits.memory_mb / 10
        return {"crashed", "memory"} if lacks_memory else {"crashed"}

    def _ask(self, request: dict[str, Any]) -> _Answer:
        process = self._running_process()
        try:
            reply = process.ask(request, self._limits.timeout_s)
        except ProcessTimeoutError:
            self._process = None
            return _Answer(reason="timeout", detail=f"no answer within {self._limits.timeout_s:g} s")
        except ProcessDiedError as error:
            self._process = None
            return self._explain(error)
        except BaseException:
            self._process = None
            raise
        answer = _checked(reply)
        if answer.reason in ("memory", "crashed") or self._is_worn(process):
            self.close()
        return answer

    def _running_process(self) -> ReadingProcess:
        if self._process and not self._process.is_alive():  # between two documents: nobody's fault
            self.close()
        if self._process is None:
            limits = self._limits
            self._process = ReadingProcess(
                Settings(
                    function=self._function,
                    parent_pid=os.getpid(),
                    max_pages=limits.max_pages,
                    max_text_chars=limits.max_text_chars,
                    without=self._without,
                    cpu_s=limits.cpu_s,
                    memory_mb=limits.memory_mb,
                )
            )
        return self._process

    def _is_worn(self, process: ReadingProcess) -> bool:
        return process.n_answers >= self._limits.recycle_after or process.rss_mb > self._limits.recycle_rss_mb

    def _explain(self, error: ProcessDiedError) -> _Answer:
        if error.is_out_of_cpu:
            return _Answer(reason="timeout", detail=f"used {self._limits.cpu_s} s of CPU")
        return _Answer(reason="memory" if error.is_out_of_memory else "crashed", detail=str(error))


_VALUE_FIELDS = tuple(field.name for field in fields(Extraction) if field.name not in ("status", "reason", "detail"))


def _look_at(path: Path, limits: Limits) -> _Answer | None:
    """What can be refused without reading: size and first bytes. None if the file may be a PDF."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return _Answer(reason="not_pdf", detail="no regular file")
    if status.st_size > limits.max_pdf_mb * 2**20:
        size_mb = status.st_size / 2**20
        return _Answer(reason="too_large", detail=f"{size_mb:,.1f} MB; max_pdf_mb is {limits.max_pdf_mb:,}")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"%PDF-" not in head or head.lstrip().lower().startswith(_HTML):
        return _Answer(reason="not_pdf", detail=f"{status.st_size:,} bytes that begin with {head[:16]!r}")
    return None


def _checked(reply: dict[str, Any]) -> _Answer:
    """The child's answer, as far as it can be trusted: a damaged process may say anything."""
    value, reason, detail, n_pages = (reply.get(name) for name in ("value", "reason", "detail", "n_pages"))
    is_kept = reason is None and isinstance(value, dict) and isinstance(value.get("text"), str)
    if is_kept or (reason in DOCUMENT_REASONS and value is None):
        return _Answer(value, reason, detail, n_pages)
    return _Answer(reason="crashed", detail=f"answered reason {reason!r} with a {type(value).__name__}")
