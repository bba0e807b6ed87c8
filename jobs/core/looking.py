"""Commands that look: `list`, `config`, `search`. `show` is in showing.py."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from types import ModuleType
from typing import Any

from jobs.core.cli import lake_parser, stage_parser, write_line
from jobs.core.config import flag_of, load_profile, resolve
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, Source, read_lake_file
from jobs.core.errors import EXIT_DONE
from jobs.core.lake import Lake, Part
from jobs.core.manifest import Counts
from jobs.core.planning import benchmarked_rates, seconds_for
from jobs.core.request import DEFAULT_PROFILE, parse_settings
from jobs.core.spark import SparkConfig
from jobs.core.stages import Stage, load, stage_named


def list_command(argv: list[str]) -> int:
    """One line a dataset: parts, rows, bytes, seconds that it took and that were forecast, counters."""
    lake = _open(lake_parser("list").parse_args(argv[1:]))
    write_line(
        f"{lake.lake_file.name} ({lake.address}) profile={lake.lake_file.profile} {_definition_line(lake.definition)}"
    )
    n_papers = sum(part.manifest.rows for part in _current_parts(lake, "papers"))
    for dataset in DATASETS:
        if parts := _current_parts(lake, dataset):
            write_line(_dataset_line(lake, dataset, parts, n_papers))
    return EXIT_DONE


def config_command(argv: list[str]) -> int:
    """Every setting of a stage: value, where it comes from, meaning. Needs no lake."""
    parser = stage_parser("config")
    parser.add_argument("stage", help="a stage")
    options, words = parser.parse_known_args(argv[1:])
    stage = stage_named(options.stage)
    lake_file = read_lake_file(options.lake) if options.lake else None
    profile = options.profile or (lake_file.profile if lake_file else DEFAULT_PROFILE)
    layers = {f"profile {profile}": load_profile(profile)}
    if lake_file:
        layers["lake"] = dataclasses.asdict(lake_file.definition) | dataclasses.asdict(lake_file.source)
    layers["flag"] = parse_settings(words)
    for cls in _classes(stage, load(stage)):
        resolved = resolve(cls, layers)
        for field in dataclasses.fields(cls):
            if cls is not Definition or field.name in stage.definition:
                value, origin = getattr(resolved.values, field.name), resolved.origins[field.name]
                write_line(f"{field.name} = {_plain(value)}  ({origin})  {field.metadata['meaning']}")
    return EXIT_DONE


def search_command(argv: list[str]) -> int:
    """The best passages for a question, from the lake's current index."""
    parser = lake_parser("search")
    parser.add_argument("question")
    parser.add_argument("-k", type=int, default=5, help="passages to show (default 5)")
    parser.add_argument("--mode", default="hybrid", choices=("hybrid", "dense", "bm25"), help="how to search")
    options = parser.parse_args(argv[1:])
    # By name: the hallway imports no room.
    searching = importlib.import_module("jobs.retrieval.searching")
    write_line("\n".join(searching.search_lake(_open(options), options.question, options.k, options.mode)))
    return EXIT_DONE


def describe_settings(stage: Stage, module: ModuleType) -> str:
    """The settings of a stage for its --help."""
    lines = []
    for cls in _classes(stage, module):
        for field in dataclasses.fields(cls):
            if cls is not Definition or field.name in stage.definition:
                mark = " [part of the key]" if field.metadata["affects_rows"] or cls is Definition else ""
                lines.append(f"  --{flag_of(field.name)} (default {_plain(field.default)}){mark}")
                lines.append(f"      {field.metadata['meaning']}")
    return "\n".join(lines)


def _classes(stage: Stage, module: ModuleType) -> list[type]:
    classes: list[type] = [Definition]
    if stage.name in ("fetch_snapshot", "fetch_pdfs"):
        classes.append(Source)
    if stage.engine == "spark":
        classes.append(SparkConfig)
    return [*classes, module.Config]


def _open(options: argparse.Namespace) -> Lake:
    return Lake.open(options.lake)


def _definition_line(definition: Definition) -> str:
    values = dataclasses.asdict(definition)
    return " ".join(f"{name}={_plain(value)}" for name, value in values.items() if value)


def _current_parts(lake: Lake, dataset: str) -> list[Part]:
    return [part for name in lake.parts(dataset) if (part := lake.current(dataset, name))]


def _dataset_line(lake: Lake, dataset: str, parts: list[Part], n_papers: int) -> str:
    counts = Counts.total(part.manifest.counts for part in parts)
    rows = sum(part.manifest.rows for part in parts)
    size = sum(file["bytes"] for part in parts for file in part.manifest.files.values())
    if dataset == "pdfs":
        size += sum(file.size_bytes for file in lake.disk.files(lake.pdf_files))
    rate = benchmarked_rates().get(parts[0].manifest.stage)
    forecast = f" forecast={seconds_for(rate, n_papers):.1f}" if rate else ""
    newest = max(part.manifest.created_at for part in parts)
    seconds = sum(part.manifest.seconds for part in parts)
    told = f"{dataset:<11} parts={len(parts)} rows={rows} bytes={size} seconds={seconds:.1f}{forecast}"
    return f"{told} made={newest} {counts}"


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value) if value else "(none)"
    return "(none)" if value is None else str(value)
