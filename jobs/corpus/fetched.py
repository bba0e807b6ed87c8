"""What a source gives for a paper: its PDF as a file, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.core.reasons import PDF_REASONS

HEAD_BYTES = 1_024  # `%PDF-` must occur in so many bytes: what Adobe's readers ask, and MuPDF takes
_MAGIC = b"%PDF-"
_MB = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A PDF that came. `pdf_version` is None if unknown; a temporary file is ours to move away."""

    paper_id: str
    pdf_version: int | None
    path: Path
    sha256: str
    size_bytes: int
    url: str
    is_temporary: bool


@dataclass(frozen=True)
class Refused:
    """Why there is no PDF: `reason` is one of PDF_REASONS, `detail` is for the reader of logs."""

    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        assert self.reason in PDF_REASONS, self.reason


def size_problem(size_bytes: int, max_pdf_mb: int) -> Refused | None:
    """Refusal of a file that is too large."""
    if size_bytes <= max_pdf_mb * _MB:
        return None
    return Refused("too_large", f"{size_bytes} bytes, more than max_pdf_mb={max_pdf_mb} allows")


def head_problem(head: bytes) -> Refused | None:
    """Refusal of a file that does not begin as a PDF does, such as a web page; `head` is its first HEAD_BYTES."""
    if _MAGIC in head[:HEAD_BYTES]:
        return None
    return Refused("not_pdf", f"no %PDF- in the first {min(len(head), HEAD_BYTES)} bytes, which begin {head[:40]!r}")
