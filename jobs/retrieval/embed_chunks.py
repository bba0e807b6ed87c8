"""Give every chunk a vector by which questions find it.

Reads chunks, papers. Writes embeddings. Fails with ContractError if a chunk is longer than the embedder reads.
Run: python -m jobs embed_chunks --window 2024-01-01_2024-01-08 --profile demo
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.core import durable, tables
from jobs.core.config import setting
from jobs.core.contracts import CHUNK_KINDS, DATASETS
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Attempt, Lake, Part
from jobs.core.manifest import Counts
from jobs.core.progress import Progress
from jobs.core.windows import Window
from jobs.corpus import batches
from jobs.retrieval import encoder, vectors
from jobs.retrieval.encoder import Encoder
from jobs.retrieval.model_files import Card

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

    from jobs.core.lake import PartTask

log = logging.getLogger(__name__)

VERSION = 1
BLOCK = 512  # texts between two commits: half a minute on the slowest CPU we know, so a kill costs no more

Vectors = dict[str, "np.ndarray"]  # text hash -> vector


@dataclass(frozen=True)
class Config:
    """Settings of this stage; the embedder is in the lake's definition."""

    embedded_kinds: tuple[str, ...] = setting(
        ("text", "caption", "table", "footnote"),
        "kinds of chunks that can be found; references would be found for every name they list",
        affects_rows=True,
    )
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")


class _Source:
    """The lake's encoder, loaded when the first text needs it: a run that takes everything over needs no torch."""

    def __init__(self, name: str, device: str) -> None:
        self.card: Card = encoder.read_card(name)
        self._device = device
        self._loaded: Encoder | None = None

    @property
    def precision(self) -> str | None:
        """What was computed in; None if nothing was."""
        return self._loaded.precision if self._loaded else None

    def load(self) -> Encoder:
        """The encoder. Raises ContractError if it is not the one whose files were read."""
        if self._loaded is None:
            self._loaded = encoder.load_encoder(self.card.name, device=self._device)
            if self._loaded.card != self.card:
                raise ContractError(f"The embedder changed while it was loaded: {self._loaded.card}, was {self.card}.")
        return self._loaded


def stale(_config: Config, lake: Lake, current: Part, _windows: Sequence[Window]) -> str | None:
    """Why a part must be made again although its input is the same: the embedder's files are others now."""
    installed = encoder.installed_revision(lake.definition.embedder)
    made_by = current.manifest.extra["revision"]
    if installed in (None, made_by):
        return None
    return f"embedder {lake.definition.embedder} revision {made_by[:12]} -> {str(installed)[:12]}"


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Embed window by window. Texts are taken over from the previous part and from what a killed attempt left."""
    if unknown := sorted(set(config.embedded_kinds) - set(CHUNK_KINDS)):
        raise UsageError(f"embedded_kinds has {', '.join(unknown)}. Expected some of: {', '.join(CHUNK_KINDS)}.")
    source = _Source(lake.definition.embedder, config.device)
    gone: Vectors = {}  # what earlier windows no longer need: a paper that moved to a later window keeps its vectors
    for task in tasks:
        with lake.attempt(task) as attempt:
            _embed_window(attempt, config.embedded_kinds, source, gone)


def _embed_window(attempt: Attempt, kinds: tuple[str, ...], source: _Source, gone: Vectors) -> None:
    chunks, refused = _chunks_of(attempt.task, kinds)
    hashes = chunks["text_hash"].to_pylist()
    inherited = gone | _previous(attempt, source.card)
    resumed = _from_work(attempt, source.card)
    texts = dict(zip(hashes, chunks["text"].to_pylist(), strict=True))
    missing = {text_hash: text for text_hash, text in texts.items() if text_hash not in inherited | resumed}
    made = _encode(attempt, missing, source) if missing else {}
    known = inherited | resumed | made
    _write(attempt, chunks, refused, known, source, n_taken_over=sum(h in inherited for h in hashes))
    gone.update({text_hash: vector for text_hash, vector in inherited.items() if text_hash not in texts})


def _chunks_of(task: PartTask, kinds: tuple[str, ...]) -> tuple[pyarrow.Table, dict[str, int]]:
    """The chunks to embed, and how many are not for what reason: who finds a repetition wanted its first place."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = task.part_of("chunks").table(["chunk_id", "kind", "text", "text_hash", "low_value"])
    wanted = table.filter(pc.is_in(table["kind"], pa.array(kinds, pa.string())))
    kept = wanted.filter(pc.fill_null(pc.not_equal(wanted["low_value"], "near_duplicate"), True))
    return kept, {"other_kind": len(table) - len(wanted), "near_duplicate": len(wanted) - len(kept)}


