"""Measure the student beside its base on papers that neither training nor any example has seen.

Reads adapters, indexes, qa (its test split), questions. Writes reports. Fails with ContractError if the adapter has
learnt from a test paper, with TryAgainError if a judge is configured and away. A student that beats nothing is no
failure: the report says so in its first lines.
Run: python -m jobs evaluate_student --lake lakes/sample
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable, tables
from jobs.core.config import Settings, setting
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.stages import STAGES
from jobs.core.windows import Window
from jobs.tuning import answers_judged, gate, judge, report, scoring, verdicts
from jobs.tuning.answers_judged import JudgedAnswers
from jobs.tuning.bases import base_of
from jobs.tuning.fitting import ADAPTER_FILES
from jobs.tuning.judge import JudgeConfig
from jobs.tuning.judge_file import ANSWERS
from jobs.tuning.learnt import TRAINING_FILE, Learnt
from jobs.tuning.loading import Precision, choose_precision
from jobs.tuning.prompts import PassageText
from jobs.tuning.scoring import Asked, Limits, Pass, Scored
from jobs.tuning.shelf import Shelf
from jobs.tuning.student import Student

log = logging.getLogger(__name__)

VERSION = 5
PART, CONTROL_PART = "all", "shuffled"
REPORT_FILE, TEXT_FILE, PLOT_FILE, PAGE_FILE = "report.json", "report.md", "report.png", "report.html"


@dataclass(frozen=True)
class Config(JudgeConfig):
    """Settings of this stage: how many rows each measurement takes. The defaults suit two cores and two minutes."""

    loss_rows: int = setting(
        8, "test questions whose expected answers are measured, a system and mode", affects_rows=True
    )
    generated_rows: int = setting(4, "test questions that each system answers, in each mode", affects_rows=True)
    refusal_rows: int = setting(
        1, "test questions without an answer that each system is asked, with retrieval", affects_rows=True
    )
    answer_tokens: int = setting(40, "tokens of an answer at most", affects_rows=True)
    passages_read: int = setting(2, "passages in the prompt of a question", affects_rows=True)
    retrieval_rows: int = setting(200, "test questions that search is measured on", affects_rows=True)
    bootstrap_draws: int = setting(1000, "draws of papers for each interval", affects_rows=True)
    min_test_papers: int = setting(2, "test papers below which the gate refuses", affects_rows=True)
    judged_rows: int = setting(
        50, "test questions whose answers, with retrieval, a judge looks at; at most generated_rows", affects_rows=True
    )

    @staticmethod
    def derive(values: Settings) -> dict[str, tuple[Any, str]]:
        """What follows from the judge's prompts. Raises UsageError if they, or the judge, are wrong."""
        return judge.derive(values, ANSWERS)


def parts(_config: Config, lake: Lake, _windows: Sequence[Window]) -> list[str]:
    """One report; none where there is no student because there was nothing to learn from."""
    qa = lake.current("qa", PART)
    if lake.current_key("adapters", PART) is not None or qa is None:
        return [PART]
    if any(row["split"] == "train" for row in qa.rows(["split"])):
        return [PART]
    log.info("no student: there are no pairs of train papers")
    return []


def inputs(lake: Lake, _part: str) -> list[tuple[Input, Part | None]]:
    """What the stage table says, and before it the control on shuffled answers if it was trained as the student was."""
    named = [lake.input_of(dataset, PART) for dataset in STAGES["evaluate_student"].reads]
    control, student = lake.current("adapters", CONTROL_PART), lake.current("adapters", PART)
    if control is None or student is None or _training_key(control) != _training_key(student):
        return named
    return [(control.as_input, control), *named]


