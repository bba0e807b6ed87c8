"""PDF files of papers: where they come from, and how they get into the lake.

A source gives each paper's PDF as a file (`Fetched`) or says why not (`Refused`): a folder, which is here, or a web
server (`http_source.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobs.core import durable
from jobs.core.errors import InputMissingError, TryAgainError
from jobs.corpus import arxiv, folder
from jobs.corpus.fetched import HEAD_BYTES, Fetched, Refused, head_problem, size_problem

__all__ = ["Fetched", "FolderSource", "Found", "PdfSource", "Refused", "store"]


@dataclass(frozen=True)
class Found:
    """A PDF of a folder; `pdf_version` is None where its name tells none."""

    path: Path
    pdf_version: int | None


class PdfSource(Protocol):
    """Where PDFs come from; `connections` threads may fetch at once."""

    connections: int

    def fetch(self, paper_id: str, version: int, temporary: Path) -> Fetched | Refused:
        """The PDF of the version, else of another. What is fetched from afar becomes a file in `temporary`."""
        ...


class FolderSource:
    """The PDFs of a folder, at any depth; it is looked through once.

    `also` are files that something else than their name tells apart. Raises InputMissingError if there is no folder.
    """

    def __init__(self, root: Path, max_pdf_mb: int, also: Iterable[folder.Identified] = ()) -> None:
        if not root.is_dir():
            raise InputMissingError(f"{root} is no folder. Give the folder that holds the PDFs: --pdfs FOLDER")
        self.connections = 1
        self._max_pdf_mb = max_pdf_mb
        self._files: dict[str, dict[int | None, Path]] = {}
        for path in folder.pdf_files(root):
            self._add(folder.id_of_name(root, path), path)
        for one in also:
            self._add(one.arxiv_id, one.path)

    def find(self, paper_id: str, version: int) -> Found | None:
        """The wanted version, else the highest below it, else a file that names no version, else the lowest above."""
        files = self._files.get(paper_id, {})
        known = sorted(number for number in files if number is not None)
        not_above = [number for number in known if number <= version]
        order: list[int | None] = [*reversed(not_above), None, *known[len(not_above) :]]
        return next((Found(files[number], number) for number in order if number in files), None)

    def fetch(self, paper_id: str, version: int, temporary: Path) -> Fetched | Refused:  # noqa: ARG002 - nothing is fetched
        """The file that `find` finds, in its place, with its hash."""
        found = self.find(paper_id, version)
        if found is None:
            return Refused("not_there", "the folder has no PDF of this paper")
        size_bytes = found.path.stat().st_size
        with found.path.open("rb") as file:
            problem = size_problem(size_bytes, self._max_pdf_mb) or head_problem(file.read(HEAD_BYTES))
        if problem:
            return problem
        sha256 = durable.sha256_file(found.path)
        url = found.path.resolve().as_uri()
        return Fetched(paper_id, found.pdf_version, found.path, sha256, size_bytes, url, is_temporary=False)

    def _add(self, arxiv_id: arxiv.ArxivId | None, path: Path) -> None:
        if arxiv_id:
            self._files.setdefault(arxiv_id.paper_id, {}).setdefault(arxiv_id.version, path)


def store(fetched: Fetched, files_root: Path) -> str:
    """Put a PDF under its final name below `files_root`, durably; its path there is returned.

    A file that is there already stays if its content is right. A temporary file is moved, so it must lie on the same
    file system. Raises TryAgainError if the file changed since it was hashed.
    """
    name = arxiv.pdf_file_name(fetched.paper_id, fetched.pdf_version, fetched.sha256)
    target = files_root / name
    if _holds(target, fetched):
        if fetched.is_temporary:
            fetched.path.unlink()
    elif fetched.is_temporary:
        durable.move_file(fetched.path, target)
    elif durable.copy_file(fetched.path, target) != fetched.sha256:
        target.unlink()
        raise TryAgainError(f"{fetched.path} changed while it was copied. Run the stage again when it is at rest.")
    return name


def _holds(target: Path, fetched: Fetched) -> bool:
    if not target.is_file() or target.stat().st_size != fetched.size_bytes:
        return False
    return durable.sha256_file(target) == fetched.sha256
