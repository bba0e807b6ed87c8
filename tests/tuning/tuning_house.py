"""A small lake in which everything that training reads is made: papers of made-up methods, their index, their pairs.

The index is made by the real stages with the toy encoder, the pairs are written as curate_qa writes them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from jobs.core import runner, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source, split_of
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import Counts
from jobs.core.runner import Request
from jobs.core.stages import STAGES, load
from jobs.core.windows import parse_window

WINDOW = "2024-01-01_2024-01-08"
N_PAPERS = 16
ENDINGS = ("el", "an", "or", "ix")
QUICK = {  # seconds on two cores, and still every part of the recipe
    "base": "builtin:tiny",
    "max_length": 1024,
    "max_steps": 4,
    "save_steps": 1,
    "n_distractors": 1,
    "passage_chars": 200,
    "validation_rows": 2,
    "device": "cpu",
    "loss_rows": 4,
    "generated_rows": 2,
    "answer_tokens": 8,
    "bootstrap_draws": 50,
}


def name_of(number: int) -> str:
    """Made-up names: zorel, zoran, … without meaning to any tokenizer."""
    return f"{'ZKMTRBDG'[number // 4 % 8]}ov{ENDINGS[number % 4]}"


def paper_id(number: int) -> str:
    return f"2401.{number:05d}"


def text_of(number: int) -> str:
    name = name_of(number)
    return (
        f"{name} is a method for compressing the weights of a model. {name} uses {number + 3} bits for each weight. "
        f"{name} is used because it needs less memory than full training."
    )


def build_house(root: Path, n_papers: int = N_PAPERS) -> Lake:
    """A lake with papers, chunks, embeddings, an index and pairs: two questions a paper."""
    definition = Definition(embedder="builtin:hashed")
    lake = Lake.create(root, LakeFile("toy", definition, Source(metadata="toy.jsonl"), "demo"))
    publish(lake, "papers", WINDOW, [_paper(number) for number in range(n_papers)])
    publish(lake, "chunks", WINDOW, [_chunk(number) for number in range(n_papers)])
    for stage in ("embed_chunks", "build_index"):
        make(lake, stage)
    publish(lake, "qa", "all", [pair for number in range(n_papers) for pair in pairs_of(number)])
    return lake


def request_of(lake: Lake, **settings: Any) -> Request:
    return Request(lake, {"flag": settings}, (parse_window(WINDOW, "week"),))


def make(lake: Lake, stage: str, **settings: Any) -> ModuleType:
    """Run a stage as the command line does: what is done is left alone."""
    module = load(STAGES[stage])
    request = request_of(lake, **settings)
    runner.make_parts(STAGES[stage], module, request, runner.survey(STAGES[stage], request, module))
    return module


def states(lake: Lake, stage: str, **settings: Any) -> list[str]:
    """Of the stage's parts: done, to do or blocked; none if nothing is asked for."""
    return [task.state for task in runner.survey(STAGES[stage], request_of(lake, **settings))]


def publish(lake: Lake, dataset: str, part: str, rows: list[dict[str, Any]]) -> None:
    stage = next(one.name for one in STAGES.values() if dataset in one.writes)
    table = tables.make_table(DATASETS[dataset], rows)
    digest = tables.digest_of(tables.row_hashes(DATASETS[dataset], table))
    key = hashlib.sha256(f"{dataset}{digest}".encode()).hexdigest()
    task = PartTask(
        stage, 1, dataset, part, key, (), {}, {}, "to do", "never made", seen_key=lake.current_key(dataset, part)
    )
    with lake.attempt(task) as attempt:
        tables.write_rows(attempt.folder / tables.ROWS_FILE, DATASETS[dataset], [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=len(rows), digest=digest)


def pairs_of(number: int, n: int = 2) -> list[dict[str, Any]]:
    name = name_of(number)
    texts = [
        (f"How many bits does {name} use for each weight?", f"{name} uses {number + 3} bits for each weight."),
        (f"Why is {name} used?", f"{name} is used because it needs less memory than full training."),
        (f"What is {name}?", f"{name} is a method for compressing the weights of a model."),
    ]
    return [pair(number, i, question, answer) for i, (question, answer) in enumerate(texts[:n])]


def pair(number: int, i: int, question: str, answer: str, **others: Any) -> dict[str, Any]:
    """A row of qa."""
    known = {
        "qa_id": hashlib.sha256(f"{number} {i}".encode()).hexdigest()[:16],
        "chunk_ids": [f"{paper_id(number)}v1#0"],
        "paper_id": paper_id(number),
        "question": question,
        "answer": answer,
        "evidence": [answer],
        "question_type": "numeric",
        "is_answerable": True,
        "teacher": "toy",
        "prompt_version": "toy",
        "split": split_of(Definition().split_salt, paper_id(number)),
        "license": None,
        "scores": [],
    }
    return dict.fromkeys(DATASETS["qa"].columns) | known | others


def papers_of(split: str, n_papers: int = N_PAPERS) -> set[str]:
    """Ids of the papers of a split."""
    return {one for one in map(paper_id, range(n_papers)) if split_of(Definition().split_salt, one) == split}


def _paper(number: int) -> dict[str, Any]:
    known = {
        "paper_id": paper_id(number),
        "version": 1,
        "title": f"{name_of(number)}: Compressing Weights",
        "abstract": "",
        "authors": ["A. Author"],
        "categories": ["cs.LG"],
        "primary_category": "cs.LG",
        "submitted_at": datetime(2024, 1, 2, tzinfo=UTC),
        "updated_at": datetime(2024, 1, 2, tzinfo=UTC),
        "submitted_from": "version",
        "is_withdrawn": False,
    }
    return dict.fromkeys(DATASETS["papers"].columns) | known


def _chunk(number: int) -> dict[str, Any]:
    text = text_of(number)
    known = {
        "chunk_id": f"{paper_id(number)}v1#0",
        "paper_id": paper_id(number),
        "version": 1,
        "text": text,
        "start": 0,
        "end": len(text),
        "section_path": ["Method"],
        "kind": "text",
        "page_first": 1,
        "page_last": 1,
        "n_tokens": len(text.split()),
        "text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "document_hash": hashlib.sha256(text.encode()).hexdigest(),
    }
    return dict.fromkeys(DATASETS["chunks"].columns) | known
