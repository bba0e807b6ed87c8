"""Put the vectors, words and texts of every window into one index, newest version of each paper only.

Reads embeddings, chunks, papers (and takedowns). Writes indexes. Fails with ContractError if windows have different
encoders.
Run: python -m jobs build_index
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core import durable, tables, takedowns
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.errors import ContractError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.windows import Window
from jobs.retrieval import cells, index_view, passages, reranker, vector_index, vectors, word_index
from jobs.retrieval.index_view import View

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

log = logging.getLogger(__name__)

VERSION = 1
BLOCK = 20_000  # rows that are Python objects, or float32 vectors, at once
CHUNK_COLUMNS = [
    *("chunk_id", "paper_id", "version", "section_path", "page_first", "page_last", "kind", "text", "text_hash"),
    *("start", "end"),
]
PAPER_COLUMNS = ["title", "authors", "categories", "primary_category", "submitted_at", "license"]

Papers = dict[str, dict[str, Any]]  # paper_id -> row of its newest version


@dataclass(frozen=True)
class Config:
    """Settings of this stage. The index names the reranker: whoever searches it reads it there."""

    reranker: str | None = setting(
        None,
        "cross-encoder that reorders the first passages found: a folder, or NAME@COMMIT on the Hugging Face Hub",
        affects_rows=True,
        is_keyed_at_default=False,
    )
    index_device: str = setting(
        "auto",
        "where the centres of a large index are found: auto (a GPU if FAISS has one), cpu or gpu; the file is the same"
        " kind",
        choices=cells.DEVICES,
    )


@dataclass(frozen=True)
class Embedded:
    """The embedded chunks of the view, the parts with their vectors in the same order, and their papers."""

    chunks: pyarrow.Table
    embeddings: list[Part]
    papers: Papers


def inputs(lake: Lake, _part: str) -> list[tuple[Input, Part | None]]:
    """Everything that is committed so far; see `index_view`. Without any vectors, the window that lacks them first."""
    first = next(iter(lake.parts("chunks")), "WINDOW")
    found = index_view.inputs_of(lake) or [lake.input_of("embeddings", first)]
    return [*found, *takedowns.inputs_of(lake)]


def stale(config: Config, _lake: Lake, current: Part, _windows: Sequence[Window]) -> str | None:
    """Why the index must be made again although its input is the same: the reranker's files are others now."""
    installed = reranker.installed_revision(config.reranker) if config.reranker else None
    made_with = current.manifest.extra.get("reranker", {}).get("revision", "")
    if installed in (None, made_with):
        return None
    return f"reranker {config.reranker} revision {made_with[:12]} -> {str(installed)[:12]}"


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Build the index from the parts that the task names, whatever is current by now.

    Raises UsageError or InputMissingError for a reranker that cannot be found, UsageError for a GPU that is not there.
    """
    card = reranker.read_card(config.reranker) if config.reranker else None
    on_gpu = cells.uses_gpu(config.index_device)
    for task in tasks:
        with lake.attempt(task) as attempt:
            named = [one for one in task.inputs if one.dataset != takedowns.DATASET]
            parts = [lake.published(one.dataset, one.part, str(one.key)) for one in named]
            view = dataclasses.replace(index_view.view_of(parts), reranker=card)
            _write(attempt, view, _read(parts), takedowns.of_task(task), on_gpu=on_gpu)


def _read(parts: Iterable[Part]) -> Embedded:
    import pyarrow as pa

    windows: dict[str, dict[str, Part]] = {}
    for part in parts:
        windows.setdefault(part.manifest.part, {})[part.manifest.dataset] = part
    in_order = [window for _, window in sorted(windows.items())]
    chunks, papers = [], Papers()
    for window in in_order:
        chunk_ids = window["embeddings"].table(["chunk_id"])["chunk_id"]
        chunks.append(_in_order(_with_long_texts(window["chunks"].table(CHUNK_COLUMNS)), chunk_ids))
        _add_newest(papers, window["papers"].rows())
    return Embedded(pa.concat_tables(chunks), [window["embeddings"] for window in in_order], papers)


def _with_long_texts(chunks: pyarrow.Table) -> pyarrow.Table:
    """With room for more than the 2 GB of text where a column of Arrow's `string` ends: a year of cs.LG has three."""
    import pyarrow as pa

    place = chunks.schema.get_field_index("text")
    return chunks.set_column(place, "text", chunks["text"].cast(pa.large_string()))


def _in_order(chunks: pyarrow.Table, chunk_ids: pyarrow.ChunkedArray) -> pyarrow.Table:
    """The chunks that have vectors, in the order of these."""
    import pyarrow.compute as pc

    rows = pc.index_in(chunk_ids, chunks["chunk_id"])
    if rows.null_count:
        raise ContractError(f"{rows.null_count} vectors belong to no chunk. Run embed_chunks again for their window.")
    return chunks.take(rows)


