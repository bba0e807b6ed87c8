import json
from pathlib import Path
from typing import Any

import pytest

from jobs.core.definition import Definition
from jobs.core.errors import ContractError
from jobs.tuning import gate, prompts, report
from jobs.tuning.scoring import NAN, Scored
from tests.tuning.tuning_house import papers_of

DRAWS = 200
PAIRS = [{"qa_id": f"q{i}", "paper_id": f"p{i}"} for i in range(8)]


def scored(system: str, losses: list[float], f1: float = 0.5, mode: str = "retrieval") -> list[Scored]:
    """Two papers for each loss, a row each: enough of them for a report to be sure."""
    return [Scored(f"q{i}", f"p{i}", system, mode, loss, f1, f1, "said") for i, loss in enumerate(losses * 2)]


def report_of(*rows: list[Scored], pairs: list[dict[str, Any]] = PAIRS) -> dict[str, Any]:
    return report.assemble(
        [row for some in rows for row in some], {"hybrid": [1, 3, None]}, ["p0", "p1", "p2"], pairs, DRAWS
    )


def reasons_of(*rows: list[Scored], min_test_papers: int = 2) -> tuple[str, ...]:
    return gate.decide(report_of(*rows), min_test_papers).reasons


BASE = scored("base", [2.0, 2.1, 2.2, 2.3])
GOOD = scored("student", [1.0, 1.2, 1.1, 1.3])
WRONG = scored("wrong_question", [1.9, 2.0, 2.1, 2.0], NAN)


def test_student_that_beats_its_base_and_reads_the_question_passes() -> None:
    assert reasons_of(BASE, GOOD, WRONG) == ()


def test_student_no_better_than_its_base_is_refused() -> None:
    assert "not_better_than_base" in reasons_of(BASE, scored("student", [2.5, 1.9, 2.1, 2.4]), WRONG)


def test_student_to_whom_the_question_means_nothing_is_refused() -> None:
    same = scored("wrong_question", [1.0, 1.2, 1.1, 1.3], NAN)
    assert reasons_of(BASE, GOOD, same) == ("ignores_question",)


def test_student_that_answers_worse_than_its_base_is_refused() -> None:
    worse = scored("student", [1.0, 1.2, 1.1, 1.3], f1=0.1)
    assert reasons_of(BASE, worse, WRONG) == ("worse_than_base",)


def test_student_worse_than_the_released_one_is_refused() -> None:
    assert reasons_of(BASE, GOOD, WRONG, scored("released", [0.5] * 4)) == ("worse_than_released",)


def test_too_few_test_papers_are_a_reason() -> None:
    assert reasons_of(BASE, GOOD, WRONG, min_test_papers=9) == ("too_few_test_papers",)


def test_no_test_papers_are_the_only_reason() -> None:
    assert gate.decide(report_of(pairs=[]), 2).reasons == ("no_test_papers",)


def test_scores_that_are_not_numbers_are_a_reason() -> None:
    assert reasons_of(BASE, scored("student", [NAN] * 4), WRONG) == ("undefined_scores",)


def test_every_reason_of_the_gate_is_explained() -> None:
    said = {*reasons_of(BASE, BASE, WRONG), *reasons_of(BASE, scored("student", [NAN] * 4), WRONG)}
    assert said <= set(gate.REASONS)


def test_adapter_that_saw_a_test_paper_is_refused() -> None:
    salt, test_paper = Definition().split_salt, sorted(papers_of("test"))[0]
    with pytest.raises(ContractError, match=test_paper):
        gate.refuse_leak([*papers_of("train"), test_paper], salt)


def test_adapter_of_train_papers_is_accepted() -> None:
    gate.refuse_leak(papers_of("train"), Definition().split_salt)


