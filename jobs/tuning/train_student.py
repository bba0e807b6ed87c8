"""Train the student: a QLoRA adapter on the pairs of train papers, asked as the chat will ask.

Reads qa, indexes (and takedowns). Writes adapters (and bases, once). Fails with ContractError if too many rows do not
fit, with TryAgainError after a SIGTERM (the steps so far are kept).
Run: python -m jobs train_student --lake lakes/sample
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jobs.core import durable, runner, takedowns
from jobs.core.config import Resolved, setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import split_of
from jobs.core.errors import ContractError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.stages import STAGES
from jobs.core.windows import Window
from jobs.tuning import prompts
from jobs.tuning.bases import Base, describe_base, ensure_base, refuse_unpinned
from jobs.tuning.fitting import ADAPTER_FILES, Fit, Recipe, Row, fit
from jobs.tuning.learnt import PAPERS_FILE, TRAINING_FILE, Learnt
from jobs.tuning.loading import Precision, choose_precision, load_tokenizer
from jobs.tuning.raft import FittedRow, Mix, examples_of, fitted, shuffle_answers
from jobs.tuning.shelf import Shelf

log = logging.getLogger(__name__)

VERSION = 1
PART, CONTROL_PART = "all", "shuffled"


@dataclass(frozen=True)
class Config:
    """Settings of this stage. Its length is steps or tokens, never time, so that equal settings train equally."""

    base: str = setting(
        "smollm2-135m-instruct", "chat model to start from: packaged, a folder, or on the Hub", affects_rows=True
    )
    base_revision: str | None = setting(None, "commit of a base on the Hub, 40 digits", affects_rows=True)
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")
    max_length: int = setting(768, "tokens of a training row, and of a pack of rows", affects_rows=True)
    max_steps: int = setting(12, "steps of the optimizer; 0: once over all rows", affects_rows=True)
    max_train_tokens: int = setting(2_000_000, "tokens to train on at most, whole rows", affects_rows=True)
    batch: int = setting(1, "packs of rows in a step", affects_rows=True)
    micro_batch: int = setting(1, "packs computed at once; more needs the square of its length in memory")
    packing: bool = setting(True, "several short rows side by side, each attending to itself alone", affects_rows=True)
    learning_rate: float = setting(1e-3, "peak of the cosine", affects_rows=True)
    lora_r: int = setting(16, "rank of the adapter", affects_rows=True)
    lora_alpha: int = setting(32, "its scale, divided by the rank", affects_rows=True)
    lora_dropout: float = setting(0.05, "share of its inputs dropped while training", affects_rows=True)
    gradient_checkpointing: bool = setting(
        False, "compute layers twice and hold one at a time: a third slower, for 7 billion weights on 16 GB"
    )
    save_steps: int = setting(4, "steps between two checkpoints: what a kill costs at most")
    train_seed: int = setting(0, "seed of rows, order, adapter and dropout", affects_rows=True)
    n_distractors: int = setting(1, "useless passages beside the ones that answer", affects_rows=True)
    passage_chars: int = setting(700, "characters of a passage that the student sees", affects_rows=True)
    refusal_01: float = setting(0.1, "share of rows with distractors alone, to be refused", affects_rows=True)
    closed_book_01: float = setting(0.1, "share of rows without passages", affects_rows=True)
    validation_rows: int = setting(6, "rows of validation papers whose loss is measured before and after")
    max_too_long_01: float = setting(0.1, "share of rows that may be too long for max_length before the stage fails")
    retrain_after_new_pairs: int = setting(1, "pairs that must be new before the student is trained again")
    warm_start: bool = setting(False, "begin from the adapter that is there, if base and rank fit", affects_rows=True)
    controls: bool = setting(
        False, "train the control too: as long, on shuffled answers, as the part `shuffled`; the report measures it"
    )


def parts(config: Config, lake: Lake, _windows: Sequence[Window]) -> list[str]:
    """The student; none where nothing can be learnt, or while too few pairs are new (then the stage is done).

    Waiting holds only where pairs and index alone changed: other settings train at once, and so does a control that
    is asked for, since it and its student must learn from the same pairs.
    """
    refuse_unpinned(config.base, config.base_revision)  # now, not after the teacher's hours
    wanted = [PART, CONTROL_PART] if config.controls else [PART]
    qa, made = lake.current("qa", PART), lake.current("adapters", PART)
    if qa is None:
        return wanted
    if not (train := _qa_ids(qa, "train")):
        log.info("no pairs of train papers: nothing to learn from")
        return []
    settings = runner.key_settings(STAGES["train_student"], lake, Resolved(config, {}))
    if config.controls or made is None or made.manifest.settings != settings:
        return wanted
    n_new = len(train - Learnt.read(made).qa_ids)
    if n_new >= config.retrain_after_new_pairs:
        return wanted
    log.info("waiting: %s of %s new pairs", f"{n_new:,}", f"{config.retrain_after_new_pairs:,}")
    return []


def inputs(lake: Lake, _part: str) -> list[tuple[Input, Part | None]]:
    """The same for the student and for its control."""
    return [*(lake.input_of(dataset, PART) for dataset in ("qa", "indexes")), *takedowns.inputs_of(lake)]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Train and publish one adapter a task."""
    for task in tasks:
        with lake.attempt(task) as attempt:
            _train(config, lake, attempt)


