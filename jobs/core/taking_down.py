"""`prune --paper`: note that a paper is out; say what holds it still and which command makes that anew without it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs.core import owned, takedowns
from jobs.core.contracts import DATASETS
from jobs.core.definition import read_ids
from jobs.core.errors import InputMissingError
from jobs.core.holding import Holding
from jobs.core.lake import Lake, Part
from jobs.core.manifest import KEY_LENGTH

log = logging.getLogger(__name__)

# Nothing new may begin from these, and none of them is made anew for certain: too few pairs, or none, may be left.
WITHDRAWN = ("adapters", "models", "reports")
_VERSION = re.compile(r"v[1-9][0-9]*$")


def take_down(lake: Lake, asked: Sequence[str], why: str | None, *, is_dry: bool) -> frozenset[str]:
    """Note the papers as taken down; their ids are returned. Raises InputMissingError for one that is not there."""
    paper_ids = frozenset(map(paper_id_of, read_ids(tuple(asked))))
    windows: dict[str, set[str]] = {}
    for part, found in Holding(lake, paper_ids).current():
        for paper_id in found:
            windows.setdefault(paper_id, set()).update(_windows_of(part))
    if unknown := sorted(paper_ids - windows.keys() - takedowns.taken_down(lake)):
        raise InputMissingError(
            f"{', '.join(unknown)}: no current part of {lake.address} holds that paper. Expected an arXiv id such as "
            "2401.00001 of a paper that came in; `python -m jobs show ID` tells what a lake has. Nothing was changed."
        )
    if paper_ids and not is_dry:
        takedowns.add(lake, {paper_id: windows.get(paper_id, ()) for paper_id in paper_ids}, why)
        reviews = owned.rows_of(lake, "reviews")  # they quote the paper where a reviewer edited a pair
        owned.publish(lake, "reviews", [row for row in reviews if row["paper_id"] not in paper_ids])
        log.info("taken down: %s", ", ".join(sorted(paper_ids)))
    return paper_ids


def paper_id_of(text: str) -> str:
    """The paper's id from what an owner may write: with `arXiv:` before it, or a version behind."""
    return _VERSION.sub("", text.strip().removeprefix("arXiv:").removeprefix("arxiv:"))


def to_withdraw(lake: Lake, gone: Holding) -> Iterator[Path]:
    """Folders of current parts that may be current no longer, as they hold a paper of `gone`."""
    for part, _ in gone.current((*WITHDRAWN, "drafts")):
        if part.manifest.dataset != "drafts" or _is_replaced(lake, gone, part):
            yield part.folder


def what_is_left(lake: Lake, paper_ids: frozenset[str]) -> Iterator[str]:
    """Lines for whoever took papers down: what holds them still, why, and what ends it."""
    if not paper_ids:
        return
    names = ", ".join(sorted(paper_ids))
    left = list(Holding(lake, paper_ids).current())
    by_dataset: dict[str, list[str]] = {}
    windows: set[str] = set()
    for part, _ in left:
        by_dataset.setdefault(part.manifest.dataset, []).append(part.manifest.part)
        windows.update(_windows_of(part))
    for dataset, parts in by_dataset.items():
        yield f"still in {dataset}: {', '.join(parts)}"
    if left:
        flags = "".join(f" --window {window}" for window in sorted(windows)) or " --only all"
        flags += "" if lake.parts("drafts") else " --goal index"  # no teacher was ever asked here
        yield f"finish with: python -m jobs run --lake {lake.address}{flags}"
        yield f"  which makes these anew without {names} and then removes what they were"
    else:
        yield f"no current part holds {names}"
    yield from _release_lines(lake, paper_ids)
    yield f"snapshots keep the public metadata of {names} as their source has it; filter_papers refuses it: taken_down"


def _release_lines(lake: Lake, paper_ids: frozenset[str]) -> Iterator[str]:
    release = lake.current("releases", "all")
    if release is None:
        return
    digits = release.manifest.key[:KEY_LENGTH]
    yield f"release {digits} serves on until that run; the app shows nothing of the paper from now on"
    key = release.manifest.extra.get("names", {}).get("adapters", "")
    if key and lake.has("adapters", "all", key):
        learnt = Holding(lake, paper_ids).of(lake.published("adapters", "all", key))
        if learnt:
            yield (
                f"its student learnt from {', '.join(sorted(learnt))}, and weights cannot forget one paper: that run "
                "trains another without it, or lets quoted sentences answer alone"
            )


def _windows_of(part: Part) -> list[str]:
    made = part.manifest
    return [made.part.partition("/")[0]] if DATASETS[made.dataset].grain.startswith("window") else []


def _is_replaced(lake: Lake, gone: Holding, part: Part) -> bool:
    """Whether the window has a complete set of shards over chunks without the papers: one of another number, then."""
    window = part.manifest.part.partition("/")[0]
    chunks = lake.current("chunks", window)
    if chunks is None or gone.of(chunks):
        return False
    made_now: dict[str, int] = {}
    for name in lake.parts("drafts"):
        other = lake.current("drafts", name) if name.startswith(f"{window}/") else None
        if other is not None and other.manifest.inputs and other.manifest.inputs[0].digest == chunks.manifest.digest:
            n_shards = name.rpartition("-of-")[2]
            made_now[n_shards] = made_now.get(n_shards, 0) + 1
    return any(n == int(n_shards) for n_shards, n in made_now.items())
