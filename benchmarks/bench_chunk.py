"""Chunking: ours beside the bare splitter, the tokenizer alone and other splitters, on the same documents.

`ours_splitting` is ours with every count of tokens taken from memory: what sections, offsets, limits and joining cost
beside the splitter that they use. `stage` also judges what each chunk is worth.
Run: python -m benchmarks.bench_chunk [--seconds 3] [--peers langchain semchunk]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the import: one core beside one core

from semantic_text_splitter import TextSplitter

from benchmarks.measuring import corpus_pdfs, write_result
from benchmarks.peers import python_with
from jobs.core.definition import Definition
from jobs.corpus import chunker
from jobs.corpus.pdf import Extraction, PdfReader
from jobs.corpus.token_counter import TokenCounter, load_token_counter
from jobs.corpus.worth import low_values

if TYPE_CHECKING:
    import tokenizers

MIN_CHUNK_CHARS = 200  # the stage's default
PEERS = {"langchain": "langchain-text-splitters==1.1.3", "semchunk": "semchunk==4.1.1"}
PEER_SCRIPT = Path(__file__).with_name("peers_chunk.py")


class RememberingCounter(TokenCounter):
    """A counter that tokenizes each text once, so that a second pass over the same texts costs no tokenizing."""

    def __init__(self, counter: TokenCounter) -> None:
        self.__dict__ |= counter.__dict__
        self._count = functools.cache(counter.count)
        self._encode = functools.cache(lambda text: counter.encode_batch([text])[0])

    def count(self, text: str) -> int:
        """As the counter itself."""
        return self._count(text)

    def encode_batch(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """As the counter itself."""
        return [self._encode(text) for text in texts]


def main() -> None:
    """Read the PDFs once, then time every way over their texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU-seconds to spend on each way at least")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), help="which to compare with")
    options = parser.parse_args()
    with PdfReader() as reader:
        documents = [read for path in corpus_pdfs() if (read := reader.read(path)).text]
    texts = [document.text or "" for document in documents]
    mb = sum(len(text.encode()) for text in texts) / 1e6
    rates = {name: mb / cpu_s for name, cpu_s in _cpu_s_of_ours(documents, texts, options.seconds).items()}
    peers = {name: _peer(name, texts, options.seconds) for name in options.peers}
    rates |= {name: mb / found["cpu_s"] for name, found in peers.items() if found}
    write_result(
        "chunk",
        {
            "n_documents": len(documents),
            "n_chunks": sum(len(_cut(document, _counter())) for document in documents),
            "mb": mb,
            "mb_per_cpu_s": rates,
            "stage_over_tokenizer": rates["stage"] / rates["tokenizer_alone"],
            "ours_splitting_over_splitter": rates["ours_splitting"] / rates["splitter_alone"],
        }
        | {f"not_installed_{name}": PEERS[name] for name, found in peers.items() if not found},
    )


@functools.cache
def _counter() -> TokenCounter:
    return load_token_counter(Definition().embedder)


def _cut(document: Extraction, counter: TokenCounter) -> list[chunker.Chunk]:
    return chunker.chunk_document(
        document.text or "",
        document.sections or [],
        document.blocks or [],
        document.pages or [0],
        chunk_chars=Definition().chunk_chars,
        max_tokens=counter.max_tokens,
        min_chunk_chars=MIN_CHUNK_CHARS,
        counter=counter,
    )


def _cpu_s_of_ours(documents: list[Extraction], texts: list[str], at_least_s: float) -> dict[str, float]:
    """CPU-seconds of one pass of each way, the ways in turn: the least of as many as fit, for others only add."""
    counter, splitter = _counter(), TextSplitter(Definition().chunk_chars)
    remembering = RememberingCounter(counter)
    ways: dict[str, Callable[[], object]] = {
        "stage": lambda: [list(low_values(_cut(document, counter))) for document in documents],
        "chunks_with_tokens": lambda: [_cut(document, counter) for document in documents],
        "tokenizer_alone": lambda: [counter.encode_batch([text]) for text in texts],
        "ours_splitting": lambda: [_cut(document, remembering) for document in documents],
        "splitter_alone": lambda: [splitter.chunk_indices(text) for text in texts],
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    while min(map(sum, took.values())) < at_least_s and max(map(sum, took.values())) < 5 * at_least_s:
        for name, way in ways.items():
            begun = time.process_time()
            way()
            took[name].append(time.process_time() - begun)
    return {name: min(found) for name, found in took.items()}


def _peer(name: str, texts: list[str], at_least_s: float) -> dict[str, Any] | None:
    """What a peer took for one pass, or None if it cannot be installed."""
    with tempfile.TemporaryDirectory(prefix="bench-chunk-") as folder:
        if (python := python_with(PEERS[name], Path(folder) / name)) is None:
            return None
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts))
        command = [python, PEER_SCRIPT, name, path, str(Definition().chunk_chars), str(at_least_s)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


if __name__ == "__main__":
    main()
