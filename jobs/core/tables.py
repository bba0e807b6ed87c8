"""Tables of rows: Parquet files with checksums, and the digest of what they say.

A digest names a set of rows, whatever the files, their names, the order of rows or the time: rows are hashed one by
one over the columns that say what they are, and the hashes added up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.contracts import FIELDS, Dataset, arrow_type
from jobs.core.errors import ContractError

if TYPE_CHECKING:
    import pyarrow

ROWS_FILE = "rows.parquet"


def make_table(dataset: Dataset, rows: Iterable[dict[str, Any]]) -> pyarrow.Table:
    """Rows as an Arrow table with the dataset's schema. Raises ContractError if a row does not fit it."""
    rows, columns = list(rows), set(dataset.columns)
    for row in rows:
        if row.keys() != columns:
            raise ContractError(
                f"A row of {dataset.name} has the columns {sorted(row)}. Expected {sorted(dataset.columns)}."
            )
    return table_of_columns(dataset, {name: [row[name] for row in rows] for name in dataset.columns})


def table_of_columns(dataset: Dataset, columns: Mapping[str, Sequence[Any]]) -> pyarrow.Table:
    """The dataset's columns among these as an Arrow table. Raises ContractError if a value does not fit its column."""
    import pyarrow as pa

    try:
        return pa.Table.from_pydict(columns, schema=dataset.schema())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ContractError(f"A row of {dataset.name} does not fit its columns' types: {error}") from error


def write_tables(path: Path, schema: pyarrow.Schema, tables: Iterable[pyarrow.Table]) -> int:
    """Write tables one after the other into one Parquet file, a row group each; rows written are returned."""
    import pyarrow.parquet as pq

    n_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True, store_schema=True) as writer:
        for table in tables:
            writer.write_table(table)
            n_rows += table.num_rows
    return n_rows


@dataclass(frozen=True)
class Written:
    """What a file of rows holds: how many, and their digest."""

    n_rows: int
    digest: str


def write_rows(path: Path, dataset: Dataset, tables: Iterable[pyarrow.Table]) -> Written:
    """Write a dataset's rows into one file, in memory one table at a time.

    Raises ContractError if two rows have the same key.
    """
    digest = SetDigest()

    def hashed() -> Iterator[pyarrow.Table]:
        for table in tables:
            for row_hash in row_hashes(dataset, table):
                digest.add(row_hash)
            if table.num_rows:
                yield table

    n_rows = write_tables(path, dataset.schema(), hashed())
    check_keys(dataset, read_table(path, list(dataset.key)))
    return Written(n_rows, digest.hexdigest())


def read_table(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """A Parquet file as a table; its pages' checksums are verified."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, page_checksum_verification=True, partitioning=None)


def read_dataset(path: Path, dataset: Dataset, columns: list[str] | None = None) -> pyarrow.Table:
    """A dataset's rows. Columns that its newest contract added are null where an older program wrote the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    there = pq.read_schema(path).names
    late = [name for name in columns or dataset.columns if FIELDS[name].is_late and name not in there]
    table = read_table(path, columns and [name for name in columns if name not in late])
    for name in late:
        table = table.append_column(name, pa.nulls(len(table), arrow_type(FIELDS[name].type)))
    return table


def read_batches(path: Path, n_rows: int = 1000, columns: list[str] | None = None) -> Iterator[pyarrow.Table]:
    """A Parquet file in tables of at most `n_rows` rows, so that a large part never lies in memory whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=n_rows, columns=columns):
            yield pa.Table.from_batches([batch])


def row_hashes(dataset: Dataset, table: pyarrow.Table) -> list[bytes]:
    """One 32-byte hash a row, over the columns that say what the row is."""
    import orjson

    names = dataset.digest_columns
    columns = [_values(table[name]) for name in names]
    option = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    return [hashlib.sha256(orjson.dumps(row, option=option)).digest() for row in rows]


def _values(column: pyarrow.ChunkedArray) -> list[Any]:
    """A column's values. Times (UTC) come without their zone, which costs 4 µs each and again as much in JSON."""
    import pyarrow as pa

    is_time = pa.types.is_timestamp(column.type)
    values: list[Any] = column.cast(pa.timestamp("us")).to_numpy().tolist() if is_time else column.to_pylist()
    return values


class SetDigest:
    """The digest of a set of rows from their hashes, added in any order and not kept.

    The sum modulo 2^256 with the number of rows: enough to tell a change, not to withstand a forger.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._total = 0

    def add(self, row_hash: bytes) -> None:
        """Count one more row."""
        self.n_rows += 1
        self._total = (self._total + int.from_bytes(row_hash, "big")) % (1 << 256)

    def hexdigest(self) -> str:
        """The digest of the rows so far."""
        return hashlib.sha256(f"{self.n_rows}:{self._total:064x}".encode()).hexdigest()


def digest_of(hashes: Iterable[bytes]) -> str:
    """The digest of a set of rows from all their hashes."""
    digest = SetDigest()
    for one in hashes:
        digest.add(one)
    return digest.hexdigest()


EMPTY_DIGEST = digest_of([])


def check_keys(dataset: Dataset, table: pyarrow.Table) -> None:
    """Raise ContractError if two rows have the same key, or a key is null."""
    import pyarrow.compute as pc

    keys = table.select(list(dataset.key))
    for name in dataset.key:
        if keys[name].null_count:
            raise ContractError(
                f"{dataset.name}: {keys[name].null_count} rows have no {name}, which is part of the key."
            )
    groups = keys.append_column("_n", [[1] * len(keys)]).group_by(list(dataset.key)).aggregate([("_n", "sum")])
    doubled = groups.filter(pc.greater(groups["_n_sum"], 1))
    if doubled.num_rows:
        first = doubled.slice(0, 1).to_pylist()[0]
        raise ContractError(
            f"{dataset.name}: {doubled.num_rows} keys occur twice, the first is {first}. Expected once."
        )
