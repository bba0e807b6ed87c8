"""The stage on a lake: systems, controls, the leak, and what a kill costs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.core import durable, tables
from jobs.core.errors import ContractError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.tuning import scoring, verdicts
from jobs.tuning.learnt import PAPERS_FILE, Learnt
from jobs.tuning.scoring import Asked
from tests.tuning import tuning_house as house
from tests.tuning.fake_openai import replies, serving

pytestmark = pytest.mark.slow
QUICK = house.QUICK | {"max_steps": 2, "max_length": 512}


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = house.build_house(tmp_path_factory.mktemp("measured") / "lake")
    house.make(lake, "train_student", **QUICK, controls=True)
    house.make(lake, "evaluate_student", **QUICK)
    return lake.root


@pytest.fixture
def measured(measured_once: Path, tmp_path: Path) -> Lake:
    shutil.copytree(measured_once, tmp_path / "copy")
    return Lake.open(tmp_path / "copy")


def report_part(lake: Lake) -> Part:
    found = lake.current("reports", "all")
    assert found is not None
    return found


def report_of(lake: Lake) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(report_part(lake).file("report.json").read_bytes())
    return made


def test_base_and_student_are_measured_in_both_modes(measured: Lake) -> None:
    systems = report_of(measured)["systems"]
    assert {name: set(modes) for name, modes in systems.items()} == {
        "base": {"closed", "retrieval"},
        "student": {"closed", "retrieval"},
        "quoted": {"retrieval"},
    }
    cell = systems["student"]["retrieval"]
    assert (cell["answer_loss"]["n"], cell["token_f1"]["n"]) == (QUICK["loss_rows"], QUICK["generated_rows"])


def test_quoted_sentences_are_measured_on_all_test_pairs_and_have_no_loss(measured: Lake) -> None:
    made = report_of(measured)
    cell = made["systems"]["quoted"]["retrieval"]
    assert (cell["token_f1"]["n"], cell["answer_loss"]["n"]) == (2 * len(house.papers_of("test")), 0)
    paired = made["paired"]["student-quoted"]["retrieval"]
    assert (paired["token_f1"]["n_rows"], paired["answer_loss"]["diff"]) == (QUICK["generated_rows"], None)
    assert made["answers_by"] in ("student", "quoted")


def test_both_controls_are_measured(measured: Lake) -> None:
    made = report_of(measured)
    assert set(made["controls"]) == {"wrong_question", "shuffled_answers"}
    assert made["paired"]["wrong_question-student"]["retrieval"]["answer_loss"]["n_rows"] == QUICK["loss_rows"]


def test_retrieval_is_measured_on_all_test_pairs(measured: Lake) -> None:
    found = report_of(measured)["retrieval"]
    assert set(found) == {"hybrid", "dense", "bm25"}
    assert found["hybrid"]["mrr"]["n"] == 2 * len(house.papers_of("test"))
    assert found["hybrid"]["recall_at_5"]["mean"] == 1.0


def test_questions_without_an_answer_are_asked_of_every_system_that_has_passages(measured: Lake) -> None:
    number = next(n for n in range(house.N_PAPERS) if house.paper_id(n) in house.papers_of("test"))
    pairs = [pair for i in range(house.N_PAPERS) for pair in house.pairs_of(i)]
    impossible = house.pair(number, 9, f"Which awards has {house.name_of(number)} won?", "", is_answerable=False)
    house.publish(measured, "qa", "all", [*pairs, impossible])
    house.make(measured, "evaluate_student", **QUICK)
    made = report_of(measured)
    assert {name: found["unanswerable"]["n"] for name, found in made["refusals"].items()} == {
        "base": 1,
        "student": 1,
        "quoted": 1,
    }
    assert made["refusals"]["student"]["answerable"]["n"] == QUICK["generated_rows"]
    assert made["systems"]["student"]["retrieval"]["token_f1"]["n"] == QUICK["generated_rows"]
    rows = [row for row in report_part(measured).table().to_pylist() if not row["is_answerable"]]
    assert {(row["qa_id"], row["mode"], row["token_f1"]) for row in rows} == {(impossible["qa_id"], "retrieval", None)}


def test_every_scored_row_is_of_a_test_paper(measured: Lake) -> None:
    rows = report_part(measured).table().to_pylist()
    assert rows
    assert {row["paper_id"] for row in rows} <= house.papers_of("test")


def test_part_holds_report_rows_page_and_plot(measured: Lake) -> None:
    files = {"report.json", "report.md", "report.html", "report.png", tables.ROWS_FILE}
    assert set(report_part(measured).manifest.files) == files


def test_second_run_finds_it_done(measured: Lake) -> None:
    assert house.states(measured, "evaluate_student", **QUICK) == ["done"]


def release(lake: Lake) -> str:
    """Publish a release of the adapter that is current; its key is returned."""
    key = str(lake.current_key("adapters", "all"))
    task = PartTask("merge_and_deploy", 1, "releases", "all", "ab" * 32, (), {}, {}, "to do", "never made")
    with lake.attempt(task) as attempt:
        durable.write_atomic(attempt.folder / "release.json", json.dumps({"adapter": key}).encode())
        attempt.finish(Counts(1, 1), rows=1)
    return key


def test_released_student_is_measured_beside_one_that_learnt_nothing_and_wins(measured: Lake) -> None:
    released = release(measured)
    settings = QUICK | {"learning_rate": 1e-9}
    house.make(measured, "train_student", **settings)
    house.make(measured, "evaluate_student", **settings)
    made = report_of(measured)
    assert made["adapter"] != released
    assert set(made["systems"]["released"]) == {"retrieval"}
    assert made["paired"]["student-released"]["retrieval"]["answer_loss"]["n_rows"] == QUICK["loss_rows"]
    assert "worse_than_released" in made["gate"]["reasons"]


def test_student_that_goes_on_from_the_released_one_is_measured_beside_it(measured: Lake) -> None:
    released = release(measured)
    house.make(measured, "train_student", **QUICK, warm_start=True)
    house.make(measured, "evaluate_student", **QUICK)
    current = measured.current("adapters", "all")
    assert current is not None
    assert (current.manifest.previous, report_of(measured)["adapter"]) == (released, current.manifest.key)
    assert "worse_than_released" not in report_of(measured)["gate"]["reasons"]
    assert report_of(measured)["paired"]["student-released"]["retrieval"]["answer_loss"]["high"] < 0


def test_student_that_is_the_released_one_is_not_measured_twice(measured: Lake) -> None:
    release(measured)
    shutil.rmtree(measured.root / "reports")
    house.make(measured, "evaluate_student", **QUICK)
    assert "released" not in report_of(measured)["systems"]


def leaky(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the adapter say that it has seen a test paper."""
    paper = sorted(house.papers_of("test"))[0]
    monkeypatch.setattr(Learnt, "read", classmethod(lambda cls, part: Learnt(frozenset([paper]), frozenset())))
    assert PAPERS_FILE in lake.published("adapters", "all", str(lake.current_key("adapters", "all"))).manifest.files
    return paper


