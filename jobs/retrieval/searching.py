"""What `python -m jobs search` prints."""

from __future__ import annotations

from jobs.core import takedowns
from jobs.core.errors import InputMissingError
from jobs.core.lake import Lake
from jobs.retrieval.ranking import DEFAULT_MODE
from jobs.retrieval.searcher import Searcher

WIDTH = 240  # characters of a passage that are shown


def search_lake(lake: Lake, question: str, k: int = 8, mode: str = DEFAULT_MODE) -> list[str]:
    """Lines that show the best passages of the lake's current index. Raises InputMissingError without an index."""
    part = lake.current("indexes", "all")
    if part is None:
        raise InputMissingError(
            f"indexes/all is missing: no CURRENT. Make it with: python -m jobs run --goal index --lake {lake.address}"
        )
    found = Searcher.open(part).search(question, k, mode=mode, without=takedowns.taken_down(lake))
    lines = [f"support={found.support_01:.2f} passages={len(found.passages)} of {part.manifest.rows}"]
    for number, passage in enumerate(found.passages, 1):
        lines.append(f"{number}. {passage.title} · {passage.section} · page {passage.page} · {passage.score:.3f}")
        lines.append(f"   {passage.chunk_id}  {_one_line(passage.text)}")
    return lines


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else line[:WIDTH].rstrip() + " …"
