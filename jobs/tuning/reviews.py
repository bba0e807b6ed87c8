"""What people decided about pairs, and what curation makes of it.

A decision belongs to a `qa_id`, which is a hash of chunk text, prompt, teacher and type: it holds in every later run,
until another prompt or teacher asks the chunk anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jobs.core import owned
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Input

DATASET = "reviews"
KEEP, DROP, UNDO = "keep", "drop", "undo"
NEVER_OVERRULED = frozenset({"not_in_index", "leak"})  # no passage to answer from; trained on what is tested

Row = dict[str, Any]


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided of one pair. `question` and `answer` are None unless they were edited."""

    qa_id: str
    paper_id: str
    verdict: str
    question: str | None = None
    answer: str | None = None
    note: str | None = None

    @property
    def is_edited(self) -> bool:
        """Whether the reviewer wrote something else than the teacher."""
        return self.question is not None or self.answer is not None

    def applied(self, row: Row) -> Row:
        """The pair with the reviewer's words."""
        edited = {"question": self.question, "answer": self.answer}
        return row | {name: text for name, text in edited.items() if text is not None}


Decisions = Mapping[str, Decision]


def of_lake(lake: Lake) -> Decisions:
    """All decisions by qa_id."""
    return _by_id(owned.rows_of(lake, DATASET))


def of_task(task: PartTask) -> Decisions:
    """The decisions that a task was planned with."""
    return _by_id(owned.rows_of_task(task, DATASET))


def inputs_of(lake: Lake) -> list[tuple[Input, Part | None]]:
    """The decisions as an input; nothing as long as there are none."""
    return owned.inputs_of(lake, DATASET)


def _by_id(rows: Iterable[Row]) -> Decisions:
    return {
        row["qa_id"]: Decision(**{name: value for name, value in row.items() if name != "reviewed_at"}) for row in rows
    }


def merge(lake: Lake, found: Iterable[Decision]) -> int:
    """Add decisions to those that are there, newest wins; how many say something new is returned.

    An `undo` takes the earlier decision away. Raises LockedError and SupersededError as every writer does.
    """
    rows = {row["qa_id"]: row for row in owned.rows_of(lake, DATASET)}
    known, now, n_new = _by_id(rows.values()), dt.datetime.now(dt.UTC), 0
    for one in found:
        if one.verdict == UNDO:
            n_new += rows.pop(one.qa_id, None) is not None
        elif known.get(one.qa_id) != one:
            rows[one.qa_id] = vars(one) | {"reviewed_at": now}
            n_new += 1
    owned.publish(lake, DATASET, list(rows.values()))
    return n_new


def with_reviews(rows: Iterable[Row], decisions: Decisions) -> list[Row]:
    """Pairs with the reviewers' words. `scores` says which were reviewed, and which edited."""
    return [_reviewed(row, decisions.get(row["qa_id"])) for row in rows]


def _reviewed(row: Row, decision: Decision | None) -> Row:
    if decision is None:
        return row
    marks = [{"name": "reviewed", "value": 1.0}, *([{"name": "edited", "value": 1.0}] if decision.is_edited else [])]
    return decision.applied(row) | {"scores": [*row["scores"], *marks]}


def overruled(qa_id: str, reason: str | None, decisions: Decisions) -> str | None:
    """The reason that stands for a pair once its reviewer has spoken."""
    decision = decisions.get(qa_id)
    if decision is None or reason in NEVER_OVERRULED:
        return reason
    return "reviewed_out" if decision.verdict == DROP else None
