"""Training itself: it resumes bit by bit whatever happened, and it is what the recipe says."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UsageError
from jobs.tuning import bases, fitting
from jobs.tuning.checkpoints import Checkpoints
from tests.conftest import REPOSITORY
from tests.tuning.training_process import CPU, RECIPE, ROWS, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bases.Base:
    return bases.open_base(bases.TINY, bases.make_tiny(tmp_path_factory.mktemp("tiny")), "seed 0")


class Trainings:
    """Processes that train; see `training_process`."""

    def __init__(self, base: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.tuning.training_process", str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
        )

    def start(self, work: Path) -> int:
        return self._ask(f"start {work}")

    def wait(self) -> int:
        return self._ask("wait")

    def stop(self) -> None:
        self._server.kill()
        self._server.wait()

    def _ask(self, line: str) -> int:
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="module")
def trainings(base: bases.Base) -> Iterator[Trainings]:
    made = Trainings(base.folder)
    yield made
    made.stop()


def sha256_of(work: Path) -> str:
    newest = Checkpoints(work).newest()
    assert newest is not None
    return hashlib.sha256((newest / fitting.ADAPTER_FILES[0]).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(trainings: Trainings, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """sha256 of the adapter, and seconds that its training took."""
    work = tmp_path_factory.mktemp("undisturbed")
    begun_at = time.monotonic()
    trainings.start(work)
    assert trainings.wait() == 0
    return sha256_of(work), time.monotonic() - begun_at


def test_killed_at_random_it_ends_with_the_same_bytes(
    trainings: Trainings, undisturbed: tuple[str, float], tmp_path: Path, soak: int
) -> None:
    draw = random.Random(4)
    for number in range(soak):
        work = tmp_path / str(number)
        for _ in range(2):
            pid = trainings.start(work)
            time.sleep(draw.uniform(0.3, 0.9) * undisturbed[1])
            os.kill(pid, signal.SIGKILL)
            trainings.wait()
        trainings.start(work)
        assert trainings.wait() == 0
        assert sha256_of(work) == undisturbed[0]


def test_sigterm_saves_its_steps_and_asks_to_try_again(
    trainings: Trainings, undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    pid = trainings.start(tmp_path)
    while not list(tmp_path.glob("checkpoint-*")):
        time.sleep(0.02)
    os.kill(pid, signal.SIGTERM)
    assert trainings.wait() == 75
    assert Checkpoints(tmp_path).newest() is not None
    trainings.start(tmp_path)
    assert trainings.wait() == 0
    assert sha256_of(tmp_path) == undisturbed[0]


class Failing:
    """A callback of the trainer that raises once at the end of a step."""

    def __new__(cls, step: int, error: Exception) -> Any:
        from transformers import TrainerCallback

        class Once(TrainerCallback):
            is_done = False

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == step and not self.is_done:
                    self.is_done = True
                    raise error

        return Once()


def test_out_of_memory_halves_the_micro_batch_and_goes_on(base: bases.Base, tmp_path: Path) -> None:
    import torch

    recipe = replace(RECIPE, micro_batch=2, accumulation=1, packing=False)
    failing = Failing(3, torch.cuda.OutOfMemoryError("no memory"))
    made = fitting.fit(base, ROWS, recipe, CPU, tmp_path / "failed", callbacks=[failing])
    same = fitting.fit(base, ROWS, recipe, CPU, tmp_path / "whole")
    assert failing.is_done
    assert made.n_steps == same.n_steps == RECIPE.max_steps
    assert made.losses == pytest.approx(same.losses, abs=0.02)


def test_out_of_memory_with_one_row_says_what_to_lower(base: bases.Base, tmp_path: Path) -> None:
    import torch

    failing = Failing(1, torch.cuda.OutOfMemoryError("no memory"))
    with pytest.raises(UsageError, match="--max-length"):
        fitting.fit(base, ROWS, RECIPE, CPU, tmp_path, callbacks=[failing])


def test_finished_training_is_not_trained_again(base: bases.Base, tmp_path: Path) -> None:
    first = train(base.folder, tmp_path)
    never = Failing(1, AssertionError("trained again"))
    assert fitting.fit(base, ROWS, RECIPE, CPU, tmp_path, callbacks=[never]) == first


def test_loss_falls_over_all_rows_without_a_number_of_steps(base: bases.Base, tmp_path: Path) -> None:
    made = fitting.fit(base, ROWS, replace(RECIPE, max_steps=0), CPU, tmp_path)
    assert made.n_steps == len(made.losses) > 2
    assert made.losses[-1] < made.losses[0] - 0.3


def test_cpu_trains_on_plain_layers_as_on_quantized_ones(
    base: bases.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fitting.fit(base, ROWS, RECIPE, CPU, tmp_path / "plain")
    monkeypatch.setattr(fitting, "expand", lambda _model: None)
    quantized = fitting.fit(base, ROWS, RECIPE, CPU, tmp_path / "quantized")
    assert plain.losses == pytest.approx(quantized.losses, abs=0.002)


def test_recipe_is_that_of_the_paper(base: bases.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NF4 with double quantization, LoRA on every linear layer but the output's, paged Adam, float32 adapter."""
    import torch

    monkeypatch.setattr(fitting, "expand", lambda _model: None)  # as on a GPU
    trainer: Any = fitting._make_trainer(base, ROWS, RECIPE, CPU, tmp_path, None)
    plain = [one for name, one in trainer.model.named_modules() if name.endswith(".base_layer")]
    quantized = [one for one in plain if type(one).__name__ == "Linear4bit"]
    assert {one.weight.quant_type for one in quantized} == {"nf4"}
    assert all(one.weight.quant_state.nested for one in quantized)
    adapted = [name for name, _ in trainer.model.named_modules() if name.endswith("lora_A.default")]
    assert len(adapted) == len(plain) == len(quantized) == 2 * 7
    assert trainer.args.optim == "paged_adamw_8bit"
    trainable = [one for one in trainer.model.parameters() if one.requires_grad]
    assert {one.dtype for one in trainable} == {torch.float32}


def test_float16_keeps_the_adapter_in_float32(base: bases.Base, tmp_path: Path) -> None:
    """As on a card without bfloat16, where a bfloat16 adapter stops the gradient scaler."""
    import torch

    half = replace(CPU, dtype="float16")
    recipe = replace(RECIPE, packing=False)
    trainer: Any = fitting._make_trainer(base, ROWS, recipe, half, tmp_path, None)
    assert {one.dtype for one in trainer.model.parameters() if one.requires_grad} == {torch.float32}
    assert (trainer.args.fp16, trainer.args.bf16) == (True, False)


def test_rows_that_the_trainer_loses_are_an_error() -> None:
    from jobs.core.errors import ContractError

    with pytest.raises(ContractError, match="39 of 40"):
        fitting._refuse_lost_rows(40, 39)


def test_only_the_answer_is_learnt(base: bases.Base, tmp_path: Path) -> None:
    trainer: Any = fitting._make_trainer(base, ROWS[:1], replace(RECIPE, packing=False), CPU, tmp_path, None)
    row = trainer.train_dataset[0]
    learnt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    text = trainer.processing_class.decode(learnt, skip_special_tokens=True).strip()
    assert text == ROWS[0]["completion"][0]["content"]
