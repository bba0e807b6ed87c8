"""Which precision a CPU encodes fastest in: a trial of a few seconds, not a setting.

bfloat16 is faster than float32 where the CPU multiplies it (AVX512_BF16, AMX) and much slower where it does not. By how
much depends on the machine, so the trial decides: on an AMD EPYC with AVX512_BF16 products of matrices are 2.4 times as
fast, passages 1.8 times (bench_embed, 30 November 2026); attention gains nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FLOAT32 = "float32"
BFLOAT16 = "bfloat16"
N_TEXTS = 32
N_WARM_UP = 4
LEAST_COSINE = 0.999
CPU_FLAGS = ("avx512_bf16", "amx_bf16")
CPUINFO = Path("/proc/cpuinfo")

Run = Callable[[str, list[str]], "np.ndarray"]  # (precision, texts) -> vectors of unit norm


@dataclass(frozen=True)
class Choice:
    """A precision and why it was chosen."""

    precision: str
    reason: str


def choose(run: Run, texts: list[str], *, cpu_flags: frozenset[str] | None = None) -> Choice:
    """Encode the texts in both precisions and take the faster one, if its vectors are the same within cosine 0.999."""
    flags = read_cpu_flags() if cpu_flags is None else cpu_flags
    known = [name for name in CPU_FLAGS if name in flags]
    if not known:
        return Choice(FLOAT32, f"the CPU has none of {', '.join(CPU_FLAGS)}")
    exact, exact_s = _timed(run, FLOAT32, texts)
    fast, fast_s = _timed(run, BFLOAT16, texts)
    cosine = float((exact * fast).sum(axis=1).min())
    rates = f"{len(texts) / fast_s:.1f}/s in bfloat16, {len(texts) / exact_s:.1f}/s in float32, cosine {cosine:.5f}"
    if cosine < LEAST_COSINE:
        return Choice(FLOAT32, f"bfloat16 is below cosine {LEAST_COSINE}: {rates}")
    return Choice(BFLOAT16 if fast_s < exact_s else FLOAT32, f"trial of {len(texts)} texts with {known[0]}: {rates}")


def read_cpu_flags() -> frozenset[str]:
    """What the CPU can do, as Linux lists it; empty elsewhere."""
    if not CPUINFO.is_file():
        return frozenset()
    lines = CPUINFO.read_text().splitlines()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _timed(run: Run, precision: str, texts: list[str]) -> tuple[np.ndarray, float]:
    run(precision, texts[:N_WARM_UP])
    begun_at = time.perf_counter()
    vectors = run(precision, texts)
    return vectors, time.perf_counter() - begun_at
