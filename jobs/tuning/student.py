"""A student that answers: its base in memory once, the adapter switched on or off.

Evaluation and the chat app use it. One thing is computed at a time, since the switch belongs to the whole model.
"""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jobs.core.errors import ContractError
from jobs.tuning.bases import Base
from jobs.tuning.loading import Precision, expand, ids_of, load_plain, load_quantized, text_of

if TYPE_CHECKING:
    import torch

Messages = list[dict[str, str]]
BATCH_TOKENS = {"cpu": 2048, "gpu": 8192}  # padded tokens of a batch whose losses or answers are computed together


class Student:
    """A loaded base with at most one adapter; a context manager that frees the memory."""

    def __init__(self, model: Any, tokenizer: Any, precision: Precision, *, has_adapter: bool) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokenizer.padding_side = "left"
        self._lock = threading.Lock()
        self.precision = precision
        self.has_adapter = has_adapter
        self.n_generated = 0  # tokens, by `generate`
        self.context_tokens: int = model.config.max_position_embeddings

    @classmethod
    def load(cls, base: Base, adapter: Path | None, precision: Precision) -> Student:
        """Load a base and an adapter's folder. Raises ContractError if the adapter belongs to another base."""
        model, tokenizer = load_quantized(base, precision)
        if not precision.is_on_gpu:
            expand(model)
        if adapter is not None:
            model = _with_adapter(model, adapter, base)
        model.eval()
        return cls(model, tokenizer, precision, has_adapter=adapter is not None)

    @classmethod
    def load_merged(cls, folder: Path, precision: Precision, spill: Path) -> Student:
        """Load a plain model, as it is. What a GPU cannot hold goes into memory, what that cannot to `spill`."""
        model, tokenizer = load_plain(folder, precision, spill)
        model.eval()
        return cls(model, tokenizer, precision, has_adapter=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the model's memory."""
        import torch

        with self._lock:
            self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def n_tokens(self, messages: Messages) -> int:
        """Length of a prompt in tokens."""
        return len(self._prompt_ids(messages))

    def generate(
        self,
        messages: Messages,
        max_new_tokens: int,
        stop_event: threading.Event | None = None,
        temperature: float = 0.0,
        *,
        with_adapter: bool = True,
    ) -> Generator[str, None, bool]:
        """Pieces of the answer as they come. `stop_event` ends it after a token; so does closing the iterator.

        Returns whether `max_new_tokens` cut it. An error of the model is raised here, not lost in its thread.
        """
        stop = stop_event or threading.Event()
        streamer = _Pieces(self._tokenizer)
        ids = [self._prompt_ids(messages)]
        worker = threading.Thread(
            target=self._generate_into,
            args=(streamer, ids, max_new_tokens, stop, temperature, with_adapter),
            daemon=True,
        )
        worker.start()
        try:
            yield from streamer
            return streamer.n_tokens >= max_new_tokens and not streamer.has_ended
        finally:
            stop.set()
            worker.join()

    def generate_batch(
        self, prompts: Sequence[Messages], max_new_tokens: int, *, with_adapter: bool = True
    ) -> list[str]:
        """The most likely answers, in the order of the prompts."""
        ids = [self._prompt_ids(messages) for messages in prompts]
        answers = [""] * len(ids)
        for batch in _batches([len(one) + max_new_tokens for one in ids], self._batch_tokens):
            made = self._run([ids[place] for place in batch], max_new_tokens, with_adapter=with_adapter)
            for place, tokens in zip(batch, made, strict=True):
                answers[place] = self._tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return answers

    def answer_loss(self, messages: Messages, answer: str, *, with_adapter: bool = True) -> float:
        """Mean loss of an answer's tokens after a prompt, nats a token; low: the model would have said so."""
        return self.answer_losses([(messages, answer)], with_adapter=with_adapter)[0]

    def answer_losses(self, rows: Sequence[tuple[Messages, str]], *, with_adapter: bool = True) -> list[float]:
        """As `answer_loss`, in the order of the rows. NaN where the template leaves nothing of the answer."""
        split = [self._split(messages, answer) for messages, answer in rows]
        losses = [float("nan")] * len(rows)
        for batch in _batches([len(prompt) + len(rest) for prompt, rest in split], self._batch_tokens):
            values = self._losses_of([split[place] for place in batch], with_adapter)
            for place, value in zip(batch, values, strict=True):
                losses[place] = value
        return losses

    def logits(self, messages: Messages, *, with_adapter: bool = True) -> torch.Tensor:
        """Logits after every token of a prompt: float32 [n_tokens, vocabulary]."""
        import torch

        ids = torch.tensor([self._prompt_ids(messages)], device=self.precision.device)
        with self._lock, torch.inference_mode(), self._switched(with_adapter):
            found: torch.Tensor = self._model(input_ids=ids).logits[0].float().cpu()
        return found

    @property
    def _batch_tokens(self) -> int:
        return BATCH_TOKENS["gpu" if self.precision.is_on_gpu else "cpu"]

    def _prompt_ids(self, messages: Messages) -> list[int]:
        return ids_of(self._tokenizer, text_of(self._tokenizer, messages, is_open=True))

    def _split(self, messages: Messages, answer: str) -> tuple[list[int], list[int]]:
        """Ids of the prompt and of the rest, divided where training divides them."""
        prompt = self._prompt_ids(messages)
        said = [*messages, {"role": "assistant", "content": answer}]
        whole = ids_of(self._tokenizer, text_of(self._tokenizer, said, is_open=False))
        n_common = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
        return whole[:n_common], whole[n_common:]

    @contextlib.contextmanager
    def _switched(self, with_adapter: bool) -> Iterator[None]:
        if self.has_adapter and not with_adapter:
            with self._model.disable_adapter():
                yield
        else:
            yield

    def _losses_of(self, rows: Sequence[tuple[list[int], list[int]]], with_adapter: bool) -> list[float]:
        """Padded on the left, so that only the logits of the answers are computed."""
        import torch

        n_kept = max(len(rest) for _, rest in rows) + 1
        ids, mask, places = self._padded([prompt + rest for prompt, rest in rows])
        with self._lock, torch.inference_mode(), self._switched(with_adapter):
            logits = self._model(
                input_ids=ids, attention_mask=mask, position_ids=places, logits_to_keep=n_kept, use_cache=False
            ).logits
        losses = []
        for row, (_, rest) in enumerate(rows):
            after = logits[row, -len(rest) - 1 : -1].float()
            wanted = ids[row, -len(rest) :] if rest else ids[row, :0]
            losses.append(float(torch.nn.functional.cross_entropy(after, wanted)) if rest else float("nan"))
        return losses

    def _padded(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, mask and positions, each int64 [n, longest], padded on the left."""
        import torch

        longest = max(len(row) for row in rows)
        pad = self._tokenizer.pad_token_id
        device = self.precision.device
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)

    def _run(
        self, prompts: Sequence[list[int]], max_new_tokens: int, *, with_adapter: bool, **options: Any
    ) -> list[list[int]]:
        import torch

        ids, mask, _ = self._padded(prompts)
        options = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None} | options
        with self._lock, torch.inference_mode(), self._switched(with_adapter):
            made = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                **options,
            )
        tokens: list[list[int]] = made[:, ids.shape[1] :].tolist()
        return tokens

    def _generate_into(
        self,
        streamer: _Pieces,
        ids: list[list[int]],
        max_new_tokens: int,
        stop: threading.Event,
        temperature: float,
        with_adapter: bool,
    ) -> None:
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {}
        try:
            self._run(
                ids,
                max_new_tokens,
                with_adapter=with_adapter,
                streamer=streamer,
                stopping_criteria=[lambda ids, _scores, **_: _flags(ids, stop.is_set())],
                **sampling,
            )
        except BaseException as error:  # noqa: BLE001  raised again where the pieces are read
            streamer.fail(error)
        else:
            streamer.finish()
        finally:
            self.n_generated += streamer.n_tokens


class _Pieces:
    """What the model's thread puts in, token by token, and the reader takes out as text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._queue: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self._tokens: list[int] = []
        self._n_said = 0
        self._is_prompt = True

    @property
    def n_tokens(self) -> int:
        """Tokens that the model wrote."""
        return len(self._tokens)

    @property
    def has_ended(self) -> bool:
        """Whether the last of them says that the answer is whole."""
        return self._tokens[-1:] == [self._tokenizer.eos_token_id]

    def put(self, value: torch.Tensor) -> None:
        """Called by the model with the prompt first, then with each token. A character of several tokens waits."""
        if self._is_prompt:
            self._is_prompt = False
            return
        self._tokens += value.reshape(-1).tolist()
        text = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        if not text.endswith("�"):
            self._say(text)

    def end(self) -> None:
        """Called by the model after the last token."""
        self._say(self._tokenizer.decode(self._tokens, skip_special_tokens=True))

    def fail(self, error: BaseException) -> None:
        """The thread ended with an error."""
        self._queue.put(error)

    def finish(self) -> None:
        """The thread ended."""
        self._queue.put(None)

    def __iter__(self) -> Iterator[str]:
        while (piece := self._queue.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def _say(self, text: str) -> None:
        if len(text) > self._n_said:
            self._queue.put(text[self._n_said :])
            self._n_said = len(text)


def _flags(ids: torch.Tensor, is_over: bool) -> torch.Tensor:
    import torch

    return torch.full((ids.shape[0],), is_over, device=ids.device, dtype=torch.bool)


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Places of rows that are computed together: of similar length, longest first, padded within `batch_tokens`."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


def _with_adapter(model: Any, adapter: Path, base: Base) -> Any:
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(adapter))
    if config.base_model_name_or_path != base.name:
        raise ContractError(f"{adapter} belongs to the base {config.base_model_name_or_path}, not to {base.name}.")
    return PeftModel.from_pretrained(model, str(adapter), config=config, is_trainable=False)
