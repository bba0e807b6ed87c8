"""Reading PDFs as a stage: what is dealt out, what stands from before, what is refused."""

from __future__ import annotations

import functools
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.core import durable
from jobs.core.config import REPOSITORY
from jobs.core.definition import Source
from jobs.core.errors import IntegrityError, UsageError, YieldError
from jobs.core.lake import Lake
from jobs.core.manifest import Counts
from jobs.corpus import batches, extract_text
from jobs.corpus.extract_text import PdfToRead, deal
from jobs.corpus.pdf import Limits
from tests.corpus import make_pdfs
from tests.corpus.test_filter_papers import (
    NEXT_WEEK,
    WEEK,
    LocalContext,
    LocalRows,
    NoContext,
    current,
    make,
    publish_rows,
    stage_lake,
    why,
)

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

NOTE = "sample/2401002"  # 2 pages
SAMPLE = REPOSITORY / "sample" / "pdf"


class DyingContext(LocalContext):
    """Spark that dies behind its first partition."""

    def parallelize(self, rows: list[Any], n: int) -> LocalRows:
        return super().parallelize([*rows[:1], "no bucket"], 2)


def papers_of(tmp_path: Path) -> Lake:
    return stage_lake(tmp_path / "lake", Source(metadata="none.jsonl", pdfs="none"))


def put(lake: Lake, part: str = WEEK, **pdfs: bytes) -> None:
    """Publish papers and their PDFs as if they had been fetched: name -> content of the file."""
    papers, rows = [], []
    for name, content in sorted(pdfs.items()):
        identity = {"paper_id": f"sample/{name[1:]}" if name.startswith("s") else f"2401.{name[1:]}", "version": 1}
        sha256 = durable.sha256_bytes(content)
        path = lake.pdf_files / f"{sha256[:12]}.pdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        papers.append(identity)
        rows.append(identity | {"status": "ok", "path": path.name, "sha256": sha256, "size_bytes": len(content)})
    publish_rows(lake, "papers", papers, part=part)
    publish_rows(lake, "pdfs", rows, part=part)


def note(number: int = 2401002) -> bytes:
    return (SAMPLE / f"sample_{number}v1.pdf").read_bytes()


@functools.cache
def paper(n_pages: int = 2) -> bytes:
    """A paper whose stamp says 2401.00001v1, always the same bytes: pymupdf gives each file an id of its own."""
    return make_pdfs.paper(n_pages)


def rows(lake: Lake) -> dict[str, dict[str, Any]]:
    return {row["paper_id"]: row for row in current(lake, "documents").rows()}


def read_ids() -> list[str]:
    """Papers that the last job dealt out."""
    return sorted(pdf.paper_id for bucket in LocalContext.given for pdf in bucket)


def pdf_to_read(number: int, size_bytes: int) -> PdfToRead:
    return PdfToRead("work", f"2401.{number:05d}", 1, None, "path", "sha256", size_bytes)


@pytest.mark.parametrize(("n_pdfs", "n"), [(1, 8), (7, 8), (100, 8), (100, 1)])
def test_every_pdf_is_dealt_once_and_no_bucket_is_empty(n_pdfs: int, n: int) -> None:
    rng = random.Random(n_pdfs)
    pdfs = [pdf_to_read(number, rng.randrange(1, 10_000)) for number in range(n_pdfs)]
    buckets = deal(pdfs, n)
    assert Counter(pdf for bucket in buckets for pdf in bucket) == Counter(pdfs)
    assert len(buckets) == min(n, n_pdfs)
    assert all(buckets)


def test_no_bucket_has_more_than_its_share_and_one_pdf() -> None:
    rng = random.Random(3)
    pdfs = [pdf_to_read(number, int(rng.paretovariate(1.2) * 1000)) for number in range(200)]
    largest = max(pdf.size_bytes for pdf in pdfs)
    share = sum(pdf.size_bytes for pdf in pdfs) / 8
    assert max(sum(pdf.size_bytes for pdf in bucket) for bucket in deal(pdfs, 8)) <= share + largest


def test_nothing_is_dealt_to_nobody() -> None:
    assert deal([], 8) == []


