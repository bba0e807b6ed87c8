"""Safetensors files read and written in blocks: a header of names, types and places, then the numbers.

Format: https://github.com/huggingface/safetensors#format. The library writes a file from tensors that are all in
memory, which a merge of large models must not need.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError

if TYPE_CHECKING:
    import torch

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
CODES = {name: code for code, name in DTYPES.items()}
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
_ALIGNMENT = 8
_LARGEST_HEADER = 100 << 20  # the library's own limit


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: where its numbers lie, as `dtype` (a torch name)."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def n_values(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def blocks(self, n_values: int) -> Iterator[torch.Tensor]:
        """Its rows in blocks of about `n_values` numbers, in order: each a tensor of its own, in the file's dtype."""
        import torch

        row_values = math.prod(self.shape[1:])
        n_rows = max(1, n_values // max(1, row_values))
        total = self.shape[0] if self.shape else 1
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for first in range(0, total, n_rows):
                rows = min(n_rows, total - first)
                content = bytearray(file.read(rows * row_values * SIZES[self.dtype]))
                yield torch.frombuffer(content, dtype=getattr(torch, self.dtype)).reshape(
                    (rows, *self.shape[1:]) if self.shape else ()
                )


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a file in the order of their places. Raises ContractError for a file that is not whole."""
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else _LARGEST_HEADER + 1
        if length > _LARGEST_HEADER:
            raise ContractError(f"{path} is no safetensors file.")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    begin = 8 + length
    ends = [begin + entry["data_offsets"][1] for entry in header.values()]
    if path.stat().st_size != max(ends, default=begin):
        raise ContractError(f"{path} has {path.stat().st_size} bytes, its header says {max(ends, default=begin)}.")
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"][0])
    if unknown := sorted({entry["dtype"] for _, entry in entries} - set(DTYPES)):
        raise ContractError(f"{path} has tensors of type {unknown[0]}. Expected {', '.join(DTYPES)}.")
    return {
        name: Tensor(path, DTYPES[entry["dtype"]], tuple(entry["shape"]), begin + entry["data_offsets"][0])
        for name, entry in entries
    }


@contextlib.contextmanager
def writing(path: Path, tensors: dict[str, Tensor], dtype: str) -> Iterator[Callable[[torch.Tensor], None]]:
    """Write tensors of the same names and shapes in `dtype`: the block's function takes their numbers in order.

    Raises ContractError at the end if more or fewer numbers came than the header says.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.n_values * SIZES[dtype]
        header[name] = {"dtype": CODES[dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)

        def write(block: torch.Tensor) -> None:
            file.write(_bytes_of(block))

        yield write
        if file.tell() != 8 + len(content) + end:
            raise ContractError(f"{path} has {file.tell()} bytes, its header says {8 + len(content) + end}.")


def _bytes_of(block: torch.Tensor) -> memoryview:
    import torch

    content: memoryview = block.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return content
