"""`show`: a dataset, a part, or what a paper, a chunk, an answer or a key was made from, and what came of it."""

from __future__ import annotations

import json
import re
from typing import Any

from jobs.core import durable, lineage, tables
from jobs.core.cli import lake_parser, write_line
from jobs.core.contracts import DATASETS
from jobs.core.errors import EXIT_DONE, InputMissingError
from jobs.core.holding import paper_of
from jobs.core.lake import Lake, Part
from jobs.core.lineage import current_parts, rows_where
from jobs.core.listing import begun_parts, key_folders
from jobs.core.manifest import MANIFEST_FILE, Input, Manifest
from jobs.core.stages import STAGES

_KEY = re.compile(r"[0-9a-f]{6,64}")  # a key, or as much of it as `list` and the app show
MANY = 2  # parts of one dataset that are told one by one
ORIGINS = ("papers", "pdfs", "documents", "chunks", "embeddings")


def show_command(argv: list[str]) -> int:
    """Show what is asked for, each back to its source."""
    parser = lake_parser("show")
    parser.add_argument("what", help="a dataset, a paper id, a chunk id, a qa_id, or a key (release, model …)")
    parser.add_argument("part", nargs="?", help="a part of the dataset")
    options = parser.parse_args(argv[1:])
    lake = Lake.open(options.lake)
    if options.what in DATASETS:
        lines = _dataset_lines(lake, options.what, options.part)
    else:
        lines = [*_key_lines(lake, options.what), *_pair_lines(lake, options.what), *_rows_lines(lake, options.what)]
    if not lines:
        raise InputMissingError(
            f"{options.what} is not in {lake.address}. Expected a dataset ({', '.join(DATASETS)}), or a paper id, "
            "chunk id, qa_id or key that it holds. `python -m jobs list` tells what is there."
        )
    write_line("\n".join(lines))
    return EXIT_DONE


def _dataset_lines(lake: Lake, dataset: str, name: str | None) -> list[str]:
    names = lake.parts(dataset)
    if not names:
        maker = next((stage.name for stage in STAGES.values() if dataset in stage.writes), None)
        advice = f"Make it with: python -m jobs {maker} --lake {lake.address}" if maker else "Nobody has made it yet."
        raise InputMissingError(f"{dataset} has no part in {lake.address}. {advice}")
    if name and name not in names:
        there = ", ".join(names) if len(names) <= 8 else f"{len(names)} parts, {names[0]} to {names[-1]}"
        raise InputMissingError(f"{dataset} has no part {name} in {lake.address}. It has: {there}.")
    return [_part_text(part) for one in ([name] if name else names) if (part := lake.current(dataset, one))]


def _part_text(part: Part) -> str:
    made = part.manifest
    lines = [
        f"{made.dataset}/{made.part} key={made.key[:12]} digest={made.digest[:12]} rows={made.rows} "
        f"made={made.created_at} by {made.stage} version {made.stage_version} in {made.seconds:.1f} s",
        f"  {made.counts}",
    ]
    lines += [f"  file {name} bytes={file['bytes']}" for name, file in made.files.items()]
    lines += [f"  from {line}" for line in _input_lines(made.inputs)]
    if made.taken_over:
        lines.append(f"  {made.taken_over} rows taken over from {(made.previous or '')[:12]}")
    if made.extra:
        lines.append(f"  {durable.canonical_json(made.extra).decode()}")
    return "\n".join(lines)


def _input_lines(inputs: tuple[Input, ...]) -> list[str]:
    """A line an input; one for all windows of a dataset where there are several."""
    lines = []
    for dataset in dict.fromkeys(one.dataset for one in inputs):
        mine = [one for one in inputs if one.dataset == dataset]
        if len(mine) > MANY:
            lines.append(f"{dataset} {len(mine)} parts, {mine[0].part} to {mine[-1].part}")
        else:
            lines += [f"{one.dataset}/{one.part} {(one.key or 'absent')[:12]}" for one in mine]
    return lines


