"""A cross-encoder that reads a question and a passage together, and reorders the first of what search found.

It is better than any encoder of the two apart and far slower, for it reads every pair anew. A lake has none unless its
index names one (`build_index --reranker`): no package brings weights. Source: Nogueira and Cho 2019, arXiv:1901.04085.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jobs.core.errors import ContractError, UsageError
from jobs.retrieval import model_files

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

BATCH = 32
MAX_TOKENS = 512  # of question and passage together: a passage has 256 at most


@dataclass(frozen=True)
class RerankerCard:
    """What an index names: a folder or NAME@COMMIT on the Hub, and the sha256 over the model's files."""

    name: str
    revision: str

    def to_dict(self) -> dict[str, str]:
        """What view.json and manifests hold."""
        return dataclasses.asdict(self)


class Reranker(Protocol):
    """Anything that says how well passages answer a question."""

    card: RerankerCard

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """texts [n] -> float32 [n], 0 to 1, higher is better."""


def read_card(name: str) -> RerankerCard:
    """What a reranker is, without loading it. Raises as `find`."""
    return RerankerCard(name, model_files.revision_of(find(name)))


def installed_revision(name: str) -> str | None:
    """The revision of a reranker that is on this machine already; None if it would have to be fetched."""
    return model_files.installed_revision(*_name_and_commit(name))


def find(name: str) -> Path:
    """The folder of a reranker.

    Raises UsageError for a name on the Hub without a commit, InputMissingError if it is not there.
    """
    return model_files.find_model(*_name_and_commit(name))


def load_reranker(card: RerankerCard, device: str = "auto") -> CrossEncoderReranker:
    """The reranker that an index names.

    Raises ContractError if its files are others by now, or if it gives more than one score a pair.
    """
    folder = find(card.name)
    here = model_files.revision_of(folder)
    if here != card.revision:
        raise ContractError(
            f"reranker {card.name} is {here[:12]} here, the index names {card.revision[:12]}. Bring the old files "
            "back, or run build_index again."
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as the encoder: forks warn of its pool of threads
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging as transformers_logging

    from jobs.retrieval.transformer_encoder import choose_device

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar is no line of a log
    model = CrossEncoder(str(folder), device=choose_device(device), local_files_only=True)
    if model.num_labels != 1:
        raise ContractError(
            f"reranker {card.name} gives {model.num_labels} scores a pair. Expected a cross-encoder with num_labels 1."
        )
    log.info("reranker %s revision=%s", card.name, card.revision[:12])
    return CrossEncoderReranker(card, model)


class CrossEncoderReranker:
    """A loaded cross-encoder that threads share: one at a time, for its tokenizer serves no two at once."""

    def __init__(self, card: RerankerCard, model: Any) -> None:
        self.card = card
        self._model = model
        self._lock = threading.Lock()
        model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)

    def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """float32 [n], the sigmoid of what the model says. Raises ContractError for what is no number."""
        import numpy as np
        import torch

        pairs = [(question, text) for text in texts]
        with self._lock:
            found: np.ndarray = self._model.predict(
                pairs, batch_size=BATCH, show_progress_bar=False, activation_fn=torch.nn.Sigmoid()
            )
        scores: np.ndarray = np.asarray(found, dtype=np.float32)
        if not np.isfinite(scores).all():
            raise ContractError(f"reranker {self.card.name} gives scores that are no numbers. Choose another model.")
        return scores


def _name_and_commit(name: str) -> tuple[str, str | None]:
    """A folder and None, or a name on the Hub and its commit."""
    if Path(name).expanduser().is_dir():
        return name, None
    hub_name, _, commit = name.partition("@")
    if not commit:
        raise UsageError(
            f"--reranker {name}: no such folder, and a name on the Hub needs its commit, for its weights may change "
            f"under the same name: {name}@COMMIT."
        )
    return hub_name, commit