def test_note_becomes_a_document_with_sections_and_pages(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, s2401002=note())
    make("extract_text", lake)
    row = rows(lake)[NOTE]
    assert (row["status"], row["reason"], row["n_pages"], len(row["pages"])) == ("ok", None, 2, 2)
    assert row["text_hash"] == durable.sha256_bytes(row["text"].encode())
    assert any(section["title"] == "2 NF4: 4-bit NormalFloat" for section in row["sections"])
    assert "NormalFloat" in row["text"]


@pytest.mark.slow
def test_stamp_tells_the_version_of_the_pdf(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=paper(3))
    make("extract_text", lake)
    assert {paper: row["pdf_version"] for paper, row in rows(lake).items()} == {"2401.00001": 1, "2401.00002": None}


@pytest.mark.slow
def test_bad_pdf_is_a_row_with_its_reason(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=b"%PDF-1.7\nnothing more\n")
    make("extract_text", lake)
    made = current(lake, "documents")
    assert (rows(lake)["2401.00002"]["status"], rows(lake)["2401.00002"]["text"]) == ("rejected", None)
    assert rows(lake)["2401.00002"]["detail"]
    assert (made.manifest.counts.read, made.manifest.counts.kept, made.manifest.rows) == (2, 1, 2)


def test_window_without_pdfs_starts_no_spark(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake)
    make("extract_text", lake, context=NoContext)
    assert current(lake, "documents").manifest.counts == Counts(0, 0)


def test_pdf_of_a_paper_that_left_the_window_is_not_read(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper())
    publish_rows(lake, "papers", [])
    make("extract_text", lake, context=NoContext)
    assert rows(lake) == {}


@pytest.mark.slow
def test_new_paper_costs_one_paper(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper())
    make("extract_text", lake)
    before = rows(lake)["2401.00001"]
    put(lake, p00001=paper(), p00002=paper(3))
    make("extract_text", lake)
    assert read_ids() == ["2401.00002"]
    assert rows(lake)["2401.00001"] == before
    assert current(lake, "documents").manifest.taken_over == 1


@pytest.mark.slow
def test_pdf_with_other_content_is_read_again(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=paper(3))
    make("extract_text", lake)
    put(lake, p00001=paper(4), p00002=paper(3))
    make("extract_text", lake)
    assert read_ids() == ["2401.00001"]
    assert rows(lake)["2401.00001"]["n_pages"] == 4


@pytest.mark.slow
def test_paper_that_went_is_in_the_next_part_no_more(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=paper(3))
    make("extract_text", lake)
    put(lake, p00002=paper(3))
    make("extract_text", lake, context=NoContext)
    assert sorted(rows(lake)) == ["2401.00002"]


@pytest.mark.slow
def test_lowered_limit_reads_again_only_what_is_over_it(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(2), p00002=paper(4))
    make("extract_text", lake)
    make("extract_text", lake, max_pages=3)
    assert read_ids() == ["2401.00002"]
    assert {paper: row["reason"] for paper, row in rows(lake).items()} == {
        "2401.00001": None,
        "2401.00002": "too_many_pages",
    }


@pytest.mark.slow
def test_raised_limit_reads_again_only_what_was_refused(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(2), p00002=paper(4))
    make("extract_text", lake, max_pages=3)
    make("extract_text", lake)
    assert read_ids() == ["2401.00002"]
    assert current(lake, "documents").manifest.counts == Counts(2, 2)


def test_lowered_limit_of_size_refuses_what_was_read_under_another(tmp_path: Path) -> None:
    """The same settings make the same rows, whatever was there before."""
    lake = papers_of(tmp_path)
    put(lake, p00001=paper() + b"%" * (3 << 20))
    make("extract_text", lake)
    make("extract_text", lake, max_pdf_mb=1, min_yield_01=0.0)
    assert rows(lake)["2401.00001"]["reason"] == "too_large"


@pytest.mark.slow
def test_result_is_the_same_whether_taken_over_or_made_at_once(tmp_path: Path) -> None:
    digests = set()
    for name, steps in (("at once", [2]), ("in two steps", [1, 2])):
        (tmp_path / name).mkdir()
        lake = papers_of(tmp_path / name)
        for n in steps:
            put(lake, **{f"p{number:05d}": paper(number) for number in range(1, n + 1)})
            make("extract_text", lake)
        digests.add(current(lake, "documents").manifest.digest)
    assert len(digests) == 1


