"""Chunking: ours beside the bare splitter and beside the tokenizer alone, on the same documents in one process.

Run: python -m benchmarks.bench_chunk [--seconds 3]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the import: one core beside one core

from semantic_text_splitter import TextSplitter

from benchmarks.measuring import corpus_pdfs, write_result
from jobs.core.definition import Definition
from jobs.corpus import chunker
from jobs.corpus.pdf import Extraction, PdfReader
from jobs.corpus.token_counter import load_token_counter

MIN_CHUNK_CHARS = 200  # the stage's default


def main() -> None:
    """Read the PDFs once, then time three ways over their texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU-seconds to spend on each way at least")
    options = parser.parse_args()
    about = Definition()
    counter = load_token_counter(about.embedder)
    with PdfReader() as reader:
        documents = [read for path in corpus_pdfs() if (read := reader.read(path)).text]
    texts = [document.text or "" for document in documents]
    splitter = TextSplitter(about.chunk_chars)
    n_bytes = sum(len(text.encode()) for text in texts)

    def chunk(document: Extraction) -> list[chunker.Chunk]:
        return chunker.chunk_document(
            document.text or "",
            document.sections or [],
            document.blocks or [],
            document.pages or [0],
            chunk_chars=about.chunk_chars,
            max_tokens=counter.max_tokens,
            min_chunk_chars=MIN_CHUNK_CHARS,
            counter=counter,
        )

    ways: dict[str, Callable[[], object]] = {
        "ours_with_tokens": lambda: [chunk(document) for document in documents],
        "tokenizer_alone": lambda: [counter.encode_batch([text]) for text in texts],
        "splitter_alone": lambda: [splitter.chunk_indices(text) for text in texts],
    }
    cpu_s = {name: seconds_of(way, options.seconds) for name, way in ways.items()}
    rates = {name: n_bytes / 1e6 / seconds for name, seconds in cpu_s.items()}
    # Both tokenize everything once, so what ours takes beyond the tokenizer is splitting, with sections and offsets.
    rates["ours_beyond_tokenizer"] = n_bytes / 1e6 / max(cpu_s["ours_with_tokens"] - cpu_s["tokenizer_alone"], 1e-9)
    figures = {
        "n_documents": len(documents),
        "n_chunks": sum(len(chunk(document)) for document in documents),
        "mb": n_bytes / 1e6,
        "mb_per_cpu_s": rates,
        "ours_of_tokenizer": rates["ours_with_tokens"] / rates["tokenizer_alone"],
    }
    write_result("chunk", figures)


def seconds_of(way: Callable[[], object], at_least_s: float) -> float:
    """CPU-seconds of one pass: the least of as many as fit, for a busy machine only adds."""
    way()
    took: list[float] = []
    while sum(took) < at_least_s:
        begun = time.process_time()
        way()
        took.append(time.process_time() - begun)
    return min(took)


if __name__ == "__main__":
    main()
