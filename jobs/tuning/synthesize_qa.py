"""Let a teacher write question-answer pairs from chunks, each with the sentence that it rests on.

Reads chunks. Writes drafts: rows.parquet has the pairs, asked.parquet what became of everything that was asked. A new
prompt or teacher counts for what was not asked yet; --reask true asks the rest again. Fails with TryAgainError if the
teacher is away.
Run: python -m jobs synthesize_qa --window 2024-01-01_2024-01-08 --teacher extractive [--preview 5]
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import tables
from jobs.core.config import Settings, setting
from jobs.core.contracts import DATASETS
from jobs.core.errors import UsageError, YieldError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.windows import Window
from jobs.tuning import interview, outcomes, prompt_file
from jobs.tuning import preview as previews
from jobs.tuning.asking import Ask, Chunk
from jobs.tuning.local_server import ServerSettings
from jobs.tuning.outcomes import Outcome, RowKey
from jobs.tuning.prompt_file import PromptFile
from jobs.tuning.teacher import Teacher, TeacherSettings
from jobs.tuning.teacher_source import TeacherSource
from jobs.tuning.transformers_chat import source_of
from jobs.tuning.window_asks import WindowAsks, request_of

log = logging.getLogger(__name__)

VERSION = 4


@dataclass(frozen=True)
class Config:
    """Settings of this stage. What the prompts file says is part of the key, its path is not."""

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
    teacher_command: tuple[str, ...] = setting(
        (), "command of a server that the stage starts for an openai teacher and ends; {port}, {model} are filled in"
    )
    teacher_start_s: float = setting(600.0, "seconds that such a server may take until it serves its model")
    prompts: str = setting(
        prompt_file.BUILT_IN, "what a teacher is asked: a built-in name, or your own YAML file (a copy of default.yaml)"
    )
    question_types: tuple[str, ...] = setting(
        (), "types of questions that are asked for; none: all of the prompts file"
    )
    pairs_per_chunk: int = setting(
        0, "types that a chunk is asked for, one pair each, drawn by their weights; 0: all", affects_rows=True
    )
    chunks_asked_per_window: int = setting(
        0, "chunks of a window that the teacher is asked about, round robin over its papers; 0: all", affects_rows=True
    )
    prompt_version: str = setting(
        "", "name and hash of the prompts, which pairs carry; follows from `prompts`", affects_rows=True
    )
    question_mix: tuple[str, ...] = setting(
        (), "the types asked for, with their weights; follows from `prompts`", affects_rows=True
    )
    n_shards: int = setting(1, "shards that a window's chunks are dealt to")
    shard: int = setting(-1, "the shard to make, from 0; -1: all")
    reask: bool = setting(False, "ask again what another prompt or teacher was asked")
    teacher_batch: int = setting(8, "pairs asked for at once; what a kill may cost")
    teacher_concurrency: int = setting(8, "requests to a server at the same time")
    teacher_max_tokens: int = setting(700, "most tokens of a reply", affects_rows=True)
    teacher_timeout_s: float = setting(120.0, "seconds that a server may take for one reply")
    teacher_prompt_price: float = setting(0.0, "what a million tokens of prompts cost, for the count of costs")
    teacher_reply_price: float = setting(0.0, "what a million tokens of replies cost")
    teacher_4bit: bool = setting(False, "load the teacher's weights as NF4 (needs a GPU)", affects_rows=True)
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")
    # rules find a pair in 6 to 9 of 100 chunks of real papers
    min_draft_yield_01: float = setting(0.02, "share of the chunks asked that must give a pair, else the stage fails")

    @staticmethod
    def derive(values: Settings) -> dict[str, tuple[Any, str]]:
        """What follows from the prompts file. Raises UsageError if it is missing or wrong."""
        origin = f"prompts {prompt_file.path_of(values['prompts'])}"
        file = prompt_file.load(values["prompts"])
        mix = file.mix(values["question_types"])
        weights = tuple(f"{name}={one.weight:g}" for name, one in sorted(mix.items()))
        return {"prompt_version": (file.version, origin), "question_mix": (weights, origin)}


def parts(config: Config, _lake: Lake, windows: Sequence[Window]) -> list[str]:
    """Every window's shards that were asked for. Raises UsageError for a shard or a teacher that there is not."""
    n_shards, shard = config.n_shards, config.shard
    if n_shards < 1 or not -1 <= shard < n_shards:
        raise UsageError(f"shard {shard} of {n_shards}: expected at least 1 shard, and a shard from 0, or -1 for all.")
    if config.teacher == "transformers":
        source_of(config.teacher_model)  # refused now, not after the hours of the stages before
    if (server := _server(config)) is not None:
        server.check()
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
    teacher = _source(config).load()
    asked = outcomes.read(current.file(outcomes.ASKED_FILE))
    n_others = sum(not _is_by(outcome, teacher) for outcome in asked)
    return f"{n_others} pairs were asked of another teacher or by another prompt" if n_others else None


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Take over what was asked before, ask the rest batch by batch, publish each shard."""
    with _source(config) as source:
        for task in tasks:
            with lake.attempt(task) as attempt:
                _make_shard(config, lake, attempt, source)
    _hold_floor(config, lake, tasks)


def preview(config: Config, tasks: list[PartTask], n: int, tell: Callable[[str], None]) -> None:
    """Tell what `n` chunks would be asked, the first of the windows, how the teacher replies, and the verdicts."""
    asks: dict[str, Ask] = {}  # one a chunk, whose types begin each at another
    for window in dict.fromkeys(_place(task.part)[0] for task in tasks):
        task = next(one for one in tasks if _place(one.part)[0] == window)
        there = _window_asks(config, task.part_of("chunks"))
        for ask in there.wanted(there.chunks):
            asks.setdefault(ask.chunks[0].chunk_id, ask)
    requests = [request_of(ask) for ask in list(asks.values())[:n]]
    file = None if config.teacher == "extractive" else _prompts(config)
    with tempfile.TemporaryDirectory() as folder, _source(config) as source:
        for text in previews.preview(source.ready(Path(folder)), requests, file):
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


def _make_shard(config: Config, lake: Lake, attempt: Attempt, source: TeacherSource) -> None:
    window, shard, n_shards = _place(attempt.task.part)
    there = _window_asks(config, attempt.task.part_of("chunks"))
    ours = there.of_shard(shard, n_shards)
    subjects = there.subjects(ours)
    published = (outcome for _, found in outcomes.of_window(lake, window) for outcome in found)
    known = _standing(config, published, subjects, source)
    n_taken_over = len(known)
    known |= _standing(config, outcomes.of_work(attempt.work), subjects, source)
    if asks := [ask for ask in there.wanted(ours) if ask.key not in known]:
        what = f"questions of {attempt.task.part}"
        known |= interview.ask_all(source.ready(attempt.work), asks, config.teacher_batch, attempt.work, what)
    _write(config, attempt, subjects, known, n_taken_over)


def _window_asks(config: Config, chunks: Part) -> WindowAsks:
    mix = _prompts(config).mix(config.question_types)
    return WindowAsks(chunks.rows(), mix, config.pairs_per_chunk, config.chunks_asked_per_window)


def _place(part: str) -> tuple[str, int, int]:
    """Window, shard and number of shards from `<window>/<i>-of-<n>`."""
    window, _, name = part.partition("/")
    shard, _, n_shards = name.partition("-of-")
    return window, int(shard), int(n_shards)


def _standing(
    config: Config, found: Iterable[Outcome], subjects: Container[str], source: TeacherSource
) -> dict[RowKey, Outcome]:
    """Outcomes about these subjects that need not be asked for again, later ones over earlier ones."""
    return {
        outcome.key: outcome
        for outcome in found
        if outcome.text_hash in subjects
        and outcomes.is_final(outcome)
        and (not config.reask or _is_by(outcome, source.load()))
    }


def _is_by(outcome: Outcome, teacher: Teacher) -> bool:
    return (outcome.teacher, outcome.prompt_version) == (teacher.name, teacher.prompt_version)


def _write(
    config: Config,
    attempt: Attempt,
    subjects: dict[str, tuple[Chunk, ...]],
    known: dict[RowKey, Outcome],
    n_taken_over: int,
) -> None:
    """The shard's pairs, and what became of everything that it asked. What was made is part of the part's key."""
    dataset = DATASETS["drafts"]
    asked = [known[key] for key in sorted(known)]
    pairs = [outcome.to_row(subjects[outcome.text_hash]) for outcome in asked if outcome.reason is None]
    table = tables.make_table(dataset, pairs)
    written = tables.write_rows(attempt.folder / tables.ROWS_FILE, dataset, [table])
    tables.write_tables(attempt.folder / outcomes.ASKED_FILE, outcomes.schema(), [outcomes.to_table(asked)])
    by_reason = Counter(outcome.reason or "pair" for outcome in asked)
    attempt.finish(
        outcomes.count(asked, {key: chunks[0].text_hash for key, chunks in subjects.items()}),
        rows=written.n_rows,
        digest=written.digest,
        result={"rows": written.digest, "asked": dict(by_reason)},
        taken_over=n_taken_over,
        extra={
            "asked": dict(by_reason),
            "asked_types": dict(Counter(outcome.question_type for outcome in asked)),
            "n_repaired": sum(outcome.is_repaired for outcome in asked),
        }
        | outcomes.costs(asked, config.teacher_prompt_price, config.teacher_reply_price),
    )


def _source(config: Config) -> TeacherSource:
    return TeacherSource(config.teacher, _settings(config), _server(config))


def _server(config: Config) -> ServerSettings | None:
    """The server that the stage itself starts, if any. Raises UsageError where another one is named too."""
    if config.teacher != "openai" or not config.teacher_command:
        return None
    if config.teacher_url:
        raise UsageError(
            f"teacher_command and teacher_url={config.teacher_url!r} are both given. Expected one of them: a server "
            "that the stage starts, or one that runs. --teacher-url none (or --teacher-command '') leaves one out."
        )
    return ServerSettings(config.teacher_command, config.teacher_model or "", config.teacher_start_s)


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
        prompts=_prompts(config),
    )


def _prompts(config: Config) -> PromptFile:
    """The prompts that the part's key names. Raises UsageError if their file was changed since the stage began."""
    file = prompt_file.load(config.prompts)
    if file.version != config.prompt_version:
        raise UsageError(
            f"{prompt_file.path_of(config.prompts)} is {file.version} by now, the stage began with "
            f"{config.prompt_version}. Expected no change while it runs: start it again, what was answered is kept."
        )
    return file
