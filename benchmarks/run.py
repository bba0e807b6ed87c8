"""Run benchmarks one after another and write their figures into benchmarks/RESULTS.md.

Run: python -m benchmarks.run [NAME …] (default: all). A row of the same benchmark on the same hardware is replaced.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import REPOSITORY

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "RESULTS.md"
HEAD = """# Results

Made by `make bench`: one row a benchmark and hardware, newest run only. Figures of a run stand beside those of its
peers in the same run; compare inside a row, not between rows. CPU-seconds count every process that was started.

| benchmark | command | figures | commit | hardware | date |
|---|---|---|---|---|---|
"""


def main(names: list[str]) -> int:
    """Run the benchmarks named; the number of those that failed is returned."""
    known = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    if unknown := sorted(set(names) - set(known)):
        print(f"no benchmark {' '.join(unknown)}; expected some of: {' '.join(known)}", file=sys.stderr)
        return len(unknown)
    failed = 0
    for name in names or known:
        command = [sys.executable, "-m", f"benchmarks.bench_{name}"]
        ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        if ended.returncode:
            print(f"{name} ended with exit code {ended.returncode}; the lines above say why", file=sys.stderr)
            failed += 1
            continue
        line = ended.stdout.strip().splitlines()[-1]
        print(line, flush=True)
        note(name, json.loads(line))
    return failed


def note(name: str, figures: dict[str, Any], results: Path = RESULTS) -> None:
    """Put a row into the table; what stands around the table stays."""
    text = results.read_text() if results.is_file() else HEAD
    row = " | ".join((name, f"`python -m benchmarks.bench_{name}`", as_text(figures), commit(), hardware(), today()))
    lines = text.rstrip("\n").split("\n")
    is_old = [one.startswith(f"| {name} |") and f"| {hardware()} |" in one for one in lines]
    lines = [one for one, old in zip(lines, is_old, strict=True) if not old]
    last = max(number for number, one in enumerate(lines) if one.startswith("|"))
    results.write_text("\n".join([*lines[: last + 1], f"| {row} |", *lines[last + 1 :]]) + "\n")


def as_text(figures: dict[str, Any], prefix: str = "") -> str:
    """Figures as `name value` pairs, nested names joined by dots."""
    parts = []
    for name, value in figures.items():
        if isinstance(value, dict):
            parts.append(as_text(value, f"{prefix}{name}."))
        elif name != "bench":
            parts.append(f"{prefix}{name} {value}")
    return " · ".join(part for part in parts if part).replace("|", "/")


def commit() -> str:
    """The commit that was measured; `+` if the tree differs from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", "jobs", "benchmarks"], cwd=REPOSITORY, capture_output=True, text=True
    )
    return (head.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def hardware() -> str:
    """Processor, cores and memory."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory_gb:.0f} GB"


def today() -> str:
    """The day, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
