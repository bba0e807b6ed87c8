"""Vectors between Arrow columns and matrices: float32 [n, dim], one contiguous block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.core.errors import ContractError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


def to_column(matrix: np.ndarray) -> pyarrow.ListArray:
    """float32 [n, dim] -> list<float> [n], without a Python object a number."""
    import numpy as np
    import pyarrow as pa

    n, dim = matrix.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * dim)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix, dtype=np.float32).ravel()))


def to_matrix(column: pyarrow.ChunkedArray, dim: int) -> np.ndarray:
    """list<float> [n] -> float32 [n, dim]. Raises ContractError if a vector has another length."""
    import numpy as np
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).unique().to_pylist()
    if lengths not in ([], [dim]):
        raise ContractError(f"Vectors have the lengths {lengths}, expected {dim}. Run embed_chunks again.")
    flat = pc.list_flatten(column).to_numpy()
    matrix: np.ndarray = np.asarray(flat, dtype=np.float32).reshape(-1, dim)
    return matrix
