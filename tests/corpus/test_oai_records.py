"""Records of OAI-PMH end as rows of Kaggle's form."""

from __future__ import annotations

import orjson
import pytest

from jobs.corpus import oai, oai_records, records
from jobs.corpus.oai import RawRecord
from tests.corpus.fake_oai import Listed, page_xml, raw_xml, record_xml
from tests.corpus.kaggle_lines import row

TWO_VERSIONS = (("Tue, 02 Jan 2024 10:00:00 GMT", "D"), ("Tue, 09 Jan 2024 10:00:00 GMT", None))


def parsed(*listed: Listed) -> oai.Page:
    return page_of("".join(map(record_xml, listed)))


def page_of(records_xml: str) -> oai.Page:
    return oai.parse_page(page_xml(f"<ListRecords>{records_xml}</ListRecords>"))


def record_of(listed: Listed) -> dict:
    (one,) = parsed(listed).records
    assert one.record is not None
    return one.record


def test_record_has_the_fields_of_kaggles_file_in_their_order() -> None:
    assert list(record_of(Listed("2401.00001", "2024-01-03"))) == list(row())


def test_record_is_the_same_row_of_papers_as_kaggles() -> None:
    harvested = record_of(Listed("2401.00001", "2024-01-03", versions=TWO_VERSIONS[:1]))
    of_kaggle = row(
        1,
        abstract="  We show a < b & c.\n",
        license="http://creativecommons.org/licenses/by/4.0/",
        authors="A. Example and B. Bal\\'azs",
        authors_parsed=[["Example", "A.", ""], ["Balázs", "B.", ""]],
    )
    made, expected = (records.to_row(one, records.history(one["versions"])) for one in (harvested, of_kaggle))
    assert made == expected


def test_versions_keep_dates_and_letters_and_the_scans_fast_form() -> None:
    record = record_of(Listed("2401.00001", "2024-01-10", versions=TWO_VERSIONS))
    assert record["versions"] == [
        {"version": "v1", "created": "Tue, 02 Jan 2024 10:00:00 GMT", "source_type": "D"},
        {"version": "v2", "created": "Tue, 09 Jan 2024 10:00:00 GMT"},
    ]
    assert b'"versions":[{"version":"v1","created":"Tue, 02 Jan' in orjson.dumps(record)


def test_newest_version_without_files_is_withdrawn() -> None:
    record = record_of(Listed("2401.00001", "2024-01-10", versions=(*TWO_VERSIONS[:1], (TWO_VERSIONS[1][0], "I"))))
    assert records.to_row(record, records.history(record["versions"]))["is_withdrawn"]


def test_deleted_record_has_no_row() -> None:
    assert parsed(Listed("2401.00001", "2024-01-10", is_deleted=True)).records == [
        RawRecord("2401.00001", "2024-01-10", None)
    ]


def test_deleted_papers_last_row_becomes_a_withdrawn_one() -> None:
    made = oai_records.withdrawn(row(1), "2024-02-01")
    assert made["update_date"] == "2024-02-01"
    assert records.to_row(made, records.history(made["versions"]))["is_withdrawn"]


@pytest.mark.parametrize(
    "broken",
    [
        Listed("no id", "2024-01-10"),
        Listed("2401.00001", "yesterday"),
        Listed("2401.00001", "2024-01-10", fields={"id": "2401.00002"}),
        Listed("2401.00001", "2024-01-10", fields={"id": None}),
    ],
    ids=["id", "day", "of another paper", "without id"],
)
def test_record_that_is_none_is_counted_beside_the_good_ones(broken: Listed) -> None:
    page = parsed(broken, Listed("2401.00009", "2024-01-10"))
    assert ([one.paper_id for one in page.records], page.refused) == (["2401.00009"], {"malformed": 1})


def test_record_without_metadata_is_counted() -> None:
    one = Listed("2401.00001", "2024-01-10")
    assert page_of(record_xml(one).replace(raw_xml(one), "")).refused == {"malformed": 1}


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        ("Bal\\'azs", "Balázs"),
        ('G\\"{o}del', "Gödel"),
        ("Fran\\c{c}ois", "François"),
        ("Fran\\c cois", "François"),
        ("{\\L}ukasz", "Łukasz"),
        ("S\\o ren", "Søren"),
        ("Mart\\'{\\i}n", "Martín"),
        ("Stra{\\ss}e", "Straße"),
        ("Ho\\v{r}ava", "Hořava"),
        ("plain {braces}", "plain {braces}"),
        ("\\alpha", "\\alpha"),
    ],
)
def test_accents_of_tex_become_letters(tex: str, text: str) -> None:
    assert oai_records.from_tex(tex) == text