def _key_lines(lake: Lake, key: str) -> list[str]:
    """The published parts whose key begins so, current or not, and what each was made from, to the sources."""
    if not _KEY.fullmatch(key):
        return []
    lake.disk.refresh()
    lines = []
    for dataset in DATASETS:
        for name in begun_parts(lake, dataset):
            for folder in key_folders(lake.part_folder(dataset, name)):
                if (folder.name.startswith(key) or key.startswith(folder.name)) and (folder / MANIFEST_FILE).is_file():
                    part = Part(folder, Manifest.read(folder))
                    lines += [_part_text(part), *_ancestors(lake, part)]
    return lines


def _ancestors(lake: Lake, part: Part) -> list[str]:
    """Everything the part was made from, over all stages, nearest first; one line for many windows of a dataset."""
    waiting, found = list(part.manifest.inputs), set(part.manifest.inputs)
    by_dataset: dict[str, list[Input]] = {}
    while waiting:
        one = waiting.pop(0)
        if one.key is None:
            continue
        by_dataset.setdefault(one.dataset, []).append(one)
        if lake.has(one.dataset, one.part, one.key):
            new = [above for above in lake.published(*_place(one)).manifest.inputs if above not in found]
            found.update(new)
            waiting += new
    return [line for inputs in by_dataset.values() for line in _ancestor_lines(lake, inputs)]


def _ancestor_lines(lake: Lake, inputs: list[Input]) -> list[str]:
    there = [lake.published(*_place(one)).manifest for one in inputs if lake.has(*_place(one))]
    gone = [
        f"{one.dataset}/{one.part} key={(one.key or '')[:12]} is no longer in the lake"
        for one in inputs
        if not lake.has(*_place(one))
    ]
    if len(there) > MANY:
        rows, first, last = sum(made.rows for made in there), there[0], there[-1]
        return [f"{first.dataset} {len(there)} parts, {first.part} to {last.part} rows={rows} by {first.stage}", *gone]
    told = [
        f"{made.dataset}/{made.part} key={made.key[:12]} rows={made.rows} made={made.created_at} by {made.stage}"
        for made in there
    ]
    return told + gone


def _place(one: Input) -> tuple[str, str, str]:
    return one.dataset, one.part, one.key or ""


def _pair_lines(lake: Lake, qa_id: str) -> list[str]:
    """A question with its answer back to the page; then the rows: as written, as curated, and those of its chunks."""
    found = list(lineage.pairs_where(lake, "qa_id", qa_id))
    told = list(lineage.of_pair(lake, *found[-1])) if found else []  # as curated, if it was
    chunk_ids = sorted({chunk_id for _, row in found for chunk_id in row["chunk_ids"]})
    origins = [line for chunk_id in chunk_ids for line in _origin_lines(lake, chunk_id)]
    return told + [_row_line(part, row) for part, row in found] + origins


def _rows_lines(lake: Lake, what: str) -> list[str]:
    """Every row about a paper or a chunk, from its metadata on, then what came of it."""
    lines = _origin_lines(lake, what)
    if "#" in what:
        return lines + [_row_line(part, row) for part, row in lineage.pairs_where(lake, "chunk_ids", what)]
    return lines + list(lineage.of_paper(lake, what))


def _origin_lines(lake: Lake, what: str) -> list[str]:
    paper_id = paper_of(what) if "#" in what else what
    lines = []
    for dataset in ORIGINS:
        column = "chunk_id" if "#" in what and "chunk_id" in DATASETS[dataset].key else "paper_id"
        if column in DATASETS[dataset].columns:
            wanted = what if column == "chunk_id" else paper_id
            for part in current_parts(lake, dataset):
                lines += [_row_line(part, row) for row in rows_where(part, tables.ROWS_FILE, column, wanted)]
    return lines


def _row_line(part: Part, row: dict[str, Any]) -> str:
    """A row in the order of its columns, without what it does not say."""
    told = {name: _short(value) for name, value in row.items() if value is not None}
    return f"{part.manifest.dataset}/{part.manifest.part} {json.dumps(told, ensure_ascii=False)}"


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 300:
        return value[:300] + f"… ({len(value)} characters)"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} entries"
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)
