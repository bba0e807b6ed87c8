"""The passages of an index by chunk id, and those nearest to a question among some papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobs.core import tables
from jobs.core.lake import Part
from jobs.retrieval import passages
from jobs.retrieval.searcher import Searcher
from jobs.tuning.prompts import PassageText

if TYPE_CHECKING:
    import pyarrow

Find = Callable[[str, int], Sequence[str]]  # a question and how many -> ids of chunks, best first
_DEPTH = 8  # passages looked at for each that is wanted: most papers of a lake are train papers
_COLUMNS = ["chunk_id", "paper_id", "title", "section_path", "text"]


class Shelf:
    """See the module."""

    def __init__(self, table: pyarrow.Table, searcher: Searcher | None = None) -> None:
        """`table` has the columns of an index's passages."""
        self._row_of = {chunk_id: row for row, chunk_id in enumerate(table["chunk_id"].to_pylist())}
        self._table = table
        self.searcher = searcher

    @classmethod
    def open(cls, index: Part) -> Shelf:
        """The passages of an index part, and its searcher."""
        return cls(tables.read_table(index.file(passages.FILE), _COLUMNS), Searcher.open(index))

    @classmethod
    def of_texts(cls, index: Part) -> Shelf:
        """The passages of an index part, without a searcher."""
        return cls(tables.read_table(index.file(passages.FILE), _COLUMNS))

    def __contains__(self, chunk_id: str) -> bool:
        return chunk_id in self._row_of

    def passage(self, chunk_id: str) -> PassageText:
        """What a prompt shows of a chunk. Raises KeyError."""
        row = self._table.slice(self._row_of[chunk_id], 1).to_pylist()[0]
        return PassageText(row["title"], " › ".join(row["section_path"]), row["text"])

    def paper_of(self, chunk_id: str) -> str:
        """The paper that a chunk belongs to. Raises KeyError."""
        paper_id: str = self._table["paper_id"][self._row_of[chunk_id]].as_py()
        return paper_id

    def finder(self, is_wanted: Callable[[str], bool]) -> Find:
        """A search that finds chunks of wanted papers alone. `is_wanted` takes a paper id."""

        def find(question: str, n: int) -> list[str]:
            if self.searcher is None or n == 0:
                return []
            found = self.searcher.search(question, _DEPTH * n).passages
            return [passage.chunk_id for passage in found if is_wanted(passage.paper_id)][:n]

        return find
