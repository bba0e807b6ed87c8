"""The papers of an index, and which of their passages a search may find."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.retrieval.named_papers import Titled

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


@dataclass(frozen=True)
class Filters:
    """Which papers may be found. `submitted_before`: first version submitted earlier than that (UTC if naive).

    `without`: papers that may not, whatever else is asked.
    """

    categories: Collection[str] | None = None
    submitted_before: datetime | None = None
    without: Collection[str] = frozenset()


NO_FILTERS = Filters()


class IndexedPapers:
    """What filters look at, a paper each, in the order of their first passage.

    `number_of_row` int32 [n_rows] says whose a passage is.
    """

    def __init__(self, table: pyarrow.Table) -> None:
        """`table` has the columns of an index's passages."""
        import numpy as np
        import pyarrow as pa

        self._numbers: dict[str, int] = {}
        firsts: list[int] = []
        self.number_of_row = np.empty(len(table), dtype=np.int32)
        for row, paper_id in enumerate(table["paper_id"].to_pylist()):
            if paper_id not in self._numbers:
                self._numbers[paper_id] = len(self._numbers)
                firsts.append(row)
            self.number_of_row[row] = self._numbers[paper_id]
        columns = table.select(["paper_id", "title", "authors", "categories", "submitted_at"])
        papers = columns.take(pa.array(firsts, pa.int64())).to_pylist()
        self.named = [
            Titled(paper["paper_id"], paper["title"], paper["authors"], paper["submitted_at"].year) for paper in papers
        ]
        self._categories = [frozenset(paper["categories"]) for paper in papers]
        self._submitted_at = np.array([_utc64(paper["submitted_at"]) for paper in papers], dtype="datetime64[us]")

    def allowed(self, paper_id: str | None, filters: Filters) -> np.ndarray | None:
        """bool [n_rows] of the passages that may be found; None for all. `paper_id`: the only paper to look into."""
        import numpy as np

        if paper_id is None and filters == NO_FILTERS:
            return None
        allowed = np.ones(len(self._numbers), dtype=bool)
        if paper_id is not None:
            allowed[:] = False
            if paper_id in self._numbers:
                allowed[self._numbers[paper_id]] = True
        if filters.categories is not None:
            wanted = frozenset(filters.categories)
            allowed &= np.array([not wanted.isdisjoint(one) for one in self._categories], dtype=bool)
        if filters.submitted_before is not None:
            allowed &= self._submitted_at < _utc64(filters.submitted_before)
        allowed[[self._numbers[one] for one in filters.without if one in self._numbers]] = False
        of_rows: np.ndarray = allowed[self.number_of_row]
        return of_rows


def _utc64(moment: datetime) -> np.datetime64:
    import numpy as np

    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")
