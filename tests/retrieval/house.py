"""A lake of few papers and chunks, made by hand, and the two stages of the room on it, with an encoder that records."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jobs.core import durable, runner, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.runner import Request
from jobs.core.stages import STAGES, load
from jobs.core.windows import parse_window
from jobs.retrieval.hashed_encoder import HashedEncoder

WINDOWS = ("2024-01-01_2024-01-08", "2024-01-08_2024-01-15")
ENCODER = "builtin:recording"
Row = dict[str, Any]


class RecordingEncoder(HashedEncoder):
    """The hashed encoder, with a list of what it encoded and knobs for what may go wrong."""

    def __init__(self, revision: str = "a" * 64) -> None:
        self.card = dataclasses.replace(HashedEncoder.card, name=ENCODER, revision=revision)
        self.texts: list[str] = []
        self.noise = 0.0
        self.dies_at = ""
        self.longest = 10_000

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self.dies_at in texts:
            raise KeyboardInterrupt
        self.texts += texts
        return np.asarray(super().encode(texts) + self.noise, dtype=np.float32)

    def encode_question(self, text: str) -> np.ndarray:
        return HashedEncoder().encode_question(text)

    def count_truncated(self, texts: Sequence[str]) -> int:
        return sum(len(text) > self.longest for text in texts)

    def taken(self) -> list[str]:
        """What was encoded since the last call, sorted."""
        texts, self.texts = sorted(self.texts), []
        return texts


def new_lake(root: Path, embedder: str = ENCODER) -> Lake:
    return Lake.create(root, LakeFile("toy", Definition(embedder=embedder), Source(metadata="toy.jsonl"), "demo"))


def paper(paper_id: str, version: int = 1, **fields: Any) -> Row:
    known = {
        "paper_id": paper_id,
        "version": version,
        "title": f"Title of {paper_id}",
        "abstract": "",
        "authors": ["A. Example"],
        "categories": ["cs.LG"],
        "primary_category": "cs.LG",
        "submitted_at": datetime(2024, 1, 2, tzinfo=UTC),
        "updated_at": datetime(2024, 1, 2, tzinfo=UTC),
        "submitted_from": "version",
        "license": None,
        "is_withdrawn": False,
    }
    return known | fields


def chunk(paper_id: str, ordinal: int, text: str, version: int = 1, **fields: Any) -> Row:
    known = {
        "chunk_id": f"{paper_id}v{version}#{ordinal}",
        "paper_id": paper_id,
        "version": version,
        "text": text,
        "start": 0,
        "end": len(text),
        "section_path": ["Method"],
        "kind": "text",
        "page_first": ordinal + 1,
        "page_last": ordinal + 1,
        "n_tokens": 10,
        "text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "document_hash": "d" * 64,
        "low_value": None,
    }
    return known | fields


def put(lake: Lake, chunks: list[Row], papers: list[Row] | None = None, window: str = WINDOWS[0]) -> None:
    """Publish a window's chunks and papers; without `papers`, a plain row for every paper of the chunks."""
    versions = {(row["paper_id"], row["version"]) for row in chunks}
    publish(lake, "chunks", window, chunks)
    publish(lake, "papers", window, [paper(*one) for one in sorted(versions)] if papers is None else papers)


def publish(lake: Lake, dataset: str, window: str, rows: list[Row]) -> None:
    table = tables.make_table(DATASETS[dataset], rows)
    key = tables.digest_of([*tables.row_hashes(DATASETS[dataset], table), window.encode().ljust(32)])
    stage = {"chunks": "chunk_documents", "papers": "filter_papers"}[dataset]
    seen_key = lake.current_key(dataset, window)
    task = PartTask(stage, 1, dataset, window, key, (), {}, {}, "to do", "never made", seen_key)
    with lake.attempt(task) as attempt:
        written = tables.write_rows(attempt.folder / tables.ROWS_FILE, DATASETS[dataset], [table])
        attempt.finish(Counts(len(rows), len(rows)), rows=written.n_rows, digest=written.digest)


def module_of(stage: str) -> ModuleType:
    return load(STAGES[stage])


def survey(
    lake: Lake, stage: str, windows: Sequence[str] = WINDOWS[:1], **flags: Any
) -> tuple[Request, list[PartTask]]:
    request = Request(lake, {"flag": flags}, tuple(parse_window(name, "week") for name in windows))
    return request, runner.survey(STAGES[stage], request)


def make(lake: Lake, stage: str, windows: Sequence[str] = WINDOWS[:1], **flags: Any) -> None:
    """Make a stage's parts as the command line does."""
    request, tasks = survey(lake, stage, windows, **flags)
    runner.make_parts(STAGES[stage], module_of(stage), request, tasks)


def embed(lake: Lake, *windows: str, **flags: Any) -> Part:
    """Embed the windows (the first if none is named); the last one's part is returned."""
    names = windows or WINDOWS[:1]
    make(lake, "embed_chunks", names, **flags)
    return current(lake, "embeddings", names[-1])


def index(lake: Lake) -> Part:
    make(lake, "build_index")
    return current(lake, "indexes", "all")


def current(lake: Lake, dataset: str, part: str) -> Part:
    found = lake.current(dataset, part)
    assert found is not None
    return found


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def file_hashes(part: Part) -> dict[str, str]:
    return {name: durable.sha256_file(part.folder / name) for name in part.manifest.files}
