"""Texts to vectors of unit norm, by whatever model the lake is defined with.

A name is a sentence-transformers model (packaged, a folder, or on the Hub) or one of BUILTIN, which need no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from jobs.core.errors import UsageError
from jobs.corpus.token_counter import BUILTIN_PREFIX
from jobs.retrieval import model_files
from jobs.retrieval.model_files import Card

if TYPE_CHECKING:
    import numpy as np


class Encoder(Protocol):
    """Anything that turns texts into vectors. `precision` says what it computes in; vectors are float32 anyway."""

    card: Card
    precision: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of passages: texts [n] -> float32 [n, dim], unit norm, in the order of the texts."""

    def encode_question(self, text: str) -> np.ndarray:
        """Vector of a question: float32 [dim], unit norm."""

    def encode_questions(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of questions: texts [n] -> float32 [n, dim], unit norm."""

    def count_truncated(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the model reads."""


def load_encoder(name: str, *, device: str = "auto") -> Encoder:
    """The encoder of that name. `device`: auto (a GPU if there is one), cpu, or cuda:N.

    Raises InputMissingError if the model cannot be found, UsageError for an unknown builtin or a missing device.
    """
    if name.startswith(BUILTIN_PREFIX):
        return _builtin(name)
    from jobs.retrieval.transformer_encoder import load_transformer

    return load_transformer(name, device)


def read_card(name: str) -> Card:
    """What an encoder is, without loading it where that takes long."""
    return _builtin(name).card if name.startswith(BUILTIN_PREFIX) else model_files.read_card(name)


def installed_revision(name: str) -> str | None:
    """Revision of the encoder on this machine; None if it would have to be fetched first."""
    return _builtin(name).card.revision if name.startswith(BUILTIN_PREFIX) else model_files.installed_revision(name)


def _hashed() -> Encoder:
    from jobs.retrieval.hashed_encoder import HashedEncoder

    return HashedEncoder()


BUILTIN: dict[str, Callable[[], Encoder]] = {"builtin:hashed": _hashed}


def _builtin(name: str) -> Encoder:
    if name not in BUILTIN:
        raise UsageError(f"embedder {name!r} is unknown. Expected one of: {', '.join(BUILTIN)}, or a model's name.")
    return BUILTIN[name]()
