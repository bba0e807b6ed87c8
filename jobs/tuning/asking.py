"""Which chunks of a window a teacher is asked about, in what order, and by which shard.

All of it is a pure function of the window's chunks and the settings, so any number of shards, started in any order and
killed at any moment, ask for the same pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.corpus import worth
from jobs.corpus.arxiv import id_hash

ASKED_KINDS = ("text",)
MIN_LETTERS = 200
MIN_LETTERS_SHARE_01 = 0.7  # of the characters that are no blanks


@dataclass(frozen=True)
class Chunk:
    """What is known of a chunk that may be asked about."""

    chunk_id: str
    paper_id: str
    text: str
    text_hash: str
    section: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> Chunk:
        """From a row of `chunks`."""
        section = " › ".join(row["section_path"])
        return cls(row["chunk_id"], row["paper_id"], row["text"], row["text_hash"], section)


def order_of_asking(rows: Iterable[dict[str, Any]]) -> list[Chunk]:
    """The window's chunks that are worth asking about, round robin over the papers: the best of each first.

    Papers come in the order of their ids' hashes, so the first N of the list are a fair share of the window. A text
    that occurs twice is asked about once.
    """
    by_paper: dict[str, dict[str, Chunk]] = {}
    seen: set[str] = set()
    for row in sorted(rows, key=lambda row: str(row["chunk_id"])):
        if row["text_hash"] not in seen and is_worth_asking(row):
            seen.add(row["text_hash"])
            by_paper.setdefault(row["paper_id"], {})[row["chunk_id"]] = Chunk.of(row)
    queues = [
        sorted(by_paper[paper].values(), key=_rank) for paper in sorted(by_paper, key=lambda one: (id_hash(one), one))
    ]
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def is_worth_asking(row: dict[str, Any]) -> bool:
    """Running text with enough letters that is worth something; parts of an older program do not say that of theirs."""
    if row["kind"] not in ASKED_KINDS or row["low_value"] or worth.reason(row["text"], tuple(row["section_path"])):
        return False
    return _n_letters(row["text"]) >= MIN_LETTERS and _letters_share_01(row["text"]) >= MIN_LETTERS_SHARE_01


def types_of(chunk: Chunk, question_types: Sequence[str], pairs_per_chunk: int) -> list[str]:
    """The types of question that a chunk is asked for, at most `pairs_per_chunk` (0: all).

    Every chunk begins elsewhere in the list, so that types are mixed; a larger number only adds.
    """
    if not question_types:
        return []
    first = _number(f"type\n{chunk.text_hash}") % len(question_types)
    turned = [*question_types[first:], *question_types[:first]]
    return turned[: pairs_per_chunk or len(turned)]


def shard_of(chunk_id: str, n_shards: int) -> int:
    """The shard that asks about a chunk."""
    return _number(chunk_id) % n_shards


def seed_of(text_hash: str, question_type: str) -> int:
    """A seed of 31 bits that depends on what is asked alone."""
    return _number(f"seed\n{text_hash}\n{question_type}") % (1 << 31)


def _rank(chunk: Chunk) -> tuple[int, str]:
    """Longer prose first, by steps of 100 letters, then some fixed order."""
    worth = int(_n_letters(chunk.text) * _letters_share_01(chunk.text)) // 100
    return -worth, chunk.text_hash


def _n_letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _letters_share_01(text: str) -> float:
    return _n_letters(text) / max(1, sum(not char.isspace() for char in text))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
