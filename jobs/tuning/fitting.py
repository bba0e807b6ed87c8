"""Train an adapter: QLoRA as it runs on a 16 GB T4, on whatever this machine has, stopped and resumed at will.

Source of the recipe: Dettmers et al. 2023, arXiv:2305.14314 (NF4, double quantization, LoRA on all linear layers, paged
8-bit Adam). Rows are packed best fit first (arXiv:2404.10830); each attends to itself alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError, TryAgainError, UsageError
from jobs.core.progress import Progress
from jobs.tuning.bases import Base
from jobs.tuning.checkpoints import Checkpoints
from jobs.tuning.loading import Precision, expand, load_quantized

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
STATE_FILE = "trainer_state.json"
SHORT = 100  # steps below which a warm-up would be a wasted step: the first has a learning rate of zero

Row = dict[str, list[dict[str, str]]]  # prompt and completion, each a list of chat messages


@dataclass(frozen=True)
class Recipe:
    """How long, how much at a time, and how large the steps are. `max_steps` 0: once over all rows."""

    max_length: int
    max_steps: int
    micro_batch: int
    accumulation: int
    learning_rate: float
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    packing: bool
    gradient_checkpointing: bool
    save_steps: int
    seed: int


@dataclass(frozen=True)
class Fit:
    """A finished training: where its adapter lies, and the loss of each step (nats a token)."""

    adapter: Path
    losses: tuple[float, ...]
    n_steps: int


def fit(
    base: Base,
    rows: Sequence[Row],
    recipe: Recipe,
    precision: Precision,
    work: Path,
    *,
    warm_start: Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Fit:
    """Train on prompt-completion rows, resuming from what `work` holds. `warm_start`: an adapter to begin from.

    Out of memory halves the micro-batch and doubles the accumulation. Raises TryAgainError after a SIGTERM, once the
    steps so far are saved; UsageError if one row does not fit into memory.
    """
    checkpoints = Checkpoints(work)
    while not _is_finished(checkpoints.newest()):
        try:
            _train(base, rows, recipe, precision, checkpoints, warm_start, callbacks)
        except _out_of_memory() as error:
            recipe = _smaller(recipe, error)
    newest = checkpoints.newest()
    assert newest is not None
    state = json.loads((newest / STATE_FILE).read_bytes())
    losses = tuple(entry["loss"] for entry in state["log_history"] if "loss" in entry)
    return Fit(newest, losses, state["global_step"])


def _out_of_memory() -> type[Exception]:
    import torch

    return torch.cuda.OutOfMemoryError


def _smaller(recipe: Recipe, error: Exception) -> Recipe:
    """The same step in smaller bites."""
    import torch

    if recipe.micro_batch == 1:
        raise UsageError(
            f"Out of GPU memory with one row of {recipe.max_length} tokens at a time. Lower --max-length, choose a "
            f"smaller --base, or free the card. {error}"
        ) from error
    torch.cuda.empty_cache()
    smaller = replace(recipe, micro_batch=recipe.micro_batch // 2, accumulation=recipe.accumulation * 2)
    log.warning("out of memory: micro_batch %d -> %d", recipe.micro_batch, smaller.micro_batch)
    return smaller


def _is_finished(checkpoint: Path | None) -> bool:
    if checkpoint is None:
        return False
    state = json.loads((checkpoint / STATE_FILE).read_bytes())
    return bool(state["global_step"] >= state["max_steps"])


def _train(
    base: Base,
    rows: Sequence[Row],
    recipe: Recipe,
    precision: Precision,
    checkpoints: Checkpoints,
    warm_start: Path | None,
    callbacks: Sequence[TrainerCallback],
) -> None:
    checkpoints.clear_scratch()
    resumed = checkpoints.newest()
    if resumed:
        log.info("resuming from %s", resumed.name)
    with _sigterm() as is_stopping:
        trainer = _make_trainer(base, rows, recipe, precision, checkpoints.scratch, warm_start)
        trainer.add_callback(_saving(checkpoints, is_stopping))
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        step = trainer.state.global_step
    checkpoints.clear_scratch()
    if is_stopping.is_set() and not _is_finished(checkpoints.newest()):
        raise TryAgainError(f"Stopped by SIGTERM after step {step}, which is saved. Run the stage again to go on.")


def _make_trainer(
    base: Base, rows: Sequence[Row], recipe: Recipe, precision: Precision, scratch: Path, warm_start: Path | None
) -> Any:
    """The trainer with its model. The seed is set first: the adapter's weights are drawn while it is built."""
    if precision.is_on_gpu and "LOCAL_RANK" not in os.environ:  # several cards in one process raise
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    import torch
    from datasets import Dataset, disable_caching
    from peft import PeftModel
    from transformers import PrinterCallback, set_seed
    from trl.trainer.sft_trainer import SFTTrainer

    disable_caching()
    set_seed(recipe.seed)
    model, tokenizer = load_quantized(base, precision)
    if precision.device == "cpu" and precision.dtype == "float32":
        expand(model)
    tokenizer.padding_side = "right"
    if warm_start is not None:
        model = PeftModel.from_pretrained(model, warm_start, is_trainable=True)
    trainer: Any = SFTTrainer(  # its attributes are typed for every kind of model there is
        model=model,
        args=_arguments(recipe, precision, scratch),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=tokenizer,
        peft_config=None if warm_start is not None else _lora(recipe),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.model.peft_config["default"].base_model_name_or_path = base.name
    if precision.dtype != "bfloat16":
        # TRL casts the adapter to bfloat16, on which float16's gradient scaler dies (trl #4901).
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    if not recipe.packing:
        _refuse_lost_rows(len(rows), len(trainer.train_dataset))
    return trainer


def _refuse_lost_rows(n_given: int, n_kept: int) -> None:
    """TRL drops rows without a word whose prompt fills max_length; ours were measured before, so none may go."""
    if n_kept != n_given:
        raise ContractError(f"The trainer kept {n_kept} of {n_given} rows that were measured to fit.")


def _lora(recipe: Recipe) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        bias="none",
    )


def _arguments(recipe: Recipe, precision: Precision, scratch: Path) -> Any:
    from trl.trainer.sft_config import SFTConfig

    return SFTConfig(
        output_dir=str(scratch),
        max_length=recipe.max_length,
        packing=recipe.packing,
        packing_strategy="bfd",
        completion_only_loss=True,
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=recipe.accumulation,
        max_steps=recipe.max_steps or -1,
        num_train_epochs=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03 if not 0 < recipe.max_steps < SHORT else 0,  # below 1 a share of the steps
        optim="paged_adamw_8bit",
        max_grad_norm=0.3,
        fp16=precision.dtype == "float16",
        bf16=precision.dtype == "bfloat16",
        use_cpu=not precision.is_on_gpu,
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=recipe.save_steps,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
        seed=recipe.seed,
        data_seed=recipe.seed,
    )


def _saving(checkpoints: Checkpoints, is_stopping: threading.Event) -> TrainerCallback:
    """The callback that keeps whole checkpoints, saves on SIGTERM and logs progress."""
    from transformers import TrainerCallback

    class Saving(TrainerCallback):
        """See `_saving`."""

        def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002
            """Know how many steps are left."""
            self.progress = Progress("steps", state.max_steps - state.global_step)

        def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
            """Stop with a checkpoint if a SIGTERM came."""
            self.progress.step()
            if is_stopping.is_set():
                control.should_save = control.should_training_stop = True

        def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:  # noqa: ARG002
            """The checkpoint is written to its end."""
            checkpoints.keep(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    return Saving()


@contextlib.contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """Turn SIGTERM into an event for the block; the training then ends after its step."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
