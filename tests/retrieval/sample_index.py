"""The sample's notes, read, cut, embedded by MiniLM and indexed: the real libraries in one process, without Spark."""

from __future__ import annotations

import json
from pathlib import Path

from jobs.core.lake import Lake
from jobs.corpus import chunker
from jobs.corpus.arxiv import ArxivId, id_from_file_name
from jobs.corpus.pdf import PdfReader
from jobs.corpus.token_counter import TokenCounter, load_token_counter
from tests.retrieval.house import Row, chunk, embed, index, new_lake, paper, put

SAMPLE = Path(__file__).resolve().parents[2] / "sample"
MODEL = "all-MiniLM-L6-v2"


def build_sample_index(root: Path) -> Lake:
    """A lake whose first window holds all notes."""
    lake = new_lake(root, MODEL)
    counter = load_token_counter(MODEL)
    with PdfReader() as reader:
        rows = [row for path in sorted(SAMPLE.glob("pdf/*.pdf")) for row in chunks_of(reader, path, counter)]
    put(lake, rows, papers())
    embed(lake)
    index(lake)
    return lake


def papers() -> list[Row]:
    records = [json.loads(line) for line in (SAMPLE / "metadata.jsonl").read_text().splitlines()]
    return [
        paper(record["id"], len(record["versions"]), title=record["title"], categories=record["categories"].split())
        for record in records
    ]


def chunks_of(reader: PdfReader, path: Path, counter: TokenCounter) -> list[Row]:
    read = reader.read(path)
    name = id_from_file_name(path.name)
    assert read.text is not None
    assert name is not None
    cut = chunker.chunk_document(
        read.text,
        read.sections,
        read.blocks,
        read.pages,
        chunk_chars=1000,
        max_tokens=counter.max_tokens,
        min_chunk_chars=200,
        counter=counter,
    )
    return [row_of(name, one) for one in cut]


def row_of(name: ArxivId, cut: chunker.Chunk) -> Row:
    fields = {
        "kind": cut.kind,
        "section_path": list(cut.section_path),
        "start": cut.start,
        "end": cut.end,
        "page_first": cut.page_first,
        "page_last": cut.page_last,
        "n_tokens": cut.n_tokens,
    }
    return chunk(name.paper_id, cut.ordinal, cut.text, name.version or 1, **fields)
