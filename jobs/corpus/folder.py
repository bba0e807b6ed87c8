"""A folder of PDFs: which files it has, and which paper each of them is.

A paper's id is read from the file's name, else from the stamp on its first page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jobs.corpus import arxiv
from jobs.corpus.arxiv import ArxivId
from jobs.corpus.pdf import PdfReader


@dataclass(frozen=True)
class Identified:
    """A PDF of the folder and the paper it is; `reason` (of SNAPSHOT_REASONS) if that cannot be told."""

    path: Path
    arxiv_id: ArxivId | None = None
    title: str = ""
    reason: str | None = None


def pdf_files(root: Path) -> Iterator[Path]:
    """The PDFs below a folder at any depth, in order of name. A link that leads out of the folder is passed over."""
    resolved = root.resolve()
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() == ".pdf" and path.is_file() and path.resolve().is_relative_to(resolved):
            yield path


def identify(root: Path) -> Iterator[Identified]:
    """What each PDF of a folder is. The first of several PDFs of one version of a paper stands for it."""
    seen: set[ArxivId] = set()
    with PdfReader() as reader:
        for path in pdf_files(root):
            one = _identify(root, path, reader)
            if one.arxiv_id in seen:
                one = Identified(path, one.arxiv_id, one.title, "duplicate")
            elif one.arxiv_id:
                seen.add(one.arxiv_id)
            yield one


def named_by_page(root: Path) -> Iterator[Identified]:
    """The PDFs whose name tells no id but whose first page does."""
    with PdfReader() as reader:
        for path in pdf_files(root):
            if id_of_name(root, path) is None and (one := _identify(root, path, reader)).arxiv_id:
                yield one


def signs_of(path: Path) -> list[int] | None:
    """What tells cheaply that a file changed: its size in bytes and its time of change in ns; None if it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]


def id_of_name(root: Path, path: Path) -> ArxivId | None:
    """The id that the file's name and folders tell."""
    return arxiv.id_from_file_name(str(PurePosixPath(path.relative_to(root))))


def to_record(one: Identified) -> dict[str, Any]:
    """A row in the form of Kaggle's file with what a PDF alone tells: id, version, title."""
    assert one.arxiv_id is not None
    version = one.arxiv_id.version
    return {
        "id": one.arxiv_id.paper_id,
        "submitter": None,
        "authors": "",
        "title": one.title or str(one.arxiv_id),
        "comments": None,
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": None,
        "license": None,
        "abstract": None,
        "versions": [{"version": f"v{version}", "created": None}] if version else [],
        "update_date": None,
        "authors_parsed": [],
    }


def _identify(root: Path, path: Path, reader: PdfReader) -> Identified:
    named = id_of_name(root, path)
    page = reader.first_page(path)
    stamped = arxiv.id_from_first_page(page.text)
    if named is None:
        reason = None if stamped else ("unreadable" if page.reason else "no_arxiv_id")
        return Identified(path, stamped, page.title_guess, reason)
    if named.version is None and stamped and stamped.paper_id == named.paper_id:
        named = stamped
    return Identified(path, named, page.title_guess)
