"""Search by inner product: every vector is compared, or, of many, those of the nearest cells.

The vectors are a flat index of FAISS (Johnson et al. 2017, arXiv:1702.08734) of 16-bit floats: a search reads the
whole matrix, so half the bytes cost less, and rounding moves a cosine by less than 0.0001. It grows with their number;
above EXACT_ROWS an inverted file (Jégou et al. 2011, doi:10.1109/TPAMI.2010.57) of 8-bit codes finds candidates beside
it, whose cosines are then those of the flat one. How many cells are looked into is chosen when the index is built, so
that almost nothing is missed, and what was missed then stands in the manifest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from jobs.core.lake import Part

FILE = "vectors.faiss"
CELLS_FILE = "cells.faiss"

# Where a search of all vectors costs about 10 CPU-milliseconds (bench_search, November 2026: 16 for 87,000 of 384).
EXACT_ROWS = 50_000
TRAINED_ON = 64  # vectors a cell that its centre is found from; FAISS asks for 39 to 256
FOUND_01 = 0.99  # of the nearest ten that the candidates must hold, on the mean over sampled questions
N_SAMPLED = 256
N_CANDIDATES = 100
# A question lies beside the passages, not on one: this noise on a vector of length 1 leaves the nearest passage as near
# (cosine 0.58) as people's questions have it (0.55). Those still find less, .97 of their nearest ten where noisy
# passages find .99 (161 questions, 2,587 passages of 29 real papers, 203 cells): so twice as many are looked into.
QUESTION_NOISE = 1.4
MARGIN = 2
FEW_01 = 0.25  # of all rows: so few allowed ones are all compared, for the cells looked into may hold none of them


def build(matrix: np.ndarray, folder: Path, exact_rows: int = EXACT_ROWS) -> dict[str, float]:
    """Write float32 [n, dim] of unit norm as an index, rows in their order.

    Returns what was chosen: nothing for an exact index, else `n_cells`, `n_probes` and `recall_10`, the share of the
    nearest ten that a search finds.
    """
    import faiss
    import numpy as np

    matrix = np.ascontiguousarray(matrix)
    flat = faiss.IndexScalarQuantizer(matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    flat.add(matrix)
    faiss.write_index(flat, str(folder / FILE))
    if len(matrix) <= exact_rows:
        return {}
    cells = _cells(matrix)
    recall = _choose_probes(cells, flat, matrix)
    faiss.write_index(cells, str(folder / CELLS_FILE))
    return {"n_cells": cells.nlist, "n_probes": cells.nprobe, "recall_10": round(recall, 4)}


def _cells(matrix: np.ndarray) -> Any:
    import faiss
    import numpy as np

    n, dim = matrix.shape
    n_cells = int(4 * n**0.5)
    centres = faiss.IndexFlatIP(dim)
    cells = faiss.IndexIVFScalarQuantizer(
        centres, dim, n_cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    cells.cp.max_points_per_centroid = TRAINED_ON
    sample = np.random.default_rng(0).permutation(n)[: n_cells * TRAINED_ON]
    cells.train(matrix[np.sort(sample)])
    cells.add(matrix)
    return cells


def _choose_probes(cells: Any, flat: Any, matrix: np.ndarray) -> float:
    """Look into MARGIN times as many cells as find FOUND_01 of the nearest ten; the share then found is returned."""
    import numpy as np

    random = np.random.default_rng(1)
    rows = random.integers(0, len(matrix), N_SAMPLED)
    noise = random.normal(size=(N_SAMPLED, matrix.shape[1])) * QUESTION_NOISE / matrix.shape[1] ** 0.5
    asked = (matrix[rows] + noise).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    nearest = flat.search(asked, 10)[1]

    def found_01(n_probes: int) -> float:
        cells.nprobe = min(n_probes, cells.nlist)
        candidates = cells.search(asked, N_CANDIDATES)[1]
        return float(np.mean([np.isin(best, some).mean() for best, some in zip(nearest, candidates, strict=True)]))

    n_probes = 8
    while found_01(n_probes) < FOUND_01 and n_probes < cells.nlist:
        n_probes *= 2
    return found_01(MARGIN * n_probes)


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
