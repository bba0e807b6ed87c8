"""The judge's part in the report: how many statements of an answer the passages support that the system was shown.

Faithfulness as Es et al. 2023 define it (arXiv:2309.15217). It decides nothing: the gate asks no judge.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.core.lake import Attempt
from jobs.tuning import metrics, prompts, verdicts
from jobs.tuning.judge import N_STATEMENTS, N_SUPPORTED, Judge, JudgeConfig
from jobs.tuning.judge_file import ANSWERS
from jobs.tuning.prompts import PassageText
from jobs.tuning.scoring import NAN, Scored
from jobs.tuning.verdicts import Case, Verdict

log = logging.getLogger(__name__)

SYSTEMS = ("student", "base", "quoted")  # with retrieval: a closed book has no passages to be faithful to

PassagesOf = Callable[[Scored], tuple[PassageText, ...]]


@dataclass(frozen=True)
class JudgedAnswers:
    """Rows with their faithfulness, the verdicts to keep with the part, and what the report says of the judge."""

    rows: list[Scored]
    verdicts: list[Verdict] = field(default_factory=list)
    told: dict[str, Any] | None = None


def judge_answers(
    config: JudgeConfig,
    attempt: Attempt,
    rows: Sequence[Scored],
    pairs: Sequence[dict[str, Any]],
    passages_of: PassagesOf,
) -> JudgedAnswers:
    """Judge the answers to the questions of these test pairs, each once. Without a judge none is judged.

    Raises TryAgainError if the judge is away: what it judged is kept.
    """
    if not config.has_judge:
        return JudgedAnswers(list(rows))
    model, questions = Judge(config), {pair["qa_id"]: pair["question"] for pair in pairs}
    version = model.version(ANSWERS)
    asked = {
        place: _case(row, questions[row.qa_id], passages_of)
        for place, row in enumerate(rows)
        if row.qa_id in questions and _is_answer(row)
    }
    cases = {case.asked_hash: case for case in asked.values() if case is not None}
    known = verdicts.known_to(attempt)
    missing = [case for one, case in cases.items() if (one, model.name, version) not in known]
    given = verdicts.ask_all("answers", model.name, missing, model.on_answers, attempt.work, config.judge_batch)
    known |= {one.key: one for one in given}
    found = {one: known[one, model.name, version] for one in cases}
    log.info("judge %s asked=%d known=%d", model.name, len(missing), len(cases) - len(missing))
    scores = {place: NAN if case is None else _faithfulness(found[case.asked_hash]) for place, case in asked.items()}
    return JudgedAnswers(
        [
            dataclasses.replace(row, faithfulness=scores[place]) if place in scores else row
            for place, row in enumerate(rows)
        ],
        list(found.values()),
        {
            "name": model.name,
            "prompt": version,
            "rows": len(questions),
            "no_verdict": sum(one.reason is not None for one in found.values()),
            "is_teacher": any(pair["teacher"] == model.name for pair in pairs),
        },
    )


def _is_answer(row: Scored) -> bool:
    return row.system in SYSTEMS and row.mode == "retrieval" and row.is_answerable and row.answer is not None


def _case(row: Scored, question: str, passages_of: PassagesOf) -> Case | None:
    """What the judge is shown; None for an answer that states nothing, about which there is nothing to ask."""
    answer = metrics.without_citations(row.answer or "")
    if not answer or prompts.is_refusal(answer):
        return None
    return Case(row.qa_id, question, answer, passages_of(row))


def _faithfulness(verdict: Verdict) -> float:
    """The share of the statements that are supported; NaN where there are none, or no verdict."""
    n = verdict.scores.get(N_STATEMENTS, 0.0)
    return verdict.scores[N_SUPPORTED] / n if n else NAN


def sentences(told: Mapping[str, Any], systems: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the judge before they believe it."""
    said = [
        f"Faithfulness is the word of a judge, {told['name']} with the prompt {told['prompt']}, on the answers to "
        f"{told['rows']} questions: the share of an answer's statements that the passages shown support. An answer "
        f"without statements, such as a refusal, has none; {told['no_verdict']} replies of the judge were no verdict."
    ]
    quoted = systems.get("quoted", {}).get("retrieval", {}).get("faithfulness", {"mean": None})
    if quoted["mean"] is not None:
        said.append(
            f"Quoted sentences stand in the passages word for word, and the judge supports {quoted['mean']:.0%} of "
            "their statements: what is missing there is the judge's own error."
        )
    own = "This judge is the teacher that wrote test pairs" if told["is_teacher"] else "This judge wrote no test pair"
    said.append(
        f"{own}; a judge prefers what it, or a model of its family, would write. Token F1, ROUGE-L and the loss beside "
        "it need no judge, and the gate decides by these alone."
    )
    return said