def test_student_that_saw_a_test_paper_is_refused(measured: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = leaky(measured, monkeypatch)
    shutil.rmtree(measured.root / "reports")
    with pytest.raises(ContractError, match=paper):
        house.make(measured, "evaluate_student", **QUICK)
    assert measured.current("reports", "all") is None


def test_no_test_papers_are_a_report_that_refuses(measured: Lake) -> None:
    pairs = [pair for i in range(house.N_PAPERS) for pair in house.pairs_of(i) if pair["split"] == "train"]
    house.publish(measured, "qa", "all", pairs)
    house.make(measured, "evaluate_student", **QUICK)
    made = report_of(measured)
    assert made["gate"] == {"passed": False, "reasons": ["no_test_papers"]}
    assert made["test"]["n_papers"] == 0


def test_passes_that_were_finished_before_a_kill_are_not_made_again(
    measured: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = report_of(measured)
    shutil.rmtree(measured.root / "reports")
    run_pass, ran = scoring.run_pass, []

    def dying(student: Any, one: scoring.Pass, *rest: Any) -> Any:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(one.name)
        return run_pass(student, one, *rest)

    monkeypatch.setattr(scoring, "run_pass", dying)
    with pytest.raises(KeyboardInterrupt):
        house.make(measured, "evaluate_student", **QUICK)
    ran_before, ran[:] = list(ran), []
    monkeypatch.setattr(scoring, "run_pass", lambda *rest: (ran.append(rest[1].name), run_pass(*rest))[1])
    house.make(measured, "evaluate_student", **QUICK)
    assert not set(ran) & set(ran_before)
    assert report_of(measured)["systems"] == before["systems"]


def takes_apart(prompt: str) -> dict[str, Any]:
    """A judge to whom every answer makes two statements, of which its passages support the first."""
    if "<statement 1>" in prompt:
        return {"statement_1": True, "statement_2": False}
    return {"statements": ["It is so.", "It is not so."]}


def test_judge_looks_at_answers_with_retrieval(measured: Lake) -> None:
    with serving(replies(takes_apart)) as fake:
        settings = QUICK | {"loss_rows": 1, "generated_rows": 1, "judge": "openai", "judge_model": "toy"}
        house.make(measured, "evaluate_student", **settings, judge_url=fake.url)
    made = report_of(measured)
    cells = {name: modes["retrieval"]["faithfulness"] for name, modes in made["systems"].items()}
    assert {name: (cell["mean"], cell["n"] + cell["n_missing"]) for name, cell in cells.items()} == {
        "base": (0.5, 1),
        "student": (0.5, 1),
        "quoted": (0.5, 1),
    }
    assert "faithfulness" not in made["systems"]["student"]["closed"]
    assert made["judge"]["name"] == "openai:toy"
    assert "openai:toy" in report_part(measured).file("report.html").read_text()
    assert verdicts.FILE in report_part(measured).manifest.files


def asked(number: int, paper: str) -> Asked:
    return Asked(f"q{number}", paper, f"Question {number}?", "Answer.", (), ())


def test_wrong_question_is_that_of_another_paper() -> None:
    rows = [asked(0, "p"), asked(1, "p"), asked(2, "q")]
    assert scoring.wrong_questions(rows) == ["Question 2?", "Question 2?", "Question 0?"]


def test_no_other_paper_is_no_wrong_question() -> None:
    assert scoring.wrong_questions([asked(0, "p"), asked(1, "p")]) == [None, None]


def test_first_rows_cover_as_many_papers_as_they_can() -> None:
    pairs = [{"qa_id": f"{paper}{i}", "paper_id": paper} for paper in "abc" for i in range(5)]
    chosen = scoring.in_order(pairs)
    assert {pair["paper_id"] for pair in chosen[:3]} == set("abc")
    assert scoring.in_order(pairs[::-1]) == chosen
