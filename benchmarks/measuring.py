"""What a command costs with all processes it starts: wall, CPU, peak memory.

`wait4` counts only children that were waited for, and Spark's Python workers are killed by their daemon, not waited
for: half of the work would be missing. So `/proc/*/stat` of all descendants is sampled while they live. What a process
does behind its last sample is lost (at most `INTERVAL_S` each); where `wait4` knows of more, that counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
INTERVAL_S = 0.05
MEMORY_EVERY = 4  # samples: reading a process's share of memory costs a hundred times its CPU times
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a command cost. `peak_mb` is of all its processes together, shared pages counted once (PSS).

    `jvm_s` are the CPU-seconds of those called java, part of `cpu_s`.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int
    stdout: str
    stderr: str
    jvm_s: float = 0.0


def cost_of(command: Sequence[str | Path], **env: str) -> Cost:
    """Run a command to its end. Raises RuntimeError with the tail of its log if it fails."""
    argv = [str(word) for word in command]
    environment = {name: value for name, value in os.environ.items() if name != "LAKE"} | env
    begun_at = time.perf_counter()
    process = subprocess.Popen(
        argv, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    before = os.times()
    with Sampler(process.pid) as sampler:
        stdout, stderr = process.communicate()
    wall_s = time.perf_counter() - begun_at
    after = os.times()
    waited_s = after.children_user + after.children_system - before.children_user - before.children_system
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv[:6])} … ended with {process.returncode}: {stderr[-2000:]}")
    cpu_s = max(waited_s, sampler.cpu_s)
    return Cost(wall_s, cpu_s, sampler.peak_mb, process.returncode, stdout, stderr, sampler.jvm_s)


def jobs_cost(*args: str | Path) -> Cost:
    """The cost of `python -m jobs ARGS`."""
    return cost_of([sys.executable, "-m", "jobs", *args])


class Sampler:
    """Follows a process and whatever descends from it; a context manager."""

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._known: dict[int, str] = {}  # pid -> its start, for pids are used again
        self._cpu: dict[tuple[int, str], float] = {}
        self._jvms: set[tuple[int, str]] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of all processes seen."""
        return sum(self._cpu.values())

    @property
    def jvm_s(self) -> float:
        """CPU-seconds of the Java machines among them."""
        return sum(cpu_s for process, cpu_s in self._cpu.items() if process in self._jvms)

    def _follow(self) -> None:
        n = 0
        while not self._is_over.wait(INTERVAL_S):
            alive = self._sample()
            if n % MEMORY_EVERY == 0:
                self.peak_mb = max(self.peak_mb, sum(map(_memory_mb, alive)))
            n += 1

    def _sample(self) -> list[int]:
        """Take the CPU times of all descendants that live. One whose parent died stays ours: we knew it before."""
        seen = _processes()
        ours = {pid for pid, start in self._known.items() if pid in seen and seen[pid].start == start}
        ours |= {self._root} & seen.keys()
        grows = True
        while grows:
            more = {pid for pid, one in seen.items() if one.parent in ours} - ours
            ours |= more
            grows = bool(more)
        self._known = {pid: seen[pid].start for pid in ours}
        self._cpu |= {(pid, seen[pid].start): seen[pid].cpu_s for pid in ours}
        self._jvms |= {(pid, seen[pid].start) for pid in ours if seen[pid].name == "java"}
        return list(ours)


@dataclass(frozen=True)
class _Process:
    name: str
    parent: int
    start: str
    cpu_s: float


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                head, _, tail = Path(entry.path, "stat").read_text().rpartition(")")
                fields = tail.split()
                cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
                found[int(entry.name)] = _Process(head.partition("(")[2], int(fields[1]), fields[19], cpu_s)
    return found


def _memory_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def line_through(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares through (x, y): slope and intercept."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return slope, mean_y - slope * mean_x


def rate(slope: float) -> float | None:
    """Units a second from seconds a unit; None where noise swallowed the slope: take larger sizes."""
    return 1 / slope if slope > 0 else None


def rounded(value: Any) -> Any:
    """Three significant digits, all the way down."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


def write_result(bench: str, figures: dict[str, Any]) -> None:
    """Print a benchmark's one line."""
    print(json.dumps({"bench": bench} | rounded(figures)), flush=True)


def corpus_folder() -> Path:
    """Where the private corpus is, if it is there."""
    return Path(os.environ.get("SPARK_ARXIV_CORPUS", REPOSITORY.parent / "shared" / "corpus"))


def corpus_pdfs() -> list[Path]:
    """The sample's PDFs, and those of the private corpus where it lies beside the checkout."""
    folders = (REPOSITORY / "sample", corpus_folder())
    return [path for folder in folders for path in sorted((folder / "pdf").glob("*.pdf"))]
