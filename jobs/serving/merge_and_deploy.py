"""Release the newest index, with a student that the gate accepts; CURRENT moves only after the release has answered.

Reads indexes (and adapters, reports, takedowns where they exist). Writes models (merged weights) and releases. Fails
with ContractError if the merged weights are not the student, or the release does not load or answer (the one before it
serves on), with TryAgainError if the app cannot be reached.
Run: python -m jobs merge_and_deploy --goal index --lake lakes/sample
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables, takedowns
from jobs.core.config import setting
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import KEY_LENGTH, Counts, Input
from jobs.core.mirror import disk_of
from jobs.corpus import arxiv
from jobs.serving import deploying
from jobs.serving.candidate import ServedStudent, choose, keys_named
from jobs.serving.merged import merged_model, n_parameters
from jobs.serving.questions import SourceText, questions_worth_asking
from jobs.serving.release import BASE, INTRO_FILE, QUESTIONS_FILE, QUOTED, RELEASE_FILE, STUDENT
from jobs.tuning.bases import Base
from jobs.tuning.learnt import TRAINING_FILE
from jobs.tuning.prompts import ANSWER_PROMPT, PassageText, answer_messages

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

VERSION = 1
CHECKS_BEFORE_POINTER = True
PRUNES_AFTER = "lake"
PASSAGES_FILE = "passages.parquet"
PASSAGE_COLUMNS = ["paper_id", "title", "text", "submitted_at", "kind"]
REPORT_FILES = ("report.json", "report.html")
SMALL_PARAMETERS = 1e9
PAPERS_LOOKED_AT = 200  # for questions worth asking, in order of id hash: enough to choose three from
INTROS = {
    QUOTED: "Ask about the papers in this collection. Answers are sentences quoted from them, each with its source; "
    "where no paper answers, it says so.",
    STUDENT: "Ask about the papers in this collection. A model that was trained on them answers from their passages "
    "and names its sources; where no paper answers, it says so.",
}
CHECKED_PROMPTS = 3  # with a passage; on these the merged weights are compared with the student
NOTHING_TO_ASK = "What are these papers about?"


@dataclass(frozen=True)
class Config:
    """Settings of this stage."""

    min_support_01: float = setting(
        0.5, "least support of a question's passages; below it the app says that no passage answers", affects_rows=True
    )
    passages_read: int = setting(2, "passages in the prompt of a question", affects_rows=True)
    max_answer_tokens: int = setting(160, "tokens of the student's answer in the chat at most", affects_rows=True)
    merged_dtype: str = setting(
        "float16",
        "numbers of the merged weights",
        affects_rows=True,
        choices=("float16", "bfloat16", "float32"),
    )
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")
    app_url: str | None = setting(
        None, "address of the chat app that loads the release; default: environment APP_URL; none: it is tried here"
    )
    load_timeout_s: float = setting(300.0, "seconds that loading the release and one answer may take")


def inputs(lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
    """The index; adapters, reports and takedowns once there are any."""
    optional = [lake.input_of(dataset, part) for dataset in ("adapters", "reports")]
    there = (found for found in optional if found[1] is not None)
    return [lake.input_of("indexes", part), *there, *takedowns.inputs_of(lake)]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Publish the release, let it answer, and only then make it current."""
    check = _checker(config, lake)
    for task in tasks:
        candidate = choose(lake, task)
        log.info("student: %s", candidate.why)
        index = task.part_of("indexes")
        student = candidate.student
        model = _model_of(config, lake, student, index) if student else None
        with lake.attempt(task) as attempt:
            facts = write_release(config, attempt, student, model)
            attempt.before_pointer = check
            attempt.finish(
                Counts(read=1, kept=1),
                rows=1,
                taken_over=int(student is not None and student.was_released),
                extra={"serves": facts["serves"], "names": keys_named(student, model, index)},
            )


def _model_of(config: Config, lake: Lake, student: ServedStudent, index: Part) -> Part:
    """The merged weights of the student, made if this is the first release that names it."""
    passages = tables.read_table(index.file(PASSAGES_FILE), ["title", "text"]).slice(0, CHECKED_PROMPTS).to_pylist()
    prompts = [answer_messages(NOTHING_TO_ASK)]
    prompts += [answer_messages(NOTHING_TO_ASK, [PassageText(one["title"], "", one["text"])]) for one in passages]
    return merged_model(lake, student, config.merged_dtype, config.device, prompts)


def _checker(config: Config, lake: Lake) -> Callable[[Path, str], None]:
    """What stands between a published release and CURRENT."""
    url, token = config.app_url or _app_over(lake), os.environ.get("APP_TOKEN", "")
    if url:
        deploying.check_address(url, token)

    def check(_folder: Path, key: str) -> None:
        if url:
            answer = deploying.ask_app(url, token, key[:KEY_LENGTH], config.load_timeout_s)
            log.info("the app at %s serves release %s: %s", url, key[:KEY_LENGTH], answer[:200])
        else:
            answer = deploying.try_in_child(lake.root, key, config.device, config.load_timeout_s)
            log.info("release %s answers: %s", key[:KEY_LENGTH], answer[:200])
            log.info("no app address is set (APP_URL): an app on this lake finds the release by itself")

    return check


