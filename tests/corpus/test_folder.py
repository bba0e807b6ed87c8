"""A folder of PDFs: what is looked at, and which paper each file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.corpus import folder, records
from jobs.corpus.arxiv import ArxivId
from jobs.corpus.folder import Identified
from tests.corpus import make_pdfs

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

PAPER = make_pdfs.paper(1)  # its stamp says 2401.00001v1
UNSTAMPED = make_pdfs.one_page(make_pdfs.SENTENCE)


def put(root: Path, **files: bytes) -> Path:
    """Files by name, `__` in it standing for a slash and `.pdf` left out."""
    for name, content in files.items():
        path = root / f"{name.replace('__', '/')}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def put_named(root: Path, name: str, content: bytes = PAPER) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def told(root: Path) -> list[tuple[str, str | None, str | None]]:
    """File, paper and reason of every PDF of a folder."""
    return [(one.path.name, one.arxiv_id and str(one.arxiv_id), one.reason) for one in folder.identify(root)]


def test_pdfs_are_found_at_any_depth_in_order_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, b=b"", deep__er__a=b"")
    put_named(tmp_path, "C.PDF")
    put_named(tmp_path, "notes.txt")
    (tmp_path / "folder.pdf").mkdir()
    assert [path.name for path in folder.pdf_files(tmp_path)] == ["C.PDF", "b.pdf", "a.pdf"]


def test_link_that_leads_out_of_the_folder_is_passed_over(tmp_path: Path) -> None:
    inside = put(tmp_path / "inside", a=b"")
    outside = put_named(tmp_path / "outside", "secret.pdf")
    (inside / "link.pdf").symlink_to(outside)
    (inside / "twin.pdf").symlink_to(inside / "a.pdf")
    assert [path.name for path in folder.pdf_files(inside)] == ["a.pdf", "twin.pdf"]


def test_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    put(tmp_path / "real", a=b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [path.name for path in folder.pdf_files(tmp_path / "link")] == ["a.pdf"]


@pytest.mark.parametrize(
    ("name", "content", "paper", "reason"),
    [
        ("2205.14135v2.pdf", PAPER, "2205.14135v2", None),
        ("2401.00001.pdf", PAPER, "2401.00001v1", None),
        ("2401.00002.pdf", PAPER, "2401.00002", None),
        ("hep-th_9108004.pdf", UNSTAMPED, "hep-th/9108004", None),
        ("paper.pdf", PAPER, "2401.00001v1", None),
        ("paper.pdf", UNSTAMPED, None, "no_arxiv_id"),
        ("paper.pdf", b"<html>", None, "unreadable"),
        ("2205.14135v2.pdf", b"<html>", "2205.14135v2", None),
    ],
)
def test_paper_is_told_by_name_then_by_stamp(
    tmp_path: Path, name: str, content: bytes, paper: str | None, reason: str | None
) -> None:
    put_named(tmp_path, name, content)
    assert told(tmp_path) == [(name, paper, reason)]


def test_first_of_several_files_of_one_version_stands_for_it(tmp_path: Path) -> None:
    for name in ("2401.00001v1.pdf", "2401.00001v2.pdf", "copy/2401.00001v1.pdf"):
        put_named(tmp_path, name)
    assert told(tmp_path) == [
        ("2401.00001v1.pdf", "2401.00001v1", None),
        ("2401.00001v2.pdf", "2401.00001v2", None),
        ("2401.00001v1.pdf", "2401.00001v1", "duplicate"),
    ]


def test_title_is_the_largest_text_of_the_first_page(tmp_path: Path) -> None:
    put_named(tmp_path, "2401.00001.pdf")
    (one,) = folder.identify(tmp_path)
    assert one.title == "A Paper about Reading"


def test_only_files_whose_name_tells_nothing_are_named_by_their_page(tmp_path: Path) -> None:
    put_named(tmp_path, "2205.14135.pdf")
    put_named(tmp_path, "stamped.pdf")
    put_named(tmp_path, "unknown.pdf", UNSTAMPED)
    assert [(one.path.name, str(one.arxiv_id)) for one in folder.named_by_page(tmp_path)] == [
        ("stamped.pdf", "2401.00001v1")
    ]


def test_record_of_a_pdf_is_a_row_of_kaggles_form(tmp_path: Path) -> None:
    one = Identified(tmp_path / "a.pdf", ArxivId("hep-th/9108004", 2), "A title")
    record = folder.to_record(one)
    row = records.to_row(record, records.history(record["versions"]))
    assert (row["paper_id"], row["version"], row["title"], row["categories"]) == ("hep-th/9108004", 2, "A title", [])
    assert (row["submitted_at"].isoformat(), row["submitted_from"]) == ("1991-08-01T00:00:00+00:00", "id")


def test_pdf_without_title_is_called_by_its_id(tmp_path: Path) -> None:
    assert folder.to_record(Identified(tmp_path / "a.pdf", ArxivId("2401.00001", None)))["title"] == "2401.00001"