def test_stored_pdf_that_changed_is_65_and_publishes_nothing(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=paper(3))
    stored = next(lake.pdf_files / row["path"] for row in current(lake, "pdfs").rows())
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=stored.name) as refused:
        make("extract_text", lake)
    assert refused.value.exit_code == 65
    assert lake.parts("documents") == []


def test_stored_pdf_that_went_is_65(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper())
    next(lake.pdf_files.glob("*.pdf")).unlink()
    with pytest.raises(IntegrityError):
        make("extract_text", lake)


@pytest.mark.slow
def test_next_attempt_reads_only_what_the_dead_one_had_not(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(), p00002=paper(3))
    with pytest.raises(AttributeError):
        make("extract_text", lake, context=DyingContext)
    assert lake.parts("documents") == []
    make("extract_text", lake)
    assert len(read_ids()) == 1
    assert sorted(rows(lake)) == ["2401.00001", "2401.00002"]
    assert list(lake.root.glob("documents/*/_work/*")) == []


@pytest.mark.slow
def test_yield_below_the_floor_fails_each_time_and_leaves_the_part(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper(2), p00002=paper(4), p00003=paper(5))
    for _ in range(2):
        with pytest.raises(YieldError, match="kept 1 of 3"):
            make("extract_text", lake, max_pages=3)
        assert current(lake, "documents").manifest.counts.dropped == {"too_many_pages": 2}
        assert why("extract_text", lake, max_pages=3) == "up to date"


def test_bucket_goes_on_behind_a_damaged_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pdf", tmp_path / "bad.pdf"
    for path in (good, bad):
        path.write_bytes(paper())
    sha256, size_bytes = durable.sha256_file(good), good.stat().st_size
    bad.write_bytes(b"%PDF-")
    bucket = [
        PdfToRead(str(tmp_path), f"2401.0000{number}", 1, None, str(path), sha256, size_bytes)
        for number, path in enumerate((bad, good), start=1)
    ]
    problems = extract_text._read_bucket(Limits(), (), bucket)
    assert len(problems) == 1
    assert "bad.pdf" in problems[0]
    assert [table["paper_id"].to_pylist() for table in batches.read_all(tmp_path)] == [["2401.00002"]]


@pytest.mark.slow
def test_two_windows_are_read_in_one_job(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, p00001=paper())
    for dataset in ("papers", "pdfs"):
        publish_rows(lake, dataset, current(lake, dataset).rows(), part=NEXT_WEEK)
    before = LocalContext.n_jobs
    make("extract_text", lake, windows=(WEEK, NEXT_WEEK))
    assert LocalContext.n_jobs == before + 1
    assert lake.parts("documents") == [WEEK, NEXT_WEEK]


@pytest.mark.parametrize(("kept", "n_windows", "most"), [("until_extracted", 5, 1), ("always", 3, 3)])
def test_pdfs_of_a_backfill_go_as_soon_as_their_windows_are_read(
    tmp_path: Path, kept: str, n_windows: int, most: int, soak: int
) -> None:
    """Runs of a window each, none of which ends in a release; 50 in make soak."""
    n_windows *= soak if kept == "until_extracted" else 1
    lake, n_files = papers_of(tmp_path), []
    first = date(2024, 1, 1)
    for number in range(n_windows):
        start, end = first + timedelta(weeks=number), first + timedelta(weeks=number + 1)
        put(lake, f"{start}_{end}", **{f"n{number + 1:05d}": paper() + b"\n%%%d\n" % number})
        n_files.append(len(list(lake.pdf_files.iterdir())))
        make("extract_text", lake, windows=(f"{start}_{end}",), keep_pdfs=kept)
    assert max(n_files) == most
    assert len(lake.parts("documents")) == n_windows
    assert why("extract_text", lake) == "up to date", "a window whose PDFs are gone stays done"


def test_cleaning_step_switched_off_reads_all_again(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, s2401002=note())
    make("extract_text", lake)
    before = rows(lake)[NOTE]
    make("extract_text", lake, cleaning_off=("hyphens_joined",))
    after = rows(lake)[NOTE]
    assert after["text"] != before["text"]
    assert "hyphens_joined" not in {one["name"] for one in after["cleaned"]}


def test_unknown_cleaning_step_is_refused(tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, s2401002=note())
    with pytest.raises(UsageError, match=r"cleaning_off has hyphen\. Expected some of: stamps, running_heads"):
        make("extract_text", lake, cleaning_off=("hyphen",))
