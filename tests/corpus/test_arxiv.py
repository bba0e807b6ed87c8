"""Ids, categories, dates and file names of arXiv."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.corpus import arxiv
from jobs.corpus.arxiv import ArxivId
from tests.corpus.kaggle_lines import shared_corpus

SETTINGS = settings(derandomize=True, max_examples=300, deadline=None, database=None)

MONTHS = st.integers(1, 12).map("{:02d}".format)
VERSIONS = st.none() | st.integers(1, 9999)
FOUR_DIGITS = st.builds("{:02d}{}.{:04d}".format, st.integers(8, 14), MONTHS, st.integers(1, 9999))
FIVE_DIGITS = st.builds("{:02d}{}.{:05d}".format, st.integers(15, 99), MONTHS, st.integers(1, 99999))
OLD_YEARS = st.sampled_from([*range(91, 100), *range(0, 7)])
OLD = st.builds(
    "{}/{:02d}{}{:03d}".format, st.sampled_from(sorted(arxiv.OLD_ARCHIVES)), OLD_YEARS, MONTHS, st.integers(1, 999)
)
SAMPLE = st.builds("sample/{:02d}{}{:03d}".format, st.integers(0, 90), MONTHS, st.integers(1, 999))
PAPER_IDS = FOUR_DIGITS | FIVE_DIGITS | OLD | SAMPLE


@pytest.fixture
def corpus() -> Path:
    return shared_corpus()


@pytest.mark.slow
@SETTINGS
@given(st.builds(ArxivId, PAPER_IDS, VERSIONS))
def test_id_written_and_parsed_is_the_same(arxiv_id: ArxivId) -> None:
    assert arxiv.parse_id(str(arxiv_id)) == arxiv_id


def test_subject_class_is_dropped() -> None:
    assert arxiv.parse_id("math.CA/0611800v2") == ArxivId("math/0611800", 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2205.14135 ",
        "2205.14135\n",
        "٢٢٠٥.14135",  # digits, but not ASCII
        "2205.1413",  # five digits since 2015
        "1412.00001",  # four before
        "0703.0001",  # the new form began in April 2007
        "2213.00001",
        "2200.00001",
        "2205.00000",
        "2205.14135v0",
        "2205.14135v01",
        "2205.14135V1",
        "arXiv:2205.14135",
        "hep-th/0704001",  # the old form ended in March 2007
        "hep-th/9013001",
        "hep-th/9101000",
        "HEP-TH/9108004",
        "q-fin/0601001",  # younger than the old form
        "nowhere/9901001",
        "sample/9901001",  # 2099: the sample's years are 2000 to 2090
        "hep-th/99010011",
        "../9901001",
        "hep-th/../9901001",
        "hep-th/9901001/..",
        "hep-th\x009901001",
    ],
)
def test_text_that_arxiv_never_gave_out_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no arXiv id"):
        arxiv.parse_id(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2205.14135.pdf", ArxivId("2205.14135")),
        ("2205.14135v2.pdf", ArxivId("2205.14135", 2)),
        ("deep/er/2205.14135v2.PDF", ArxivId("2205.14135", 2)),
        ("arxiv/arxiv/pdf/2205/2205.14135v2.pdf", ArxivId("2205.14135", 2)),
        ("hep-th_9108004.pdf", ArxivId("hep-th/9108004")),
        ("hep-th9108004", ArxivId("hep-th/9108004")),
        ("math_0501170v3.pdf", ArxivId("math/0501170", 3)),
        ("math.CO_0501170v3.pdf", ArxivId("math/0501170", 3)),
        ("hep-th%2F9108004v1.pdf", ArxivId("hep-th/9108004", 1)),
        ("hep-th/9108004.pdf", ArxivId("hep-th/9108004")),
        ("cs/pdf/9912/9912018v1.pdf", ArxivId("cs/9912018", 1)),
        ("gs/cmp-lg/pdf/9404/9404001v1.pdf", ArxivId("cmp-lg/9404001", 1)),
        ("sample/pdf/2401001v1.pdf", ArxivId("sample/2401001", 1)),
        ("9912018v1.pdf", None),  # a number without its archive
        ("math/downloads/9912018v1.pdf", None),
        ("attention is all you need.pdf", None),
        ("2205.14135v2 (1).pdf", None),
        ("", None),
    ],
)
def test_file_name_tells_the_id(name: str, expected: ArxivId | None) -> None:
    assert arxiv.id_from_file_name(name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A title\narXiv:2205.14135v2  [cs.LG]  23 Jun 2022\n", ArxivId("2205.14135", 2)),
        ("arXiv:hep-th/9108004v1  16 Aug 1991\nIASSNS", ArxivId("hep-th/9108004", 1)),
        ("arXiv:hep-th/9108004v1", ArxivId("hep-th/9108004", 1)),
        ("sample:2401001v1 [cs.LG] 1 Jan 2024", ArxivId("sample/2401001", 1)),
        ("see arXiv:1706.03762v5 [cs.CL], 2017\narXiv:2205.14135v2 [cs.LG] 23 Jun 2022", ArxivId("2205.14135", 2)),
        ("Preprint. See arXiv:1706.03762.", None),
        ("compare arXiv:1706.03762v5 and arXiv:1810.04805v2", None),
        ("arXiv:2213.99999v1 [cs.LG] 23 Jun 2022", None),
        ("", None),
    ],
)
def test_first_page_tells_the_id_by_its_stamp(text: str, expected: ArxivId | None) -> None:
    assert arxiv.id_from_first_page(text) == expected


@pytest.mark.parametrize(
    ("paper_id", "month"),
    [
        ("2205.14135", date(2022, 5, 1)),
        ("0704.0001", date(2007, 4, 1)),
        ("hep-th/9108004", date(1991, 8, 1)),
        ("math/0501170", date(2005, 1, 1)),
        ("sample/2401001", date(2024, 1, 1)),
        ("9912.00001", date(2099, 12, 1)),
    ],
)
def test_month_is_that_of_the_id(paper_id: str, month: date) -> None:
    assert arxiv.month_of_id(paper_id) == month


@SETTINGS
@given(PAPER_IDS)
def test_file_stem_leads_back_to_the_id(paper_id: str) -> None:
    assert arxiv.id_from_file_stem(arxiv.file_stem(paper_id)) == paper_id


@pytest.mark.slow
@SETTINGS
@given(st.lists(PAPER_IDS, unique=True, min_size=2, max_size=20))
def test_different_ids_never_share_a_file_name_on_any_file_system(paper_ids: list[str]) -> None:
    names = {arxiv.pdf_file_name(paper_id, 1, "0" * 64).casefold() for paper_id in paper_ids}
    assert len(names) == len(paper_ids)


@pytest.mark.slow
@SETTINGS
@given(st.text() | st.text(alphabet="./\\0123456789v-%F\x00ahept", max_size=24) | PAPER_IDS.map("../{}".format))
def test_no_text_becomes_a_path_outside_its_folder(text: str) -> None:
    root = Path("/lake/pdfs/_files")
    try:
        path = root / arxiv.pdf_file_name(text, 1, "0" * 64)
    except ValueError:
        return
    assert Path(os.path.normpath(path)).relative_to(root).parts == (arxiv.yymm(text), path.name)


def test_pdf_file_name_has_month_version_and_hash() -> None:
    sha256 = "0a1b2c3d4e5f" + "9" * 52
    assert arxiv.pdf_file_name("hep-th/9108004", 3, sha256) == "9108/hep-th%2F9108004v3.0a1b2c3d4e5f.pdf"
    assert arxiv.pdf_file_name("2205.14135", None, sha256) == "2205/2205.14135.0a1b2c3d4e5f.pdf"


@pytest.mark.parametrize(("paper_id", "sha256"), [("math.CA/0611800", "0" * 64), ("2205.14135", "0" * 63 + "/")])
def test_pdf_file_name_refuses_what_is_not_canonical(paper_id: str, sha256: str) -> None:
    with pytest.raises(ValueError, match=r"is not how arXiv writes|no sha256"):
        arxiv.pdf_file_name(paper_id, 1, sha256)


def test_file_stem_of_other_text_is_refused() -> None:
    with pytest.raises(ValueError, match="file stem"):
        arxiv.id_from_file_stem("hep-th%2f9108004")


def test_address_is_that_of_arxiv_and_the_sample_has_none() -> None:
    assert arxiv.abs_url("hep-th/9108004", 2) == "https://arxiv.org/abs/hep-th/9108004v2"
    assert arxiv.abs_url("2205.14135") == "https://arxiv.org/abs/2205.14135"
    assert arxiv.abs_url("sample/2401001", 1) is None


@pytest.mark.parametrize("text", ["cs.LG", "hep-th", "math-ph", "stat.ML", "cond-mat.mes-hall", "astro-ph", "q-bio.NC"])
def test_category_of_a_known_archive_is_one(text: str) -> None:
    assert arxiv.is_category(text)


@pytest.mark.parametrize("text", ["", "cs.lg.", "cs.L", "CS.LG", "xx.LG", "cs.LG stat.ML", "cs.LG\n", "sample"])
def test_other_text_is_no_category(text: str) -> None:
    assert not arxiv.is_category(text)


def test_id_hash_never_changes() -> None:
    assert arxiv.id_hash("2205.14135") == 0x115419755DF0772A  # printf 2205.14135 | sha256sum | cut -c1-16


@pytest.mark.parametrize("day", ["2", "02", " 2"])
def test_date_is_utc_whatever_the_padding(day: str) -> None:
    assert arxiv.parse_created(f"Mon, {day} Apr 2007 19:18:42 GMT") == datetime(2007, 4, 2, 19, 18, 42, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, ""])
def test_missing_date_is_none(text: str | None) -> None:
    assert arxiv.parse_created(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "2007-04-02",
        "Mon, 2 Apr 2007",
        "Mon, 2 Apr 2007 19:18:42 CET",
        "Mon, 2 Apr 2007 19:18:42 GMT ",
        "Mon, 31 Apr 2007 19:18:42 GMT",
        "Mon, 2 Apr 2007 24:18:42 GMT",
        "Mon, 2 Abr 2007 19:18:42 GMT",
        "Mon, ٢ Apr 2007 19:18:42 GMT",
    ],
)
def test_other_dates_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        arxiv.parse_created(text)


def test_every_id_and_date_of_the_shared_corpus_parses(corpus: Path) -> None:
    rows = [json.loads(line) for line in (corpus / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 2051
    for row in rows:
        assert str(arxiv.parse_id(row["id"])) == row["id"]
        for version in row["versions"]:
            assert (arxiv.parse_created(version["created"]) is None) == (version["created"] is None)


def test_every_pdf_name_of_the_shared_corpus_is_an_id(corpus: Path) -> None:
    found = [arxiv.id_from_file_name(path.name) for path in (corpus / "pdf").iterdir()]
    assert len(found) == 29
    assert None not in found
