"""Rows of papers, column by column: from the processes that scan to the file, without a dict a row in between.

To pickle a row as a dict, to turn it back and to hand it to Arrow took as long as to read it from its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from jobs.corpus import arxiv
from jobs.corpus.records import PaperRow

COLUMNS = tuple(PaperRow.__annotations__)
_TIMES = ("submitted_at", "updated_at")  # kept as microseconds since 1970, as Arrow does: datetimes are slow to pickle
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_AGE = ("version", "update_date", "source", "offset")


def _no_rows() -> dict[str, list[Any]]:
    return {name: [] for name in COLUMNS}


@dataclass
class PaperColumns:
    """Rows of papers, numbered in the order they came in."""

    columns: dict[str, list[Any]] = field(default_factory=_no_rows)

    def __len__(self) -> int:
        """How many rows."""
        return len(self.columns["paper_id"])

    def append(self, row: PaperRow) -> None:
        """Add a row."""
        values: Mapping[str, object] = row
        for name, column in self.columns.items():
            column.append(values[name])
        for name in _TIMES:
            self.columns[name][-1] = (self.columns[name][-1] - _EPOCH) // _MICROSECOND

    def extend(self, others: PaperColumns) -> None:
        """Add the rows of others behind these."""
        for name, column in self.columns.items():
            column += others.columns[name]

    def take(self, numbers: Sequence[int]) -> PaperColumns:
        """The rows of these numbers, in their order."""
        return PaperColumns({name: [column[i] for i in numbers] for name, column in self.columns.items()})

    def rows(self) -> list[PaperRow]:
        """The rows as dicts."""
        times = {name: [_EPOCH + value * _MICROSECOND for value in self.columns[name]] for name in _TIMES}
        columns = (self.columns | times).values()
        return cast("list[PaperRow]", [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)])

    def newest(self) -> list[int]:
        """Numbers of the newest record of each paper, in order of id.

        Newer is the higher version, then the later `update_date`, then the later source and offset: the same for any
        order of the rows, as long as no two come from the same place.
        """
        ages = list(zip(*(self.columns[name] for name in _AGE), strict=True))
        kept: dict[str, int] = {}
        for i, paper_id in enumerate(self.columns["paper_id"]):
            other = kept.get(paper_id)
            if other is None or ages[i] > ages[other]:
                kept[paper_id] = i
        return [kept[paper_id] for paper_id in sorted(kept)]

    def capped(self, numbers: Sequence[int], n: int) -> list[int]:
        """Of these numbers those of the `n` papers that come first by id hash, in the order given; 0 means all."""
        if not n or len(numbers) <= n:
            return list(numbers)
        ids = self.columns["paper_id"]
        first = set(sorted(numbers, key=lambda i: (arxiv.id_hash(ids[i]), ids[i]))[:n])
        return [i for i in numbers if i in first]
