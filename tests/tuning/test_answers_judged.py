"""Faithfulness by a judge: what is asked, what is undefined, and what a report says of it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobs.core.errors import TryAgainError
from jobs.core.lake import Attempt
from jobs.tuning import answers_judged, chat, gate, judge, report
from jobs.tuning.answers_judged import JudgedAnswers
from jobs.tuning.judge import JudgeConfig
from jobs.tuning.judge_file import ANSWERS
from jobs.tuning.openai_chat import OpenAIChat
from jobs.tuning.prompts import REFUSAL, PassageText
from jobs.tuning.scoring import NAN, Scored
from tests.tuning.fake_openai import FakeServer, replies, says, send, serving

PAIRS = [{"qa_id": f"q{i}", "paper_id": f"p{i}", "question": f"Why rain {i}?", "teacher": "rules@1"} for i in range(8)]
PASSAGES = (PassageText("Rain", "Gauges", "A bucket tips after every 0.2 mm of rain."),)


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(chat.CHATS)
    known["openai"] = lambda settings: OpenAIChat(dataclasses.replace(settings, tries=2), lambda _wait_s: None)
    monkeypatch.setattr(chat, "CHATS", known)


def row(number: int, answer: str | None, system: str = "student", **others: Any) -> Scored:
    known = Scored(f"q{number}", f"p{number}", system, "retrieval", 1.0, 0.5, 0.5, answer)
    return dataclasses.replace(known, **others)


def config_at(fake: FakeServer, **settings: Any) -> JudgeConfig:
    values = dataclasses.asdict(JudgeConfig()) | {"judge": "openai", "judge_url": fake.url, "judge_model": "toy"}
    values |= settings
    return JudgeConfig(**values | {name: value for name, (value, _) in judge.derive(values, ANSWERS).items()})


def judged(fake: FakeServer, folder: Path, rows: list[Scored], **settings: Any) -> JudgedAnswers:
    attempt = cast("Attempt", SimpleNamespace(work=folder / "key", previous=None))
    (folder / "key").mkdir(exist_ok=True)
    return answers_judged.judge_answers(config_at(fake, **settings), attempt, rows, PAIRS, lambda _row: PASSAGES)


def says_of(*verdicts: bool) -> Any:
    """Takes every answer apart into so many statements, and judges them so."""

    def said(prompt: str) -> dict[str, Any]:
        if "<statement 1>" in prompt:
            return {f"statement_{number}": one for number, one in enumerate(verdicts, start=1)}
        return {"statements": [f"Statement {number} of it." for number in range(len(verdicts))]}

    return replies(said)


def test_share_of_supported_statements_is_the_score(tmp_path: Path) -> None:
    with serving(says_of(True, False, True)) as fake:
        made = judged(fake, tmp_path, [row(0, "It tips after 0.2 mm [1]. It is blue. It rains.")])
    assert made.rows[0].faithfulness == pytest.approx(2 / 3)
    split, check = (asked["messages"][-1]["content"] for asked in fake.asked)
    assert "<question>Why rain 0?</question>\n\n<answer>It tips after 0.2 mm . It is blue. It rains.</answer>" in split
    assert PASSAGES[0].text not in split
    assert PASSAGES[0].text in check
    assert "<statement 3>Statement 2 of it.</statement 3>" in check
    names = list(fake.asked[1]["response_format"]["json_schema"]["schema"]["properties"])
    assert names == ["statement_1", "statement_2", "statement_3"]


def test_answer_that_states_nothing_is_undefined_and_counted_never_right(tmp_path: Path) -> None:
    with serving(says_of()) as fake:
        made = judged(fake, tmp_path, [row(0, "Hm, well."), row(1, REFUSAL), row(2, "[1]")])
    assert [math.isnan(one.faithfulness or 0.0) for one in made.rows] == [True] * 3
    assert len(fake.asked) == 1, "a refusal is not asked about"
    score = report.assemble(made.rows, {}, [], PAIRS, 50)["systems"]["student"]["retrieval"]["faithfulness"]
    assert (score["mean"], score["n"], score["n_missing"]) == (None, 0, 3)


@pytest.mark.parametrize(
    "broken",
    ["No.", "{}", '{"statement_1": "yes", "statement_2": true}', '{"statement_1": true}', "[true, true]"],
)
def test_reply_that_is_no_verdict_is_undefined(tmp_path: Path, broken: str) -> None:
    with serving(says(json.dumps({"statements": ["One thing.", "Another."]})), says(broken)) as fake:
        made = judged(fake, tmp_path, [row(0, "It rains.")])
    assert math.isnan(made.rows[0].faithfulness or 0.0)
    assert made.told is not None
    assert made.told["no_verdict"] == 1


def test_only_answers_with_retrieval_of_three_systems_to_these_questions_are_judged(tmp_path: Path) -> None:
    rows = [row(n, f"It rains {system}.", system) for n, system in enumerate(("student", "base", "quoted", "released"))]
    rows += [row(0, "Closed.", mode="closed"), row(1, None), row(2, "Or not?", is_answerable=False), row(99, "Other.")]
    with serving(says_of(True)) as fake:
        made = judged(fake, tmp_path, rows)
    assert [one.faithfulness for one in made.rows] == [1.0, 1.0, 1.0, *[None] * 5]
    assert len(fake.asked) == 6


def test_equal_answers_and_later_runs_are_asked_about_once(tmp_path: Path) -> None:
    rows = [row(0, "It rains."), row(0, "It rains.", "base")]
    with serving(says_of(True, False)) as fake:
        first, second = (judged(fake, tmp_path, rows) for _ in range(2))
    assert first.rows == second.rows
    assert [one.faithfulness for one in first.rows] == [0.5, 0.5]
    assert len(fake.asked) == 2


def test_judge_that_is_away_keeps_what_it_said(tmp_path: Path) -> None:
    rows = [row(n, f"It rains {n}.") for n in range(3)]
    is_away = {"now": True}

    def said(prompt: str) -> Any:
        if is_away["now"] and "rain 2" in prompt:
            return send(b"", 503)
        return {"statement_1": True} if "<statement 1>" in prompt else {"statements": ["It rains."]}

    with serving(replies(said)) as fake:
        with pytest.raises(TryAgainError, match="failed on 1 of 3 answers"):
            judged(fake, tmp_path, rows)
        n_asked, is_away["now"] = len(fake.asked), False
        assert all(one.faithfulness == 1.0 for one in judged(fake, tmp_path, rows).rows)
    assert len(fake.asked) == n_asked + 2


def test_report_names_the_judge_its_prompt_and_whom_it_prefers(tmp_path: Path) -> None:
    rows = [row(n, f"It rains {n}.") for n in range(8)] + [row(n, f"Quoted {n}.", "quoted") for n in range(8)]
    with serving(says_of(True, False)) as fake:
        made = judged(fake, tmp_path, rows)
    assert made.told is not None
    assembled = report.assemble(made.rows, {}, [], PAIRS, 50) | {"judge": made.told}
    verdict = gate.decide(assembled, 2)
    text = report.as_markdown(assembled | {"gate": verdict.to_dict(), "answers_by": "quoted"})
    assert "| system | mode | answer loss | token F1 | ROUGE-L | faithfulness |\n|---|---|---|---|---|---|\n" in text
    assert f"openai:toy with the prompt {made.told['prompt']}" in text
    assert "the judge supports 50% of their statements: what is missing there is the judge's own error" in text
    assert "This judge wrote no test pair; a judge prefers what it" in text
    assert assembled["paired"]["student-quoted"]["retrieval"]["faithfulness"]["n_rows"] == 8
    assert "student does not surely beat quoted sentences in faithfulness" in text
    own = answers_judged.sentences(made.told | {"is_teacher": True}, {})
    assert own[-1].startswith("This judge is the teacher that wrote test pairs; a judge prefers")
    report.draw(assembled, tmp_path / "plot.png")


def test_report_without_a_judge_knows_no_faithfulness() -> None:
    made = report.assemble([row(0, "It rains.")], {}, [], PAIRS, 50)
    assert "faithfulness" not in made["systems"]["student"]["retrieval"]


def test_row_of_a_pass_that_was_kept_by_an_older_program_is_read() -> None:
    kept = {name: value for name, value in vars(row(0, "It rains.")).items() if name != "faithfulness"}
    assert Scored(**kept).faithfulness is None
    assert math.isnan(NAN)
