"""Write a student as one plain model: its adapter added to the weights that it was trained on, in little memory.

Those weights are the base in NF4, taken back to plain numbers, not the base itself: added to that, the adapter is off
by the whole error of quantization. Files are read, added and written block by block, so that a model of any size needs
the memory of one layer.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError
from jobs.core.progress import Progress
from jobs.serving import tensor_files
from jobs.serving.tensor_files import Tensor

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

BLOCK_VALUES = 1 << 23  # numbers of a weight that are added at once: 32 MB in float32
NF4_BLOCK = 64
NESTED_BLOCK = 256  # scales that share a scale of their own
MAX_KL = 1e-4  # mean nats a token. SmolLM2 merged to float16: 8e-6; its adapter on the unquantized base: 1.15
COPIED = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
_LORA_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
# Settings of an adapter that change what is added, with the value under which it is (alpha / r) * B @ A and no more.
_PLAIN: dict[str, Sequence[Any]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none",),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # the others change the base
}


@dataclass(frozen=True)
class Lora:
    """The two small matrices of a layer, float32: a [r, in], b [out, r], already scaled."""

    a: torch.Tensor
    b: torch.Tensor


def merge(base: Path, adapter: Path, target: Path, *, trained_in: str, dtype: str = "float16") -> None:
    """Write base and adapter as one model into `target`: weights, index, config, tokenizer, chat template.

    `trained_in`: the dtype of training, in which the base was quantized. Raises ContractError for an adapter that is
    not plain LoRA or does not fit, and for a number that `dtype` cannot hold.
    """
    loras = read_loras(adapter)
    quantized = quantized_weights(base)
    if unknown := sorted(set(loras) - quantized):
        raise ContractError(f"{adapter} adapts {unknown[0]}, which is no quantized layer of {base}.")
    target.mkdir(parents=True, exist_ok=True)
    _copy_beside(base, target, dtype)
    seen: set[str] = set()
    shards = sorted(base.glob("*.safetensors"))
    progress = Progress("shards", len(shards))
    for shard in shards:
        tensors = tensor_files.read_header(shard)
        seen.update(tensors)
        with tensor_files.writing(target / shard.name, tensors, dtype) as write:
            for name, tensor in tensors.items():
                for block in _merged(name, tensor, loras.get(name), name in quantized, trained_in):
                    write(_checked(block, name, dtype))
        progress.step()
    if missing := sorted((set(loras) | quantized) - seen):
        raise ContractError(f"{base} has no weights for {missing[0]}, which the model has.")
    log.info("merged %d layers of %d shards into %s", len(loras), len(shards), target)


def read_loras(adapter: Path) -> dict[str, Lora]:
    """The adapter's matrices by name of the weight that they are added to. Raises ContractError unless plain LoRA."""
    from safetensors.torch import load_file

    config = json.loads((adapter / "adapter_config.json").read_bytes())
    for name, allowed in _PLAIN.items():
        if name in config and config[name] not in allowed:
            raise ContractError(
                f"{adapter} has {name}={config[name]!r}, which cannot be merged. Expected {allowed[0]!r}: train a "
                "plain LoRA adapter, or serve the base with its adapter."
            )
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in load_file(adapter / "adapter_model.safetensors").items():
        match = _LORA_KEY.fullmatch(key)
        if match is None:
            raise ContractError(f"{adapter} holds {key}, which is no matrix of LoRA. Expected lora_A and lora_B alone.")
        sides.setdefault(f"{match['layer']}.weight", {})[match["side"]] = value.float()
    halves = sorted(name for name, pair in sides.items() if set(pair) != {"A", "B"})
    if halves:
        raise ContractError(f"{adapter} has one of the two matrices of {halves[0]}. Expected both.")
    return {name: Lora(pair["A"], pair["B"] * scale) for name, pair in sides.items()}