def test_report_has_the_cells_of_the_contract() -> None:
    made = report_of(BASE, GOOD, WRONG)
    assert set(made["systems"]["student"]["retrieval"]["answer_loss"]) == {"mean", "low", "high", "n", "n_missing"}
    assert set(made["paired"]["student-base"]["retrieval"]["token_f1"]) == {"diff", "low", "high", "n_rows", "n_papers"}
    assert made["retrieval"]["hybrid"]["recall_at_5"]["mean"] == pytest.approx(2 / 3)
    assert made["retrieval"]["hybrid"]["mrr"]["mean"] == pytest.approx((1 + 1 / 3) / 3)
    assert (made["test"]["n_rows"], made["test"]["n_papers"]) == (8, 8)


@pytest.mark.parametrize(
    ("dense", "n_papers", "said"),
    [
        ([None] * 8, 8, "Here it surely finds more than `dense` among the first 10: +1.000 [+1.000, +1.000], n=8."),
        ([2] * 8, 8, "Here it does not surely find more or less than `dense` among the first 10: +0.000 "),
        (
            [None] * 8,
            3,
            "Here it finds more than `dense` among the first 10: +1.000 [+1.000, +1.000], n=8 of 3 papers, ",
        ),
    ],
)
def test_page_says_which_search_is_the_default_and_by_how_much(
    dense: list[int | None], n_papers: int, said: str
) -> None:
    ranks: dict[str, list[int | None]] = {"hybrid": [1] * 8, "dense": dense, "bm25": []}
    made = report.assemble([*BASE, *GOOD], ranks, [f"p{i % n_papers}" for i in range(8)], PAIRS, DRAWS)
    made |= {"gate": {"passed": True, "reasons": []}, "answers_by": "quoted"}
    text = report.as_markdown(made)
    assert set(made["paired_retrieval"]) == {"hybrid-dense"}
    assert "The chat searches by `hybrid`. It is the default because" in text
    assert said in text
    assert "| hybrid | 1.000 [1.000, 1.000] n=8 |" in text


def test_page_of_a_report_from_before_has_no_pairs_and_its_table() -> None:
    made = report_of(BASE, GOOD) | {"gate": {"passed": True, "reasons": []}, "answers_by": "quoted"}
    del made["paired_retrieval"]
    assert "| hybrid | 0.333" in report.as_markdown(made)


def test_controls_are_no_systems() -> None:
    made = report_of(BASE, GOOD, WRONG)
    assert set(made["systems"]) == {"base", "student"}
    assert set(made["controls"]) == {"wrong_question"}


def test_report_is_plain_json_without_nan() -> None:
    json.dumps(report_of(BASE, GOOD, WRONG), allow_nan=False)


def judged(*rows: list[Scored]) -> dict[str, Any]:
    made = report_of(*rows)
    verdict = gate.decide(made, 2)
    return made | {"gate": verdict.to_dict(), "answers_by": gate.answers_by(made, verdict)}


def markdown(*rows: list[Scored]) -> str:
    return report.as_markdown(judged(*rows))


def test_first_lines_say_what_was_not_beaten() -> None:
    first = markdown(BASE, scored("student", [2.5, 2.6, 2.7, 2.8], f1=0.1), WRONG).splitlines()[2:6]
    assert first[0].startswith("- The gate refuses this student")
    assert first[1] == "- The chat answers with quoted sentences: no student surely beats them."
    assert "is beaten by its base in answer loss" in first[2]
    assert "is beaten by its base in token F1" in first[3]


def test_first_lines_say_what_was_beaten() -> None:
    first = markdown(BASE, GOOD, WRONG).splitlines()[2:6]
    assert first[0] == "- The gate lets this student answer."
    assert "beats its base in answer loss" in first[2]
    assert "does not surely beat its base in token F1" in first[3]


QUOTED = [Scored(f"q{i}", f"p{i}", "quoted", "retrieval", NAN, 0.4 + i / 100, 0.4, "said") for i in range(8)]


def test_student_that_beats_quoted_sentences_answers_in_the_chat() -> None:
    assert judged(BASE, GOOD, WRONG, QUOTED)["answers_by"] == "student"


