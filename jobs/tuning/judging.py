"""The judge's part in curation: which pairs it is asked about, what its scores refuse, how far it agrees with people.

Pairs of all splits are judged: a judge filters what is wrong, not what the searcher finds, so it flatters no test. What
a person decided stands; some of these pairs are judged all the same, only to say how often the judge agrees.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.core.config import Settings, setting
from jobs.core.errors import UsageError, YieldError
from jobs.core.lake import Attempt, Part
from jobs.tuning import judge, reviews, verdicts
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.judge import Judge, JudgeConfig
from jobs.tuning.judge_file import PAIRS
from jobs.tuning.reviews import Decisions
from jobs.tuning.shelf import Shelf
from jobs.tuning.verdicts import Case, Verdict

log = logging.getLogger(__name__)

SCORE_PREFIX = "judged_"
# A score below the least -> the reason; of several the first.
_REASONS = {
    "supported": "judged_unsupported",
    "unanswered": "judged_answered",
    "standalone": "judged_not_standalone",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class PairJudgeConfig(JudgeConfig):
    """Settings of a judge of pairs."""

    judge_least: int = setting(4, "score, of 1 to 5, that a pair needs in all that it is judged by", affects_rows=True)
    judge_reviewed_rows: int = setting(
        100, "reviewed pairs that a judge is asked about too, to say how far it agrees with people; decides nothing"
    )
    min_judge_yield_01: float = setting(0.1, "share of the pairs judged that must be kept, else the stage fails")

    @staticmethod
    def derive(values: Settings) -> dict[str, tuple[Any, str]]:
        """What follows from the judge's prompts. Raises UsageError if they, or the judge, are wrong."""
        if not 1 <= values["judge_least"] <= 5:
            raise UsageError(f"judge_least {values['judge_least']}: expected a score from 1 (keep all) to 5.")
        return judge.derive(values, PAIRS)


@dataclass(frozen=True)
class Judged:
    """Reasons and scores by qa_id, the verdicts to keep with the part, and what its manifest says of them."""

    refused: dict[str, str]
    scores: dict[str, Mapping[str, float]]
    verdicts: list[Verdict]
    n_taken_over: int
    told: dict[str, Any] = field(default_factory=dict)

    def with_scores(self, rows: Sequence[Row]) -> list[Row]:
        """Rows with the judge's scores among theirs."""
        return [
            row | {"scores": [*row["scores"], *verdicts.as_scores(self.scores.get(row["qa_id"], {}), SCORE_PREFIX)]}
            for row in rows
        ]


def judge_pairs(
    config: PairJudgeConfig,
    attempt: Attempt,
    index: Part,
    rows: Sequence[Row],
    refused: Mapping[str, str],
    decisions: Decisions,
) -> Judged:
    """Ask about every pair that nothing refused yet and nobody reviewed, once. Without a judge only keep verdicts.

    Raises TryAgainError if the judge is away, YieldError if it keeps hardly any pair.
    """
    ids = {row["qa_id"] for row in rows}
    before = {key: one for key, one in verdicts.of_previous(attempt).items() if one.qa_id in ids}
    if not config.has_judge:
        return Judged({}, {}, list(before.values()), len(before))
    shelf, model = Shelf.of_texts(index), Judge(config)
    tried = [row for row in rows if row["qa_id"] not in refused and row["qa_id"] not in decisions]
    cases, hidden = _cases(tried, shelf)
    reviewed = _reviewed(rows, decisions, shelf, config.judge_reviewed_rows)
    found, n_asked = _verdicts_on([*cases, *reviewed], config, attempt, model)
    _hold_floor(config, model.name, [found[case.qa_id] for case in cases])
    reasons = {qa_id: _reason(one, config.judge_least) for qa_id, one in found.items()}
    told = {
        "judge": {"name": model.name, "prompt": config.judge_prompt_version, "asked": n_asked},
        "judge_agreement": _agreement([found[case.qa_id] for case in reviewed], reasons, decisions),
    }
    log.info(
        "judge %s asked=%d known=%d agreement=%s", model.name, n_asked, len(found) - n_asked, told["judge_agreement"]
    )
    by_score = {case.qa_id: reason for case in cases if (reason := reasons[case.qa_id]) is not None}
    return Judged(
        by_score | dict.fromkeys(hidden, "instructions"),
        {qa_id: one.scores for qa_id, one in found.items()},
        list((before | {one.key: one for one in found.values()}).values()),
        sum(one.key in before for one in found.values()),
        told,
    )