def _app_over(lake: Lake) -> str:
    """The environment's app, if it is over this lake: it serves LAKE, and a second assistant's release is not its."""
    configured = os.environ.get("LAKE")
    is_its = not configured or disk_of(configured).root.resolve() == lake.root.resolve()
    return os.environ.get("APP_URL", "") if is_its else ""


def write_release(
    config: Config, attempt: Attempt, student: ServedStudent | None = None, model: Part | None = None
) -> dict[str, Any]:
    """Write the files of a release into an attempt; its facts are returned."""
    passages = tables.read_table(attempt.task.part_of("indexes").file(PASSAGES_FILE), PASSAGE_COLUMNS)
    questions = questions_worth_asking(_looked_at(passages))
    facts = _facts(config, attempt, student, model) | _counted(passages)
    intro = INTROS[facts["serves"][0]]
    facts["prompts"] = hashlib.sha256("\n".join([intro, ANSWER_PROMPT, *questions]).encode()).hexdigest()[:KEY_LENGTH]
    facts["smoke_question"] = questions[0] if questions else NOTHING_TO_ASK
    for name, path in _report_files(student.report if student else None):
        durable.write_atomic(attempt.folder / name, path.read_bytes())
    durable.make_dirs(attempt.folder / "prompts")
    durable.write_atomic(attempt.folder / QUESTIONS_FILE, "".join(f"{one}\n" for one in questions).encode())
    durable.write_atomic(attempt.folder / INTRO_FILE, f"{intro}\n".encode())
    durable.write_atomic(attempt.folder / RELEASE_FILE, durable.pretty_json(facts))
    return facts


def _report_files(report: Part | None) -> list[tuple[str, Path]]:
    """Those of the report that speaks for the student; an older one has no page."""
    return [(name, report.file(name)) for name in REPORT_FILES if name in report.manifest.files] if report else []


def _facts(config: Config, attempt: Attempt, student: ServedStudent | None, model: Part | None) -> dict[str, Any]:
    """What release.json says of keys and of who answers."""
    facts: dict[str, Any] = {
        "release_id": attempt.task.request_key[:KEY_LENGTH],
        "serves": [QUOTED],
        "model": model and model.manifest.key,
        "adapter": student and student.adapter.manifest.key,
        "base": student and student.base.name,
        "index": attempt.task.part_of("indexes").manifest.key,
        "report": student and student.report and student.report.manifest.key,
        "min_support_01": config.min_support_01,
    }
    if student is None:
        return facts
    others = [name for name in (QUOTED, STUDENT) if name != student.answers_by]
    training = json.loads(student.adapter.file(TRAINING_FILE).read_bytes())
    if training["prompt"] != ANSWER_PROMPT:
        log.warning(
            "the student learnt to answer %s, the app asks with %s: train it again (python -m jobs train_student)",
            training["prompt"],
            ANSWER_PROMPT,
        )
    return facts | {
        "serves": [student.answers_by, *others, BASE],
        "student": _described(student.base),
        "prompt": training["prompt"],
        "passages_read": config.passages_read,
        "passage_chars": training["passage_chars"],
        "max_answer_tokens": config.max_answer_tokens,
    }


def _described(base: Base) -> str:
    """A student by its base, with how small it is."""
    n = n_parameters(base)
    size = f"{n / 1e9:.1f} billion" if n >= 1e9 else f"{n / 1e6:.0f} million"
    small = ", a very small model: check what it says against its sources" if n < SMALL_PARAMETERS else ""
    return f"{base.name} ({size} parameters), trained on these papers{small}."


def _counted(passages: pyarrow.Table) -> dict[str, Any]:
    import pyarrow.compute as pc

    newest = pc.max(passages["submitted_at"]).as_py()
    return {
        "papers": pc.count_distinct(passages["paper_id"]).as_py(),
        "passages": passages.num_rows,
        "newest_paper": newest.date().isoformat() if newest else None,
    }


def _looked_at(passages: pyarrow.Table) -> list[SourceText]:
    """The running text of some papers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = sorted(pc.unique(passages["paper_id"]).to_pylist(), key=arxiv.id_hash)[:PAPERS_LOOKED_AT]
    is_wanted = pc.and_(
        pc.is_in(passages["paper_id"], value_set=pa.array(ids, pa.string())), pc.equal(passages["kind"], "text")
    )
    rows = passages.filter(is_wanted).select(["paper_id", "title", "text"]).to_pylist()
    return [SourceText(row["paper_id"], " ".join(row["title"].split()), row["text"]) for row in rows]