@pytest.mark.parametrize("student_f1", [0.40, 0.42])
def test_student_that_does_not_surely_beat_quoted_sentences_leaves_them_the_chat(student_f1: float) -> None:
    assert judged(BASE, scored("student", [1.0, 1.2, 1.1, 1.3], student_f1), WRONG, QUOTED)["answers_by"] == "quoted"


@pytest.mark.parametrize(("n_papers", "answers_by"), [(5, "quoted"), (6, "student")])
def test_too_few_papers_are_no_proof_that_quoted_sentences_are_beaten(n_papers: int, answers_by: str) -> None:
    made = judged(BASE, GOOD, WRONG, QUOTED[:n_papers])
    assert made["answers_by"] == answers_by
    is_sure = "with retrieval, the student beats quoted sentences" in report.as_markdown(made).lower()
    assert is_sure == (answers_by == "student")


def test_refused_student_does_not_answer_however_good_its_words_are() -> None:
    refused = scored("student", [2.5, 1.9, 2.1, 2.4], f1=0.9)
    assert judged(BASE, refused, WRONG, QUOTED)["answers_by"] == "quoted"


def test_quoted_sentences_never_measured_stay_the_chat() -> None:
    assert judged(BASE, GOOD, WRONG)["answers_by"] == "quoted"


REFUSAL = f"{prompts.REFUSAL} [1]"


def said(system: str, answers: list[str], *, is_answerable: bool) -> list[Scored]:
    return [
        Scored(f"{is_answerable}{i}", f"p{i}", system, "retrieval", NAN, NAN, NAN, answer, is_answerable)
        for i, answer in enumerate(answers)
    ]


def test_refusals_are_counted_among_questions_without_and_with_an_answer() -> None:
    made = report_of(
        said("student", [REFUSAL, REFUSAL, "Seven.", REFUSAL], is_answerable=False),
        said("student", ["Seven.", REFUSAL], is_answerable=True),
    )
    found = made["refusals"]["student"]
    assert (found["unanswerable"]["mean"], found["unanswerable"]["n"]) == (0.75, 4)
    assert (found["answerable"]["mean"], found["answerable"]["n"]) == (0.5, 2)


def test_questions_without_an_answer_are_in_no_other_measure() -> None:
    rows = said("student", [REFUSAL] * 4, is_answerable=False)
    assert report_of(BASE, GOOD, WRONG, rows)["systems"] == report_of(BASE, GOOD, WRONG)["systems"]
    assert report_of(BASE, GOOD, WRONG, rows)["paired"] == report_of(BASE, GOOD, WRONG)["paired"]


def test_report_says_how_often_the_student_refuses_rightly_and_wrongly() -> None:
    text = markdown(BASE, GOOD, WRONG, said("student", [REFUSAL, "Seven."], is_answerable=False))
    assert "Of questions without an answer the student refuses 50% (n=2), of those with one, wrongly, 0% (n=8)." in text
    assert "| student | 0.500 [" in text


def test_report_says_so_where_no_question_is_without_an_answer() -> None:
    assert "No test question is without an answer" in markdown(BASE, GOOD, WRONG)


def test_page_shows_the_text_and_the_plot_and_runs_nothing_of_theirs() -> None:
    hostile = judged(BASE, GOOD, WRONG)
    hostile["test"]["id"] = "<script>alert(1)</script>"
    page = report.as_page(hostile, b"png")
    assert "<script>" not in page
    assert "<td>student</td>" in page
    assert "data:image/png;base64,cG5n" in page


def test_missing_control_is_named() -> None:
    assert "`shuffled answers` is missing. Train and measure it with: python -m jobs run --controls true" in markdown(
        BASE, GOOD, WRONG
    )


def test_rows_have_null_where_nothing_was_measured() -> None:
    table = report.rows_table(WRONG)
    assert table["token_f1"].null_count == len(WRONG)
    assert table["answer_loss"].null_count == 0


@pytest.mark.slow
def test_plot_is_a_png(tmp_path: Path) -> None:
    report.draw(report_of(BASE, GOOD, WRONG), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