def _previous(attempt: Attempt, card: Card) -> Vectors:
    """Vectors of the previous part, if the same files made them in the same way."""
    previous = attempt.previous
    if previous is None or previous.manifest.stage_version != attempt.task.stage_version:
        return {}
    if previous.manifest.extra["revision"] != card.revision:
        return {}
    return _vectors_of([previous.table(["text_hash", "vector"])], card.dim)


def _work_folder(attempt: Attempt, card: Card) -> Path:
    return attempt.work / f"{card.revision[:12]}-{attempt.task.stage_version}"


def _from_work(attempt: Attempt, card: Card) -> Vectors:
    """Vectors that killed attempts left, also those that had other chunks to embed."""
    ours = _work_folder(attempt, card)
    folders = sorted(ours.parents[1].glob(f"*/{ours.name}"))
    read = (table for folder in folders for table in batches.read_all(folder, ["text_hash", "vector"]))
    return _vectors_of(read, card.dim)


def _vectors_of(found: Iterable[pyarrow.Table], dim: int) -> Vectors:
    known: Vectors = {}
    for table in found:
        known.update(zip(table["text_hash"].to_pylist(), vectors.to_matrix(table["vector"], dim), strict=True))
    return known


def _encode(attempt: Attempt, missing: dict[str, str], source: _Source) -> Vectors:
    """Encode in blocks of equal length, longest first: batches waste no padding, and memory is short at once or never.

    Raises ContractError if the encoder would cut a text.
    """
    encoder = source.load()
    folder = _work_folder(attempt, source.card)
    durable.make_dirs(folder)
    progress = Progress(f"chunks of {attempt.task.part}", len(missing))
    made: Vectors = {}
    for block in _blocks(sorted(missing, key=lambda text_hash: (-len(missing[text_hash]), text_hash))):
        texts = [missing[text_hash] for text_hash in block]
        _refuse_truncated(encoder, texts, attempt.task.part)
        matrix = encoder.encode(texts)
        batches.write_batch(folder, _table(block, block, matrix))
        made.update(zip(block, matrix, strict=True))
        progress.step(len(block))
    progress.log()
    return made


def _blocks(hashes: list[str]) -> Iterator[list[str]]:
    return (hashes[start : start + BLOCK] for start in range(0, len(hashes), BLOCK))


def _refuse_truncated(encoder: Encoder, texts: list[str], part: str) -> None:
    if n_truncated := encoder.count_truncated(texts):
        card = encoder.card
        raise ContractError(
            f"chunks/{part}: {n_truncated} of {len(texts)} chunks are over the {card.max_tokens} tokens that "
            f"{card.name} reads, so their ends could not be found. Expected none: cut them with the same embedder "
            f"(python -m jobs chunk_documents --window {part} --upgrade)."
        )


def _table(chunk_ids: list[str], hashes: list[str], matrix: np.ndarray) -> pyarrow.Table:
    import pyarrow as pa

    columns = [pa.array(chunk_ids, pa.string()), pa.array(hashes, pa.string()), vectors.to_column(matrix)]
    return pa.table(columns, schema=DATASETS["embeddings"].schema())


def _write(
    attempt: Attempt,
    chunks: pyarrow.Table,
    refused: dict[str, int],
    known: Vectors,
    source: _Source,
    *,
    n_taken_over: int,
) -> None:
    """One row a chunk. The digest is over what the vectors were made of: floats differ between machines."""
    import numpy as np

    dataset, card = DATASETS["embeddings"], source.card
    chunk_ids, hashes = chunks["chunk_id"].to_pylist(), chunks["text_hash"].to_pylist()
    matrix = np.stack([known[text_hash] for text_hash in hashes]) if hashes else np.zeros((0, card.dim), np.float32)
    table = _table(chunk_ids, hashes, matrix)
    tables.check_keys(dataset, table)
    n_rows = tables.write_tables(attempt.folder / tables.ROWS_FILE, dataset.schema(), [table])
    attempt.finish(
        Counts.of(dataset, n_rows, refused),
        rows=n_rows,
        digest=_digest(chunk_ids, hashes, card.revision),
        result={"revision": card.revision},
        taken_over=n_taken_over,
        extra={
            "encoder": card.name,
            "revision": card.revision,
            "dim": card.dim,
            "pooling": card.pooling,
            "max_tokens": card.max_tokens,
            "precision": source.precision,
            "n_truncated": 0,
        },
    )


def _digest(chunk_ids: list[str], hashes: list[str], revision: str) -> str:
    rows = zip(chunk_ids, hashes, strict=True)
    return tables.digest_of(hashlib.sha256("\n".join((*row, revision)).encode()).digest() for row in rows)
