"""An index made by the real stages from a few rows, with the toy encoder: no model is loaded."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.core import runner, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import Counts
from jobs.core.runner import Request
from jobs.core.stages import STAGES, load
from jobs.core.windows import parse_window

WINDOW = "2024-01-01_2024-01-08"
TEXTS = {
    "sample/2401002": "NF4 stands for 4-bit NormalFloat. It is a data type of sixteen values at quantiles of the "
    "normal distribution. QLoRA uses NF4 because trained weights are close to normally distributed.",
    "sample/2401005": "BM25 is a ranking function that scores a document by the words that it shares with a query.",
    "sample/2401009": "A data interval is the span of time that a run of a schedule is about. It ends before the run.",
}
TITLES = {
    "sample/2401002": "QLoRA and the 4-bit NormalFloat Data Type",
    "sample/2401005": "The BM25 Ranking Function",
    "sample/2401009": "Data Intervals",
}


def build_real_index(root: Path) -> Lake:
    """A lake with papers, chunks, embeddings and an index over them."""
    definition = Definition(embedder="builtin:hashed")
    lake = Lake.create(root, LakeFile("toy", definition, Source(metadata="toy.jsonl"), "demo"))
    _publish(lake, "papers", "filter_papers", [_paper(paper_id) for paper_id in TEXTS])
    _publish(lake, "chunks", "chunk_documents", [_chunk(paper_id) for paper_id in TEXTS])
    request = Request(lake, {}, (parse_window(WINDOW, "week"),))
    for name in ("embed_chunks", "build_index"):
        module = load(STAGES[name])
        runner.make_parts(STAGES[name], module, request, runner.survey(STAGES[name], request, module))
    return lake


def _publish(lake: Lake, dataset: str, stage: str, rows: list[dict[str, Any]]) -> None:
    key = hashlib.sha256(dataset.encode()).hexdigest()
    task = PartTask(stage, 1, dataset, WINDOW, key, (), {}, {}, "to do", "never made")
    with lake.attempt(task) as attempt:
        table = tables.make_table(DATASETS[dataset], rows)
        written = tables.write_rows(attempt.folder / tables.ROWS_FILE, DATASETS[dataset], [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=written.n_rows, digest=written.digest)


def _paper(paper_id: str) -> dict[str, Any]:
    known = {
        "paper_id": paper_id,
        "version": 1,
        "title": TITLES[paper_id],
        "abstract": TEXTS[paper_id],
        "authors": ["Spark-ArXiv contributors"],
        "categories": ["cs.LG"],
        "primary_category": "cs.LG",
        "submitted_at": datetime(2024, 1, 2, tzinfo=UTC),
        "updated_at": datetime(2024, 1, 2, tzinfo=UTC),
        "submitted_from": "version",
        "license": "http://creativecommons.org/licenses/by/4.0/",
        "is_withdrawn": False,
    }
    return dict.fromkeys(DATASETS["papers"].columns) | known


def _chunk(paper_id: str) -> dict[str, Any]:
    text = TEXTS[paper_id]
    known = {
        "chunk_id": f"{paper_id}v1#0",
        "paper_id": paper_id,
        "version": 1,
        "text": text,
        "start": 0,
        "end": len(text),
        "section_path": ["Introduction"],
        "kind": "text",
        "page_first": 1,
        "page_last": 1,
        "n_tokens": len(text.split()),
        "text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "document_hash": hashlib.sha256(paper_id.encode()).hexdigest(),
    }
    return dict.fromkeys(DATASETS["chunks"].columns) | known