def _add_newest(papers: Papers, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        known = papers.get(row["paper_id"])
        if known is None or known["version"] < row["version"]:
            papers[row["paper_id"]] = row


def _write(attempt: Attempt, view: View, embedded: Embedded, taken_down: frozenset[str], *, on_gpu: bool) -> None:
    rows, refused = select(embedded.chunks, embedded.papers, taken_down)
    n_papers = _write_passages(attempt.folder / passages.FILE, embedded, rows)
    chosen = vector_index.build(
        _placed(embedded, rows, view.dim),
        (len(rows), view.dim),
        attempt.folder,
        previous=attempt.previous,
        on_gpu=on_gpu,
    )
    word_index.build(_words_texts(attempt.folder / passages.FILE), attempt.folder)
    durable.write_atomic(attempt.folder / index_view.FILE, view.to_json())
    if not len(rows):
        log.warning("the index is empty: %d chunks in %d parts", len(embedded.chunks), len(view.parts))
    attempt.finish(
        Counts.of(DATASETS["indexes"], len(rows), refused),
        rows=len(rows),
        taken_over=int(chosen.get("centres_taken_over", False)),
        extra=chosen
        | {"encoder": view.encoder, "revision": view.revision, "dim": view.dim, "n_papers": n_papers}
        | ({"reranker": view.reranker.to_dict()} if view.reranker else {}),
    )


def _write_passages(path: Path, embedded: Embedded, rows: np.ndarray) -> int:
    """Write the chosen rows, a block at a time, and count their papers."""

    def blocks() -> Iterator[pyarrow.Table]:
        for chosen in _taken(embedded.chunks, rows):
            papers.update(chosen["paper_id"].unique().to_pylist())
            yield _passages(chosen, embedded.papers)

    papers: set[str] = set()
    tables.write_tables(path, DATASETS["indexes"].schema(), blocks())
    return len(papers)


def _taken(chunks: pyarrow.Table, rows: np.ndarray) -> Iterator[pyarrow.Table]:
    """The rows in their order, a block at a time: `Table.take` would join the windows first, for each block anew."""
    import numpy as np
    import pyarrow as pa

    windows = chunks.to_batches()
    starts = np.cumsum([0, *(len(window) for window in windows)])
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        window_of = np.searchsorted(starts, block, side="right") - 1
        taken = [windows[i].take(pa.array(block[window_of == i] - starts[i])) for i in np.unique(window_of)]
        back = np.argsort(np.argsort(window_of, kind="stable"))
        yield pa.Table.from_batches(taken).take(pa.array(back))


def _placed(embedded: Embedded, rows: np.ndarray, dim: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vectors in the order they lie in, float32 [m, dim], with their rows of the index; the others are left out."""
    import numpy as np

    place = np.full(len(embedded.chunks), -1)
    place[rows] = np.arange(len(rows))
    start = 0
    for part in embedded.embeddings:
        for table in tables.read_batches(part.file(tables.ROWS_FILE), BLOCK, ["vector"]):
            to = place[start : start + len(table)]
            start += len(table)
            yield to[to >= 0], vectors.to_matrix(table["vector"], dim)[to >= 0]


def select(
    chunks: pyarrow.Table, papers: Papers, taken_down: frozenset[str] = frozenset()
) -> tuple[np.ndarray, Counter[str]]:
    """Rows to index, int64 [n], ordered by paper and ordinal, and how many were refused for what reason.

    The newest version is the newest that has chunks, so a paper stays findable until the PDF of its next one came.
    """
    import numpy as np

    columns = (chunks[name].to_pylist() for name in ("paper_id", "version", "chunk_id", "text_hash"))
    rows = sorted(
        (paper_id, version, int(chunk_id.rpartition("#")[2]), text_hash, row)
        for row, (paper_id, version, chunk_id, text_hash) in enumerate(zip(*columns, strict=True))
    )
    newest = {paper_id: version for paper_id, version, *_ in rows}  # sorted: the last one stays
    kept: dict[tuple[str, str], int] = {}
    refused: Counter[str] = Counter()
    for paper_id, version, _, text_hash, row in rows:
        if paper_id in taken_down:
            refused["taken_down"] += 1
        elif _paper_of(papers, paper_id)["is_withdrawn"]:
            refused["withdrawn"] += 1
        elif version < newest[paper_id]:
            refused["older_version"] += 1
        elif (paper_id, text_hash) in kept:
            refused["duplicate"] += 1
        else:
            kept[paper_id, text_hash] = row
    return np.fromiter(kept.values(), np.int64, len(kept)), refused


def _paper_of(papers: Papers, paper_id: str) -> dict[str, Any]:
    if paper_id not in papers:
        raise ContractError(
            f"chunks has {paper_id}, papers has not. Run the window's stages again, from filter_papers."
        )
    return papers[paper_id]


def _passages(chunks: pyarrow.Table, papers: Papers) -> pyarrow.Table:
    import pyarrow as pa

    schema = DATASETS["indexes"].schema()
    rows = [papers[paper_id] for paper_id in chunks["paper_id"].to_pylist()]
    of_papers = {name: pa.array([row[name] for row in rows], schema.field(name).type) for name in PAPER_COLUMNS}
    return pa.table(
        [of_papers[name] if name in of_papers else chunks[name].cast(schema.field(name).type) for name in schema.names],
        schema,
    )


def _words_texts(path: Path) -> Iterator[str]:
    for table in tables.read_batches(path, BLOCK, ["title", "section_path", "text"]):
        columns = (table[name].to_pylist() for name in ("title", "section_path", "text"))
        yield from (passages.words_text(*row) for row in zip(*columns, strict=True))
