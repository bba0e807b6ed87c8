"""Write docs/datasets.md from jobs/core/contracts.py, or compare it (`--check`)."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.core.contracts import CHUNK_KINDS, DATASETS, FIELDS, STRUCTS, Dataset
from jobs.core.stages import STAGES

TARGET = Path(__file__).resolve().parents[1] / "docs" / "datasets.md"


def datasets_page() -> str:
    """The page that describes every dataset, as Markdown."""
    parts = [
        "# Datasets",
        "Made by `make docs` from `jobs/core/contracts.py`; do not edit. Where they lie and how they are published: "
        "[architecture.md](architecture.md).",
        "Nested types: "
        + "; ".join(f"`{name}` = {', '.join(f'{k} {v}' for k, v in inner.items())}" for name, inner in STRUCTS.items())
        + f". Kinds of chunks: {', '.join(CHUNK_KINDS)}. Times are UTC. A column marked ° is not part of the digest.",
    ]
    parts += [_section(dataset) for dataset in DATASETS.values()]
    return "\n\n".join(parts) + "\n"


def _section(dataset: Dataset) -> str:
    writer = next((stage.name for stage in STAGES.values() if dataset.name in stage.writes), "a command")
    lines = [f"## {dataset.name}", "", f"{dataset.meaning[0].upper()}{dataset.meaning[1:]}.", ""]
    key = f" Key: {', '.join(dataset.key)}." if dataset.key else ""
    files = f" Files: {', '.join(dataset.files)}." if dataset.files else ""
    lines.append(f"One part a {dataset.grain}; written by `{writer}`.{key}{files}")
    if dataset.columns:
        lines += ["", "| column | type | meaning |", "|---|---|---|"]
        for name in dataset.columns:
            field = FIELDS[name]
            lines.append(f"| {name}{'' if field.in_digest else ' °'} | {field.type} | {field.meaning} |")
    if dataset.reasons:
        lines += ["", "| reason | meaning | tried again | counts as read |", "|---|---|---|---|"]
        for name, reason in dataset.reasons.items():
            retried, counted = _yes(reason.is_retried), _yes(reason.counts_as_read)
            lines.append(f"| {name} | {reason.meaning} | {retried} | {counted} |")
    if dataset.marks:
        lines += ["", "| mark | meaning |", "|---|---|"]
        lines += [f"| {name} | {meaning} |" for name, meaning in dataset.marks.items()]
    return "\n".join(lines)


def _yes(is_true: bool) -> str:
    return "yes" if is_true else "no"


def main() -> int:
    """Write the page, or with --check say whether it is as it should be."""
    page = datasets_page()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(page)
        return 0
    if TARGET.is_file() and TARGET.read_text() == page:
        return 0
    sys.stderr.write(f"{TARGET} is not what jobs/core/contracts.py says. Run: make docs\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