def _train(config: Config, lake: Lake, attempt: Attempt) -> None:
    qa = attempt.task.part_of("qa")
    base = ensure_base(lake, config.base, config.base_revision)
    precision = choose_precision(config.device)
    log.info("dtype=%s device=%s (%s)", precision.dtype, precision.device, precision.why)
    shelf = Shelf.open(attempt.task.part_of("indexes"))
    pairs, is_control = _pairs(qa, "train"), attempt.task.part == CONTROL_PART
    rows, dropped = _training_rows(config, lake, pairs, shelf, load_tokenizer(base.folder), is_control=is_control)
    warm = _warm_start(config, attempt, base)
    work = attempt.work / _fingerprint(base, rows, warm)
    log.info("base=%s rows=%d tokens=%d dropped=%s", base.name, len(rows), _n_tokens(rows), dict(dropped))
    made = fit(
        base, [_as_row(row) for row in rows], _recipe(config), precision, work, warm_start=warm.folder if warm else None
    )
    validation = _validate(
        base, made, precision, _validation_rows(config, lake, qa, shelf, load_tokenizer(base.folder))
    )
    told = {"losses": made.losses, "n_steps": made.n_steps, "n_rows": len(rows), "n_tokens": _n_tokens(rows)}
    told |= {"kinds": Counter(row.example.kind for row in rows), "dropped": dropped, "validation": validation}
    told |= asdict(precision) | {"passage_chars": config.passage_chars, "prompt": prompts.ANSWER_PROMPT}
    _write(attempt, base, made, told, _learnt(rows, qa, warm), warm)


def _training_rows(
    config: Config, lake: Lake, pairs: list[dict[str, Any]], shelf: Shelf, tokenizer: Any, *, is_control: bool
) -> tuple[list[FittedRow], Counter[str]]:
    """The rows to train on, and why others are not among them.

    Raises ContractError if there are none, or if too many do not fit into max_length.
    """
    taken_down = takedowns.taken_down(lake)
    allowed = [pair for pair in pairs if pair["paper_id"] not in taken_down]
    examples = examples_of(allowed, shelf, _train_papers(lake, shelf), _mix(config))
    if is_control:
        examples = shuffle_answers(examples, config.train_seed)
    dropped = Counter(not_indexed=len(allowed) - len(examples), taken_down=len(pairs) - len(allowed))
    rows: list[FittedRow] = []
    n_tokens = 0
    for example in examples:
        row = fitted(example, shelf, config.passage_chars, tokenizer, config.max_length)
        if row is None:
            dropped["too_long"] += 1
        elif n_tokens + row.n_tokens > config.max_train_tokens:
            dropped["over_tokens"] += 1
        else:
            rows.append(row)
            n_tokens += row.n_tokens
    if not rows or dropped["too_long"] > config.max_too_long_01 * len(examples):
        raise ContractError(
            f"{len(rows)} of {len(pairs)} pairs can be trained on ({+dropped}). Expected at most "
            f"{config.max_too_long_01:.0%} to be longer than {config.max_length} tokens. Raise --max-length, or lower "
            "--passage-chars or --n-distractors."
        )
    return rows, +dropped


def _validation_rows(config: Config, lake: Lake, qa: Part, shelf: Shelf, tokenizer: Any) -> list[FittedRow]:
    pairs = [pair for pair in _pairs(qa, "validation") if pair["paper_id"] not in takedowns.taken_down(lake)]
    examples = examples_of(pairs, shelf, _train_papers(lake, shelf), _mix(config))
    rows = (fitted(one, shelf, config.passage_chars, tokenizer, config.max_length) for one in examples)
    return [row for row in rows if row is not None][: config.validation_rows]


