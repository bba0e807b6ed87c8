"""What surrounds a sentence-transformers model: a toy model in its place, real torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from jobs.core.errors import ContractError, UsageError
from jobs.retrieval.model_files import Card
from jobs.retrieval.transformer_encoder import BATCH_GPU, TransformerEncoder, load_transformer

pytestmark = pytest.mark.slow  # imports torch

CARD = Card("toy", "c" * 64, 4, "mean", 5)


class ToyModel:
    """Answers as SentenceTransformer does; memory for `room` texts at once."""

    def __init__(self, room: int = 10_000, value: float = 2.0) -> None:
        self.prompts = {"document": "doc: "}
        self.room = room
        self.value = value
        self.batch_sizes: list[int] = []

    def encode_document(self, texts: Sequence[str], *, batch_size: int, **options: object) -> torch.Tensor:
        self.batch_sizes.append(batch_size)
        if min(batch_size, len(texts)) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.full((len(texts), 4), self.value, dtype=torch.float16)

    encode_query = encode_document

    def tokenizer(self, texts: Sequence[str], **options: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(range(len(text.split()))) for text in texts]}


def test_vectors_are_float32_of_unit_norm() -> None:
    found = TransformerEncoder(CARD, ToyModel(), "cpu").encode(["a", "b"])
    assert (found.dtype, found.shape) == (np.float32, (2, 4))
    assert np.allclose(found, 0.5)


def test_no_texts_have_no_vectors() -> None:
    assert TransformerEncoder(CARD, ToyModel(), "cpu").encode([]).shape == (0, 4)


def test_question_is_one_vector() -> None:
    assert TransformerEncoder(CARD, ToyModel(), "cpu").encode_question("why?").shape == (4,)


def test_out_of_memory_halves_the_batch_for_good() -> None:
    model = ToyModel(room=70)
    encoder = TransformerEncoder(CARD, model, "cuda")
    assert encoder.encode(["text"] * 500).shape == (500, 4)
    encoder.encode(["text"] * 500)
    assert model.batch_sizes == [BATCH_GPU, BATCH_GPU // 2, BATCH_GPU // 4, BATCH_GPU // 4]


def test_no_memory_for_a_single_text_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        TransformerEncoder(CARD, ToyModel(room=0), "cuda").encode(["text"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_vector_that_is_no_direction_breaks_the_contract(value: float) -> None:
    with pytest.raises(ContractError, match="embedder 'toy' gave"):
        TransformerEncoder(CARD, ToyModel(value=value), "cuda").encode(["text"])


def test_texts_are_measured_with_their_prompt() -> None:
    encoder = TransformerEncoder(CARD, ToyModel(), "cpu")
    assert encoder.count_truncated(["one two three four", "one two three four five", "one"]) == 1
    assert encoder.count_truncated([]) == 0


def test_precision_is_that_of_the_device() -> None:
    assert TransformerEncoder(CARD, ToyModel(), "cuda").precision == "float16"
    assert TransformerEncoder(CARD, ToyModel(), "cpu").precision == "float32"


def test_trial_comes_once_when_many_passages_came(caplog: pytest.LogCaptureFixture) -> None:
    encoder = TransformerEncoder(CARD, ToyModel(), "cpu")
    with caplog.at_level(logging.INFO):
        for n_texts in (40, 1, 10):
            encoder.encode(["text"] * n_texts)
        assert "precision=" not in caplog.text
        for n_texts in (32, 64):
            encoder.encode(["text"] * n_texts)
    assert caplog.text.count("precision=") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="device 'cuda:0'"):
        load_transformer("all-MiniLM-L6-v2", "cuda:0")
