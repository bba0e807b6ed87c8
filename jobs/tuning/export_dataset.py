"""Write the curated pairs as a dataset that others can load: Parquet, chats, a plain list, and a card.

Reads qa and indexes of one lake. What leaves carries a passage's whole text only under a licence that permits it; every
pair has its source as a link. Run: python -m jobs export_dataset --lake lakes/mine --to folder
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jobs.core import durable, tables, takedowns
from jobs.core.cli import lake_parser
from jobs.core.errors import EXIT_DONE, InputMissingError, UsageError
from jobs.core.lake import Lake, Part
from jobs.retrieval import passages
from jobs.retrieval.licences import MAX_QUOTE_CHARS, cut, may_show_whole
from jobs.retrieval.quoting import source_url

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
PLAIN_FILE = "synthetic_dataset.json"

Row = dict[str, Any]

_CARD = """\
---
language: [en]
license: other
task_categories: [question-answering]
tags: [arxiv, synthetic, spark-arxiv]
configs:
- config_name: default
  data_files:
{data_files}
---

# {name}: questions and answers from arXiv papers

{n_rows} pairs of {n_papers} papers{categories}, written by a teacher from passages of the papers and kept by checks:
the evidence is a sentence of each passage, question and answer stand alone, none is asked twice. {n_unanswerable} have
no answer in the papers (`is_answerable` is false): there the right answer is the refusal. Split by paper: no paper is
in two splits.

| split | pairs | papers |
|---|--:|--:|
{splits}

| type of question | pairs |
|---|--:|
{types}

| licence of the paper | pairs | with the passage's text |
|---|--:|---|
{licences}

- `data/*.parquet`: every column. `context` is the passage; it is null where the paper's licence does not permit passing
  it on, and `evidence` is a quote of at most {quote_chars} characters there as everywhere.
- `chat/*.jsonl`: `{{"messages": [user, assistant]}}`, without passages and so without refusals.
- `{plain_file}`: the same of the train split as a plain list of question and answer.

Written by {teachers}; prompts {prompts}; judged by {judge}.
Made from qa {qa_key} of the lake `{name}`. Pairs of the test split are for measuring: do not train on them. The papers
are their authors'; `url` leads to each at arXiv.
"""


def export_command(argv: list[str]) -> int:
    """Export the lake's current pairs into a new folder. Raises UsageError if it holds something already."""
    parser = lake_parser("export_dataset")
    parser.add_argument("--to", metavar="DIR", required=True, help="a folder that is not there yet, or empty")
    options = parser.parse_args(argv[1:])
    n_rows = export(Lake.open(options.lake), Path(options.to))
    log.info("%s: %d pairs", options.to, n_rows)
    return EXIT_DONE


def export(lake: Lake, target: Path) -> int:
    """Write everything beside `target`, then rename: what is there is whole. The number of pairs is returned."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"--to {target} holds something. Expected a folder that is not there yet, or is empty.")
    qa, index = _current(lake, "qa", "curate_qa"), _current(lake, "indexes", "build_index")
    known = _passages_of(index)
    taken_down = takedowns.taken_down(lake)
    pairs = [row for row in qa.rows() if row["paper_id"] not in taken_down]
    there = [_row(row, known) for row in pairs if set(row["chunk_ids"]) <= known.keys()]
    rows = [row for row in there if _may_leave(row)]
    if n_out := qa.manifest.rows - len(pairs):
        log.warning("%d pairs are left out: their papers were taken down", n_out)
    if n_gone := len(pairs) - len(there):
        log.warning("%d pairs are left out: the index has a newer version of their papers", n_gone)
    if n_long := len(there) - len(rows):
        log.warning("%d pairs are left out: long answers from papers whose licence permits short quotes alone", n_long)
    draft = target.with_name(f".{target.name}.partial")
    if draft.exists():  # a killed export's
        durable.remove_tree(draft)
    _write(draft, rows, lake, qa)
    if target.is_dir():
        target.rmdir()
    durable.publish_dir(draft, target)
    return len(rows)


def _current(lake: Lake, dataset: str, stage: str) -> Part:
    part = lake.current(dataset, "all")
    if part is None:
        raise InputMissingError(
            f"{lake.address} has no {dataset} yet. Make it with: python -m jobs {stage} --lake {lake.address}"
        )
    return part


def _passages_of(index: Part) -> dict[str, Row]:
    columns = ["chunk_id", "version", "title", "section_path", "page_first", "license", "text"]
    return {row["chunk_id"]: row for row in tables.read_table(index.file(passages.FILE), columns).to_pylist()}


def _row(pair: Row, known: dict[str, Row]) -> Row:
    """A pair with its source. The passage's text goes along only where the licence permits it."""
    read = [known[chunk_id] for chunk_id in pair["chunk_ids"]]
    first = read[0]
    is_free = all(may_show_whole(one["license"]) for one in read)
    return {
        "qa_id": pair["qa_id"],
        "split": pair["split"],
        "question": pair["question"],
        "answer": pair["answer"],
        "evidence": [cut(quote) for quote in pair["evidence"]],
        "context": [one["text"] for one in read] if is_free else None,
        "question_type": pair["question_type"],
        "is_answerable": pair["is_answerable"],
        "paper_id": pair["paper_id"],
        "version": first["version"],
        "title": first["title"],
        "section": " › ".join(first["section_path"]),
        "page": first["page_first"],
        "url": source_url(pair["paper_id"], first["version"]),
        "license": first["license"],
        "teacher": pair["teacher"],
        "prompt_version": pair["prompt_version"],
    }


