"""What became of every question that a teacher was asked for: the file beside the drafts, and the batches in _work.

A row is one (text or pair of texts, question type): the pair, or why there is none. It is written once and never asked
for again by the same prompt and teacher, unless its reason is retried. Parts of an older program have no second quote
and no counts of tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS, FIELDS, arrow_type
from jobs.core.lake import Lake, Part
from jobs.core.manifest import Counts
from jobs.corpus import batches
from jobs.tuning.prompts import UNANSWERABLE
from jobs.tuning.teacher import Teacher, TeacherReply, read_pair

if TYPE_CHECKING:
    import pyarrow

    from jobs.tuning.asking import Chunk

ASKED_FILE = "asked.parquet"
_COLUMNS = (
    "text_hash",
    "question_type",
    "teacher",
    "prompt_version",
    "reason",
    "question",
    "answer",
    "quote",
    "is_repaired",
    "second_quote",
    "is_answerable",
    "n_prompt_tokens",
    "n_reply_tokens",
)
_OWN_TYPES = {
    "quote": "string",
    "second_quote": "string",
    "is_repaired": "bool",
    "n_prompt_tokens": "int64",
    "n_reply_tokens": "int64",
}

# The worst thing that happened to a chunk without a pair is what is counted for it.
_WORST_FIRST = ("teacher_failed", "instructions", "refused", "oversized", "truncated", "malformed", "no_pair")

RowKey = tuple[str, str]  # text hash (of two chunks one over both), question type


@dataclass(frozen=True)
class Outcome:
    """What a teacher answered. `reason` is None where there is a pair; the quotes are its evidence, one a chunk.

    Tokens are those of the reply that counts, as the server says; what failed tries cost, no server says.
    """

    text_hash: str
    question_type: str
    teacher: str
    prompt_version: str
    reason: str | None
    question: str | None = None
    answer: str | None = None
    quote: str | None = None
    is_repaired: bool = False
    second_quote: str | None = None
    is_answerable: bool = True
    n_prompt_tokens: int = 0
    n_reply_tokens: int = 0

    @property
    def key(self) -> RowKey:
        """What was asked for."""
        return self.text_hash, self.question_type

    @property
    def qa_id(self) -> str:
        """The pair's id: the row key and the number of the pair, of which there is one."""
        return durable.sha256_bytes(
            durable.canonical_json([self.text_hash, self.prompt_version, self.teacher, self.question_type, 0])
        )[:24]

    def to_row(self, chunks: Sequence[Chunk]) -> dict[str, Any]:
        """The pair as a row of `drafts`; `chunks` are those that it is about."""
        return {
            "qa_id": self.qa_id,
            "chunk_ids": [chunk.chunk_id for chunk in chunks],
            "paper_id": chunks[0].paper_id,
            "question": self.question,
            "answer": self.answer,
            "evidence": [quote for quote in (self.quote, self.second_quote) if quote],
            "question_type": self.question_type,
            "is_answerable": self.is_answerable,
            "teacher": self.teacher,
            "prompt_version": self.prompt_version,
        }


def of_reply(key: RowKey, form: str, teacher: Teacher, reply: TeacherReply) -> Outcome:
    """What a teacher's reply to what was asked by `key`, in that form, is worth."""
    read = read_pair(reply, form)
    asked = Outcome(
        *key,
        teacher.name,
        teacher.prompt_version,
        reason=read if isinstance(read, str) else None,
        n_prompt_tokens=reply.n_prompt_tokens,
        n_reply_tokens=reply.n_reply_tokens,
    )
    if isinstance(read, str):
        return asked
    return replace(
        asked,
        question=read.question,
        answer=read.answer,
        quote=read.evidence,
        is_repaired=read.is_repaired,
        second_quote=read.second_evidence,
        is_answerable=form != UNANSWERABLE,
    )


def count(asked: Iterable[Outcome], chunk_of: Mapping[str, str]) -> Counts:
    """A chunk is read once, however many types it was asked for, and kept if it gave a pair.

    `chunk_of`: by an outcome's text hash that of the chunk it counts for, of two the first.
    """
    reasons: dict[str, set[str | None]] = {}
    for outcome in asked:
        reasons.setdefault(chunk_of[outcome.text_hash], set()).add(outcome.reason)
    kept = sum(None in found for found in reasons.values())
    refused = Counter(
        next(reason for reason in _WORST_FIRST if reason in found) for found in reasons.values() if None not in found
    )
    return Counts.of(DATASETS["drafts"], kept, refused)


def costs(asked: Iterable[Outcome], prompt_price: float, reply_price: float) -> dict[str, float]:
    """Tokens of all that was asked, whenever it was, and what they cost at these prices of a million."""
    counted = [(outcome.n_prompt_tokens, outcome.n_reply_tokens) for outcome in asked]
    n_prompt, n_reply = (sum(column) for column in zip(*counted, strict=True)) if counted else (0, 0)
    cost = (n_prompt * prompt_price + n_reply * reply_price) / 1e6
    return {"n_prompt_tokens": n_prompt, "n_reply_tokens": n_reply, "cost": round(cost, 6)}


def schema() -> pyarrow.Schema:
    """Columns of asked.parquet."""
    import pyarrow as pa

    types = {name: _OWN_TYPES.get(name) or FIELDS[name].type for name in _COLUMNS}
    return pa.schema([pa.field(name, arrow_type(text)) for name, text in types.items()])


def to_table(found: Iterable[Outcome]) -> pyarrow.Table:
    """Outcomes as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist([asdict(outcome) for outcome in found], schema=schema())


def from_table(table: pyarrow.Table) -> list[Outcome]:
    """A table's outcomes."""
    return [Outcome(**row) for row in table.to_pylist()]


def read(path: Path) -> list[Outcome]:
    """Outcomes of a file."""
    return from_table(tables.read_table(path))


def of_window(lake: Lake, window: str) -> Iterator[tuple[Part, list[Outcome]]]:
    """What every part of a window holds, whatever its number of shards, the oldest part first."""
    names = [name for name in lake.parts("drafts") if name.startswith(f"{window}/")]
    parts = [part for name in names if (part := lake.current("drafts", name)) is not None]
    for part in sorted(parts, key=lambda part: (part.manifest.created_at, part.manifest.part)):
        yield part, read(part.file(ASKED_FILE))


def of_work(work: Path) -> Iterator[Outcome]:
    """What killed attempts at the part were told, also those that had other chunks or settings."""
    for folder in sorted(work.parent.iterdir()):
        for table in batches.read_all(folder):
            yield from from_table(table)


def is_final(outcome: Outcome) -> bool:
    """Whether asking again is pointless."""
    return outcome.reason is None or not DATASETS["drafts"].reasons[outcome.reason].is_retried
