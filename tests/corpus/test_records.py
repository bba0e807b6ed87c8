"""From one record of metadata to a row of `papers`."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.corpus import records
from jobs.corpus.records import MalformedError, PaperRow
from tests.corpus.kaggle_lines import row, versions

JANUARY_2 = "Tue, 2 Jan 2024 10:00:00 GMT"
MARCH_5 = "Tue, 5 Mar 2024 10:00:00 GMT"


def paper(**fields: Any) -> PaperRow:
    record = row(**fields)
    return records.to_row(record, records.history(record.get("versions")), "kaggle", 7)


def test_record_becomes_a_clean_row() -> None:
    assert paper(license=" http://creativecommons.org/licenses/by/4.0/ ") == {
        "paper_id": "2401.00001",
        "version": 1,
        "title": "On the spectrum of graphs",
        "abstract": "We show a bound.",
        "authors": ["A. Example", "B. Sample Jr."],
        "categories": ["cs.LG", "stat.ML"],
        "primary_category": "cs.LG",
        "submitted_at": datetime(2024, 1, 2, 10, tzinfo=UTC),
        "updated_at": datetime(2024, 1, 2, 10, tzinfo=UTC),
        "submitted_from": "version",
        "license": "http://creativecommons.org/licenses/by/4.0/",
        "is_withdrawn": False,
        "update_date": "2024-01-03",
        "source": "kaggle",
        "offset": 7,
    }


def test_missing_fields_are_empty_not_faults() -> None:
    names = ("title", "abstract", "authors", "authors_parsed", "categories", "license", "versions", "update_date")
    found = paper(**dict.fromkeys(names, ...))
    assert (found["title"], found["abstract"], found["authors"], found["categories"]) == ("", "", [], [])
    assert (found["primary_category"], found["license"], found["version"], found["update_date"]) == (None, None, 1, "")


def test_id_loses_its_subject_class() -> None:
    assert paper(id="math.CA/0611800")["paper_id"] == "math/0611800"


@pytest.mark.parametrize("paper_id", ["", None, ..., "2401.1", "unknown/9901001"])
def test_other_id_is_refused(paper_id: Any) -> None:
    with pytest.raises(ValueError, match="no arXiv id"):
        paper(id=paper_id)


@pytest.mark.parametrize(
    ("history", "version", "submitted", "updated", "submitted_from"),
    [
        (versions(JANUARY_2, MARCH_5), 2, (1, 2), (3, 5), "version"),
        (versions(JANUARY_2, MARCH_5)[::-1], 2, (1, 2), (3, 5), "version"),
        (versions(JANUARY_2, None), 2, (1, 2), (1, 2), "version"),
        (versions(None, MARCH_5), 2, (1, 1), (3, 5), "id"),
        ([{"version": "v3", "created": MARCH_5}], 3, (1, 1), (3, 5), "id"),
        ([{"version": "v10", "created": MARCH_5}, {"version": "v9", "created": None}], 10, (1, 1), (3, 5), "id"),
        (versions(None), 1, (1, 1), (1, 1), "id"),
        ([], 1, (1, 1), (1, 1), "id"),
    ],
)
def test_dates_come_from_versions_else_from_the_id(
    history: list[Any], version: int, submitted: tuple[int, int], updated: tuple[int, int], submitted_from: str
) -> None:
    found = paper(versions=history)
    days = [(found[name].month, found[name].day) for name in ("submitted_at", "updated_at")]  # type: ignore[literal-required]
    assert (found["version"], days, found["submitted_from"]) == (version, [submitted, updated], submitted_from)


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b'{"id":1}', b'{"authors_parsed":[""]}', b'{"categories":[1]}'])
def test_line_of_another_form_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedError):
        records.load(line)


@pytest.mark.parametrize("version", ["1", "v0", "v", "v1\n", 1, None])
def test_version_of_another_form_is_malformed(version: Any) -> None:
    with pytest.raises(MalformedError, match="version"):
        records.history([{"version": version}])


def test_control_characters_and_blanks_collapse() -> None:
    assert records.clean("  a\n  b\x00c\u2028d\u00a0\x85e\x1f ") == "a b c d e"


def test_letters_beyond_ascii_stay() -> None:
    assert records.clean("Poincaré\u00ad  量子 \\'{e}") == "Poincaré\u00ad 量子 \\'{e}"


@pytest.mark.parametrize("n_pieces", [3, 30, 300])
def test_short_ways_of_cleaning_give_what_the_long_way_gives(n_pieces: int) -> None:
    rng = random.Random(n_pieces)
    odd = ["\n", "\n  ", " \n", "  ", "\t", "\r\n", "\x00", "\x1f", "\x7f", "\x85", "\u00a0", "\u2028", "\u00ad", "é"]
    for _ in range(500):
        pieces = rng.choices(["a", "mass", " ", "$x$"], k=n_pieces)
        for _ in range(rng.randrange(3)):
            pieces.insert(rng.randrange(n_pieces), rng.choice(odd))
        text = "".join(pieces)
        blanked = "".join(" " if ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 else char for char in text)
        expected = " ".join(text.split())
        assert records.clean(text) == (expected if expected.isprintable() else " ".join(blanked.split()))


def test_repeated_category_counts_once() -> None:
    assert records.category_tokens(["cs.LG stat.ML", "cs.LG"]) == ["cs.LG", "stat.ML"]


@pytest.mark.parametrize(
    "comments",
    [
        "This paper has been withdrawn",
        "This paper has been withdrawn by the authors due to an error",
        "  This article has been\n  withdrawn because it has been merged",
        "paper withdrawn by author",
        "This has been withdrawn by arXiv administrators",
        "Withdrawn by the authors; see a later paper",
    ],
)
def test_comment_that_begins_with_withdrawal_counts(comments: str) -> None:
    assert records.is_withdrawn(None, comments)


@pytest.mark.parametrize(
    "comments",
    [
        None,
        "10 pages",
        "This paper has been withdrawn from the journal's queue",
        "10 pages. An earlier version has been withdrawn by the authors",
        "Withdrawn money: a model",
        "This paper supersedes one withdrawn by the authors",
    ],
)
def test_other_comments_are_no_withdrawal(comments: str | None) -> None:
    assert not records.is_withdrawn(None, comments)


def test_source_type_goes_before_comments() -> None:
    withdrawn = {"version": "v2", "created": None, "source_type": "I"}
    assert paper(versions=[*versions(JANUARY_2), withdrawn])["is_withdrawn"]
    assert not paper(versions=[{**withdrawn, "source_type": "D"}], comments="withdrawn by the author")["is_withdrawn"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("E. One", ["E. One"]),
        ("E. One and F. Two", ["E. One", "F. Two"]),
        ("E. One, F. Two, and\n  G. Three", ["E. One", "F. Two", "G. Three"]),
        (
            "E.One (1,2), F.Two(2) and G. Three (1 and 2) ((1) Inst. (Dept.), Rome, (2) CERN)",
            ["E.One", "F.Two", "G. Three"],
        ),
        ("E. One (1), ((1) unclosed, Rome", ["E. One"]),
        ("E. One), F. Two", ["E. One", "F. Two"]),
        ("John Smith, Jr., F. Two", ["John Smith Jr.", "F. Two"]),
        ("Fernand Anderson and Sandy Two", ["Fernand Anderson", "Sandy Two"]),
        ("A.\\,B. One, Fran\\c{c}ois Two", ["A.\\,B. One", "Fran\\c{c}ois Two"]),
        ("", []),
        (None, []),
    ],
)
def test_names_are_split_and_affiliations_dropped(text: str | None, names: list[str]) -> None:
    assert records.split_authors(text) == names


def test_nested_parentheses_take_linear_time() -> None:
    assert records.split_authors("E. One " + "(" * 200_000 + ")" * 200_000) == ["E. One"]


def test_authors_are_split_where_none_are_parsed() -> None:
    assert paper(authors_parsed=[])["authors"] == ["A. Example", "B. Sample"]
    assert paper(authors_parsed=[["van der Meer", "Ada", "", "CERN"], ["", "", ""]])["authors"] == ["Ada van der Meer"]
