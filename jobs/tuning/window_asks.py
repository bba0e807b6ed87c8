"""What a window is asked for: its chunks in order, the partner of each, and the pairs that the settings want.

A pure function of the window's chunks, the mix and two numbers; a shard takes its share of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.tuning import asking, partners
from jobs.tuning.asking import Ask, Chunk
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.prompt_file import QuestionType
from jobs.tuning.prompts import PassageText
from jobs.tuning.teacher import TeacherRequest


class WindowAsks:
    """See the module. `pairs_per_chunk` and `n_chunks`: 0 for all."""

    def __init__(
        self, rows: Iterable[dict[str, Any]], mix: Mapping[str, QuestionType], pairs_per_chunk: int, n_chunks: int
    ) -> None:
        """`rows` are those of `chunks`."""
        self.chunks = asking.order_of_asking(rows)
        # A passage that speaks to models refuses the pairs it is in, so it is nobody's partner.
        self._partners = partners.partners(chunk for chunk in self.chunks if not gives_instructions(chunk.text))
        self._mix = mix
        self._pairs_per_chunk = pairs_per_chunk
        self._n_chunks = n_chunks or len(self.chunks)

    def of_shard(self, shard: int, n_shards: int) -> list[Chunk]:
        """The chunks that a shard asks about."""
        return [chunk for chunk in self.chunks if asking.shard_of(chunk.chunk_id, n_shards) == shard]

    def wanted(self, ours: Iterable[Chunk]) -> list[Ask]:
        """The pairs that are wanted of the first chunks of the order, as far as these are ours."""
        mine = {chunk.chunk_id for chunk in ours}
        return [
            ask
            for chunk in self.chunks[: self._n_chunks]
            if chunk.chunk_id in mine
            for ask in asking.asks_of(chunk, self._partners.get(chunk.chunk_id), self._mix, self._pairs_per_chunk)
        ]

    def subjects(self, ours: Iterable[Chunk]) -> dict[str, tuple[Chunk, ...]]:
        """By the hash that pairs are known by: each chunk of ours, and each with its partner."""
        found: dict[str, tuple[Chunk, ...]] = {}
        for chunk in ours:
            both = (chunk, self._partners[chunk.chunk_id]) if chunk.chunk_id in self._partners else (chunk,)
            found |= {chunk.text_hash: (chunk,), asking.key_of(both): both}
        return found


def request_of(ask: Ask) -> TeacherRequest:
    """What a teacher is told of it. Titles are left out: a question that needs one does not stand alone."""
    first, *others = ask.chunks
    return TeacherRequest(
        text=first.text,
        title="",
        section=first.section,
        question_type=ask.question_type,
        seed=asking.seed_of(*ask.key),
        form=ask.form,
        second=PassageText("", others[0].section, others[0].text) if others else None,
    )
