"""Encode by a sentence-transformers model, on a CPU or a GPU, in the precision that is fastest there.

On a GPU weights and arithmetic are float16. On a CPU they are float32, unless a trial shows bfloat16 to be faster
(`precision.py`). A GPU that runs out of memory gets half the batch.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError, UsageError
from jobs.retrieval import model_files, precision
from jobs.retrieval.model_files import Card

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

BATCH_CPU = 32
BATCH_GPU = 256
TRIAL_AFTER = 2 * precision.N_TEXTS  # passages: a trial pays where many come, not in a chat


def load_transformer(name: str, device: str = "auto") -> TransformerEncoder:
    """Load a model from its folder. Raises ContractError if it is not what its files say."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a pool of threads beside torch's, and forks warn of it
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar is no line of a log
    card = model_files.read_card(name)
    chosen = choose_device(device)
    if chosen == "cpu":
        _set_threads()
    model = SentenceTransformer(str(model_files.find_model(name)), device=chosen, local_files_only=True)
    if chosen != "cpu":
        model = model.to(torch.float16)
    if model.get_embedding_dimension() != card.dim:
        raise ContractError(
            f"embedder {name!r} makes vectors of {model.get_embedding_dimension()}, its files say {card.dim}. "
            "Choose a model whose last modules are Transformer, Pooling, Dense or Normalize."
        )
    model.max_seq_length = card.max_tokens
    log.info("embedder %s revision=%s dim=%d device=%s", name, card.revision[:12], card.dim, chosen)
    return TransformerEncoder(card, model, chosen)


class TransformerEncoder:
    """A loaded model. One thread at a time encodes faster than two: callers share it, torch uses all cores."""

    def __init__(self, card: Card, model: Any, device: str) -> None:
        self.card = card
        self.precision = "float32" if device == "cpu" else "float16"
        self._model = model
        self._device = device
        self._batch_size = BATCH_CPU if device == "cpu" else BATCH_GPU
        self._is_tried = device != "cpu"
        self._n_encoded = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """texts [n] -> float32 [n, dim], unit norm. Many texts at once are faster: batches are sorted by length.

        Raises ContractError if the model gives something that is no number.
        """
        import numpy as np

        if not texts:
            return np.zeros((0, self.card.dim), dtype=np.float32)
        self._n_encoded += len(texts)
        if not self._is_tried and self._n_encoded >= TRIAL_AFTER and len(texts) >= precision.N_TEXTS:
            self.choose_precision(list(texts[: precision.N_TEXTS]))
        return self._halving(list(texts))

    def encode_question(self, text: str) -> np.ndarray:
        """float32 [dim], unit norm; with the prompt for questions, where the model has one."""
        with _one_thread():
            vector: np.ndarray = self.encode_questions([text])[0]
        return vector

    def encode_questions(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, dim], as `encode_question`."""
        return self._unit(self._run(self._model.encode_query, list(texts), "float32"))

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts, with the model's prompt for passages, have more tokens than it reads."""
        if not texts:
            return 0
        prompt = self._model.prompts.get("document") or ""
        found = self._model.tokenizer([prompt + text for text in texts], truncation=False, verbose=False)
        return sum(len(ids) > self.card.max_tokens for ids in found["input_ids"])

    def _halving(self, texts: list[str]) -> np.ndarray:
        import torch

        while True:
            try:
                return self._unit(self._run(self._model.encode_document, texts, self.precision))
            except torch.OutOfMemoryError:
                if self._batch_size == 1:
                    raise
                self._batch_size //= 2
                log.warning("out of memory: batch_size=%d from here on", self._batch_size)
            torch.cuda.empty_cache()  # outside the handler: its traceback holds the batch's tensors

    def choose_precision(self, texts: list[str]) -> None:
        """Try the precisions on some passages and keep the better one; `encode` does so once, when many come."""
        self._is_tried = True
        choice = precision.choose(
            lambda name, some: self._unit(self._run(self._model.encode_document, some, name)), texts
        )
        self.precision = choice.precision
        log.info("precision=%s (%s)", choice.precision, choice.reason)

    def _run(self, encode: Any, texts: list[str], precision_name: str) -> np.ndarray:
        import torch

        is_bfloat16 = precision_name == precision.BFLOAT16
        with torch.autocast("cpu", dtype=torch.bfloat16) if is_bfloat16 else contextlib.nullcontext():
            found: torch.Tensor = encode(
                texts, batch_size=self._batch_size, show_progress_bar=False, convert_to_tensor=True
            )
        matrix: np.ndarray = found.float().cpu().numpy()
        return matrix

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        """Unit norm in float32, whatever was computed in."""
        import numpy as np

        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not norms.all():
            raise ContractError(
                f"embedder {self.card.name!r} gave {int((~np.isfinite(norms)).sum())} vectors that are no numbers and "
                f"{int((norms == 0).sum())} of length 0, in {self.precision} on {self._device}. Choose another device."
            )
        unit: np.ndarray = vectors / norms
        return unit


def choose_device(device: str) -> str:
    """`auto` as cuda or cpu. Raises UsageError for a GPU that is not there."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device {device!r}: torch sees no GPU here. Expected auto or cpu, or a CUDA build of torch.")
    return device


def _set_threads() -> None:
    """As many threads as cores that this process may use; in a container torch counts the machine's."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch's inside the block: twenty tokens are too little for two.

    On a busy machine two wait for each other in turns: 388 and 1,640 ms a question beside 82 with one, 172 and 546
    CPU-milliseconds beside 27 (2 cores, load average 9, 24 November 2026).
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
