"""Search by inner product: every vector is compared, or, of many, those of the nearest cells.

The vectors are a flat index of FAISS (Johnson et al. 2017, arXiv:1702.08734) of 16-bit floats: a search reads the
whole matrix, so half the bytes cost less, and rounding moves a cosine by less than 0.0001. It grows with their number;
above EXACT_ROWS cells (`cells.py`) find candidates, whose cosines are then those of the flat one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.retrieval import cells

if TYPE_CHECKING:
    import numpy as np

    from jobs.core.lake import Part

FILE = "vectors.faiss"
CELLS_FILE = "cells.faiss"

# Where a search of all vectors costs less than 10 CPU-milliseconds (bench_search, 30 November 2026). At 87,000 of 384
# numbers two idle cores answer sooner without cells (hybrid 4.9 and 5.5 ms) and build the index in less than half the
# CPU; cells save CPU there, 5.5 and 9.0 ms a search.
EXACT_ROWS = 100_000
FEW_01 = 0.25  # of all rows: so few allowed ones are all compared, for the cells looked into may hold none of them


def build(
    placed: Iterable[tuple[np.ndarray, np.ndarray]],
    shape: tuple[int, int],
    folder: Path,
    *,
    previous: Part | None = None,
    on_gpu: bool = False,
    exact_rows: int = EXACT_ROWS,
) -> dict[str, Any]:
    """Write vectors of unit norm, `shape` (n, dim), as an index. `placed`: rows int64 [m] and their float32 [m, dim].

    They go straight to their places in the index, so it lies in memory once, whatever the order they come in.
    `previous`: the index before this one, whose centres are taken over if they were found from the same. `on_gpu`:
    whether centres are found there. Returns what was chosen: nothing for an exact index, else `n_cells`, `n_probes`,
    `recall_10`, the share of the nearest ten that a search finds, and `centres_from`, `centres_taken_over`.
    """
    import faiss

    flat = faiss.IndexScalarQuantizer(shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    vectors = _room(flat, shape)
    for rows, found in placed:
        vectors[rows] = found
    faiss.write_index(flat, str(folder / FILE))
    if shape[0] <= exact_rows:
        return {}
    centres = cells.find_centres(vectors, lambda found_from: _known(previous, found_from), on_gpu=on_gpu)
    faiss.write_index(centres.empty, str(folder / cells.CENTRES_FILE))
    recall = cells.fill(centres.empty, vectors)
    faiss.write_index(centres.empty, str(folder / CELLS_FILE))
    return {
        "n_cells": centres.empty.nlist,
        "n_probes": centres.empty.nprobe,
        "recall_10": round(recall, 4),
        "centres_from": centres.found_from,
        "centres_taken_over": centres.is_taken_over,
    }


def _room(flat: Any, shape: tuple[int, int]) -> np.ndarray:
    """The codes of a flat index of 16-bit floats, made as long as `shape` asks: float16 [n, dim], to be filled."""
    import faiss
    import numpy as np

    n, dim = shape
    flat.codes.resize(n * dim * 2)
    flat.ntotal = n
    if not n:
        return np.zeros(shape, np.float16)
    codes: np.ndarray = faiss.rev_swig_ptr(flat.codes.data(), n * dim * 2)
    return codes.view(np.float16).reshape(shape)


def _known(previous: Part | None, found_from: str) -> Path | None:
    is_same = previous is not None and previous.manifest.extra.get("centres_from") == found_from
    return previous.file(cells.CENTRES_FILE) if previous and is_same else None


class VectorIndex:
    """A loaded index, its vectors mapped from the disk; `cells` are None where the search is exact."""

    def __init__(self, flat: Any, cells: Any = None) -> None:
        self.n_rows: int = flat.ntotal
        self._flat = flat
        self._cells = cells

    @classmethod
    def open(cls, part: Part) -> VectorIndex:
        """Load the files of an index part after they are verified: FAISS trusts what it reads."""
        import faiss

        flat = faiss.read_index(str(part.file(FILE)), faiss.IO_FLAG_MMAP_IFC)
        has_cells = CELLS_FILE in part.manifest.files
        return cls(flat, faiss.read_index(str(part.file(CELLS_FILE)), faiss.IO_FLAG_MMAP_IFC) if has_cells else None)

    def nearest(self, vector: np.ndarray, n: int, allowed: np.ndarray | None = None) -> np.ndarray:
        """Rows of the `n` highest cosines, best first: vector float32 [dim] -> int64 [up to n].

        `allowed`: bool [n_rows] of the rows that may be found, or None for all. With cells a few may be missed.
        """
        import faiss
        import numpy as np

        n_allowed = self.n_rows if allowed is None else int(allowed.sum())
        if not n_allowed:
            return np.zeros(0, dtype=np.int64)
        index = self._flat if self._cells is None or n_allowed < FEW_01 * self.n_rows else self._cells
        parameters = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(self.n_rows, faiss.swig_ptr(bits))
            is_exact = index is self._flat
            parameters = (
                faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
                if is_exact
                else faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe)  # type: ignore[call-arg]
            )
        found = index.search(vector[None, :], min(n, n_allowed), params=parameters)[1][0]
        rows: np.ndarray = found[found >= 0]  # the cells looked into may hold less
        if index is self._flat:
            return rows
        order = np.argsort(-self.scores(vector, rows), kind="stable")
        return rows[order]

    def scores(self, vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosines of some rows with a vector [dim]: float32 [len(rows)]."""
        import numpy as np

        if not len(rows):
            return np.zeros(0, dtype=np.float32)
        found: np.ndarray = self.vectors(rows) @ vector
        return found

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of some rows, at least one: int64 [n] -> float32 [n, dim], of unit norm but for rounding."""
        found: np.ndarray = self._flat.reconstruct_batch(rows)
        return found
