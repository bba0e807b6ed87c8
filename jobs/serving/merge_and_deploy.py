"""Release the newest index to the chat app; CURRENT moves only after the release has answered.

Reads indexes (and adapters, reports where they exist). Writes releases. Fails with ContractError if the release does
not load or answer (the one before it serves on), with TryAgainError if the app cannot be reached.
Run: python -m jobs merge_and_deploy --goal index --lake lakes/sample
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables
from jobs.core.config import setting
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import KEY_LENGTH, Counts, Input
from jobs.corpus import arxiv
from jobs.serving import deploying
from jobs.serving.questions import SourceText, questions_worth_asking
from jobs.serving.release import INTRO_FILE, QUESTIONS_FILE, QUOTED, RELEASE_FILE

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

VERSION = 1
CHECKS_BEFORE_POINTER = True
PASSAGES_FILE = "passages.parquet"
PAPERS_LOOKED_AT = 200  # for questions worth asking, in order of id hash: enough to choose three from
INTRO = (
    "Ask about the papers in this collection. Answers are sentences quoted from them, each with its source; where no "
    "paper answers, it says so."
)
NOTHING_TO_ASK = "What are these papers about?"


@dataclass(frozen=True)
class Config:
    """Settings of this stage."""

    min_support_01: float = setting(
        0.5, "least support of a question's passages; below it the app says that no passage answers", affects_rows=True
    )
    app_url: str | None = setting(
        None, "address of the chat app that loads the release; default: environment APP_URL; none: it is tried here"
    )
    load_timeout_s: float = setting(300.0, "seconds that loading the release and one answer may take")


def inputs(lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
    """The index; adapters and reports once there are any."""
    optional = [lake.input_of(dataset, part) for dataset in ("adapters", "reports")]
    return [lake.input_of("indexes", part), *(found for found in optional if found[1] is not None)]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Publish the release, let it answer, and only then make it current."""
    check = _checker(config, lake)
    for task in tasks:
        if "adapters" in task.read_parts:
            log.warning("a student is trained, but this version does not serve it yet: the release quotes sentences")
        with lake.attempt(task) as attempt:
            facts = write_release(config, attempt, task.part_of("indexes"))
            attempt.before_pointer = check
            attempt.finish(Counts(read=1, kept=1), rows=1, extra={"serves": facts["serves"], "index": facts["index"]})


def _checker(config: Config, lake: Lake) -> Callable[[Path, str], None]:
    """What stands between a published release and CURRENT."""
    url, token = config.app_url or os.environ.get("APP_URL", ""), os.environ.get("APP_TOKEN", "")
    if url:
        deploying.check_address(url, token)

    def check(_folder: Path, key: str) -> None:
        if url:
            answer = deploying.ask_app(url, token, key[:KEY_LENGTH], config.load_timeout_s)
            log.info("the app at %s serves release %s: %s", url, key[:KEY_LENGTH], answer[:200])
        else:
            answer = deploying.try_in_child(lake.root, key, config.load_timeout_s)
            log.info("release %s answers: %s", key[:KEY_LENGTH], answer[:200])
            log.info("no app address is set (APP_URL): an app on this lake finds the release by itself")

    return check


def write_release(config: Config, attempt: Attempt, index: Part) -> dict[str, Any]:
    """Write the files of a release over an index into an attempt; its facts are returned."""
    passages = tables.read_table(index.file(PASSAGES_FILE), ["paper_id", "title", "text", "submitted_at", "kind"])
    questions = questions_worth_asking(_looked_at(passages))
    intro = INTRO
    facts: dict[str, Any] = {
        "release_id": attempt.task.request_key[:KEY_LENGTH],
        "serves": [QUOTED],
        "model": None,
        "adapter": None,
        "index": index.manifest.key,
        "report": None,
        "prompts": hashlib.sha256("\n".join([intro, *questions]).encode()).hexdigest()[:KEY_LENGTH],
        "smoke_question": questions[0] if questions else NOTHING_TO_ASK,
        "min_support_01": config.min_support_01,
    }
    facts |= _counted(passages)
    durable.make_dirs(attempt.folder / "prompts")
    durable.write_atomic(attempt.folder / QUESTIONS_FILE, "".join(f"{one}\n" for one in questions).encode())
    durable.write_atomic(attempt.folder / INTRO_FILE, f"{intro}\n".encode())
    durable.write_atomic(attempt.folder / RELEASE_FILE, durable.pretty_json(facts))
    return facts


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
