"""Lineage in words: from a pair back to page, paper, PDF and prompt; from a paper on to all that came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.core import owned, tables, takedowns
from jobs.core.contracts import DATASETS
from jobs.core.definition import split_of
from jobs.core.holding import ROWS_ABOUT_PAPERS, Holding, paper_of
from jobs.core.lake import Lake, Part
from jobs.core.listing import begun_parts, key_folders
from jobs.core.manifest import KEY_LENGTH, MANIFEST_FILE
from jobs.core.part import part_at

PAIR_FILES = {"drafts": ("rows.parquet",), "qa": ("rows.parquet", "refused.parquet")}
OUTGROWN = ("indexes", "adapters", "models", "reports", "releases")  # of these, keys that are not current count too

Row = dict[str, Any]


def current_parts(lake: Lake, dataset: str) -> Iterator[Part]:
    """Every part of the dataset that CURRENT names."""
    return (part for name in lake.parts(dataset) if (part := lake.current(dataset, name)))


def rows_where(part: Part, file: str, column: str, value: str) -> list[Row]:
    """Rows of a file whose column has the value, or holds it if it is a list."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = tables.read_table(part.file(file))
    if pa.types.is_list(table[column].type):
        parents = pc.list_parent_indices(table[column])
        table = table.take(pc.filter(parents, pc.equal(pc.list_flatten(table[column]), value)).unique())
    else:
        table = table.filter(pc.equal(table[column], value))
    rows: list[Row] = table.to_pylist()
    return rows


def pairs_where(lake: Lake, column: str, value: str) -> Iterator[tuple[Part, Row]]:
    """Pairs as drafted and as curated, refused ones with their reason, each with its part."""
    for dataset, files in PAIR_FILES.items():
        for part in current_parts(lake, dataset):
            for file in (one for one in files if one in part.manifest.files):
                yield from ((part, row) for row in rows_where(part, file, column, value))


def of_pair(lake: Lake, part: Part, row: Row) -> Iterator[str]:
    """A pair, back: who asked by which prompt, what it rests on, and page, paper version and PDF of that."""
    fate = f"refused: {row['reason']}" if row.get("reason") else f"split={row.get('split') or 'not curated'}"
    yield f"pair {row['qa_id']} in {_place(part)} {fate}"
    for review in (one for one in owned.rows_of(lake, "reviews") if one["qa_id"] == row["qa_id"]):
        edited = [name for name in ("question", "answer") if review[name] is not None]
        told = f"{review['verdict']}{' with edited ' + ' and '.join(edited) if edited else ''}"
        yield f"  reviewed on {review['reviewed_at']:%Y-%m-%d}: {told}{': ' + review['note'] if review['note'] else ''}"
    yield f"  written by {row['teacher']}, prompt {row['prompt_version']}, type {row['question_type']}"
    for quote in row["evidence"] or []:
        yield f'  evidence "{quote}"'
    for chunk_id in row["chunk_ids"]:
        yield from _of_chunk(lake, chunk_id)


def _of_chunk(lake: Lake, chunk_id: str) -> Iterator[str]:
    chunk = _first(lake, "chunks", "chunk_id", chunk_id)
    if chunk is None:
        yield f"  chunk {chunk_id} is in no current part of chunks: its paper has a newer version, or was taken out"
        return
    section = " › ".join(chunk["section_path"] or []) or "(no section)"
    yield f"  chunk {chunk_id} section {section}, pages {chunk['page_first']} to {chunk['page_last']}"
    paper_id, version = chunk["paper_id"], chunk["version"]
    if paper := _first(lake, "papers", "paper_id", paper_id):
        licence = paper["license"] or "arXiv's own licence assumed"
        yield f'  paper {paper_id} version {version} "{paper["title"]}" ({licence})'
    if pdf := _first(lake, "pdfs", "paper_id", paper_id, version):
        yield f"  PDF sha256={pdf['sha256']} {pdf['path']} from {pdf['url']}"


def _first(lake: Lake, dataset: str, column: str, value: str, version: int | None = None) -> Row | None:
    for part in current_parts(lake, dataset):
        for row in rows_where(part, tables.ROWS_FILE, column, value):
            if version in (None, row["version"]):
                return row
    return None


def of_paper(lake: Lake, paper_id: str) -> Iterator[str]:
    """All that came of a paper: rows by window, pairs by split and reason, index, students, reports, releases."""
    lines = [*_in_windows(lake, paper_id), *_pairs(lake, paper_id), *_outgrown(lake, paper_id)]
    if lines:
        yield f"came of {paper_id} (split={split_of(lake.definition.split_salt, paper_id)})"
        yield from (f"  {line}" for line in lines)
    for row in (one.rows() for one in current_parts(lake, takedowns.DATASET)):
        yield from (
            f"{paper_id} was taken down on {one['taken_down_at']:%Y-%m-%d}: {one['why'] or 'no reason was noted'}"
            for one in row
            if one["paper_id"] == paper_id
        )


def _in_windows(lake: Lake, paper_id: str) -> Iterator[str]:
    by_window: dict[str, list[str]] = {}
    for dataset in (name for name in ROWS_ABOUT_PAPERS if DATASETS[name].grain.startswith("window")):
        for part in current_parts(lake, dataset):
            if n_rows := _n_rows(part, tables.ROWS_FILE, paper_id):
                window, _, shard = part.manifest.part.partition("/")
                name = f"{dataset} {shard}" if shard else dataset
                by_window.setdefault(window, []).append(f"{name}={n_rows}")
    return (f"window {window}: {' '.join(found)}" for window, found in sorted(by_window.items()))


def _pairs(lake: Lake, paper_id: str) -> Iterator[str]:
    found = [row for part, row in pairs_where(lake, "paper_id", paper_id) if part.manifest.dataset == "qa"]
    counted = Counter(f"refused.{row['reason']}" if row.get("reason") else str(row["split"]) for row in found)
    if counted:
        yield "pairs: " + " ".join(f"{name}={n}" for name, n in sorted(counted.items()))


def _outgrown(lake: Lake, paper_id: str) -> Iterator[str]:
    """What holds the paper of indexes, adapters and what rests on them, current or kept beside it."""
    holding = Holding(lake, [paper_id])
    for dataset in OUTGROWN:
        for name in begun_parts(lake, dataset):
            for folder in key_folders(lake.part_folder(dataset, name)):
                if (folder / MANIFEST_FILE).is_file() and holding.of_folder(folder):
                    yield _outgrown_line(lake, part_at(folder), paper_id)


def _outgrown_line(lake: Lake, part: Part, paper_id: str) -> str:
    made = part.manifest
    state = "current" if lake.current_key(made.dataset, made.part) == made.key else "not current"
    told = f"{_place(part)} key={made.key[:KEY_LENGTH]} ({state})"
    if made.dataset == "indexes":
        return f"{told} passages={_n_rows(part, ROWS_ABOUT_PAPERS['indexes'][0], paper_id)}"
    if made.dataset == "adapters":
        return f"{told} learnt from it"
    return told


def _n_rows(part: Part, file: str, paper_id: str) -> int:
    path: Path = part.file(file)
    if "paper_id" in DATASETS[part.manifest.dataset].columns:
        return sum(one == paper_id for one in tables.read_table(path, ["paper_id"])["paper_id"].to_pylist())
    return sum(paper_of(one) == paper_id for one in tables.read_table(path, ["chunk_id"])["chunk_id"].to_pylist())


def _place(part: Part) -> str:
    return f"{part.manifest.dataset}/{part.manifest.part}"
