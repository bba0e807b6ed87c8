"""What a judge said, kept so that nothing is asked twice: a file beside the rows, and batches in _work.

A verdict belongs to what was shown (a hash), to the judge and to its prompt: a pair that is read again next week, a
retry and a killed run find it. One without scores (a reply that is no verdict) is written down and asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables
from jobs.core.contracts import FIELDS, arrow_type
from jobs.core.errors import TryAgainError
from jobs.core.lake import Attempt
from jobs.core.progress import Progress
from jobs.corpus import batches
from jobs.tuning import chat
from jobs.tuning.prompts import PassageText

if TYPE_CHECKING:
    import pyarrow

FILE = "judged.parquet"
_TYPES = {
    "qa_id": FIELDS["qa_id"].type,
    "asked_hash": "string",
    "judge": "string",
    "prompt_version": FIELDS["prompt_version"].type,
    "reason": "string",
    "scores": FIELDS["scores"].type,
}

VerdictKey = tuple[str, str, str]  # what was shown, judge, prompt


@dataclass(frozen=True)
class Case:
    """What a judge is shown: a question with its answer, and passages."""

    qa_id: str
    question: str
    answer: str
    passages: tuple[PassageText, ...]
    is_answerable: bool = True

    @property
    def asked_hash(self) -> str:
        """What the verdict is known by: the hash of all that is shown."""
        shown = [self.question, self.answer, self.is_answerable, *(vars(one) for one in self.passages)]
        return durable.sha256_bytes(durable.canonical_json(shown))[:24]


@dataclass(frozen=True)
class Verdict:
    """Scores by name, or why there are none (a reason of `chat.py`)."""

    qa_id: str
    asked_hash: str
    judge: str
    prompt_version: str
    reason: str | None
    scores: Mapping[str, float]

    @property
    def key(self) -> VerdictKey:
        """See VerdictKey."""
        return self.asked_hash, self.judge, self.prompt_version


Known = dict[VerdictKey, Verdict]
Give = Callable[[Sequence[Case]], list[Verdict]]


def of_previous(attempt: Attempt) -> Known:
    """The verdicts that the part had so far; one that was made without a judge has no such file."""
    part = attempt.previous
    if part is None or FILE not in part.manifest.files:
        return {}
    return _by_key(_from_table(tables.read_table(part.file(FILE))))


def known_to(attempt: Attempt) -> Known:
    """The verdicts that the part had, and those of killed attempts at it, whatever their settings."""
    found = of_previous(attempt)
    for folder in sorted(attempt.work.parent.iterdir()):
        for table in batches.read_all(folder):
            found |= _by_key(_from_table(table))
    return found


def _by_key(found: Iterable[Verdict]) -> Known:
    return {one.key: one for one in found if one.reason is None}


def ask_all(what: str, judge: str, cases: Sequence[Case], give: Give, work: Path, batch_size: int) -> list[Verdict]:
    """Verdicts on all cases, batch by batch; each is on disk before the next is asked.

    Raises TryAgainError if the judge failed on a whole batch, or on some cases once all were asked.
    """
    given: list[Verdict] = []
    progress = Progress(f"{what} judged", len(cases))
    n_failed = 0
    for start in range(0, len(cases), max(1, batch_size)):
        batch = give(cases[start : start + max(1, batch_size)])
        if final := [one for one in batch if one.reason is None]:
            batches.write_batch(work, _to_table(final))
        failed = sum(one.reason == chat.FAILED for one in batch)
        n_failed += failed
        given += batch
        progress.step(len(batch))
        if failed == len(batch):
            break
    if n_failed:
        raise TryAgainError(
            f"{judge} failed on {n_failed} of {len(given)} {what}. Its other verdicts are kept and nothing was "
            "published, for nothing is kept unjudged; look at the server, then run the stage again."
        )
    if given:
        progress.log()
    return given


def write(path: Path, found: Iterable[Verdict]) -> None:
    """Write a part's verdicts in the order of their ids; nothing if there are none."""
    ordered = sorted(found, key=lambda one: (one.qa_id, one.key))
    if ordered:
        table = _to_table(ordered)
        tables.write_tables(path, table.schema, [table])


def _to_table(found: Sequence[Verdict]) -> pyarrow.Table:
    import pyarrow as pa

    schema = pa.schema([pa.field(name, arrow_type(text)) for name, text in _TYPES.items()])
    rows = [vars(one) | {"scores": as_scores(one.scores)} for one in found]
    return pa.Table.from_pylist(rows, schema=schema)


def as_scores(scores: Mapping[str, float], prefix: str = "") -> list[dict[str, Any]]:
    """As a row's `scores`."""
    return [{"name": f"{prefix}{name}", "value": value} for name, value in scores.items()]


def _from_table(table: pyarrow.Table) -> list[Verdict]:
    return [
        Verdict(**row | {"scores": {one["name"]: one["value"] for one in row["scores"]}}) for row in table.to_pylist()
    ]
