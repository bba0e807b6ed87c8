"""Train the tiny base in processes that may be killed: forks of one in which everything is imported.

`start WORK` answers with a process id, `wait` with the exit code of the process that ended.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a fork of a process with threads of its own may hang

from jobs.core.errors import JobError
from jobs.tuning import bases, fitting, loading

RECIPE = fitting.Recipe(192, 5, 1, 2, 0.01, 8, 16, 0.1, True, False, 1, 0)
CPU = loading.Precision("float32", "cpu", "test")
ROWS: list[fitting.Row] = [
    {
        "prompt": [{"role": "user", "content": f"What is number {number}?"}],
        "completion": [{"role": "assistant", "content": f"It is the number that comes after {number - 1}."}],
    }
    for number in range(40)
]


def train(base_folder: Path, work: Path) -> fitting.Fit:
    base = bases.open_base(bases.TINY, base_folder, "seed 0")
    return fitting.fit(base, ROWS, RECIPE, CPU, work)


def exit_code_of_training(base_folder: Path, work: Path) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        train(base_folder, work)
    except JobError as error:
        return error.exit_code
    return 0


def serve(base_folder: Path) -> None:
    import peft  # noqa: F401
    import trl  # noqa: F401

    loading.be_quiet()
    for line in sys.stdin:
        command, _, work = line.strip().partition(" ")
        if command == "start":
            answer = os.fork()
            if answer == 0:
                os._exit(exit_code_of_training(base_folder, Path(work)))
        else:
            answer = os.waitstatus_to_exitcode(os.wait()[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
