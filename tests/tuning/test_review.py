"""What people decide about pairs: to a sheet and back, into curation, and through every later run."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.core import cli, owned, pruning, tables
from jobs.core.errors import InputMissingError, UsageError
from jobs.core.lake import Lake, Part
from jobs.tuning import review, review_sheet, reviews, teacher
from tests.tuning import tuning_house
from tests.tuning.test_curate_qa import build, curate, papers_of, refused

pytestmark = pytest.mark.slow

(TRAIN, SECOND, THIRD), (TEST,) = papers_of("train", 3), papers_of("test", 1)
BAD = {"question": "Why does Table 2 list so many matrices?"}
Change = Callable[[dict[str, str]], None]


@pytest.fixture(autouse=True)
def own_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two good pairs of train papers, one that points elsewhere, one of a test paper; curated."""
    replies = {f"{TRAIN}v1#0": {}, f"{SECOND}v1#0": {}, f"{THIRD}v1#0": BAD, f"{TEST}v1#0": {}}
    made = build(tmp_path / "lake", replies)
    curate(made)
    return made


def call(lake: Lake, *words: str) -> None:
    assert review.review_command(["review", "--lake", str(lake.root), *words]) == 0


def exported(lake: Lake, path: Path, *words: str) -> list[dict[str, str]]:
    call(lake, "export", "--out", str(path), *words)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def decide(lake: Lake, path: Path, changes: dict[str, dict[str, str]]) -> None:
    """Fill in the sheet of all pairs, by paper, and import it."""
    rows = exported(lake, path, "--reason", "any")
    write_back(path, [row | changes.get(row["paper"], {}) for row in rows])
    call(lake, "import", str(path))


def write_back(path: Path, rows: list[dict[str, str]], **form: Any) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], **form)
        writer.writeheader()
        writer.writerows(rows)


def pair_of(part: Part, paper_id: str) -> dict[str, Any]:
    return next(row for row in part.rows() if row["paper_id"] == paper_id)


def test_sheet_has_pairs_with_their_place_and_room_for_a_verdict(lake: Lake, tmp_path: Path) -> None:
    rows = {row["paper"]: row for row in exported(lake, tmp_path / "pairs.csv")}
    assert set(rows) == {TRAIN, SECOND, TEST}
    row = rows[TRAIN]
    assert list(row) == list(review_sheet.COLUMNS)
    assert (row["title"], row["page"], row["split"], row["reason"]) == (f"About {TRAIN}", "1", "train", "kept")
    assert (row["verdict"], row["note"]) == ("", "")
    assert row["evidence"] in row["answer"]


@pytest.mark.parametrize(
    ("words", "papers"),
    [
        (("--split", "test"), {TEST}),
        (("--reason", "points_elsewhere"), {THIRD}),
        (("--reason", "any"), {TRAIN, SECOND, THIRD, TEST}),
        (("--reason", "leak"), set()),
    ],
)
def test_sheet_holds_what_was_asked_for(lake: Lake, tmp_path: Path, words: tuple[str, ...], papers: set[str]) -> None:
    assert {row["paper"] for row in exported(lake, tmp_path / "pairs.csv", *words)} == papers


def test_smaller_sheet_holds_undecided_pairs_first(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "keep"}, TEST: {"verdict": "drop"}})
    curate(lake)
    assert [row["paper"] for row in exported(lake, tmp_path / "two.csv", "--n", "1")] == [SECOND]


def test_untouched_sheet_decides_nothing(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {})
    assert lake.current("reviews", owned.PART) is None
    assert tuning_house.states(lake, "curate_qa") == ["done"]


def test_drop_refuses_a_good_pair_with_its_own_reason(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "drop"}})
    part = curate(lake)
    assert refused(part) == {f"{TRAIN}v1#0": "reviewed_out", f"{THIRD}v1#0": "points_elsewhere"}
    counts = part.manifest.counts
    assert counts.read == counts.kept + sum(counts.dropped.values()) == 4


def test_keep_overrules_a_rule(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {THIRD: {"verdict": " Keep "}})
    part = curate(lake)
    assert refused(part) == {}
    assert {"name": "reviewed", "value": 1.0} in pair_of(part, THIRD)["scores"]


