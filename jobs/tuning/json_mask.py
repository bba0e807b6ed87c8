"""JSON by construction: before each token, everything that would lead out of the schema is masked.

llguidance keeps lengths and escapes right where other engines break them, and compiles a schema in under a millisecond.
Source of the method: Willard and Louf 2023, arXiv:2307.09702.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError

if TYPE_CHECKING:
    import torch


class JsonMask:
    """A logits processor for one `generate` call, greedy or sampling: rows must stay in their order (no beams).

    `tokenizer` is llguidance's own, `schemas` has one a row; `n_vocab` is the width of the model's logits.
    """

    def __init__(self, tokenizer: Any, schemas: Sequence[dict[str, Any]], n_vocab: int) -> None:
        import llguidance

        self._n_vocab = n_vocab
        self._matchers = [llguidance.LLMatcher(tokenizer, _grammar(json.dumps(schema))) for schema in schemas]
        self._has_begun = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids [rows, n], scores [rows, n_vocab] -> scores with what is not allowed at minus infinity."""
        import llguidance.numpy
        import numpy as np
        import torch

        if self._has_begun:
            self._consume(input_ids[:, -1].tolist())
        self._has_begun = True
        bitmask = llguidance.numpy.allocate_token_bitmask(len(input_ids), self._n_vocab)
        for row, matcher in enumerate(self._matchers):
            llguidance.numpy.fill_next_token_bitmask(matcher, bitmask, row)
        allowed = np.unpackbits(bitmask.view(np.uint8), axis=1, bitorder="little")[:, : self._n_vocab].astype(bool)
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), float("-inf"))

    def is_finished(self, row: int) -> bool:
        """Whether the row's JSON is closed."""
        return bool(self._matchers[row].is_accepting())

    def consume_last(self, tokens: list[int]) -> None:
        """Tell the matchers the tokens that came after the last call."""
        self._consume(tokens)

    def _consume(self, tokens: list[int]) -> None:
        for matcher, token in zip(self._matchers, tokens, strict=True):
            if not matcher.is_stopped() and not matcher.consume_token(token):
                raise ContractError(f"token {token} was generated although the mask forbids it: {matcher.get_error()}")


@functools.cache
def _grammar(schema: str) -> str:
    import llguidance

    # Blanks without bound are where a weak model never ends.
    made: str = llguidance.LLMatcher.grammar_from_json_schema(schema, {"whitespace_flexible": False})
    return made


def tokenizer_for(tokenizer: Any, n_vocab: int) -> Any:
    """llguidance's view of a fast tokenizer of transformers."""
    import llguidance.hf

    return llguidance.hf.from_tokenizer(tokenizer, n_vocab=n_vocab)
