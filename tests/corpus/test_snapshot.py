"""The scan of a snapshot: never a paper lost, every line accounted for, whatever the spelling and the ranges."""

from __future__ import annotations

import json
import pickle
import random
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.core.contracts import DATASETS
from jobs.core.reasons import PAPER_REASONS
from jobs.core.windows import Window, windows_between
from jobs.corpus import snapshot
from jobs.corpus.selection import Selection
from jobs.corpus.snapshot import ScanResult, WindowScan, byte_ranges, merged, scan_range
from tests.corpus.kaggle_lines import random_row, row, shared_corpus, spell, versions, write

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

WEEK = Window(date(2024, 1, 1), date(2024, 1, 8))
NEXT_WEEK = Window(date(2024, 1, 8), date(2024, 1, 15))
WINTER = tuple(windows_between(date(2023, 11, 27), date(2024, 3, 10), "week"))
COMPACT = {"separators": (",", ":")}


def line(**fields: Any) -> bytes:
    return json.dumps(row(**fields), separators=(",", ":")).encode()


def scan(path: Path, selection: Selection) -> ScanResult:
    return scan_range(path, 0, path.stat().st_size, selection, source="test")


def scan_lines(tmp_path: Path, lines: list[bytes], *windows: Window, **filters: Any) -> ScanResult:
    return scan(write(tmp_path / "lines.jsonl", lines), Selection(windows or (WEEK,), **filters))


def only(result: ScanResult) -> WindowScan:
    (found,) = result.windows.values()
    return found


def day_of(record: dict[str, Any], select_by: str) -> date:
    """The slow way to a record's day, with nothing of the code under test."""
    entries = {int(entry["version"][1:]): entry["created"] for entry in record.get("versions") or []}
    texts = (
        [entries.get(1)] if select_by == "submitted" else [entries[max(entries)] if entries else None, entries.get(1)]
    )
    for text in texts:
        if text:
            return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").date()
    digits = record["id"].split("/")[-1]
    year = int(digits[:2]) + (1900 if "/" in record["id"] and digits[0] == "9" else 2000)
    return date(year, int(digits[2:4]), 1)


def slow_scan(records: list[dict[str, Any]], selection: Selection) -> dict[str, list[str]]:
    """Ids by window, from parsed records, with no raw test at all."""
    found: dict[str, list[str]] = {window.name: [] for window in selection.windows}
    for record in records:
        categories = record.get("categories") or ""
        tokens = (categories if isinstance(categories, str) else " ".join(categories)).split()
        for window in selection.windows:
            is_inside = window.start <= day_of(record, selection.select_by) < window.end
            if is_inside and (not selection.categories or not tokens or set(tokens) & set(selection.categories)):
                found[window.name].append(record["id"])
    return found


