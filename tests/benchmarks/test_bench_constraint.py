"""The constraint's benchmark on a model of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # imports torch


def test_mask_is_part_of_the_step_that_it_is_compared_with(tmp_path: Path) -> None:
    import transformers

    from benchmarks import bench_constraint
    from jobs.tuning.bases import make_tiny

    make_tiny(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    found = bench_constraint.measure(model, tokenizer, 2, n_tokens=5, rounds=1)
    assert found["mask_ms"] > 0
    assert found["mask_ms_a_row"] == found["mask_ms"] / 2
    assert found["mask_over_free"] == found["mask_ms"] / found["free_ms"]