def quantized_weights(base: Path) -> set[str]:
    """Names of the weights that training holds in NF4: those of all linear layers but the output's."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    output = model.get_output_embeddings()
    layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear))
    return {f"{name}.weight" for name, layer in layers if layer is not output}


def mean_kl(trained: Sequence[torch.Tensor], merged: Sequence[torch.Tensor]) -> float:
    """Mean KL divergence of the merged model's next token from the trained one's, nats a token.

    Each a list of logits, float32 [n_tokens, vocabulary], one a prompt.
    """
    import torch

    total, n_tokens = 0.0, 0
    for ours, theirs in zip(trained, merged, strict=True):
        wanted = torch.log_softmax(ours.double(), dim=-1)
        got = torch.log_softmax(theirs.double(), dim=-1)
        total += float((wanted.exp() * (wanted - got)).sum())
        n_tokens += len(wanted)
    return total / n_tokens


def require_same(trained: Sequence[torch.Tensor], merged: Sequence[torch.Tensor], max_kl: float) -> float:
    """The mean KL of logits as in `mean_kl`. Raises ContractError above `max_kl`, or if it is not a number."""
    found = mean_kl(trained, merged)
    if not found <= max_kl:
        raise ContractError(
            f"The merged model differs from the trained one by {found:.2e} nats a token, expected at most "
            f"{max_kl:.0e}. It was merged onto other weights than it was trained on; nothing was released."
        )
    log.info("merged model differs by %.2e nats a token (at most %.0e)", found, max_kl)
    return found


def _merged(
    name: str, tensor: Tensor, lora: Lora | None, is_quantized: bool, trained_in: str
) -> Iterator[torch.Tensor]:
    """The weight's new values in blocks of whole rows, in order."""
    import torch

    if not is_quantized:
        yield from tensor.blocks(BLOCK_VALUES)
        return
    if lora is not None and (lora.b.shape[0], lora.a.shape[1]) != tuple(tensor.shape):
        raise ContractError(f"{name} is {tensor.shape}, its adapter {(lora.b.shape[0], lora.a.shape[1])}.")
    row = 0
    for block in dequantized(tensor, getattr(torch, trained_in)):
        if lora is not None:
            block.addmm_(lora.b[row : row + len(block)], lora.a)
        row += len(block)
        yield block


def dequantized(tensor: Tensor, trained_in: torch.dtype) -> Iterator[torch.Tensor]:
    """A weight as NF4 with double quantization holds it: float32 blocks of whole rows.

    The scales are quantized around the mean of all scales of the weight, so they are collected first.
    """
    import bitsandbytes.functional as bnb
    import torch

    per_row = tensor.shape[1]
    if per_row % NF4_BLOCK:
        raise ContractError(f"A weight of {tensor.shape} is not made of blocks of {NF4_BLOCK}. It cannot be merged.")
    codes, scales = [], []
    for block in tensor.blocks(BLOCK_VALUES):
        code, state = bnb.quantize_4bit(block.to(trained_in), blocksize=NF4_BLOCK, quant_type="nf4")
        codes.append((code, len(block)))
        scales.append(state.absmax)
    scale = torch.cat(scales)
    offset = scale.mean()
    nested, nested_state = bnb.quantize_blockwise(scale - offset, blocksize=NESTED_BLOCK)
    scale = (bnb.dequantize_blockwise(nested, nested_state) + offset).float()
    first = 0
    while codes:
        code, n_rows = codes.pop(0)
        n_scales = n_rows * per_row // NF4_BLOCK
        here = scale[first : first + n_scales].contiguous()
        first += n_scales
        shape = torch.Size((n_rows, per_row))
        state = bnb.QuantState(  # type: ignore[no-untyped-call]
            absmax=here, shape=shape, code=state.code, blocksize=NF4_BLOCK, quant_type="nf4", dtype=trained_in
        )
        yield bnb.dequantize_4bit(code, state).float()


def _checked(block: torch.Tensor, name: str, dtype: str) -> torch.Tensor:
    """The block in its final dtype. Raises ContractError if a number does not fit into it."""
    import torch

    made = block.to(getattr(torch, dtype))
    if not bool(torch.isfinite(made).all()):
        raise ContractError(f"{name} has numbers that {dtype} cannot hold. Merge into bfloat16 or float32.")
    return made


def _copy_beside(base: Path, target: Path, dtype: str) -> None:
    """Everything but the weights; the config without quantization and with the new dtype."""
    for path in sorted({path for pattern in COPIED for path in base.glob(pattern)}):
        if not path.name.startswith("_") and path.name != "base.json":
            shutil.copyfile(path, target / path.name)
    config = json.loads((base / "config.json").read_bytes())
    config.pop("quantization_config", None)
    config.pop("torch_dtype", None)
    (target / "config.json").write_text(json.dumps(config | {"dtype": dtype}, indent=2) + "\n")
