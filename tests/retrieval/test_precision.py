"""The trial that picks a CPU's precision, with a run that takes as long as it is told."""

from __future__ import annotations

import time

import numpy as np

from jobs.retrieval.precision import N_TEXTS, choose, read_cpu_flags

TEXTS = ["text"] * N_TEXTS
WITH_BFLOAT16 = frozenset({"avx2", "avx512_bf16"})


def run_of(seconds: dict[str, float], angle: float = 0.0):
    """A run whose bfloat16 vectors are off by an angle."""

    def run(precision: str, texts: list[str]) -> np.ndarray:
        time.sleep(seconds[precision] if len(texts) == N_TEXTS else 0)
        off = angle if precision == "bfloat16" else 0.0
        return np.tile(np.array([np.cos(off), np.sin(off)], dtype=np.float32), (len(texts), 1))

    return run


def test_faster_precision_is_chosen() -> None:
    choice = choose(run_of({"float32": 0.06, "bfloat16": 0.01}), TEXTS, cpu_flags=WITH_BFLOAT16)
    assert choice.precision == "bfloat16"
    assert "trial of 32 texts with avx512_bf16" in choice.reason


def test_bfloat16_that_is_slower_is_not_chosen() -> None:
    assert choose(run_of({"float32": 0.01, "bfloat16": 0.06}), TEXTS, cpu_flags=WITH_BFLOAT16).precision == "float32"


def test_bfloat16_that_is_off_is_not_chosen() -> None:
    choice = choose(run_of({"float32": 0.06, "bfloat16": 0.01}, angle=0.1), TEXTS, cpu_flags=WITH_BFLOAT16)
    assert (choice.precision, "below cosine 0.999" in choice.reason) == ("float32", True)


def test_cpu_without_bfloat16_is_not_tried() -> None:
    def never(precision: str, texts: list[str]) -> np.ndarray:
        raise AssertionError

    assert choose(never, TEXTS, cpu_flags=frozenset({"avx2"})).precision == "float32"


def test_flags_of_this_cpu_are_words() -> None:
    assert all(flag and " " not in flag for flag in read_cpu_flags())