def _validate(base: Base, made: Fit, precision: Precision, rows: list[FittedRow]) -> dict[str, float | int | None]:
    """Mean answer loss (nats a token) on papers that were not trained on, without and with the adapter."""
    from jobs.tuning.student import Student

    if not rows:
        return {"n_rows": 0, "before": None, "after": None}
    asked = [(row.messages, row.answer) for row in rows]
    with Student.load(base, made.adapter, precision) as student:
        means = [sum(student.answer_losses(asked, with_adapter=on)) / len(asked) for on in (False, True)]
    log.info("validation rows=%d loss %.3f -> %.3f nats a token", len(asked), *means)
    return {"n_rows": len(asked), "before": means[0], "after": means[1]}


def _write(attempt: Attempt, base: Base, made: Fit, told: dict[str, Any], learnt: Learnt, warm: Part | None) -> None:
    """The files of the part. Its key covers the bytes of the base, the prompt, and whether it is the control."""
    for name in ADAPTER_FILES:
        shutil.copyfile(made.adapter / name, attempt.folder / name)
    describe_base(base, attempt.folder)
    durable.write_atomic(attempt.folder / TRAINING_FILE, durable.pretty_json(told))
    durable.write_atomic(attempt.folder / PAPERS_FILE, learnt.to_json())
    attempt.finish(
        Counts.of(DATASETS["adapters"], told["n_rows"], told["dropped"]),
        rows=told["n_rows"],
        result={"base": base.sha256, "prompt": prompts.ANSWER_PROMPT, "part": attempt.task.part},
        taken_over=int(warm is not None),
        extra={"base": base.name, "validation": told["validation"], "n_steps": told["n_steps"], "dtype": told["dtype"]},
    )


def _learnt(rows: list[FittedRow], qa: Part, warm: Part | None) -> Learnt:
    """All papers that the adapter has seen, through every warm start, and the pairs that it was offered."""
    before = Learnt.read(warm) if warm else Learnt(frozenset(), frozenset())
    papers = {row.example.paper_id for row in rows} | {paper for row in rows for paper in row.papers_shown}
    return Learnt(before.papers | papers, before.qa_ids | _qa_ids(qa, "train"))


def _warm_start(config: Config, attempt: Attempt, base: Base) -> Part | None:
    """The adapter to begin from, if one is asked for, fits, and never learnt from a paper that was taken down."""
    previous = attempt.previous if config.warm_start else None
    if previous is None:
        return None
    if learnt := Learnt.read(previous).papers & takedowns.of_task(attempt.task):
        log.info("no warm start: the adapter that is there learnt from %s, taken down", ", ".join(sorted(learnt)))
        return None
    made = json.loads(previous.file(ADAPTER_FILES[1]).read_bytes())
    told = json.loads(previous.file("base.json").read_bytes())
    if told["sha256"] != base.sha256 or made["r"] != config.lora_r:
        log.info("no warm start: the adapter that is there has base %s and rank %d", told["name"], made["r"])
        return None
    previous.file(ADAPTER_FILES[0])
    return previous


def _fingerprint(base: Base, rows: list[FittedRow], warm: Part | None) -> str:
    """Names the checkpoints: those of another base, other rows or another start are never resumed from."""
    said = [[row.messages, row.answer] for row in rows]
    start = warm.manifest.key if warm else ""
    return durable.sha256_bytes(durable.canonical_json([base.sha256, start, said]))[:12]


def _train_papers(lake: Lake, shelf: Shelf) -> Any:
    """Finds distractors, in train papers alone that are not taken down."""
    salt, taken_down = lake.definition.split_salt, takedowns.taken_down(lake)
    return shelf.finder(lambda paper_id: split_of(salt, paper_id) == "train" and paper_id not in taken_down)


def _pairs(qa: Part, split: str) -> list[dict[str, Any]]:
    return [pair for pair in qa.rows() if pair["split"] == split]


def _qa_ids(qa: Part, split: str) -> frozenset[str]:
    return frozenset(row["qa_id"] for row in qa.rows(["qa_id", "split"]) if row["split"] == split)


def _n_tokens(rows: list[FittedRow]) -> int:
    return sum(row.n_tokens for row in rows)


def _as_row(row: FittedRow) -> Row:
    return {"prompt": row.messages, "completion": [{"role": "assistant", "content": row.answer}]}


def _mix(config: Config) -> Mix:
    return Mix(config.n_distractors, config.refusal_01, config.closed_book_01, config.train_seed)


def _recipe(config: Config) -> Recipe:
    return Recipe(
        max_length=config.max_length,
        max_steps=config.max_steps,
        micro_batch=min(config.micro_batch, config.batch),
        accumulation=max(1, config.batch // config.micro_batch),
        learning_rate=config.learning_rate,
        lora_r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        packing=config.packing,
        gradient_checkpointing=config.gradient_checkpointing,
        save_steps=config.save_steps,
        seed=config.train_seed,
    )
