"""What the index keeps of every passage beside its vector: enough to cite it without opening another dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FILE = "passages.parquet"


@dataclass(frozen=True)
class Passage:
    """A passage that was found. `page` counts from 1; `start` and `end` are characters of the document's text.

    `score` orders the passages of one search: cosine, BM25, or for hybrid 0 to 1 within its candidates.
    """

    chunk_id: str
    paper_id: str
    version: int
    title: str
    section: str
    page: int
    score: float
    text: str
    license: str | None
    start: int
    end: int
    kind: str


def to_passage(row: dict[str, Any], score: float) -> Passage:
    """A row of passages.parquet as a passage."""
    return Passage(
        chunk_id=row["chunk_id"],
        paper_id=row["paper_id"],
        version=row["version"],
        title=row["title"],
        section=" › ".join(row["section_path"]),
        page=row["page_first"],
        score=round(score, 4),
        text=row["text"],
        license=row["license"],
        start=row["start"],
        end=row["end"],
        kind=row["kind"],
    )


def words_text(title: str, section_path: list[str], text: str) -> str:
    """What the word index reads of a passage: a passage seldom repeats what its headings say."""
    return "\n".join((title, *section_path, text))
