"""A lake with chunks that say something, and a scripted teacher that notes what it was asked.

Started as a script (`chunk_house.py LAKE PAUSE_S N_SHARDS`) it makes the drafts with that teacher, to be killed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.core import runner
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source, read_lake_file
from jobs.core.lake import Lake
from jobs.core.runner import Request
from jobs.core.stages import STAGES, load
from jobs.core.windows import parse_window
from jobs.tuning import teacher
from jobs.tuning.prompts import FORMS
from jobs.tuning.teacher import TeacherReply, TeacherRequest, TeacherSettings
from tests.tuning.tuning_house import publish

WINDOW = "2024-01-01_2024-01-08"
ASKED_FILE = "asked.log"
TYPES = ("why", "numeric")


class Scripted:
    """Asks for the first sentence. Notes each question in a file of the lake's folder before it answers."""

    prompt_version = "toy@1"

    def __init__(
        self, log: Path, pause_s: float = 0.0, name: str = "scripted@1", replies: Sequence[TeacherReply] = ()
    ) -> None:
        self.name = name
        self._log = log
        self._pause_s = pause_s
        self._replies = list(replies)  # used up one by one before it answers by itself

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
        time.sleep(self._pause_s)
        with self._log.open("a") as file:
            file.writelines(f"{json.dumps([request.text, request.question_type])}\n" for request in requests)
        return [self._replies.pop(0) if self._replies else self._reply(request) for request in requests]

    def _reply(self, request: TeacherRequest) -> TeacherReply:
        first, *others = (passage.text.split(". ")[0] + "." for passage in request.passages)
        question = f"What does the {request.question_type} part of {first.split()[0]} say?"
        words = [question, " ".join([first, *others]), first, *others]
        names = FORMS[request.form].schema["properties"]
        return TeacherReply(json.dumps(dict(zip(names, words, strict=False))))


def register(lake: Lake, **settings: Any) -> Scripted:
    """Make `--teacher scripted` known; its log lies beside the lake's datasets."""
    scripted = Scripted(lake.root / ASKED_FILE, **settings)

    def make(_settings: TeacherSettings) -> Scripted:
        return scripted

    teacher.TEACHERS["scripted"] = make
    return scripted


def asked(lake: Lake) -> list[tuple[str, str]]:
    """Every (text, type) that the scripted teacher was asked for, in order."""
    path = lake.root / ASKED_FILE
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def new_lake(root: Path) -> Lake:
    return Lake.create(
        root, LakeFile("toy", Definition(embedder="builtin:hashed"), Source(metadata="toy.jsonl"), "demo")
    )


def chunk(paper: str, ordinal: int, text: str | None = None, **others: Any) -> dict[str, Any]:
    """A row of chunks; without a text of its own it says something about the paper and its place."""
    name = f"Zor{paper[-2:]}{'abcdefghij'[ordinal]}"
    text = text or (
        f"{name} needs {ordinal + 2} matrices because its layers are thin. "
        + f"{name} keeps the weights of the model. " * 6
    )
    known = {
        "chunk_id": f"{paper}v1#{ordinal}",
        "paper_id": paper,
        "version": 1,
        "text": text,
        "start": 0,
        "end": len(text),
        "section_path": ["1 Method"],
        "kind": "text",
        "page_first": 1,
        "page_last": 1,
        "n_tokens": len(text.split()),
        "text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "document_hash": "0",
    }
    return dict.fromkeys(DATASETS["chunks"].columns) | known | others


def chunks(n_papers: int = 4, n_each: int = 3) -> list[dict[str, Any]]:
    return [chunk(f"2401.000{paper:02}", ordinal) for paper in range(n_papers) for ordinal in range(n_each)]


def publish_chunks(lake: Lake, rows: list[dict[str, Any]], window: str = WINDOW) -> None:
    publish(lake, "chunks", window, rows)


def synthesize(lake: Lake, **settings: Any) -> list[str]:
    """Make the drafts as the command line does; the parts that were to do are returned."""
    stage = STAGES["synthesize_qa"]
    flags = {"teacher": "scripted", "question_types": TYPES} | settings
    request = Request(lake, {"flag": flags}, (parse_window(WINDOW, "week"),))
    module = load(stage)
    tasks = runner.survey(stage, request, module)
    runner.make_parts(stage, module, request, tasks)
    return [task.part for task in tasks if task.state == "to do"]


def drafts(lake: Lake, n_shards: int = 1) -> list[dict[str, Any]]:
    """Rows of the shards of one n, in order of id."""
    names = [f"{WINDOW}/{shard}-of-{n_shards}" for shard in range(n_shards)]
    parts = [part for name in names if (part := lake.current("drafts", name))]
    return sorted((row for part in parts for row in part.rows()), key=lambda row: row["qa_id"])


def main(root: Path, pause_s: float, n_shards: int) -> None:
    lake_file = read_lake_file(root)
    assert lake_file is not None
    lake = Lake(root, lake_file)
    register(lake, pause_s=pause_s)
    synthesize(lake, n_shards=n_shards, teacher_batch=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
