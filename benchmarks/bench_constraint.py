"""What it costs to hold a model to the teacher's JSON: a token with the mask and without, and the mask itself.

On a CPU by the demo's SmolLM2, fetched once into --lake. `--device cuda:0` builds Mistral-7B of random weights on the
GPU: its speed is the real one, its text is noise. With the mask and without take turns on the same prompts; both write
the same number of tokens. The mask's own time is measured inside the call, the model's work waited for on a GPU.
Run: python -m benchmarks.bench_constraint [--lake DIR] [--device cuda:0 --batches 8 32]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import transformers

from benchmarks.measuring import write_result
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.lake import Lake
from jobs.tuning.bases import ensure_base
from jobs.tuning.json_mask import JsonMask, tokenizer_for
from jobs.tuning.prompts import FORMS, ONE_PASSAGE

BASE = "smollm2-135m-instruct"
BATCHES = {"cpu": [1, 8], "cuda": [8, 32]}
PROMPT = (
    "Passage {number}: a 4-bit NormalFloat is information-theoretically optimal for normally distributed weights, and "
    "double quantization saves about 0.37 bits a parameter by quantizing the scales again. Write one JSON object with "
    "a question about the passage, its answer, and the sentence that answers it."
)


class TimedMask(JsonMask):
    """A mask that notes what each of its calls takes, in time and in CPU time of the calling thread."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """As the mask itself."""
        _wait(scores.device)
        begun = time.perf_counter(), time.thread_time()
        masked = super().__call__(input_ids, scores)
        _wait(scores.device)
        self.took_ms.append(1000 * (time.perf_counter() - begun[0]))
        self.cpu_ms.append(1000 * (time.thread_time() - begun[1]))
        return masked


def main() -> None:
    """Load the model, then every batch size in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, help="a lake that keeps the base; default: a temporary one, fetched anew")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batches", type=int, nargs="*", help="default: 1 8 on a CPU, 8 32 on a GPU")
    parser.add_argument("--tokens", type=int, default=32, help="new tokens of every row")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory(prefix="bench-constraint-") as temporary:
        folder = _base_folder(options.lake or Path(temporary) / "lake")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = _small(folder) if device.type == "cpu" else _mistral(len(tokenizer), device)
    figures: dict[str, Any] = {"model": type(model).__name__, "n_vocab": model.config.vocab_size, "device": device.type}
    for batch in options.batches or BATCHES[device.type]:
        figures[f"batch_{batch}"] = measure(model, tokenizer, batch, options.tokens, options.rounds)
    write_result("constraint", figures)


def _base_folder(root: Path) -> Path:
    file = LakeFile("bench", Definition(), Source(metadata="none.jsonl"), "demo")
    lake = Lake.open(root) if (root / "LAKE.json").is_file() else Lake.create(root, file)
    return ensure_base(lake, BASE).folder


def _small(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _mistral(n_vocab: int, device: torch.device) -> Any:
    """Mistral-7B's shape with random weights, made on the GPU: no 14 GB of file or memory here."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        with device:
            return transformers.MistralForCausalLM(transformers.MistralConfig(vocab_size=n_vocab)).eval()
    finally:
        torch.set_default_dtype(before)


def measure(model: Any, tokenizer: Any, batch: int, n_tokens: int, rounds: int) -> dict[str, float]:
    """Milliseconds a step (one token of every row), medians over rounds, and what of it is the mask's."""
    texts = [PROMPT.format(number=number) for number in range(batch)]
    inputs = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
    grammar = tokenizer_for(tokenizer, model.config.vocab_size)
    free, bound, took, cpu = [], [], [], []
    for number in range(rounds + 1):
        mask = TimedMask(grammar, [FORMS[ONE_PASSAGE].schema] * batch, model.config.vocab_size)
        without, with_mask = (_ms_a_step(model, inputs, n_tokens, some) for some in ([], [mask]))
        if number:  # the first round warms up
            free.append(without)
            bound.append(with_mask)
            took += mask.took_ms
            cpu += mask.cpu_ms
    mask_ms = statistics.median(took)
    return {
        "free_ms": statistics.median(free),
        "masked_ms": statistics.median(bound),
        "mask_ms": mask_ms,
        "mask_ms_a_row": mask_ms / batch,
        "mask_cpu_ms": statistics.median(cpu),
        "mask_over_free": mask_ms / statistics.median(free),
    }


def _ms_a_step(model: Any, inputs: Any, n_tokens: int, masks: list[JsonMask]) -> float:
    """Time of the steps behind the first one, which reads the prompt. Schemas are longer than `n_tokens`."""
    took = []
    for n in (1, n_tokens):
        _wait(model.device)
        begun = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                **inputs,
                max_new_tokens=n,
                min_new_tokens=n,
                do_sample=False,
                logits_processor=masks if n == n_tokens else [],
                pad_token_id=model.config.pad_token_id or 0,
            )
        _wait(model.device)
        took.append(time.perf_counter() - begun)
    return 1000 * (took[1] - took[0]) / (n_tokens - 1)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
