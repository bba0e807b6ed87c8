"""Asking a teacher batch by batch: each batch is on disk before the next is asked, so a kill costs one at most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobs.core.errors import TryAgainError
from jobs.core.progress import Progress
from jobs.corpus import batches
from jobs.tuning import outcomes
from jobs.tuning.asking import Ask
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.outcomes import Outcome, RowKey
from jobs.tuning.teacher import Teacher, TeacherReply
from jobs.tuning.window_asks import request_of


def ask_all(teacher: Teacher, asks: list[Ask], batch_size: int, work: Path, what: str) -> dict[RowKey, Outcome]:
    """What becomes of all that is asked; `work` is where batches go. Raises TryAgainError if a whole batch failed."""
    made: dict[RowKey, Outcome] = {}
    progress = Progress(what, len(asks))
    for batch in _batched(asks, max(1, batch_size)):
        answered = _ask(teacher, batch)
        final = [outcome for outcome in answered if outcomes.is_final(outcome)]
        if not final:
            raise TryAgainError(
                f"{teacher.name} failed on all {len(batch)} questions of a batch. What it answered before is kept; "
                "look at the server, then run the stage again."
            )
        batches.write_batch(work, outcomes.to_table(final))
        made |= {outcome.key: outcome for outcome in answered}
        progress.step(len(batch))
    progress.log()
    return made


def _batched(asks: list[Ask], size: int) -> Iterator[list[Ask]]:
    return (asks[start : start + size] for start in range(0, len(asks), size))


def _ask(teacher: Teacher, batch: list[Ask]) -> list[Outcome]:
    """Outcomes of a batch. A chunk that speaks to language models is not shown to one."""
    harmless = [ask for ask in batch if not any(gives_instructions(chunk.text) for chunk in ask.chunks)]
    replies = dict(zip((ask.key for ask in harmless), teacher.write(list(map(request_of, harmless))), strict=True))
    refused = TeacherReply(None, "instructions")
    return [outcomes.of_reply(ask.key, ask.form, teacher, replies.get(ask.key, refused)) for ask in batch]
