"""From a stage and a request to parts made: what is done, what is to do, why, and doing it.

A stage's module offers `VERSION`, `Config` and `run(config, lake, tasks)`. Where the rule of this file does not fit,
it also offers `parts(config, lake, windows)` (names of its parts), `inputs(lake, part)`, or
`stale(config, lake, part, windows)` (why a part that is made has to be made again, for stages that ask the outside
world). A true `CHECKS_BEFORE_POINTER` says that a published folder is not yet good enough to be current;
`PRUNES_AFTER`, what is swept once the stage's parts are made: the `lake`, or only the `pdfs` that are read by now.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from jobs.core import durable
from jobs.core.config import Resolved, Settings, resolve
from jobs.core.definition import Definition
from jobs.core.errors import ContractError, InputMissingError, IntegrityError, JobError, YieldError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts, Input, Manifest, make_key
from jobs.core.stages import STAGES, Stage, load
from jobs.core.windows import Window

log = logging.getLogger(__name__)

OPTIONAL_INPUTS = ("takedowns", "reviews", "questions")


@dataclass(frozen=True)
class Request:
    """What a command was asked for, the same for every stage of a run."""

    lake: Lake
    layers: dict[str, Settings]
    windows: tuple[Window, ...] = ()
    goal: str = "student"
    only: str | None = None
    upgrade: bool = False

    def config_of(self, module: ModuleType) -> Resolved:
        """The stage's settings."""
        return resolve(module.Config, self.layers)


def survey(stage: Stage, request: Request, module: ModuleType | None = None) -> list[PartTask]:
    """Every part that the stage is asked for, with its state and why. Cheap: reads pointers and manifests only."""
    module = module or load(stage)
    config = request.config_of(module)
    parts = _part_names(stage, module, config.values, request)
    datasets = [stage.dataset] if hasattr(module, "inputs") else [stage.dataset, *stage.reads]
    with request.lake.looking_ahead(datasets, parts):
        return [_task_of(stage, module, config, request, part) for part in parts]


def make_parts(stage: Stage, module: ModuleType, request: Request, tasks: Sequence[PartTask]) -> None:
    """Make the parts that are to do, then hold the stage's yield floor over all parts asked for.

    Raises InputMissingError if a part's input was never made, YieldError below the floor.
    """
    require_inputs(stage, tasks)
    config = request.config_of(module).values
    to_do = [task for task in tasks if task.state == "to do"]
    if not getattr(module, "CHECKS_BEFORE_POINTER", False):  # else a folder may be there that failed its check
        to_do = [task for task in to_do if not _repoint(request.lake, task)]
    if to_do:
        module.run(config, request.lake, to_do)
        if prunes := getattr(module, "PRUNES_AFTER", ""):
            _prune(request, prunes)
    report(stage, request.lake, tasks, getattr(config, "min_yield_01", None))


def _prune(request: Request, what: str) -> None:
    """Sweep the lake. What was made serves already, so a failure is told and fails nothing."""
    from jobs.core import pruning  # it imports the command line, which imports us

    config: pruning.PruneConfig = resolve(pruning.PruneConfig, request.layers).values
    sweep = {"lake": pruning.prune, "pdfs": pruning.prune_pdfs}[what]
    try:
        sweep(request.lake, config, log.info)
    except (JobError, OSError) as error:
        log.warning(
            "the lake was not pruned: %s. What was made stands; sweep it later: python -m jobs prune --lake %s",
            error,
            request.lake.address,
        )


def require_inputs(stage: Stage, tasks: Sequence[PartTask]) -> None:
    """Raise InputMissingError for the first part whose input was never made."""
    for task in tasks:
        if task.state == "blocked":
            raise InputMissingError(f"{stage.name} {task.part}: {task.why}")


def report(stage: Stage, lake: Lake, tasks: Sequence[PartTask], floor_01: float | None) -> None:
    """Log what the parts hold together. Raises YieldError if the share kept is below the floor; 0 of 0 passes."""
    with lake.looking_ahead([stage.dataset], [task.part for task in tasks]):
        parts = [part for task in tasks if (part := lake.current(task.dataset, task.part))]
    counts = Counts.total(part.manifest.counts for part in parts)
    made = sum(task.state == "to do" for task in tasks)
    log.info(
        "%s parts=%d made=%d rows=%d %s", stage.name, len(parts), made, sum(p.manifest.rows for p in parts), counts
    )
    if floor_01 is not None and counts.read and counts.kept / counts.read < floor_01:
        raise YieldError(
            f"{stage.name} kept {counts.kept} of {counts.read} ({counts.kept / counts.read:.1%}), its floor is "
            f"{floor_01:.1%}. Refused: {counts.dropped}. Look at the reasons (python -m jobs show {stage.dataset} "
            f"{tasks[0].part}); lower the floor with --min-yield-01 if this is what you expect."
        )


def key_settings(stage: Stage, lake: Lake, config: Resolved) -> Settings:
    """The settings in the stage's key: its own that affect rows, and its share of the lake's definition."""
    definition = {f"lake.{name}": getattr(lake.definition, name) for name in stage.definition}
    plain: Settings = json.loads(durable.canonical_json(definition | config.affecting_rows()))
    return plain


