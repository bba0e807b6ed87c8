"""Load a base as it is trained and served: NF4 with double quantization, in the precision that the machine has.

The numbers of QLoRA (Dettmers et al. 2023, arXiv:2305.14314): 4-bit NormalFloat, blocks of 64, scales quantized again.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.errors import UsageError
from jobs.tuning.bases import Base

log = logging.getLogger(__name__)

BFLOAT16_SINCE = (8, 0)  # Ampere; Turing emulates it, slowly
FLOAT16_SINCE = (7, 0)  # Volta


@dataclass(frozen=True)
class Precision:
    """What a machine computes in: a torch dtype's name, where, and why."""

    dtype: str
    device: str
    why: str

    @property
    def is_on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"


def choose_precision(device: str = "auto") -> Precision:
    """bfloat16 on GPUs that have it, float16 on older ones (a T4), float32 on a CPU.

    `device`: auto, cpu or cuda:N. Raises UsageError for a GPU that is not there or too old.
    """
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return Precision("float32", "cpu", "the CPU computes in float32 fastest and without overflow")
    place = "cuda:0" if device == "auto" else device
    number = int(place.partition(":")[2] or 0)
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        raise UsageError(f"--device {device}: no such GPU here. Expected auto, cpu or cuda:N.")
    return precision_of(torch.cuda.get_device_capability(number), f"cuda:{number}")


def precision_of(capability: tuple[int, int], device: str) -> Precision:
    """The precision of a GPU with that compute capability. Raises UsageError below 7.0."""
    name = f"compute capability {capability[0]}.{capability[1]}"
    if capability >= BFLOAT16_SINCE:
        return Precision("bfloat16", device, f"{name} has bfloat16")
    if capability >= FLOAT16_SINCE:
        return Precision("float16", device, f"{name} has no bfloat16")
    raise UsageError(f"{device} has {name}, expected 7.0 or newer. Use --device cpu.")


def load_quantized(base: Base, precision: Precision) -> tuple[Any, Any]:
    """The model in NF4 and its tokenizer, both from the base's folder alone."""
    be_quiet()
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, precision.dtype)
    quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base.folder,
        quantization_config=quantization,
        dtype=dtype,
        device_map={"": precision.device},
        attn_implementation="sdpa",  # flash attention needs Ampere
        local_files_only=True,
    )
    return model, load_tokenizer(base.folder)


def load_plain(folder: Path, precision: Precision, spill: Path) -> tuple[Any, Any]:
    """A model that is not quantized and its tokenizer, from a folder."""
    be_quiet()
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, precision.dtype),
        device_map="auto" if precision.is_on_gpu else {"": "cpu"},
        offload_folder=spill,
        attn_implementation="sdpa",
        local_files_only=True,
    )
    return model, load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder, with a padding token."""
    be_quiet()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return tokenizer


def expand(model: Any) -> None:
    """Replace the 4-bit layers by plain ones with the same values, for a CPU that has memory and no 4-bit kernels.

    Twice as fast to generate with on two cores, a third faster to train an adapter on, whose losses are the same to
    0.0003 nats (docs/log.md); and on some CPUs 4-bit layers change their values in eval mode.
    """
    import bitsandbytes as bnb
    import torch

    quantized = [(name, one) for name, one in model.named_modules() if isinstance(one, bnb.nn.modules.Linear4bit)]
    layer: Any  # a Linear4bit, whose weight has more attributes than a tensor's
    for name, layer in quantized:
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        plain.weight = torch.nn.Parameter(weight, requires_grad=False)
        plain.bias = layer.bias
        model.set_submodule(name, plain)
    for part in (model, getattr(model, "base_model", None)):
        for mark in ("hf_quantizer", "is_quantized", "is_loaded_in_4bit"):
            if part is not None and mark in vars(part):
                delattr(part, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def text_of(tokenizer: Any, messages: list[dict[str, str]], *, is_open: bool) -> str:
    """Messages as the model reads them; `is_open`: up to where its answer begins."""
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_open)
    return text


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text from the template, which has the special tokens in it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def be_quiet() -> None:
    """No bars in a log of lines, and no call to a hub: every file is on this machine by now."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import warnings

    import datasets
    import transformers

    # what a coming major version will rename is no news for whoever reads a log
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
