"""Let a teacher write question-answer pairs from chunks, each with the sentence that it rests on.

Reads chunks. Writes drafts: rows.parquet has the pairs, asked.parquet what became of everything that was asked. A new
prompt or teacher counts for what was not asked yet; --reask true asks the rest again. Fails with TryAgainError if the
teacher is away.
Run: python -m jobs synthesize_qa --window 2024-01-01_2024-01-08 --teacher extractive [--preview 5]
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.core import tables
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.errors import TryAgainError, UsageError, YieldError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.progress import Progress
from jobs.core.windows import Window
from jobs.corpus import batches
from jobs.tuning import asking, outcomes, prompts
from jobs.tuning import preview as previews
from jobs.tuning.asking import Chunk
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.outcomes import Outcome, RowKey
from jobs.tuning.teacher import Teacher, TeacherReply, TeacherRequest, TeacherSettings, load_teacher, read_pair
from jobs.tuning.transformers_teacher import source_of

log = logging.getLogger(__name__)

VERSION = 3
# The worst thing that happened to a chunk without a pair is what is counted for it.
_WORST_FIRST = ("teacher_failed", "instructions", "oversized", "truncated", "malformed", "no_pair")


@dataclass(frozen=True)
class Config:
    """Settings of this stage. The prompt's hash is one, so that a part knows what it was asked with."""

    teacher: str = setting(
        "extractive", "who writes the pairs: extractive (rules), transformers, or openai (a server)", affects_rows=True
    )
    teacher_model: str | None = setting(
        None,
        "the teacher's model: a folder, or a name on the Hub or the server; NAME@REVISION pins it",
        affects_rows=True,
    )
    teacher_url: str | None = setting(
        None, "address of a server that speaks OpenAI's protocol: http://127.0.0.1:8000/v1"
    )
    question_types: tuple[str, ...] = setting(
        tuple(prompts.QUESTION_TYPES), "types of questions that are asked for", affects_rows=True
    )
    pairs_per_chunk: int = setting(0, "types that a chunk is asked for, one pair each; 0: all", affects_rows=True)
    chunks_asked_per_window: int = setting(
        0, "chunks of a window that the teacher is asked about, round robin over its papers; 0: all", affects_rows=True
    )
    prompt_version: str = setting(prompts.TEACHER_PROMPT, "name and hash of the built-in prompt", affects_rows=True)
    n_shards: int = setting(1, "shards that a window's chunks are dealt to")
    shard: int = setting(-1, "the shard to make, from 0; -1: all")
    reask: bool = setting(False, "ask again what another prompt or teacher was asked")
    teacher_batch: int = setting(8, "pairs asked for at once; what a kill may cost")
    teacher_concurrency: int = setting(8, "requests to a server at the same time")
    teacher_max_tokens: int = setting(400, "most tokens of a reply", affects_rows=True)
    teacher_timeout_s: float = setting(120.0, "seconds that a server may take for one reply")
    teacher_4bit: bool = setting(False, "load the teacher's weights as NF4 (needs a GPU)", affects_rows=True)
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")
    min_draft_yield_01: float = setting(0.05, "share of the chunks asked that must give a pair, else the stage fails")


@dataclass(frozen=True)
class _Ask:
    """One pair that is wanted: a chunk and a type of question."""

    chunk: Chunk
    question_type: str

    @property
    def key(self) -> RowKey:
        return self.chunk.text_hash, self.question_type


class _Source:
    """The teacher, loaded when something is to be asked: a run that takes everything over loads no model."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._loaded: Teacher | None = None

    def load(self) -> Teacher:
        """The teacher. Raises UsageError for an unknown kind."""
        if self._loaded is None:
            self._loaded = load_teacher(self._config.teacher, _settings(self._config))
        return self._loaded


def parts(config: Config, _lake: Lake, windows: Sequence[Window]) -> list[str]:
    """Every window's shards that were asked for. Raises UsageError for a shard or a teacher that there is not."""
    n_shards, shard = config.n_shards, config.shard
    if n_shards < 1 or not -1 <= shard < n_shards:
        raise UsageError(f"shard {shard} of {n_shards}: expected at least 1 shard, and a shard from 0, or -1 for all.")
    if unknown := sorted(set(config.question_types) - set(prompts.QUESTION_TYPES)):
        raise UsageError(
            f"question_types has {', '.join(unknown)}. Expected some of: {', '.join(prompts.QUESTION_TYPES)}."
        )
    if config.teacher == "transformers":
        source_of(config.teacher_model)  # refused now, not after the hours of the stages before
    shards = range(n_shards) if shard < 0 else [shard]
    return [f"{window.name}/{one}-of-{n_shards}" for window in windows for one in shards]


