"""The same filter in other tools: `peers_filter.py TOOL FILE OUT` writes the papers to Parquet and prints how many.

Each reads JSON lines as its documentation tells to, with two threads. Started in environments of their own, so only the
standard library is imported at the top.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

CATEGORY, YEAR = "cs.LG", "2024"
COLUMNS = ("id", "title", "abstract", "categories", "license", "authors", "update_date")
# First version in the year: `Mon, 1 Jan 2024 …`; the category as a whole token.
DAY = rf"^[A-Z][a-z]+, +[0-9]+ [A-Z][a-z]+ {YEAR} "
TOKEN = rf"(^| ){CATEGORY.replace('.', '[.]')}( |$)"


def with_duckdb(path: str, out: str) -> int:
    """`read_json` with the columns' types given."""
    import duckdb

    types = dict.fromkeys(COLUMNS, "VARCHAR") | {"versions": "STRUCT(version VARCHAR, created VARCHAR)[]"}
    database = duckdb.connect(config={"threads": 2})
    database.execute(
        f"COPY (SELECT {', '.join(COLUMNS)} FROM read_json('{path}', format='newline_delimited', columns={types}) "
        f"WHERE regexp_matches(versions[1].created, '{DAY}') AND regexp_matches(categories, '{TOKEN}')) "
        f"TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
    )
    found: int = database.execute(f"SELECT count(*) FROM '{out}'").fetchall()[0][0]
    return found


def with_polars(path: str, out: str) -> int:
    """`scan_ndjson` with the columns' types given."""
    import polars as pl

    version = pl.Struct({"version": pl.String, "created": pl.String})
    schema = dict.fromkeys(COLUMNS, pl.String) | {"versions": pl.List(version)}
    first = pl.col("versions").list.first().struct.field("created")
    wanted = first.str.contains(DAY) & pl.col("categories").str.contains(TOKEN)
    pl.scan_ndjson(path, schema=schema).filter(wanted).select(COLUMNS).sink_parquet(out, compression="zstd")
    return int(pl.scan_parquet(out).select(pl.len()).collect().item())


def with_spark_json(path: str, out: str) -> int:
    """`spark.read.json` that infers the schema, as tutorials do."""
    return _with_spark(path, out, None)


def with_spark_schema(path: str, out: str) -> int:
    """`spark.read.json` with the columns' types given: no line is read twice, and no other column is parsed."""
    types = [f"{name} string" for name in COLUMNS]
    return _with_spark(path, out, ", ".join([*types, "versions array<struct<version: string, created: string>>"]))


def _with_spark(path: str, out: str, schema: str | None) -> int:
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F  # noqa: N812  Spark's own name for it

    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    papers = spark.read.json(path, schema=schema)
    wanted = F.col("versions")[0]["created"].rlike(DAY) & F.col("categories").rlike(TOKEN)
    papers.where(wanted).select(*COLUMNS).write.option("compression", "zstd").parquet(out)
    found = spark.read.parquet(out).count()
    spark.stop()
    return found


TOOLS: dict[str, Callable[[str, str], int]] = {
    "duckdb": with_duckdb,
    "polars": with_polars,
    "spark_json": with_spark_json,
    "spark_schema": with_spark_schema,
}

if __name__ == "__main__":
    print(TOOLS[sys.argv[1]](sys.argv[2], sys.argv[3]))
