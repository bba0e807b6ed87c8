"""The bundled corpus: what the demo, the tests and the figures rest on."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from jobs.core.definition import Definition, split_of
from jobs.core.windows import window_of, windows_between
from jobs.corpus import arxiv

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
ROWS = [json.loads(line) for line in (SAMPLE / "metadata.jsonl").read_text().splitlines()]
KAGGLE_FIELDS = [
    "id", "submitter", "authors", "title", "comments", "journal-ref", "doi", "report-no", "categories", "license",
    "abstract", "versions", "update_date", "authors_parsed",
]  # fmt: skip


def versions_of(row: dict) -> list[int]:
    return [int(entry["version"].removeprefix("v")) for entry in row["versions"]]


def test_rows_have_the_form_of_kaggles_file() -> None:
    assert len(ROWS) >= 20
    for row in ROWS:
        assert list(row) == KAGGLE_FIELDS
        assert arxiv.parse_id(row["id"]).paper_id == row["id"]
        assert all(arxiv.is_category(name) for name in row["categories"].split())
        assert row["abstract"].startswith("  ")
        assert row["abstract"].endswith("\n")
    assert (SAMPLE / "metadata.jsonl").read_text().startswith('{"id":"'), "compact, as Kaggle writes it"


def test_every_version_has_its_pdf_and_every_pdf_its_row() -> None:
    expected = {f"{row['id'].replace('/', '_')}v{number}.pdf" for row in ROWS for number in versions_of(row)}
    assert {path.name for path in (SAMPLE / "pdf").iterdir()} == expected
    assert any(len(versions_of(row)) == 2 for row in ROWS)


def test_pdfs_are_small() -> None:
    assert max(path.stat().st_size for path in (SAMPLE / "pdf").iterdir()) < 200_000


def test_weeks_are_several_with_an_empty_one_between() -> None:
    days = [arxiv.parse_created(row["versions"][0]["created"]).date() for row in ROWS]
    filled = {window_of(day, "week") for day in days}
    assert len(filled) >= 5
    assert len(windows_between(min(days), max(days), "week")) > len(filled)


def test_split_leaves_enough_papers_to_test_on() -> None:
    splits = Counter(split_of(Definition().split_salt, row["id"]) for row in ROWS)
    assert splits["test"] >= 4
    assert splits["validation"] >= 1


@pytest.mark.slow
def test_pdfs_say_what_their_rows_say() -> None:
    import pymupdf

    for row in ROWS:
        for number in versions_of(row):
            with pymupdf.open(SAMPLE / "pdf" / f"{row['id'].replace('/', '_')}v{number}.pdf") as document:
                first = document[0].get_text()
                assert 2 <= len(document) <= 4
                stamped = arxiv.id_from_first_page(first)
                assert stamped == arxiv.ArxivId(row["id"], number)
                assert letters(row["title"])[:40] in letters(first)


def letters(text: str) -> str:
    """Letters alone: line breaks, hyphens and blanks of a title do not matter."""
    return re.sub(r"[^a-z]", "", text.lower())
