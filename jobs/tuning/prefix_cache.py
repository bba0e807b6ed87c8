"""What prompts begin with in common, read by the model once: its keys and values are laid before every batch.

A teacher's prompts begin with the same instruction and examples, a third to a half of their tokens. Rows of a batch may
begin differently, or share less of a beginning than is kept: each row takes what is its own, and is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Layers = list[tuple["torch.Tensor", "torch.Tensor"]]  # keys and values, each [1, heads, tokens, width]


class PrefixCache:
    """Of one model. Beginnings are kept for as long as it lives: on a 7B about 130 KB a token."""

    def __init__(self, model: Any, pad_token_id: int) -> None:
        self._model = model
        self._pad = pad_token_id
        self._kept: dict[tuple[int, ...], Layers] = {}
        self._is_able = _keeps_every_token(model)

    def inputs(self, rows: Sequence[list[int]], beginnings: Sequence[list[int]]) -> dict[str, Any]:
        """What `generate` takes for prompts (token ids) that begin, as far as they do, with these beginnings."""
        import torch

        if self._is_able:
            n_known = [_n_common(row[:-1], one) for row, one in zip(rows, beginnings, strict=True)]
        else:
            n_known = [0] * len(rows)
        before = max(n_known)
        after = max(len(row) - n for row, n in zip(rows, n_known, strict=True))
        ids, mask = [], []
        for row, n in zip(rows, n_known, strict=True):
            blanks, more_blanks = before - n, after - (len(row) - n)
            ids.append([self._pad] * blanks + row[:n] + [self._pad] * more_blanks + row[n:])
            mask.append([0] * blanks + [1] * n + [0] * more_blanks + [1] * (len(row) - n))
        device = self._model.device
        made = {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
        if before:
            made["past_key_values"] = self._past([(tuple(one), n) for one, n in zip(beginnings, n_known, strict=True)])
        return made

    def _past(self, wanted: Sequence[tuple[tuple[int, ...], int]]) -> Any:
        """A cache of the first n tokens of each beginning, padded on the left to the longest."""
        import torch
        from transformers import DynamicCache

        longest = max(n for _, n in wanted)
        some = next(ids for ids, n in wanted if n)
        read = [self._read(ids if n else some) for ids, n in wanted]
        layers = [
            tuple(
                torch.cat(
                    [
                        torch.nn.functional.pad(one[layer][which][:, :, :n], (0, 0, longest - n, 0))
                        for one, (_, n) in zip(read, wanted, strict=True)
                    ]
                )
                for which in (0, 1)
            )
            for layer in range(len(read[0]))
        ]
        return DynamicCache(layers, config=self._model.config)

    def _read(self, ids: tuple[int, ...]) -> Layers:
        if ids not in self._kept:
            import torch
            from transformers import DynamicCache

            cache: Any = DynamicCache(config=self._model.config)
            with torch.inference_mode():
                self._model(input_ids=torch.tensor([ids], device=self._model.device), past_key_values=cache)
            self._kept[ids] = [(layer.keys, layer.values) for layer in cache.layers]
        return self._kept[ids]


def _n_common(row: list[int], beginning: list[int]) -> int:
    """How many tokens two lists begin with in common."""
    pairs = zip(row, beginning, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(row), len(beginning)))


def _keeps_every_token(model: Any) -> bool:
    """Whether the model's cache is keys and values of every token: no sliding window, no recurrent state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