def _settings_at_default(stage: Stage, lake: Lake, config: Resolved) -> set[str]:
    """Names of the key's settings that have their default value."""
    found = {f"lake.{name}" for name in stage.definition if getattr(lake.definition, name) == getattr(Definition, name)}
    fields = dataclasses.fields(config.values)
    return found | {field.name for field in fields if getattr(config.values, field.name) == field.default}


def _part_names(stage: Stage, module: ModuleType, config: Any, request: Request) -> list[str]:
    if hasattr(module, "parts"):
        names: list[str] = module.parts(config, request.lake, request.windows)
        return names
    if stage.grain == "all":
        return ["all"]
    return [window.name for window in request.windows]


def _task_of(stage: Stage, module: ModuleType, config: Resolved, request: Request, part: str) -> PartTask:
    lake = request.lake
    settings = key_settings(stage, lake, config)
    inputs, read_parts, missing = _inputs(stage, module, lake, part)
    current = lake.current(stage.dataset, part)
    key = make_key(stage.name, module.VERSION, settings, inputs)
    if missing:
        state, why = "blocked", missing
    elif current is None:
        state, why = "to do", "never made"
    else:
        at_default = _settings_at_default(stage, lake, config)
        why = _difference(current.manifest, module.VERSION, settings, at_default, inputs, key, request.upgrade)
        if not why and hasattr(module, "stale"):
            why = module.stale(config.values, lake, current, request.windows) or ""
        state = "to do" if why else "done"
    return PartTask(
        stage=stage.name,
        stage_version=module.VERSION,
        dataset=stage.dataset,
        part=part,
        request_key=key,
        inputs=inputs,
        settings=settings,
        config=json.loads(durable.canonical_json(dataclasses.asdict(config.values))),
        state=state,
        why=why or _age(current, module.VERSION),
        seen_key=current.manifest.key if current else None,
        read_parts=read_parts,
        windows=request.windows,
    )


def _inputs(
    stage: Stage, module: ModuleType, lake: Lake, part: str
) -> tuple[tuple[Input, ...], dict[str, Part], str | None]:
    """Inputs of a part, the parts themselves, and a sentence if one was never made."""
    if hasattr(module, "inputs"):
        found: list[tuple[Input, Part | None]] = module.inputs(lake, part)
    else:
        found = [lake.input_of(dataset, part) for dataset in stage.reads]
    missing = [one for one, there in found if there is None and one.dataset not in OPTIONAL_INPUTS]
    sentence = None
    if missing:
        maker = next(other for other in STAGES.values() if missing[0].dataset in other.writes)
        window = f" --window {missing[0].part}" if maker.grain == "window" else ""
        sentence = (
            f"{missing[0].dataset}/{missing[0].part} is missing: no CURRENT. "
            f"Make it with: python -m jobs {maker.name} --lake {lake.address}{window}"
        )
    return tuple(one for one, _ in found), {one.dataset: there for one, there in found if there}, sentence


def _difference(
    made: Manifest,
    version: int,
    settings: Settings,
    at_default: set[str],
    inputs: tuple[Input, ...],
    key: str,
    upgrade: bool,
) -> str:
    """Why the part must be made again, in words; empty if it is what was asked for.

    A part of an older stage version stands: its key is computed with its own version and the settings that existed
    then; a setting that is new counts only if it is not at its default.
    """
    if made.request_key == key:
        return ""
    if made.stage_version > version:
        return f"made by stage version {made.stage_version}, this program has {version}"
    if made.stage_version < version:
        if upgrade:
            return f"made by stage version {made.stage_version}, --upgrade asks for {version}"
        known = {name: value for name, value in settings.items() if name in made.settings or name not in at_default}
        if make_key(made.stage, made.stage_version, known, inputs) == made.request_key:
            return ""
    changed = [
        f"{name} {made.settings.get(name)!r} -> {settings.get(name)!r}"
        for name in sorted(made.settings.keys() | settings.keys())
        if made.settings.get(name) != settings.get(name)
    ]
    before = {(one.dataset, one.part): one.digest for one in made.inputs}
    now = {(one.dataset, one.part): one.digest for one in inputs}
    changed += [
        f"{name[0]}/{name[1]} changed"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if not changed:
        raise ContractError(f"{made.dataset}/{made.part}: key {made.key[:12]} does not follow from its own manifest.")
    return "; ".join(changed)


def _age(current: Part | None, version: int) -> str:
    if current is not None and current.manifest.stage_version < version:
        return f"done by older stage version {current.manifest.stage_version}; --upgrade makes it anew with {version}"
    return "up to date"


def _repoint(lake: Lake, task: PartTask) -> bool:
    """Whether a part with the asked key was published earlier (a setting changed back); then it is made current."""
    if not lake.has(task.dataset, task.part, task.request_key):
        return False
    if lake.current_key(task.dataset, task.part) == task.request_key:
        return False  # it is current and was found stale: the source has news
    try:
        lake.point(task.dataset, task.part, task.request_key)
    except IntegrityError as error:
        log.warning("%s %s was made before but is damaged, so it is made again: %s", task.stage, task.part, error)
        return False
    log.info("%s %s was made before with these settings and inputs: current again", task.stage, task.part)
    return True