def _cases(rows: Sequence[Row], shelf: Shelf) -> tuple[list[Case], list[str]]:
    """What may be shown to a judge, and the ids of pairs whose passages speak to language models."""
    cases = [_case(row, shelf) for row in rows]
    hidden = {case.qa_id for case in cases if any(gives_instructions(one.text) for one in case.passages)}
    return [case for case in cases if case.qa_id not in hidden], sorted(hidden)


def _case(row: Row, shelf: Shelf) -> Case:
    passages = tuple(shelf.passage(chunk_id) for chunk_id in row["chunk_ids"])
    return Case(row["qa_id"], row["question"], row["answer"], passages, row["is_answerable"])


def _reviewed(rows: Sequence[Row], decisions: Decisions, shelf: Shelf, n: int) -> list[Case]:
    """The first reviewed pairs by id, which is a hash. A pair in a person's own words says nothing of the judge."""
    there = [
        row
        for row in sorted(rows, key=lambda row: str(row["qa_id"]))
        if row["qa_id"] in decisions
        and not decisions[row["qa_id"]].is_edited
        and row["chunk_ids"]
        and all(chunk_id in shelf for chunk_id in row["chunk_ids"])
    ]
    return _cases(there, shelf)[0][:n]


def _agreement(found: Sequence[Verdict], reasons: Mapping[str, str | None], decisions: Decisions) -> dict[str, int]:
    """On how many reviewed pairs the judge has a verdict, and of how many it says what the person said."""
    judged = [one.qa_id for one in found if one.reason is None]
    agreed = sum((reasons[qa_id] is None) == (decisions[qa_id].verdict == reviews.KEEP) for qa_id in judged)
    return {"n": len(judged), "agreed": agreed}


def _verdicts_on(
    cases: Sequence[Case], config: PairJudgeConfig, attempt: Attempt, model: Judge
) -> tuple[dict[str, Verdict], int]:
    """By qa_id, and how many had to be asked for."""
    version = model.version(PAIRS)
    known = verdicts.known_to(attempt)
    missing = [case for case in cases if (case.asked_hash, model.name, version) not in known]
    given = verdicts.ask_all("pairs", model.name, missing, model.on_pairs, attempt.work, config.judge_batch)
    known |= {one.key: one for one in given}
    # The same words may have been judged under another id: that of another prompt which a teacher answered alike.
    found = {case.qa_id: known[case.asked_hash, model.name, version] for case in cases}
    return {qa_id: dataclasses.replace(one, qa_id=qa_id) for qa_id, one in found.items()}, len(missing)


def _reason(verdict: Verdict, least: int) -> str | None:
    """Why a pair is refused, or None to keep it."""
    if verdict.reason is not None:
        return "not_judged"
    return next((reason for name, reason in _REASONS.items() if verdict.scores.get(name, least) < least), None)


def _hold_floor(config: PairJudgeConfig, name: str, found: Sequence[Verdict]) -> None:
    """A judge that replies as it should not, or says no to everything, is of no use: it would empty the dataset."""
    refused = Counter(reason for one in found if (reason := _reason(one, config.judge_least)) is not None)
    if found and 1 - refused.total() / len(found) < config.min_judge_yield_01:
        raise YieldError(
            f"{name} keeps {len(found) - refused.total()} of {len(found)} pairs, the floor is "
            f"{config.min_judge_yield_01:.1%}. Why not: {dict(refused)}. Nothing was published, its verdicts are kept. "
            "Ask another judge; --judge-least 1 keeps all whose scores can be read, to look at them, and "
            "--min-judge-yield-01 lowers the floor."
        )
