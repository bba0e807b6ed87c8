"""What became of every question that a teacher was asked for: the file beside the drafts, and the batches in _work.

A row is one (chunk text, question type): the pair, or why there is none. It is written once and never asked for again
by the same prompt and teacher, unless its reason is retried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS, FIELDS, arrow_type
from jobs.core.lake import Lake, Part
from jobs.corpus import batches

if TYPE_CHECKING:
    import pyarrow

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
)
_OWN_TYPES = {"quote": "string", "is_repaired": "bool"}

RowKey = tuple[str, str]  # text hash, question type


@dataclass(frozen=True)
class Outcome:
    """What a teacher answered. `reason` is None where there is a pair; `quote` is its evidence."""

    text_hash: str
    question_type: str
    teacher: str
    prompt_version: str
    reason: str | None
    question: str | None = None
    answer: str | None = None
    quote: str | None = None
    is_repaired: bool = False

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
