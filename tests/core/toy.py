"""Toy stages on the real lake and runner: a source, and a chain papers -> documents -> chunks over two windows.

Started as a script (`toy.py LAKE PAUSE_S`) it starts processes that make the chain, to be killed or to meet.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobs.core import durable, runner, tables
from jobs.core.config import setting
from jobs.core.contracts import Dataset
from jobs.core.definition import read_lake_file
from jobs.core.errors import ContractError, JobError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.core.reasons import Reason
from jobs.core.runner import Request
from jobs.core.stages import Stage
from jobs.core.windows import Window, parse_window

WINDOWS = ("2024-01-01_2024-01-08", "2024-01-08_2024-01-15")
SOURCE_FILE = "source.json"
RAN_FILE = "ran.log"  # a line for each block that was entered, in whatever process
ROWS = Dataset(
    "papers",
    "toy rows",
    "window",
    key=("paper_id", "version"),
    columns=("paper_id", "version", "text", "url"),
    reasons={"malformed": Reason("toy"), "not_there": Reason("toy", counts_as_read=False)},
)


@dataclass(frozen=True)
class Config:
    suffix: str = setting("", "added to every text", affects_rows=True)
    pause_s: float = setting(0.0, "pause between two rows")
    min_yield_01: float = setting(0.0, "least share of the rows that must be kept")


@dataclass(frozen=True)
class NewerConfig(Config):
    case: str = setting("as is", "a setting that version 2 brought", affects_rows=True)


@dataclass
class Toy:
    """A stage with its module in one: what the runner wants of a module are attributes."""

    stage: Stage
    VERSION: int = 1
    Config: type = Config
    ran: list[str] = field(default_factory=list)

    def run(self, config: Config, lake: Lake, tasks: list[PartTask]) -> None:
        for task in tasks:
            with lake.attempt(task) as attempt:
                self.note(lake, task)
                self.write(config, attempt, self.read(task))

    def read(self, task: PartTask) -> list[dict]:
        return [row for part in task.read_parts.values() for row in part.rows()]

    def write(self, config: Config, attempt: Attempt, rows: list[dict]) -> None:
        """Publish the rows with the suffix; what starts with `bad` is refused."""
        for row in rows:
            row["text"] += config.suffix
            time.sleep(config.pause_s)
        kept = [row for row in rows if not row["text"].startswith("bad")]
        write_rows(attempt, kept, refused={"malformed": len(rows) - len(kept)})

    def note(self, lake: Lake, task: PartTask) -> None:
        self.ran.append(task.part)
        with (lake.root / RAN_FILE).open("a") as file:
            file.write(f"{task.stage} {task.part}\n")


class Fetch(Toy):
    """Asks the outside world: what it got is part of its key."""

    def parts(self, config: Config, lake: Lake, windows: Sequence[Window]) -> list[str]:
        return ["toy"]

    def stale(self, config: Config, lake: Lake, current: Part, windows: Sequence[Window]) -> str | None:
        now = durable.sha256_file(lake.root / SOURCE_FILE)
        return None if now == current.manifest.extra["source"] else "the source changed"

    def read(self, task: PartTask) -> list[dict]:
        return []

    def write(self, config: Config, attempt: Attempt, rows: list[dict]) -> None:
        source = attempt.folder.parents[3] / SOURCE_FILE
        content = source.read_bytes()
        (attempt.folder / "metadata.jsonl").write_bytes(content)
        result = hashlib.sha256(content).hexdigest()
        n_rows = len(json.loads(content))
        attempt.finish(Counts(n_rows, n_rows), rows=n_rows, result=result, extra={"source": result})


class Filter(Toy):
    """Cuts the source into windows."""

    def inputs(self, lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
        return [lake.input_of("snapshots", "toy")]

    def read(self, task: PartTask) -> list[dict]:
        rows = json.loads(task.part_of("snapshots").file("metadata.jsonl").read_bytes())
        return [row_of(paper_id, text) for part, paper_id, text in rows if part == task.part]


class CheckedFilter(Filter):
    """Has a last check of what it published, which fails."""

    CHECKS_BEFORE_POINTER = True

    def write(self, config: Config, attempt: Attempt, rows: list[dict]) -> None:
        super().write(config, attempt, rows)
        attempt.before_pointer = self.check

    def check(self, folder: Path, key: str) -> None:
        raise ContractError(f"{folder} answers wrongly")


def fetch() -> Fetch:
    return Fetch(Stage("fetch_snapshot", "corpus", "python", (), ("snapshots",), "source", "papers"))


def filter_papers(version: int = 1, config: type = Config) -> Filter:
    reads, definition = ("snapshots",), ("categories",)
    stage = Stage("filter_papers", "corpus", "python", reads, ("papers",), "window", "papers", definition)
    return Filter(stage, version, config)


def checked_filter() -> CheckedFilter:
    return CheckedFilter(filter_papers().stage)


def extract() -> Toy:
    return Toy(Stage("extract_text", "corpus", "python", ("papers",), ("documents",), "window", "papers"))


def chunk() -> Toy:
    return Toy(Stage("chunk_documents", "corpus", "python", ("documents",), ("chunks",), "window", "papers"))


def make(
    toy: Toy, lake: Lake, *, upgrade: bool = False, windows: tuple[str, ...] = WINDOWS, **flags: object
) -> list[str]:
    """Make a toy stage's parts as the command line does; the parts whose block ran are returned."""
    asked = request(lake, upgrade=upgrade, windows=windows, **flags)
    toy.ran.clear()
    runner.make_parts(toy.stage, toy, asked, runner.survey(toy.stage, asked, toy))
    return list(toy.ran)