def test_edit_keeps_the_pair_in_the_reviewers_words_and_says_so(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {THIRD: {"question": "Why do thin layers need many matrices?"}})
    pair = pair_of(curate(lake), THIRD)
    assert pair["question"] == "Why do thin layers need many matrices?"
    assert {"name": "edited", "value": 1.0} in pair["scores"]
    (row,) = owned.rows_of(lake, "reviews")
    assert (row["verdict"], row["answer"]) == ("keep", None), "what was not edited follows the draft"


def test_keep_does_not_bring_a_test_question_into_training(lake: Lake, tmp_path: Path) -> None:
    question = pair_of(tuning_part(lake), TEST)["question"]
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"question": question, "verdict": "keep"}})
    assert refused(curate(lake))[f"{TRAIN}v1#0"] == "leak"


def test_keep_holds_beside_another_that_asks_the_same(lake: Lake, tmp_path: Path) -> None:
    question = pair_of(tuning_part(lake), TRAIN)["question"]
    decide(lake, tmp_path / "pairs.csv", {SECOND: {"question": question, "verdict": "keep"}})
    assert refused(curate(lake)) == {f"{THIRD}v1#0": "points_elsewhere", f"{TRAIN}v1#0": "duplicate"}


def test_keep_does_not_bring_back_a_chunk_that_left_the_index(lake: Lake) -> None:
    assert reviews.overruled("a", "not_in_index", {"a": reviews.Decision("a", "p", "keep")}) == "not_in_index"
    assert reviews.overruled("a", "not_prose", {"a": reviews.Decision("a", "p", "keep")}) is None


def test_decision_outlives_a_later_run_and_another_import(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "drop", "note": "wrong"}})
    curate(lake)
    decide(lake, tmp_path / "more.csv", {SECOND: {"verdict": "keep"}})
    curate(lake, near_duplicate_cosine=0.95)
    assert {row["paper_id"]: row["verdict"] for row in owned.rows_of(lake, "reviews")} == {
        TRAIN: "drop",
        SECOND: "keep",
    }
    assert refused(curate(lake))[f"{TRAIN}v1#0"] == "reviewed_out"


def test_newest_decision_wins_and_undo_takes_it_back(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "drop"}})
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "keep"}})
    assert refused(curate(lake)) == {f"{THIRD}v1#0": "points_elsewhere"}
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "undo"}})
    assert owned.rows_of(lake, "reviews") == []


def test_same_sheet_twice_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"verdict": "drop"}})
    before = lake.current_key("reviews", owned.PART)
    call(lake, "import", str(tmp_path / "pairs.csv"))
    assert lake.current_key("reviews", owned.PART) == before


def test_edited_pair_comes_out_edited_and_goes_in_unchanged(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"answer": "=Because its layers are thin;\nand wide."}})
    curate(lake)
    before = lake.current_key("reviews", owned.PART)
    (row,) = [row for row in exported(lake, tmp_path / "again.csv") if row["paper"] == TRAIN]
    assert row["answer"] == "'=Because its layers are thin;\nand wide."
    call(lake, "import", str(tmp_path / "again.csv"))
    assert lake.current_key("reviews", owned.PART) == before


