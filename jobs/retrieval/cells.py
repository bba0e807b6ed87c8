"""Cells: an inverted file of 8-bit codes that finds candidates among many vectors (Jégou et al. 2011,
doi:10.1109/TPAMI.2010.57).

Their centres are a pure function of the oldest rows, so an index that grew by a week takes them over from the one
before and still equals a full rebuild. How many cells are looked into is chosen anew each time, and what was missed
then is measured: newer papers that the centres fit badly would show there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

CENTRES_FILE = "centres.faiss"  # the cells while they are empty

TRAINED_ON = 64  # vectors a cell that its centre is found from; FAISS asks for 39 to 256
FOUND_01 = 0.99  # of the nearest ten that the candidates must hold, on the mean over sampled questions
N_SAMPLED = 256
N_CANDIDATES = 100
# A question lies beside the passages, not on one: this noise on a vector of length 1 leaves the nearest passage as near
# (cosine 0.58) as people's questions have it (0.55). Those still find less, .97 of their nearest ten where noisy
# passages find .99 (161 questions, 2,587 passages of 29 real papers, 203 cells): so twice as many are looked into.
QUESTION_NOISE = 1.4
MARGIN = 2
BLOCK = 50_000  # vectors that are float32 at once: 77 MB at 384 numbers each
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class Centres:
    """Cells without vectors, whether they were taken over, and what they were found from."""

    empty: Any
    is_taken_over: bool
    found_from: str


def uses_gpu(device: str) -> bool:
    """Whether centres are found on a GPU. Raises UsageError for one that FAISS does not see."""
    import faiss

    n_gpus = faiss.get_num_gpus()
    if device == "gpu" and not n_gpus:
        raise UsageError(
            "index_device 'gpu': FAISS sees no GPU here. Expected auto or cpu, or a machine with a GPU and "
            "faiss-gpu-cuvs in place of faiss-cpu (requirements-gpu.txt)."
        )
    return device != "cpu" and n_gpus > 0


def find_centres(vectors: np.ndarray, known: Callable[[str], Path | None], *, on_gpu: bool = False) -> Centres:
    """Cells for float16 [n, dim]. `known`: the file with the centres that were found from this before, or None.

    They are found from the first rows, as many as the largest power of two that there are: weeks that come later
    change nothing of them until the rows have doubled. An older paper that changed or went means other centres.
    """
    import faiss
    import numpy as np

    n_first = 1 << (len(vectors).bit_length() - 1)
    n_cells = int(4 * n_first**0.5)
    rows = np.sort(np.random.default_rng(0).permutation(n_first)[: n_cells * TRAINED_ON])
    sample = vectors[rows]
    found_from = hashlib.sha256(f"{faiss.__version__} {TRAINED_ON} {n_cells} ".encode() + sample.tobytes()).hexdigest()
    if (path := known(found_from)) is not None:
        return Centres(faiss.read_index(str(path)), True, found_from)
    dim = vectors.shape[1]
    cells = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dim), dim, n_cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    cells.cp.max_points_per_centroid = TRAINED_ON
    if on_gpu:  # only k-means runs there, which is most of the work: what is written is an index of the CPU
        cells.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dim))
    cells.train(sample.astype(np.float32))
    return Centres(cells, False, found_from)


def fill(cells: Any, vectors: np.ndarray) -> float:
    """Add float16 [n, dim] to empty cells and choose how many are looked into; the share then found is returned.

    MARGIN times as many as find FOUND_01 of the nearest ten of sampled questions.
    """
    import numpy as np

    for _, block in _blocks(vectors):
        cells.add(block)
    asked = _questions(vectors)
    nearest = exact_nearest(asked, vectors, 10)

    def found_01(n_probes: int) -> float:
        cells.nprobe = min(n_probes, cells.nlist)
        candidates = cells.search(asked, N_CANDIDATES)[1]
        return float(np.mean([np.isin(best, some).mean() for best, some in zip(nearest, candidates, strict=True)]))

    n_probes = 8
    while found_01(n_probes) < FOUND_01 and n_probes < cells.nlist:
        n_probes += n_probes // 4  # doubled steps looked into a third too many, which each search would pay for
    return found_01(MARGIN * n_probes)


def exact_nearest(asked: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Rows of the `k` highest cosines: float32 [m, dim] among float16 [n, dim] -> int64 [m, k].

    All questions at once over blocks: a matrix product, thirty times as fast as one question after the other.
    """
    import faiss

    heap = faiss.ResultHeap(len(asked), k, keep_max=True)
    for start, block in _blocks(vectors):
        scores, rows = faiss.knn(asked, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, rows + start)
    heap.finalize()
    nearest: np.ndarray = heap.I
    return nearest


def _questions(vectors: np.ndarray) -> np.ndarray:
    """float32 [N_SAMPLED, dim] of unit norm, each beside a passage as people's questions are."""
    import numpy as np

    random = np.random.default_rng(1)
    rows = random.integers(0, len(vectors), N_SAMPLED)
    dim = vectors.shape[1]
    asked = vectors[rows] + random.normal(size=(N_SAMPLED, dim)) * QUESTION_NOISE / dim**0.5
    unit: np.ndarray = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _blocks(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row and float32 [up to BLOCK, dim]."""
    import numpy as np

    for start in range(0, len(vectors), BLOCK):
        yield start, vectors[start : start + BLOCK].astype(np.float32)
