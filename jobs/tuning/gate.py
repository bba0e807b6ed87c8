"""Whether a student may answer in the chat: decided from the report alone, with reasons.

The gate decides about the student, never about the papers: a refused student leaves quoted sentences, or the model that
was released before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jobs.core.definition import split_of
from jobs.core.errors import ContractError
from jobs.tuning import metrics

REASONS = {
    "no_test_papers": "no pair of a test paper to measure on",
    "too_few_test_papers": "fewer test papers than the gate asks for: an interval over them says nothing",
    "not_better_than_base": "its loss on the answers, with retrieval, is not surely below its base's",
    "ignores_question": "the wrong question costs it nothing: it has learnt the form of answers, not to answer",
    "worse_than_base": "its answers, with retrieval, share surely fewer words with the expected ones than its base's",
    "worse_than_released": "the released student's loss on the answers is surely lower",
    "undefined_scores": "a score that decides is missing or not a number",
}
DECIDING = "answer_loss"
STUDENT, QUOTED = "student", "quoted"  # who answers in the chat unless its reader chooses


@dataclass(frozen=True)
class Verdict:
    """`reasons` are names of REASONS; a student passes without any."""

    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the student may answer."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """As report.json holds it."""
        return {"passed": self.passed, "reasons": list(self.reasons)}


def decide(report: dict[str, Any], min_test_papers: int) -> Verdict:
    """The verdict on a report without its gate. Losses are better low, overlaps better high."""
    n_papers = report["test"]["n_papers"]
    if not n_papers:
        return Verdict(("no_test_papers",))
    reasons = ["too_few_test_papers"] if n_papers < min_test_papers else []
    paired = report["paired"]
    loss = _of(paired, "student-base", DECIDING)
    wrong = _of(paired, "wrong_question-student", DECIDING)
    overlap = _of(paired, "student-base", "token_f1")
    if any(one is None or one["low"] is None for one in (loss, wrong, overlap)):
        return Verdict((*reasons, "undefined_scores"))
    released = _of(paired, "student-released", DECIDING)  # None where none was released
    checks = {
        "not_better_than_base": loss["high"] >= 0,
        "ignores_question": wrong["low"] <= 0,
        "worse_than_base": overlap["high"] < 0,
        "worse_than_released": released is not None and released["low"] is not None and released["low"] > 0,
    }
    return Verdict((*reasons, *(name for name, is_true in checks.items() if is_true)))


def answers_by(report: dict[str, Any], verdict: Verdict) -> str:
    """Who answers in the chat by default: a student that passed only if it surely beats quoted sentences.

    Word overlap decides (token F1, with retrieval): quoted sentences have no loss. Of too few papers nothing is sure.
    """
    beaten = _of(report["paired"], "student-quoted", "token_f1")
    is_measured = beaten is not None and beaten["low"] is not None and beaten["n_papers"] >= metrics.LEAST_PAPERS
    is_better = is_measured and beaten["low"] > 0
    return STUDENT if verdict.passed and is_better else QUOTED


def refuse_leak(learnt: Iterable[str], salt: str) -> None:
    """Raise ContractError if a paper that an adapter learnt from is a test paper: its scores would mean nothing."""
    leaked = sorted(paper for paper in learnt if split_of(salt, paper) == "test")
    if leaked:
        raise ContractError(
            f"The student has learnt from {len(leaked)} test papers, the first is {leaked[0]}. Expected none. Train it "
            "anew on this lake's split, without --warm-start: python -m jobs train_student"
        )


def _of(paired: dict[str, Any], name: str, metric: str) -> Any:
    return paired.get(name, {}).get("retrieval", {}).get(metric)
