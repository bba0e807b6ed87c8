"""A chat in this process: a model of transformers whose every finished reply parses, by construction.

On a GPU the weights may be NF4, so that a 7B fits a T4; a batch that does not fit the memory is halved. The examples,
with which prompts begin, are read once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import UsageError
from jobs.tuning.bases import model_digest
from jobs.tuning.chat import FAILED, ChatPrompt, ChatReply, ChatSettings
from jobs.tuning.json_mask import JsonMask, tokenizer_for
from jobs.tuning.loading import be_quiet, choose_precision, ids_of, text_of
from jobs.tuning.prefix_cache import PrefixCache

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_FAILED = ChatReply(None, FAILED)


@dataclass(frozen=True)
class _Asked:
    """A prompt as the model reads it, its turns before the last, and the schema of its reply."""

    text: str
    beginning: str
    schema: dict[str, Any]


class TransformersChat:
    """Greedy, so that a prompt has one reply. The model is loaded when the first prompt comes."""

    def __init__(self, settings: ChatSettings) -> None:
        """Raises UsageError without a model, or for a name on the Hub that is not pinned (NAME@REVISION)."""
        self._settings = settings
        self._model: Any = None
        self._tokenizer: Any = None
        self._grammar_tokenizer: Any = None
        self._cache: Any = None
        self._source, self._revision = source_of(settings.model, settings.role)
        self.name = (
            f"transformers:{Path(self._source).name}@{(self._revision or model_digest(Path(self._source)))[:12]}"
        )

    def reply(self, prompts: Sequence[ChatPrompt]) -> list[ChatReply]:
        """Batches of equal length, so that little is padding; replies in the order of the prompts."""
        if not prompts:
            return []
        self._load()
        asked = [_Asked(self._text(prompt), self._beginning(prompt), prompt.schema) for prompt in prompts]
        order = sorted(range(len(asked)), key=lambda place: (len(asked[place].text), place))
        replies: dict[int, ChatReply] = {}
        for start in range(0, len(order), self._settings.batch_size):
            batch = order[start : start + self._settings.batch_size]
            replies |= dict(zip(batch, self._write_fitting([asked[place] for place in batch]), strict=True))
        return [replies[place] for place in range(len(asked))]

    def _text(self, prompt: ChatPrompt) -> str:
        return text_of(self._tokenizer, list(prompt.messages), is_open=True)

    def _beginning(self, prompt: ChatPrompt) -> str:
        """What it has in common with others, if there are examples."""
        examples = list(prompt.messages[:-1])
        return text_of(self._tokenizer, examples, is_open=False) if examples else ""

    def _write_fitting(self, asked: list[_Asked]) -> Iterator[ChatReply]:
        """Halve what does not fit the memory; one text that does not fit alone failed."""
        import torch

        try:
            replies = self._generate(asked)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(asked) == 1:
                log.warning("one prompt of %d characters does not fit the memory", len(asked[0].text))
                yield _FAILED
                return
            log.info("out of memory with %d prompts: halved", len(asked))
            middle = len(asked) // 2
            yield from self._write_fitting(asked[:middle])
            yield from self._write_fitting(asked[middle:])
            return
        yield from replies

    def _generate(self, asked: list[_Asked]) -> list[ChatReply]:
        import torch

        inputs = self._cache.inputs(
            [ids_of(self._tokenizer, one.text) for one in asked],
            [ids_of(self._tokenizer, one.beginning) for one in asked],
        )
        mask = JsonMask(self._grammar_tokenizer, [one.schema for one in asked], self._model.config.vocab_size)
        with torch.inference_mode():
            made = self._model.generate(
                **inputs,
                max_new_tokens=self._settings.max_new_tokens,
                do_sample=False,
                logits_processor=[mask],
                pad_token_id=self._tokenizer.pad_token_id,
            )
        return self._replies(made[:, inputs["input_ids"].shape[1] :], mask)

    def _replies(self, made: torch.Tensor, mask: JsonMask) -> list[ChatReply]:
        """made [rows, n] new token ids. A row whose JSON is not closed was cut at the limit."""
        mask.consume_last(made[:, -1].tolist())
        texts = self._tokenizer.batch_decode(made, skip_special_tokens=True)
        return [ChatReply(text, is_cut=not mask.is_finished(row)) for row, text in enumerate(texts)]

    def _load(self) -> None:
        if self._model is not None:
            return
        if Path(self._source).is_dir():
            be_quiet()
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

        precision = choose_precision(self._settings.device)
        if self._settings.quantize and not precision.is_on_gpu:
            flag = f"--{self._settings.role}-4bit"
            raise UsageError(f"{flag} true needs a GPU, and there is none here. Expected {flag} false.")
        dtype = getattr(torch, precision.dtype)
        quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        self._model = AutoModelForCausalLM.from_pretrained(
            self._source,
            revision=self._revision,
            dtype=dtype,
            device_map={"": precision.device},
            attn_implementation="sdpa",  # flash attention needs Ampere
            quantization_config=quantization if self._settings.quantize else None,
        )
        self._tokenizer = AutoTokenizer.from_pretrained(self._source, revision=self._revision, padding_side="left")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.unk_token or self._tokenizer.eos_token
        self._cache = PrefixCache(self._model, self._tokenizer.pad_token_id)
        self._grammar_tokenizer = tokenizer_for(self._tokenizer, self._model.config.vocab_size)
        log.info(
            "%s %s device=%s dtype=%s (%s) 4bit=%s",
            self._settings.role,
            self.name,
            precision.device,
            precision.dtype,
            precision.why,
            self._settings.quantize,
        )


def source_of(model: str | None, role: str = "teacher") -> tuple[str, str | None]:
    """Folder and None, or a name on the Hub and its revision. Raises UsageError for a name without one."""
    if not model:
        raise UsageError(
            f"{role} transformers has no model. Expected --{role}-model FOLDER, or NAME@REVISION on the Hub."
        )
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder), None
    name, _, revision = model.partition("@")
    if not revision:
        raise UsageError(
            f"--{role}-model {model}: no such folder, and a name on the Hub needs its revision: {model}@COMMIT."
        )
    return name, revision
