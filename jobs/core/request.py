"""From flags to a request: which lake, its definition, the settings' layers and the windows asked for."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from jobs.core import definition as definitions
from jobs.core.config import Settings, load_profile, parse_text, refuse_unknown, resolve
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Lake
from jobs.core.runner import Request
from jobs.core.spark import SparkConfig
from jobs.core.stages import GOALS, STAGES, load
from jobs.core.windows import Window, last_complete_window, parse_day, parse_window, windows_between

log = logging.getLogger(__name__)

DEFAULT_PROFILE = "demo"
LONGEST_WEEKLY_RANGE = dt.timedelta(days=2 * 366)
_COMMON = (Definition, Source, SparkConfig)


def setting_classes() -> list[type]:
    """Every dataclass of settings: the common ones and those of the stages."""
    from jobs.core.pruning import PruneConfig  # it imports the command line, which imports us

    return [*_COMMON, PruneConfig, *(load(stage).Config for stage in STAGES.values())]


def parse_settings(words: list[str]) -> Settings:
    """Settings from the words that are no option of the command: `--name VALUE` or `--name=VALUE`.

    Raises UsageError for an unknown name (with the nearest known one) or a value of the wrong type.
    """
    classes = setting_classes()
    owner = {field.name: cls for cls in classes for field in dataclasses.fields(cls)}
    settings: Settings = {}
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise UsageError(f"{word!r} is not understood. Expected --setting VALUE.")
        flag, has_value, text = word[2:].partition("=")
        name = flag.replace("-", "_")
        refuse_unknown([name], set(owner), "the command line")
        if not has_value:
            if not words:
                raise UsageError(f"--{flag} has no value. Expected --{flag} VALUE.")
            text = words.pop(0)
        settings[name] = parse_text(owner[name], name, text)
    return _absolute(settings)


def make_request(options: argparse.Namespace, words: list[str], *, may_create: bool) -> Request:
    """Open (or, for a command that makes parts, create) the lake and resolve what was asked.

    With `options.is_dry` nothing is written. Raises UsageError if the flags ask for another definition than the lake's,
    unless --redefine.
    """
    flags = parse_settings(words)
    is_dry = getattr(options, "is_dry", False)
    address = _address(options, flags)
    lake_file = definitions.read_lake_file(address)
    profile = options.profile or (lake_file.profile if lake_file else DEFAULT_PROFILE)
    layers = {f"profile {profile}": _checked_profile(profile), "flag": flags}
    if lake_file is None:
        if not may_create:
            Lake.open(address)  # says that there is none
        lake_file = _new_lake_file(options, layers, address, profile)
        lake = Lake(address, lake_file) if is_dry else Lake.create(address, lake_file)
    else:
        lake_file = _redefined(options, lake_file, flags, address, is_dry=is_dry)
        lake = Lake(address, dataclasses.replace(lake_file, source=_overridden(lake_file.source, flags)))
    goal = options.goal or GOALS[-1]
    windows = _windows(options, lake, layers) if may_create or _has_range(options) else ()
    return Request(lake, layers, windows, goal, options.only, options.upgrade)


def papers_by_day(layers: dict[str, Settings], definition: Definition, source: Source) -> dict[dt.date, int]:
    """How many papers of a file or folder pass the lake's filters, by day; read from the source, before any stage."""
    first_stage: ModuleType = load(STAGES["fetch_snapshot"])
    found: dict[dt.date, int] = first_stage.papers_by_day(
        resolve(first_stage.Config, layers).values, definition, source
    )
    return found


def _address(options: argparse.Namespace, flags: Settings) -> str:
    named = options.lake or os.environ.get("LAKE")
    if named:
        return str(named)
    profile = _checked_profile(options.profile or DEFAULT_PROFILE)
    source = resolve(Source, _source_layers(profile, flags)).values
    definition = resolve(Definition, {"profile": profile, "flag": flags}).values
    return str(definitions.default_root(definition, source, options.name))


def _source_layers(profile: Settings, flags: Settings) -> dict[str, Settings]:
    """An own source replaces the profile's whole: a folder of PDFs must not meet the sample's metadata."""
    names = {field.name for field in dataclasses.fields(Source)}
    if names & flags.keys():
        profile = {name: value for name, value in profile.items() if name not in names}
    return {"profile": profile, "flag": flags}