def ids(result: ScanResult) -> dict[str, list[str]]:
    return {name: [paper["paper_id"] for paper in found.papers.rows()] for name, found in result.windows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("select_by", ["submitted", "updated"])
@pytest.mark.parametrize("categories", [(), ("cs.CL",), ("cs.CL", "hep-th"), ("q-fin.ST",)])
@pytest.mark.parametrize("windows", [WINTER, (WEEK,), (NEXT_WEEK, Window(date(2024, 2, 1), date(2024, 2, 2)))])
def test_random_spellings_lose_nothing_against_a_parser(
    tmp_path: Path, windows: tuple[Window, ...], categories: tuple[str, ...], select_by: str
) -> None:
    rng = random.Random(20240102)
    records = [random_row(rng, number) for number in range(1, 1201)]
    path = write(tmp_path / "rows.jsonl", [spell(rng, record) for record in records])
    selection = Selection(windows, categories, select_by=select_by)
    result = scan(path, selection)
    expected = slow_scan(records, selection)
    assert ids(result) == expected
    assert sum(map(len, expected.values())) > 0
    assert result.n_lines == 1200


KEPT_SPELLINGS = {
    "compact": line(),
    "spaced": json.dumps(row()).encode(),
    "odd blanks": json.dumps(row(), separators=(" ,\t", " :  ")).encode(),
    "other order": json.dumps(dict(reversed(row().items())), **COMPACT).encode(),
    "carriage return": line() + b"\r",
    "padded day": line(versions=versions("Tue, 02 Jan 2024 10:00:00 GMT")),
    "escaped category": line().replace(b"cs.LG", b"\\u0063\\u0073.LG"),
    "escaped dot": line().replace(b"cs.LG", b"cs\\u002eLG"),
    "escaped key of categories": line()
    .replace(b'"categories"', b'"c\\u0061tegories"')
    .replace(b"cs.LG", b"cs.L\\u0047"),
    "escaped key of versions": line().replace(b'"versions"', b'"version\\u0073"'),
    "escaped date": line().replace(b"2 Jan", b"\\u0032 Jan"),
    "list of categories": line(categories=["stat.ML", "cs.LG"]),
    "list of one text": line(categories=["stat.ML cs.LG"]),
    "escape in a later item": line(categories=["stat.ML", "cs.LG"]).replace(b"cs.LG", b"cs.\\u004cG"),
    "no categories": line(categories=None),
    "empty categories": line(categories=""),
    "blank categories": line(categories="  "),
    "empty list of categories": line(categories=[]),
    "missing categories": line(categories=...),
    "missing versions": line(versions=...),
    "null versions": line(versions=None),
    "empty versions": line(versions=[]),
    "null date": line(versions=versions(None)),
    "empty date": line(versions=versions("")),
    "date missing": line(versions=[{"version": "v1"}]),
    "first version unknown": line(versions=[{"version": "v3", "created": "Tue, 5 Mar 2024 10:00:00 GMT"}]),
    "first version last": line(versions=versions("Tue, 2 Jan 2024 10:00:00 GMT", "Tue, 5 Mar 2024 10:00:00 GMT")[::-1]),
    "more in a version": line(versions=[{"version": "v1", "size": "9kb", "created": "Tue, 2 Jan 2024 10:00:00 GMT"}]),
    "title that names keys": line(title='"versions":[{"version":"v1","created":"Tue, 2 Jan 2001 10:00:00 GMT"}]'),
    "value that is a key": line(update_date="versions"),
    "old id": line(id="math.CO/0611800", versions=versions("Tue, 2 Jan 2024 10:00:00 GMT")),
}


@pytest.mark.parametrize("spelling", KEPT_SPELLINGS)
def test_wanted_paper_is_kept_however_it_is_spelt(tmp_path: Path, spelling: str) -> None:
    found = only(scan_lines(tmp_path, [KEPT_SPELLINGS[spelling]], categories=("cs.LG",)))
    assert (len(found.papers), found.n_read, dict(found.dropped)) == (1, 1, {})


UPDATED = {
    "newest in the week": versions("Tue, 5 Dec 2023 10:00:00 GMT", "Tue, 2 Jan 2024 10:00:00 GMT"),
    "newest listed first": versions("Tue, 5 Dec 2023 10:00:00 GMT", "Tue, 2 Jan 2024 10:00:00 GMT")[::-1],
    "only version": versions("Tue, 2 Jan 2024 10:00:00 GMT"),
    "stamped version": [{"version": "v3", "created": "Tue, 2 Jan 2024 10:00:00 GMT"}],
    "newest without a date": versions("Tue, 2 Jan 2024 10:00:00 GMT", None),
    "no date": versions(None, None),
}


@pytest.mark.parametrize("history", UPDATED)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_selection_by_update_takes_the_newest_version(
    tmp_path: Path, history: str, separators: tuple[str, str]
) -> None:
    text = json.dumps(row(versions=UPDATED[history]), separators=separators).encode()
    found = only(scan_lines(tmp_path, [text], select_by="updated"))
    assert found.n_read == len(found.papers) == 1


def test_escaped_key_of_the_newest_date_hides_nothing(tmp_path: Path) -> None:
    text = line(versions=UPDATED["newest in the week"])
    text = text.replace(b'"version":"v2","created"', b'"v\\u0065rsion":"v2","cr\\u0065ated"')
    assert len(only(scan_lines(tmp_path, [text], select_by="updated")).papers) == 1


def test_selection_by_submission_ignores_the_newest_version(tmp_path: Path) -> None:
    assert only(scan_lines(tmp_path, [line(versions=UPDATED["newest in the week"])])).n_read == 0


@pytest.mark.parametrize("categories", ["cs.CLX", "math.CO cs.CLX", ["cs.CLX"], "xcs.CL"])
def test_letters_inside_another_category_do_not_match(tmp_path: Path, categories: Any) -> None:
    found = only(scan_lines(tmp_path, [line(categories=categories)], categories=("cs.CL", "cs.C")))
    assert dict(found.dropped) == {"other_category": 1}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_category_in_the_abstract_alone_is_not_parsed(tmp_path: Path, separators: tuple[str, str]) -> None:
    text = json.dumps(row(abstract="filed under cs.CV"), separators=separators).encode()
    result = scan_lines(tmp_path, [text], categories=("cs.CV",))
    assert (result.n_lines, result.n_parsed, only(result).n_read) == (1, 0, 0)


@pytest.mark.parametrize("select_by", ["submitted", "updated"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_paper_of_another_week_is_a_line_but_not_parsed(
    tmp_path: Path, separators: tuple[str, str], select_by: str
) -> None:
    text = json.dumps(row(), separators=separators).encode()
    result = scan_lines(tmp_path, [text], NEXT_WEEK, select_by=select_by)
    assert (result.n_lines, result.n_parsed, only(result).n_read) == (1, 0, 0)


@pytest.mark.parametrize(
    ("keyword", "n_kept"), [("spectrum", 1), ("SPECTRUM of  graphs", 1), ("bound", 1), ("spect", 0), ("graph", 0)]
)
def test_keyword_is_a_whole_word_of_title_or_abstract(tmp_path: Path, keyword: str, n_kept: int) -> None:
    found = only(scan_lines(tmp_path, [line()], keywords=(keyword, "absent.*")))
    assert (len(found.papers), found.dropped["no_keyword"]) == (n_kept, 1 - n_kept)


def test_first_reason_counts(tmp_path: Path) -> None:
    lines = [
        line(id=7, categories="math.CO"),
        line(id="7", categories="math.CO"),
        line(categories="math.CO"),
        line(number=2),
        line(number=3, title="Glass"),
        line(number=4, title="Glass"),
    ]
    filters = {"categories": ("cs.LG", "math.C"), "keywords": ("glass",), "ids": frozenset(["2401.00004"])}
    found = only(scan_lines(tmp_path, lines, **filters))
    assert [paper["paper_id"] for paper in found.papers.rows()] == ["2401.00004"]
    assert dict(found.dropped) == dict.fromkeys(
        ["malformed", "bad_id", "other_category", "no_keyword", "not_listed"], 1
    )
    assert set(found.dropped) < set(PAPER_REASONS)


MALFORMED = {
    "no JSON": b"2024-01-02 ERROR cannot connect",
    "cut": line()[:-30],
    "array": b"[" + line() + b"]",
    "text": b'"2401.00001"',
    "two objects": line() + line(number=2),
    "number as id": line(id=2401.00001),
    "list as title": line(title=["a"]),
    "object as categories": line(categories={"cs.LG": 1}),
    "number among categories": line(categories=["cs.LG", 1]),
    "text as versions": line(versions="v1"),
    "text among versions": line(versions=["v1"]),
    "version without v": line(versions=[{"version": "1", "created": None}]),
    "number as date": line(versions=[{"version": "v1", "created": 1704189600}]),
    "ISO date": line(versions=versions("2024-01-02T10:00:00Z")),
    "no such day": line(versions=versions("Tue, 32 Jan 2024 10:00:00 GMT")),
    "no such hour": line(versions=versions("Tue, 2 Jan 2024 25:00:00 GMT")),
    "text among authors": line(authors_parsed=["Example"]),
    "not UTF-8": line().replace(b"spectrum", b"sp\xe9ctrum"),
    "half a surrogate": line().replace(b"spectrum", b"\\ud800"),
    "NaN": line().replace(b'"doi":null', b'"doi":NaN'),
    "deep": line().replace(b'"doi":null', b'"doi":' + b"[" * 20 + b"]" * 20),
    "deeper than any stack": line().replace(b'"doi":null', b'"doi":' + b"[" * 100_000 + b"]" * 100_000),
    "long": line(abstract="x" * snapshot.MAX_LINE_BYTES),
    "longer than a block": line(abstract="x" * 3 * snapshot.MAX_LINE_BYTES),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_line_is_a_reject_and_costs_no_other(tmp_path: Path, fault: str) -> None:
    lines = [line(number=1), MALFORMED[fault], line(number=2)]
    result = scan_lines(tmp_path, lines, categories=("cs.LG",))
    found = only(result)
    assert (result.n_lines, len(found.papers), dict(found.dropped)) == (3, 2, {"malformed": 1})
    (reject,) = found.rejects
    assert (reject["source"], reject["offset"], reject["reason"]) == ("test", len(lines[0]) + 1, "malformed")
    assert reject["line"] == MALFORMED[fault].decode(errors="replace")[:2000]


def test_nesting_of_twenty_is_no_fault(tmp_path: Path) -> None:
    text = line().replace(b'"doi":null', b'"doi":' + b"[" * 19 + b"]" * 19)
    assert len(only(scan_lines(tmp_path, [text])).papers) == 1


@pytest.mark.parametrize(
    ("text", "weeks"),
    [
        (line(versions=versions("Tue, 9 Jan 2024 10:00:00 GMT"))[:-30], [NEXT_WEEK]),
        (line(versions=versions("Tue, 9 Jan 2001 10:00:00 GMT"))[:-30], []),
        (line(versions=None)[:-30], [WEEK]),
        (line(id="2201.00001", versions=None)[:-30], []),
        (b"garbage", [WEEK, NEXT_WEEK]),
        (line(id="9", versions=None), [WEEK, NEXT_WEEK]),
    ],
    ids=["its date", "its date elsewhere", "month of its id", "month elsewhere", "nothing", "bad id, no date"],
)
def test_broken_line_counts_where_its_bytes_say(tmp_path: Path, text: bytes, weeks: list[Window]) -> None:
    result = scan_lines(tmp_path, [text], WEEK, NEXT_WEEK)
    assert [name for name, found in result.windows.items() if found.n_read] == [window.name for window in weeks]


@pytest.mark.parametrize(("select_by", "week"), [("submitted", WEEK), ("updated", NEXT_WEEK)])
@pytest.mark.parametrize("fault", ["cut", "too long"])
def test_broken_line_with_two_dates_counts_by_the_one_asked_for(
    tmp_path: Path, fault: str, select_by: str, week: Window
) -> None:
    history = versions("Tue, 2 Jan 2024 10:00:00 GMT", "Tue, 9 Jan 2024 10:00:00 GMT")
    abstract = "x" * snapshot.MAX_LINE_BYTES if fault == "too long" else ""
    text = line(id="2312.00001", versions=history, abstract=abstract)[: -30 if fault == "cut" else None]
    result = scan_lines(tmp_path, [text], WEEK, NEXT_WEEK, select_by=select_by)
    assert [name for name, found in result.windows.items() if found.n_read] == [week.name]


def test_rejects_kept_are_few_and_counts_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_REJECTS", 3)
    found = only(scan_lines(tmp_path, [b"garbage"] * 10))
    assert (found.n_read, len(found.rejects)) == (10, 3)


def mixed_lines() -> list[bytes]:
    """Good, broken, blank and unwanted lines of several weeks; the last one without a newline."""
    rng = random.Random(5)
    lines = [spell(rng, random_row(rng, number)) for number in range(1, 5)]
    return [line(), b"", b"garbage", line(number=99)[:-40], b" \r", line(id="x"), *lines]


@pytest.mark.slow
def test_ranges_cut_at_any_byte_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join(mixed_lines()))
    selection = Selection(WINTER, ("cs.CL", "cs.LG"))
    size, whole = path.stat().st_size, scan(path, selection)
    assert whole.n_lines == 8
    for cut in range(size + 1):
        parts = [scan_range(path, 0, cut, selection, "test"), scan_range(path, cut, size, selection, "test")]
        assert merged(parts) == whole, cut


def test_blocks_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join(mixed_lines()))
    whole = scan(path, Selection(WINTER))
    longest = max(map(len, mixed_lines())) + 1
    for block_bytes in range(longest, longest + 300):
        monkeypatch.setattr(snapshot, "_BLOCK_BYTES", block_bytes)
        assert scan(path, Selection(WINTER)) == whole, block_bytes


@pytest.mark.parametrize("select_by", ["submitted", "updated"])
def test_all_windows_at_once_equal_each_alone(tmp_path: Path, select_by: str) -> None:
    rng = random.Random(11)
    broken = [text[: rng.randrange(len(text))] for text in (spell(rng, random_row(rng, n)) for n in range(500, 600))]
    lines = [spell(rng, random_row(rng, number)) for number in range(1, 400)] + broken + mixed_lines()
    path = write(tmp_path / "rows.jsonl", lines)
    bulk = scan(path, Selection(WINTER, ("cs.CL",), select_by=select_by))
    for window in WINTER:
        assert only(scan(path, Selection((window,), ("cs.CL",), select_by=select_by))) == bulk.windows[window.name]


def test_windows_in_any_order_give_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", mixed_lines())
    assert scan(path, Selection(WINTER[::-1])).windows == scan(path, Selection(WINTER)).windows


def test_empty_file_has_every_window_and_no_row(tmp_path: Path) -> None:
    assert scan_lines(tmp_path, []) == ScanResult({WEEK.name: WindowScan()})


def test_result_goes_through_a_pickle(tmp_path: Path) -> None:
    selection = pickle.loads(pickle.dumps(Selection((WEEK,), ("cs.LG",))))
    result = scan(write(tmp_path / "lines.jsonl", mixed_lines()), selection)
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize(("size", "n_ranges"), [(0, 0), (1, 1), (10, 1), (11, 2), (100, 10)])
def test_byte_ranges_cover_the_file_once(size: int, n_ranges: int) -> None:
    ranges = byte_ranges(size, 10)
    assert len(ranges) == n_ranges
    assert [byte for start, end in ranges for byte in range(start, end)] == list(range(size))


def test_row_has_every_column_of_papers(tmp_path: Path) -> None:
    (paper,) = only(scan_lines(tmp_path, [line()])).papers.rows()
    assert set(DATASETS["papers"].columns) | {"update_date", "source", "offset"} == set(paper)


def shared_rows() -> tuple[Path, list[dict[str, Any]]]:
    path = shared_corpus() / "metadata.jsonl"
    with path.open(encoding="utf-8") as handle:
        return path, [json.loads(text) for text in handle]


@pytest.mark.parametrize("select_by", ["submitted", "updated"])
def test_every_shared_record_is_read_in_the_year_of_its_date(select_by: str) -> None:
    path, records = shared_rows()
    years = tuple(windows_between(date(1990, 1, 1), date(2027, 12, 31), "year"))
    result = scan(path, Selection(years, select_by=select_by))
    assert ids(result) == slow_scan(records, Selection(years, select_by=select_by))
    assert sum(found.n_read for found in result.windows.values()) == result.n_lines == 2051


@pytest.mark.parametrize(
    "window", [Window(date(2007, 4, 2), date(2007, 4, 9)), Window(date(2026, 2, 23), date(2026, 3, 2))]
)
@pytest.mark.parametrize("categories", [("cs.CL", "cs.LG"), ("hep-th",), ("astro-ph",)])
def test_shared_records_of_a_week_are_those_a_parser_finds(window: Window, categories: tuple[str, ...]) -> None:
    path, records = shared_rows()
    selection = Selection((window,), categories)
    assert ids(scan(path, selection)) == slow_scan(records, selection)