def _may_leave(row: Row) -> bool:
    """Whether the answer is short enough to be a quote, for it may be one, or its paper is free."""
    return len(row["answer"]) <= MAX_QUOTE_CHARS or may_show_whole(row["license"])


def _write(folder: Path, rows: Sequence[Row], lake: Lake, qa: Part) -> None:
    for name in SPLITS:
        found = [row for row in rows if row["split"] == name]
        _write_parquet(folder / "data" / f"{name}.parquet", found)
        # A refusal is right beside its passages: alone it would teach that nothing is known.
        chats = "".join(f"{json.dumps(_chat(row))}\n" for row in found if row["is_answerable"])
        _write_text(folder / "chat" / f"{name}.jsonl", chats)
    train = [row for row in rows if row["split"] == "train" and row["is_answerable"]]
    plain = [{"question": row["question"], "answer": row["answer"]} for row in train]
    _write_text(folder / PLAIN_FILE, json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    _write_text(folder / "README.md", card(rows, lake, qa))


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, texts = pa.string(), pa.list_(pa.string())
    others = {
        "evidence": texts,
        "context": texts,
        "is_answerable": pa.bool_(),
        "version": pa.int32(),
        "page": pa.int32(),
    }
    names = (
        "qa_id split question answer evidence context question_type is_answerable paper_id version title section page"
        " url license teacher prompt_version"
    )
    schema = pa.schema([(name, others.get(name, text)) for name in names.split()])
    durable.make_dirs(path.parent)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


def _write_text(path: Path, text: str) -> None:
    durable.make_dirs(path.parent)
    path.write_text(text, encoding="utf-8")


def _chat(row: Row) -> dict[str, Any]:
    said = (("user", row["question"]), ("assistant", row["answer"]))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def card(rows: Sequence[Row], lake: Lake, qa: Part) -> str:
    """README.md of the dataset, with the counts of what is in it."""
    by_licence = Counter(row["license"] for row in rows)
    return _CARD.format(
        name=lake.lake_file.name,
        n_rows=len(rows),
        n_papers=_n_papers(rows),
        n_unanswerable=sum(not row["is_answerable"] for row in rows) or "None",
        categories=f" in {' '.join(lake.definition.categories)}" if lake.definition.categories else "",
        data_files="\n".join(f"  - split: {name}\n    path: data/{name}.parquet" for name in SPLITS),
        splits=_lines((name, len(found), _n_papers(found)) for name in SPLITS for found in [_of(rows, name)]),
        types=_lines(sorted(Counter(row["question_type"] for row in rows).items())),
        licences=_lines(
            (uri or "not known", n, "yes" if may_show_whole(uri) else "no")
            for uri, n in sorted(by_licence.items(), key=lambda item: str(item[0]))
        ),
        quote_chars=MAX_QUOTE_CHARS,
        plain_file=PLAIN_FILE,
        teachers=", ".join(sorted({row["teacher"] for row in rows})) or "nobody",
        prompts=", ".join(sorted({row["prompt_version"] for row in rows})) or "none",
        judge=_judge_of(qa),
        qa_key=qa.folder.name,
    )


def _judge_of(qa: Part) -> str:
    told = qa.manifest.extra.get("judge")
    return f"{told['name']}, prompt {told['prompt']}" if told else "no model"


def _of(rows: Iterable[Row], split: str) -> list[Row]:
    return [row for row in rows if row["split"] == split]


def _n_papers(rows: Iterable[Row]) -> int:
    return len({row["paper_id"] for row in rows})


def _lines(rows: Iterable[Sequence[object]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