def _new_lake_file(
    options: argparse.Namespace, layers: dict[str, Settings], address: str, profile_name: str
) -> LakeFile:
    profile, flags = layers.values()
    source = resolve(Source, _source_layers(profile, flags)).values.with_pdfs()
    definition = resolve(Definition, layers).values
    definition = dataclasses.replace(definition, ids=definitions.read_ids(definition.ids))
    if "grid" not in flags and "grid" not in profile:
        definition = _grid_for_range(options, layers, definition, source)
    return LakeFile(options.name or Path(address).resolve().name, definition, source, profile_name)


def _grid_for_range(
    options: argparse.Namespace, layers: dict[str, Settings], definition: Definition, source: Source
) -> Definition:
    """Years instead of weeks for a corpus of more than two years: hundreds of almost empty windows help nobody."""
    if source.kind in definitions.REMOTE_KINDS:
        return definition
    if options.from_day and options.to_day:
        span = (parse_day(options.from_day), parse_day(options.to_day))
    else:
        days = papers_by_day(layers, definition, source)
        if not days:
            return definition
        span = (min(days), max(days))
    if span[1] - span[0] <= LONGEST_WEEKLY_RANGE:
        return definition
    log.info("grid=year: the papers span %s to %s, more than two years (--grid week keeps weeks)", *span)
    return dataclasses.replace(definition, grid="year")


def _redefined(
    options: argparse.Namespace, lake_file: LakeFile, flags: Settings, address: str, *, is_dry: bool
) -> LakeFile:
    asked = dict(flags)
    if "ids" in asked:
        asked["ids"] = definitions.read_ids(asked["ids"])
    changed = definitions.differences(lake_file.definition, asked)
    if not changed:
        return lake_file
    said = "; ".join(f"{name} is {old!r}, asked {new!r}" for name, (old, new) in changed.items())
    if not options.redefine:
        raise UsageError(
            f"Lake {address} is about something else: {said}. Use another lake (--lake DIR), or change this one with "
            "--redefine (python -m jobs plan --redefine lists what it would make again)."
        )
    definition = dataclasses.replace(lake_file.definition, **{name: new for name, (_, new) in changed.items()})
    new_file = dataclasses.replace(lake_file, definition=definition)
    if not is_dry:
        Lake.create(address, new_file)
        log.info("redefined %s: %s", address, said)
    return new_file


def _overridden(source: Source, flags: Settings) -> Source:
    given = {field.name: flags[field.name] for field in dataclasses.fields(Source) if field.name in flags}
    return dataclasses.replace(source, **given).with_pdfs()


def _checked_profile(name: str) -> Settings:
    profile = load_profile(name)
    known = {field.name for cls in setting_classes() for field in dataclasses.fields(cls)}
    refuse_unknown(profile, known, f"profile {name}")
    return profile


def _has_range(options: argparse.Namespace) -> bool:
    return bool(options.window or options.from_day or options.to_day)


def _windows(options: argparse.Namespace, lake: Lake, layers: dict[str, Settings]) -> tuple[Window, ...]:
    grid = lake.definition.grid
    if options.window:
        if options.from_day or options.to_day:
            raise UsageError("--window together with --from or --to. Expected one or the other.")
        return tuple(sorted({parse_window(text, grid) for text in options.window}))
    if options.from_day or options.to_day:
        if not (options.from_day and options.to_day):
            raise UsageError("Only one of --from and --to. Expected both (days, both included), or neither.")
        first, last = parse_day(options.from_day), parse_day(options.to_day)
        windows = windows_between(first, last, grid)
        if (windows[0].start, windows[-1].end - dt.timedelta(days=1)) != (first, last):
            log.info("%s to %s is rounded out to %s windows: %s to %s", first, last, grid, windows[0], windows[-1])
        return tuple(windows)
    return _default_windows(lake, layers)


def _default_windows(lake: Lake, layers: dict[str, Settings]) -> tuple[Window, ...]:
    source, grid = lake.lake_file.source, lake.definition.grid
    if source.kind in definitions.REMOTE_KINDS:
        return (last_complete_window(dt.datetime.now(dt.UTC), grid),)
    days = papers_by_day(layers, lake.definition, source)
    if not days:
        raise ContractError(
            f"No paper of {source.metadata or source.pdfs} passes the lake's filters "
            f"(categories {list(lake.definition.categories)}, keywords {list(lake.definition.keywords)}). "
            "Widen them, or give another file."
        )
    return tuple(windows_between(min(days), max(days), grid))


def _absolute(settings: dict[str, Any]) -> dict[str, Any]:
    """Paths of flags are relative to where the command is given; kept absolute from here on."""
    made = dict(settings)
    for name in ("metadata", "pdfs"):
        value = made.get(name)
        if value and "://" not in value:
            made[name] = str(Path(value).resolve())
    return made
