"""Embedding: ours beside `SentenceTransformer.encode` as it comes, the same weights on the same passages of papers.

The two take turns; the least of the rounds counts, for others only add. Our trial of precisions (once a process) stands
apart. Fails where a vector of ours is below cosine 0.999 of the other's.
Run: python -m benchmarks.bench_embed [--texts 256] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before the import: both tokenize on one core, as the stage does

import numpy as np

from benchmarks.measuring import corpus_pdfs, write_result
from jobs.core.definition import Definition
from jobs.corpus import chunker
from jobs.corpus.pdf import PdfReader
from jobs.corpus.token_counter import load_token_counter
from jobs.retrieval import model_files, precision
from jobs.retrieval.transformer_encoder import TransformerEncoder, load_transformer

MODEL = "all-MiniLM-L6-v2"
MIN_CHUNK_CHARS = 200  # the stage's default

Cost = dict[str, float]  # wall_s, cpu_s


def main() -> None:
    """Chunk the papers, let the encoder choose its precision, then encode in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=256, help="passages, evenly over all papers")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    options = parser.parse_args()
    texts = evenly(passages(), options.texts)
    ours, trial = _encoder(texts)
    # The stage encodes in order of length, longest first.
    in_order = sorted(texts, key=len, reverse=True)
    ways: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: ours.encode(in_order),
        "default": _default_of(in_order),
    }
    vectors, costs = in_turns(ways, options.rounds)
    write_result("embed", {"n_texts": len(texts), **compared(vectors, costs, len(texts)), **trial})


def passages() -> list[str]:
    """Chunks of the sample's papers, and of the private corpus where it is there."""
    counter = load_token_counter(MODEL)
    with PdfReader() as reader:
        read = [one for path in corpus_pdfs() if (one := reader.read(path)).text]
    chunks = (
        chunker.chunk_document(
            one.text or "",
            one.sections or [],
            one.blocks or [],
            one.pages or [0],
            chunk_chars=Definition().chunk_chars,
            max_tokens=counter.max_tokens,
            min_chunk_chars=MIN_CHUNK_CHARS,
            counter=counter,
        )
        for one in read
    )
    return [chunk.text for some in chunks for chunk in some]


def evenly(texts: list[str], n: int) -> list[str]:
    """`n` of the texts at equal distances."""
    n = min(n, len(texts))
    return [texts[number * len(texts) // n] for number in range(n)]


def _encoder(texts: list[str]) -> tuple[TransformerEncoder, dict[str, Any]]:
    """Ours as the stage has it after its trial, and what that cost; the first texts warm up."""
    encoder = load_transformer(MODEL, "cpu")
    encoder.encode(texts[: precision.N_WARM_UP])
    begun = time.perf_counter()
    encoder.choose_precision(texts[: precision.N_TEXTS])
    return encoder, {"precision": encoder.precision, "trial_s": time.perf_counter() - begun}


def _default_of(texts: list[str]) -> Callable[[], np.ndarray]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(model_files.find_model(MODEL)), device="cpu", local_files_only=True)

    def encode() -> np.ndarray:
        found: np.ndarray = model.encode(texts)
        return found

    encode()
    return encode


def in_turns(
    ways: dict[str, Callable[[], np.ndarray]], rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, list[Cost]]]:
    """What each way gives, and what every round of it cost."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    vectors = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter(), time.process_time()
            vectors[name] = way()
            costs[name].append({"wall_s": time.perf_counter() - begun[0], "cpu_s": time.process_time() - begun[1]})
    return vectors, costs


def compared(vectors: dict[str, np.ndarray], costs: dict[str, list[Cost]], n: int) -> dict[str, Any]:
    """Rates of the least costs, ours over the default's, and the lowest cosine between the two ways' vectors.

    Raises RuntimeError if that is below 0.999: a speed of other vectors says nothing.
    """
    lowest = float((vectors["ours"] * vectors["default"]).sum(axis=1).min())
    if lowest < precision.LEAST_COSINE:
        raise RuntimeError(f"cosine {lowest:.5f} between ours and the default, expected {precision.LEAST_COSINE}")
    least = {
        name: {unit: min(one[unit] for one in found) for unit in ("wall_s", "cpu_s")} for name, found in costs.items()
    }
    return {
        "texts_per_cpu_s": {name: n / cost["cpu_s"] for name, cost in least.items()},
        "texts_per_s": {name: n / cost["wall_s"] for name, cost in least.items()},
        "ours_over_default_cpu": least["default"]["cpu_s"] / least["ours"]["cpu_s"],
        "ours_over_default_wall": least["default"]["wall_s"] / least["ours"]["wall_s"],
        "cosine_min": round(lowest, 6),
    }


if __name__ == "__main__":
    main()