def test_decisions_that_match_no_pair_are_told(lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reviews.merge(lake, [reviews.Decision("0" * 24, TRAIN, "keep")])
    with caplog.at_level(logging.WARNING):
        exported(lake, tmp_path / "pairs.csv")
    assert f"1 decisions match no pair of {lake.root}" in caplog.text
    assert f"{'0' * 24} ({TRAIN}, keep)" in caplog.text


def test_sheet_with_wrong_lines_is_refused_whole_with_their_numbers(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    first, second, third = exported(lake, path)
    rows = [
        first | {"verdict": "drop"},
        second | {"verdict": "maybe", "question": "Two\nlines?"},
        third | {"answer": " "},
        first | {"qa_id": "nobody"},
        first,
    ]
    write_back(path, rows)
    with pytest.raises(UsageError) as raised:
        call(lake, "import", str(path))
    told = str(raised.value)
    assert "nothing was changed" in told
    assert "line 3: the verdict is 'maybe', expected keep, drop, undo or nothing" in told
    assert "line 5: the answer is empty" in told
    assert "line 6: 'nobody' is no pair of this lake" in told
    assert f"line 7: {first['qa_id']} stands in line 2 already" in told
    assert owned.rows_of(lake, "reviews") == []


@pytest.mark.parametrize("form", [{"delimiter": ";"}, {"delimiter": "\t"}, {"lineterminator": "\n"}, {"quoting": 1}])
def test_sheet_comes_back_in_whatever_form_a_spreadsheet_writes(
    lake: Lake, tmp_path: Path, form: dict[str, Any]
) -> None:
    path = tmp_path / "pairs.csv"
    write_back(path, [row | {"verdict": "keep"} for row in exported(lake, path)], **form)
    call(lake, "import", str(path))
    assert {row["verdict"] for row in owned.rows_of(lake, "reviews")} == {"keep"}
    assert not any(row["question"] or row["answer"] for row in owned.rows_of(lake, "reviews"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"qa_id,question\r\n", "Expected at least qa_id, question, answer, verdict"),
        (b"\xff\xfe", "no UTF-8"),
        (b'qa_id,question,answer,verdict\r\na,"b\r\n', "line 2"),
        (b"qa_id,question,answer,verdict\r\na,b,c,d,e\r\n", "line 2 has 5 cells"),
    ],
)
def test_what_is_no_sheet_is_refused(lake: Lake, tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        call(lake, "import", str(tmp_path / "bad.csv"))


@pytest.mark.parametrize(
    "words",
    [
        ("export",),
        ("import",),
        ("export", "a.csv"),
        ("import", "a.csv", "--out", "b.csv"),
        ("export", "--out", "b", "--n", "-1"),
    ],
)
def test_flags_that_do_not_go_together_are_64(lake: Lake, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="xpected"):
        call(lake, *words)


def test_lake_without_pairs_says_what_to_run(tmp_path: Path) -> None:
    lake = tuning_house.build_house(tmp_path / "lake", 2)
    for pointer in lake.root.glob("qa/*/CURRENT"):
        pointer.unlink()
    with pytest.raises(InputMissingError, match="python -m jobs curate_qa"):
        call(lake, "export", "--out", str(tmp_path / "pairs.csv"))


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-x", "@SUM(A1)", "'=1", "''", "'tis", "'", "\tx", "=", 'a "b", c', "x\ny", "ＡＢ＝", "＝1"]
)
def test_cell_is_no_formula_and_comes_back_unchanged(tmp_path: Path, text: str) -> None:
    cell = review_sheet.to_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "＝"))
    path = tmp_path / "sheet.csv"
    review_sheet.write(path, [["id", *[""] * 5, text, "a", "", "", ""]])
    (line,) = review_sheet.read(path)
    assert line.cells["question"] == text


def test_takedown_takes_decisions_about_the_paper_along(lake: Lake, tmp_path: Path) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"answer": "Its words, edited."}, SECOND: {"verdict": "keep"}})
    assert pruning.prune_command(["prune", "--lake", str(lake.root), "--paper", TRAIN]) == 0
    assert [row["paper_id"] for row in owned.rows_of(lake, "reviews")] == [SECOND]
    assert TRAIN not in {row["paper"] for row in exported(lake, tmp_path / "after.csv", "--reason", "any")}


def test_show_of_a_pair_tells_what_was_decided(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decide(lake, tmp_path / "pairs.csv", {TRAIN: {"answer": "Its words, edited.", "note": "too long"}})
    qa_id = owned.rows_of(lake, "reviews")[0]["qa_id"]
    capsys.readouterr()
    assert cli.main(["show", "--lake", str(lake.root), qa_id]) == 0
    assert ": keep with edited answer: too long" in capsys.readouterr().out


def tuning_part(lake: Lake) -> Part:
    part = lake.current("qa", "all")
    assert part is not None
    assert tables.ROWS_FILE in part.manifest.files
    return part