def _training_key(adapter: Part) -> Any:
    """What decided a training, but for the order of its answers."""
    return adapter.manifest.inputs, adapter.manifest.settings


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Measure and publish."""
    for task in tasks:
        with lake.attempt(task) as attempt:
            _evaluate(config, lake, attempt)


def _evaluate(config: Config, lake: Lake, attempt: Attempt) -> None:
    task = attempt.task
    adapter = task.part_of("adapters")
    gate.refuse_leak(Learnt.read(adapter).papers, lake.definition.split_salt)
    pairs = scoring.in_order([pair for pair in task.part_of("qa").rows() if pair["split"] == "test"])
    rows: list[Scored] = []
    by_judge = JudgedAnswers([])
    ranks: dict[str, list[int | None]] = {}
    answerable, impossible = ([pair for pair in pairs if pair["is_answerable"] == there] for there in (True, False))
    searched = answerable[: config.retrieval_rows]
    if pairs:
        shelf = Shelf.open(task.part_of("indexes"))
        ranks = scoring.retrieval_ranks(searched, shelf)
        first = [*answerable[: max(config.loss_rows, config.generated_rows)], *impossible[: config.refusal_rows]]
        asked = scoring.ask_searcher(first, shelf, config.passages_read)
        rows = _score_systems(config, lake, attempt, asked)
        rows += scoring.quoted_answers([*searched, *impossible[: config.retrieval_rows]], shelf)
        by_judge = _judge(config, attempt, rows, answerable, {one.qa_id: one for one in asked}, shelf)
    rows = by_judge.rows
    made = report.assemble(rows, ranks, [pair["paper_id"] for pair in searched], pairs, config.bootstrap_draws)
    verdict = gate.decide(made, config.min_test_papers)
    made["gate"], made["answers_by"] = verdict.to_dict(), gate.answers_by(made, verdict)
    made["judge"] = by_judge.told
    made["adapter"], made["training"] = adapter.manifest.key, _training_of(adapter)
    verdicts.write(attempt.folder / verdicts.FILE, by_judge.verdicts)
    _write(attempt, made, rows, n_pairs=len(pairs))


def _score_systems(config: Config, lake: Lake, attempt: Attempt, asked: list[Asked]) -> list[Scored]:
    """Base and student, the wrong question, and where there are any the released student and the control."""
    adapter = attempt.task.part_of("adapters")
    precision = choose_precision(config.device)
    passes = [
        *(Pass("base", mode, with_adapter=False) for mode in scoring.MODES),
        *(Pass("student", mode) for mode in scoring.MODES),
        Pass("wrong_question", "retrieval", is_wrong_question=True, has_answers=False),
    ]
    rows = _run_passes(config, lake, attempt, adapter, passes, asked, precision)
    if (released := _released(lake, adapter)) is not None:
        rows += _run_passes(config, lake, attempt, released, [Pass("released", "retrieval")], asked, precision)
    if (control := _control(lake, attempt.task)) is not None:
        one = Pass("shuffled_answers", "retrieval", has_answers=False)
        rows += _run_passes(config, lake, attempt, control, [one], asked, precision)
    return rows


def _run_passes(
    config: Config,
    lake: Lake,
    attempt: Attempt,
    adapter: Part,
    passes: Sequence[Pass],
    asked: list[Asked],
    precision: Precision,
) -> list[Scored]:
    """The passes of one adapter; its model is loaded only if one of them is not kept already."""
    folder = attempt.work / adapter.manifest.key[:12]
    missing = [one for one in passes if scoring.read_kept(folder, one) is None]
    if missing:
        limits = Limits(
            config.loss_rows, config.generated_rows, config.answer_tokens, _training_of(adapter)["passage_chars"]
        )
        for name in ADAPTER_FILES:
            adapter.file(name)
        with Student.load(base_of(lake, adapter), adapter.folder, precision) as student:
            for one in missing:
                scored = scoring.run_pass(student, one, asked, limits)
                scoring.keep(folder, one, scored)
                log.info("system=%s mode=%s rows=%d", one.system, one.mode, len(scored))
    return [row for one in passes for row in scoring.read_kept(folder, one) or []]


def _judge(
    config: Config,
    attempt: Attempt,
    rows: Sequence[Scored],
    pairs: Sequence[dict[str, Any]],
    asked: Mapping[str, Asked],
    shelf: Shelf,
) -> JudgedAnswers:
    """The first questions that the student answered, as a judge sees the answers."""
    passage_chars = _training_of(attempt.task.part_of("adapters"))["passage_chars"]

    def passages_of(row: Scored) -> tuple[PassageText, ...]:
        return scoring.passages_shown(row, asked[row.qa_id], shelf, passage_chars)

    first = pairs[: min(config.judged_rows, config.generated_rows)]
    return answers_judged.judge_answers(config, attempt, rows, first, passages_of)


def _control(lake: Lake, task: PartTask) -> Part | None:
    named = next((one for one in task.inputs if (one.dataset, one.part) == ("adapters", CONTROL_PART)), None)
    return None if named is None else lake.published("adapters", CONTROL_PART, str(named.key))


def _released(lake: Lake, adapter: Part) -> Part | None:
    """The adapter that is released, if it is another one: a look at what was before, in no key."""
    release = lake.current("releases", PART)
    key = json.loads(release.file("release.json").read_bytes()).get("adapter") if release else None
    if key is None or key == adapter.manifest.key or not lake.has("adapters", PART, key):
        return None
    return lake.published("adapters", PART, key)


def _training_of(adapter: Part) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(adapter.file(TRAINING_FILE).read_bytes())
    return told


def _write(attempt: Attempt, made: dict[str, Any], rows: list[Scored], *, n_pairs: int) -> None:
    folder: Path = attempt.folder
    durable.write_atomic(folder / REPORT_FILE, durable.pretty_json(made))
    durable.write_atomic(folder / TEXT_FILE, report.as_markdown(made).encode())
    report.draw(made, folder / PLOT_FILE)
    durable.write_atomic(folder / PAGE_FILE, report.as_page(made, (folder / PLOT_FILE).read_bytes()).encode())
    table = report.rows_table(rows)
    tables.write_tables(folder / tables.ROWS_FILE, table.schema, [table])
    verdict = made["gate"]
    log.info(
        "gate passed=%s reasons=%s answers_by=%s",
        verdict["passed"],
        " ".join(verdict["reasons"]) or "none",
        made["answers_by"],
    )
    attempt.finish(Counts(n_pairs, n_pairs), rows=len(rows), extra={"gate": verdict, "test": made["test"]})