def inputs(lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
    """The chunks of the shard's window."""
    return [lake.input_of("chunks", part.split("/")[0])]


def stale(config: Config, _lake: Lake, current: Part, _windows: Sequence[Window]) -> str | None:
    """Why a part must be made again although its input is the same: some replies may come now, or --reask."""
    retried = {name for name, reason in DATASETS["drafts"].reasons.items() if reason.is_retried}
    if n_failed := sum(n for name, n in current.manifest.extra["asked"].items() if name in retried):
        return f"the teacher failed on {n_failed} questions, which are asked again"
    if not config.reask:
        return None
    teacher = _Source(config).load()
    asked = outcomes.read(current.file(outcomes.ASKED_FILE))
    n_others = sum(not _is_by(outcome, teacher) for outcome in asked)
    return f"{n_others} pairs were asked of another teacher or by another prompt" if n_others else None


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Take over what was asked before, ask the rest batch by batch, publish each shard."""
    source = _Source(config)
    for task in tasks:
        with lake.attempt(task) as attempt:
            _make_shard(config, lake, attempt, source)
    _hold_floor(config, lake, tasks)


def preview(config: Config, tasks: list[PartTask], n: int, tell: Callable[[str], None]) -> None:
    """Tell what `n` chunks would be asked, the first of the windows, how the teacher replies, and the verdicts."""
    asks: dict[str, _Ask] = {}  # one a chunk, whose types begin each at another
    for window in dict.fromkeys(_place(task.part)[0] for task in tasks):
        task = next(one for one in tasks if _place(one.part)[0] == window)
        ordered = asking.order_of_asking(task.part_of("chunks").rows())
        for ask in _wanted(config, ordered, ordered):
            asks.setdefault(ask.chunk.chunk_id, ask)
    requests = [_request(ask) for ask in list(asks.values())[:n]]
    for text in previews.preview(_Source(config).load(), requests, is_prompted=config.teacher != "extractive"):
        tell(text)


def _hold_floor(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Raise YieldError if the teacher is of no use; what it gave stays, so that its replies can be looked at."""
    parts = [part for task in tasks if (part := lake.current(task.dataset, task.part)) is not None]
    counts = Counts.total(part.manifest.counts for part in parts)
    if counts.read and counts.kept / counts.read < config.min_draft_yield_01:
        raise YieldError(
            f"{config.teacher} wrote pairs for {counts.kept} of {counts.read} chunks, the floor is "
            f"{config.min_draft_yield_01:.1%}. Why not: {counts.dropped}. Look at asked.parquet of the parts, ask "
            "another teacher with --reask true, or lower the floor with --min-draft-yield-01."
        )


def _make_shard(config: Config, lake: Lake, attempt: Attempt, source: _Source) -> None:
    window, shard, n_shards = _place(attempt.task.part)
    ordered = asking.order_of_asking(attempt.task.part_of("chunks").rows())
    ours = [chunk for chunk in ordered if asking.shard_of(chunk.chunk_id, n_shards) == shard]
    wanted = _wanted(config, ordered, ours)
    texts = {chunk.text_hash for chunk in ours}
    published = (outcome for _, found in outcomes.of_window(lake, window) for outcome in found)
    known = _standing(config, published, texts, source)
    n_taken_over = len(known)
    known |= _standing(config, outcomes.of_work(attempt.work), texts, source)
    known |= _ask_all(config, attempt, [ask for ask in wanted if ask.key not in known], source)
    _write(attempt, ours, known, n_taken_over)


def _place(part: str) -> tuple[str, int, int]:
    """Window, shard and number of shards from `<window>/<i>-of-<n>`."""
    window, _, name = part.partition("/")
    shard, _, n_shards = name.partition("-of-")
    return window, int(shard), int(n_shards)


def _wanted(config: Config, ordered: Sequence[Chunk], ours: Sequence[Chunk]) -> list[_Ask]:
    """What the settings ask for: the first chunks of the window's order, as far as they are this shard's."""
    first = ordered[: config.chunks_asked_per_window or None]
    mine = {chunk.chunk_id for chunk in ours}
    return [
        _Ask(chunk, question_type)
        for chunk in first
        if chunk.chunk_id in mine
        for question_type in asking.types_of(chunk, config.question_types, config.pairs_per_chunk)
    ]


def _standing(config: Config, found: Iterable[Outcome], texts: set[str], source: _Source) -> dict[RowKey, Outcome]:
    """Outcomes about these texts that need not be asked for again, later ones over earlier ones."""
    return {
        outcome.key: outcome
        for outcome in found
        if outcome.text_hash in texts
        and outcomes.is_final(outcome)
        and (not config.reask or _is_by(outcome, source.load()))
    }


def _is_by(outcome: Outcome, teacher: Teacher) -> bool:
    return (outcome.teacher, outcome.prompt_version) == (teacher.name, teacher.prompt_version)


def _ask_all(config: Config, attempt: Attempt, asks: list[_Ask], source: _Source) -> dict[RowKey, Outcome]:
    """Ask batch by batch; each is on disk before the next is asked. Raises TryAgainError if a whole one failed."""
    made: dict[RowKey, Outcome] = {}
    if not asks:
        return made
    teacher = source.load()
    progress = Progress(f"questions of {attempt.task.part}", len(asks))
    for batch in _batched(asks, max(1, config.teacher_batch)):
        answered = _ask(teacher, batch)
        final = [outcome for outcome in answered if outcomes.is_final(outcome)]
        if not final:
            raise TryAgainError(
                f"{teacher.name} failed on all {len(batch)} questions of a batch. What it answered before is kept; "
                "look at the server, then run the stage again."
            )
        batches.write_batch(attempt.work, outcomes.to_table(final))
        made |= {outcome.key: outcome for outcome in answered}
        progress.step(len(batch))
    progress.log()
    return made


def _batched(asks: list[_Ask], size: int) -> Iterator[list[_Ask]]:
    return (asks[start : start + size] for start in range(0, len(asks), size))


def _ask(teacher: Teacher, batch: list[_Ask]) -> list[Outcome]:
    """Outcomes of a batch. A chunk that speaks to language models is not shown to one."""
    harmless = [ask for ask in batch if not gives_instructions(ask.chunk.text)]
    replies = dict(zip((ask.key for ask in harmless), teacher.write([_request(ask) for ask in harmless]), strict=True))
    refused = TeacherReply(None, "instructions")
    return [_outcome(teacher, ask, replies.get(ask.key, refused)) for ask in batch]


def _request(ask: _Ask) -> TeacherRequest:
    return TeacherRequest(
        text=ask.chunk.text,
        title="",
        section=ask.chunk.section,
        question_type=ask.question_type,
        seed=asking.seed_of(*ask.key),
    )


def _outcome(teacher: Teacher, ask: _Ask, reply: TeacherReply) -> Outcome:
    read = read_pair(reply)
    if isinstance(read, str):
        return Outcome(*ask.key, teacher.name, teacher.prompt_version, reason=read)
    return Outcome(
        *ask.key,
        teacher.name,
        teacher.prompt_version,
        reason=None,
        question=read.question,
        answer=read.answer,
        quote=read.evidence,
        is_repaired=read.is_repaired,
    )


def _write(attempt: Attempt, ours: list[Chunk], known: dict[RowKey, Outcome], n_taken_over: int) -> None:
    """The shard's pairs, and what became of everything that it asked. What was made is part of the part's key."""
    dataset = DATASETS["drafts"]
    by_text = {chunk.text_hash: chunk for chunk in ours}
    asked = [known[key] for key in sorted(known)]
    pairs = [_row(by_text[outcome.text_hash], outcome) for outcome in asked if outcome.reason is None]
    table = tables.make_table(dataset, pairs)
    written = tables.write_rows(attempt.folder / tables.ROWS_FILE, dataset, [table])
    tables.write_tables(attempt.folder / outcomes.ASKED_FILE, outcomes.schema(), [outcomes.to_table(asked)])
    by_reason = Counter(outcome.reason or "pair" for outcome in asked)
    attempt.finish(
        _count(asked),
        rows=written.n_rows,
        digest=written.digest,
        result={"rows": written.digest, "asked": dict(by_reason)},
        taken_over=n_taken_over,
        extra={"asked": dict(by_reason), "n_repaired": sum(outcome.is_repaired for outcome in asked)},
    )


def _count(asked: list[Outcome]) -> Counts:
    """A chunk is read once, however many types it was asked for, and kept if it gave a pair."""
    reasons: dict[str, set[str | None]] = {}
    for outcome in asked:
        reasons.setdefault(outcome.text_hash, set()).add(outcome.reason)
    kept = sum(None in found for found in reasons.values())
    refused = Counter(
        next(reason for reason in _WORST_FIRST if reason in found) for found in reasons.values() if None not in found
    )
    return Counts.of(DATASETS["drafts"], kept, refused)


def _row(chunk: Chunk, outcome: Outcome) -> dict[str, Any]:
    return {
        "qa_id": outcome.qa_id,
        "chunk_ids": [chunk.chunk_id],
        "paper_id": chunk.paper_id,
        "question": outcome.question,
        "answer": outcome.answer,
        "evidence": [outcome.quote],
        "question_type": outcome.question_type,
        "is_answerable": True,
        "teacher": outcome.teacher,
        "prompt_version": outcome.prompt_version,
    }


def _settings(config: Config) -> TeacherSettings:
    return TeacherSettings(
        model=config.teacher_model,
        url=config.teacher_url,
        batch_size=config.teacher_batch,
        concurrency=config.teacher_concurrency,
        max_new_tokens=config.teacher_max_tokens,
        timeout_s=config.teacher_timeout_s,
        quantize=config.teacher_4bit,
        device=config.device,
    )
