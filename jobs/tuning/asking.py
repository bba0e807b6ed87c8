"""Which chunks of a window a teacher is asked about, for which types of question, in what order, by which shard.

All of it is a pure function of the window's chunks and the settings, so any number of shards, started in any order and
killed at any moment, ask for the same pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.corpus import worth
from jobs.corpus.arxiv import id_hash
from jobs.tuning.outcomes import RowKey
from jobs.tuning.prompt_file import MOST_UNANSWERABLE_01, QuestionType
from jobs.tuning.prompts import FORMS, TWO_PASSAGES, UNANSWERABLE

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

    @property
    def ordinal(self) -> int:
        """Its place among the chunks of its document."""
        return int(self.chunk_id.rpartition("#")[2])


@dataclass(frozen=True)
class Ask:
    """One pair that is wanted of a type and its form: about a chunk, or about two of one paper in its order."""

    chunks: tuple[Chunk, ...]
    question_type: str
    form: str

    @property
    def key(self) -> RowKey:
        """What the pair is known by, whoever writes it."""
        return key_of(self.chunks), self.question_type


def key_of(chunks: Sequence[Chunk]) -> str:
    """The hash of a chunk's text; of two, the hash of both, which is that of no text."""
    if len(chunks) == 1:
        return chunks[0].text_hash
    return hashlib.sha256("\n".join(chunk.text_hash for chunk in chunks).encode()).hexdigest()


def asks_of(chunk: Chunk, partner: Chunk | None, mix: Mapping[str, QuestionType], pairs_per_chunk: int) -> list[Ask]:
    """What is asked about a chunk; a type of two passages is asked about it and its partner."""
    names = types_of(chunk.text_hash, mix, pairs_per_chunk, has_partner=partner is not None)
    both = (chunk,) if partner is None else (chunk, partner)
    return [Ask(both[: FORMS[mix[name].form].n_passages], name, mix[name].form) for name in names]


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


def types_of(
    text_hash: str, mix: Mapping[str, QuestionType], pairs_per_chunk: int, *, has_partner: bool = False
) -> list[str]:
    """The types of question that a chunk is asked for, at most `pairs_per_chunk` (0: all); a larger number only adds.

    Each place of the list goes to a type as often as its share of all weights. What no passage answers has its share of
    the places and at most one of them, so its share of what is asked never grows with their number. Types of two
    passages are left to chunks with a partner.
    """
    weighed = [one for one in mix.values() if one.weight and (has_partner or one.form != TWO_PASSAGES)]
    order = sorted(weighed, key=lambda one: (_race(text_hash, one), one.name))
    turned = [one.name for one in order if one.form != UNANSWERABLE]
    if impossible := [one.name for one in order if one.form == UNANSWERABLE]:
        place = _first_success(text_hash, _unanswerable_01(mix))
        if place <= len(turned):
            turned.insert(place, impossible[0])
    return turned[: pairs_per_chunk or len(turned)]


def _race(text_hash: str, one: QuestionType) -> float:
    """The first of exponential times at the weights' rates is a draw by weight, the order one without replacement.

    Source: Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003.
    """
    return -math.log(_draw_01(f"type\n{text_hash}\n{one.name}")) / one.weight


def _unanswerable_01(mix: Mapping[str, QuestionType]) -> float:
    """Its share of the weights; a choice of types may have raised it."""
    weights = {form: sum(one.weight for one in mix.values() if one.form == form) for form in FORMS}
    return min(MOST_UNANSWERABLE_01, weights[UNANSWERABLE] / sum(weights.values()))


def _first_success(text_hash: str, chance_01: float) -> int:
    """The first place, from 0, that wins its draw."""
    return int(math.log(_draw_01(f"unanswerable\n{text_hash}")) / math.log1p(-chance_01))


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


def _draw_01(text: str) -> float:
    """Above 0, at most 1."""
    return (_number(text) + 1) / 2**64


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