def make_chain(lake: Lake, **flags: object) -> dict[str, list[str]]:
    """Make the whole chain; dataset -> the parts whose block ran."""
    return {toy.stage.dataset: make(toy, lake, **flags) for toy in (fetch(), filter_papers(), extract(), chunk())}


def request(lake: Lake, *, upgrade: bool = False, windows: tuple[str, ...] = WINDOWS, **flags: object) -> Request:
    grid = lake.definition.grid
    return Request(lake, {"flag": flags}, tuple(parse_window(name, grid) for name in windows), upgrade=upgrade)


def task_of(toy: Toy, lake: Lake, part: str = WINDOWS[0], **flags: object) -> PartTask:
    """The task of one part of a toy stage."""
    return next(task for task in runner.survey(toy.stage, request(lake, **flags), toy) if task.part == part)


def keys(lake: Lake) -> dict[str, str | None]:
    """Every part of the chain with its current key."""
    datasets = ("snapshots", "papers", "documents", "chunks")
    return {
        f"{dataset}/{part}": lake.current_key(dataset, part) for dataset in datasets for part in lake.parts(dataset)
    }


def write_source(lake: Lake, rows: list[tuple[str, str, str]]) -> None:
    """The toy's outside world: rows of (window, paper id, text)."""
    (lake.root / SOURCE_FILE).write_text(json.dumps(rows))


def rows_of_two_windows() -> list[tuple[str, str, str]]:
    return [(WINDOWS[i % 2], f"2401.0000{i}", f"text {i}") for i in range(6)]


def row_of(paper_id: str, text: str, url: str = "here") -> dict:
    return {"paper_id": paper_id, "version": 1, "text": text, "url": url}


def write_rows(attempt: Attempt, rows: list[dict], refused: dict[str, int] | None = None) -> None:
    """Write toy rows into an attempt and finish it."""
    table = tables.make_table(ROWS, rows)
    tables.write_tables(attempt.folder / tables.ROWS_FILE, ROWS.schema(), [table])
    counts = Counts.of(ROWS, len(rows), refused or {})
    attempt.finish(counts, rows=len(rows), digest=tables.digest_of(tables.row_hashes(ROWS, table)))


def serve_makers(root: Path, pause_s: float) -> None:
    """Start processes that make the chain: `start` answers with a process id, `wait` with the exit code of one.

    They are forks of this process, in which everything is imported, so that a kill meets writing and not importing.
    """
    import pyarrow.parquet  # noqa: F401

    lake_file = read_lake_file(root)
    assert lake_file is not None
    for line in sys.stdin:
        if line.strip() == "start":
            pid = os.fork()
            if pid == 0:
                os._exit(exit_code_of_chain(Lake(root, lake_file), pause_s))
            answer = pid
        else:
            answer = os.waitstatus_to_exitcode(os.wait()[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def exit_code_of_chain(lake: Lake, pause_s: float) -> int:
    try:
        make_chain(lake, pause_s=pause_s)
    except JobError as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    serve_makers(Path(sys.argv[1]), float(sys.argv[2]))
