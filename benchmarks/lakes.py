"""Lakes of known content for benchmarks, published without running the stages before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake, PartTask
from jobs.core.manifest import Counts
from jobs.core.runner import Request, survey
from jobs.core.stages import STAGES
from jobs.core.windows import parse_window

WINDOW = "2024-01-01_2024-01-08"


def lake_of_pdfs(root: Path, pdfs: list[Path], copies: int) -> Lake:
    """A lake in which each PDF was fetched `copies` times over, as so many papers of one window."""
    lake = Lake.create(root, LakeFile("bench", Definition(), Source(metadata="none.jsonl", pdfs="none"), "demo"))
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(pdfs, start=1):
        target = lake.pdf_files / f"{number:03d}.pdf"
        durable.make_dirs(target.parent)
        shutil.copyfile(path, target)
        found = {"path": target.name, "sha256": durable.sha256_file(path), "size_bytes": path.stat().st_size}
        ids = [f"2401.{copy:02d}{number:03d}" for copy in range(copies)]
        rows += [{"paper_id": paper_id, "version": 1, "status": "ok"} | found for paper_id in ids]
    papers = [{"paper_id": row["paper_id"], "version": 1, "authors": [], "categories": []} for row in rows]
    _publish(lake, "papers", papers)
    _publish(lake, "pdfs", rows)
    return lake


def task_of(lake: Lake, stage_name: str) -> PartTask:
    """The stage's task of the one window."""
    request = Request(lake, {}, (parse_window(WINDOW, lake.definition.grid),))
    (task,) = survey(STAGES[stage_name], request)
    return task


def _publish(lake: Lake, dataset: str, rows: list[dict[str, Any]]) -> None:
    declared = DATASETS[dataset]
    table = tables.make_table(declared, [dict.fromkeys(declared.columns) | row for row in rows])
    key = durable.sha256_bytes(json.dumps(rows, sort_keys=True).encode())
    task = PartTask("by_hand", 1, dataset, WINDOW, key, (), {}, {}, "to do", "")
    with lake.attempt(task) as attempt:
        tables.write_tables(attempt.folder / tables.ROWS_FILE, declared.schema(), [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=len(rows), digest=key)
