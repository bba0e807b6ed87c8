"""`prune`: remove what nothing refers to any more, and all that holds a paper which was taken down.

It may be killed at any moment and run again: a part that is removed loses its manifest first, so what is left of it is
never taken for a part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.core import durable, takedowns, taking_down
from jobs.core.cli import lake_parser, write_line
from jobs.core.config import load_profile, resolve, setting
from jobs.core.contracts import DATASETS
from jobs.core.disk import WORK
from jobs.core.errors import EXIT_DONE, LockedError, UsageError
from jobs.core.holding import Holding
from jobs.core.lake import Lake, Part
from jobs.core.listing import ATTEMPTS, begun_parts, entries, is_held, key_folders, pdf_rows
from jobs.core.manifest import CURRENT_FILE, KEY_LENGTH, LOCK_FILE, MANIFEST_FILE, Manifest
from jobs.core.spark import ARCHIVES, archive_folder
from jobs.core.stages import STAGES

PINNED_FILE = "PINNED"  # in a release's folder: its owner wants it kept
KEPT_BESIDE_CURRENT = {"snapshots": 1, "releases": 1}  # newest other keys of a part, to go back to
# They stand without what they were made from, so a paper that was taken down does not stay for their sake.
DERIVED = ("adapters", "models", "reports", "releases")


@dataclass(frozen=True)
class PruneConfig:
    """What `prune` may remove beyond what nothing refers to."""

    keep_pdfs: str = setting(
        "always",
        "until_extracted: prune removes a PDF whose document is published; a newer reader must fetch it again",
        choices=("always", "until_extracted"),
    )
    quiet_hours: float = setting(
        72.0, "on a store prune takes nothing younger: writers and readers on other machines hold no lock that it sees"
    )


def prune_command(argv: list[str]) -> int:
    """Remove parts, attempts, work and PDFs that nothing refers to any more, and say what and how much."""
    parser = lake_parser("prune")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--keep-pdfs", choices=("always", "until_extracted"), help="when a PDF may go")
    parser.add_argument("--quiet-hours", type=float, metavar="H", help="on a store: what is younger stays (72)")
    told = "take this paper down, for good, or those of a file, one a line; may be repeated"
    parser.add_argument("--paper", metavar="ID", action="append", default=[], help=told)
    parser.add_argument("--why", metavar="TEXT", help="with --paper: what is noted beside it")
    options = parser.parse_args(argv[1:])
    if options.why and not options.paper:
        raise UsageError("--why without --paper. Expected the paper that it is about: --paper 2401.00001.")
    lake = Lake.open(options.lake)
    paper_ids = taking_down.take_down(lake, options.paper, options.why, is_dry=options.dry_run)
    given = {"keep_pdfs": options.keep_pdfs, "quiet_hours": options.quiet_hours}
    flags = {name: value for name, value in given.items() if value is not None}
    profile = lake.lake_file.profile
    config: PruneConfig = resolve(PruneConfig, {f"profile {profile}": load_profile(profile), "flag": flags}).values
    prune(lake, config, write_line, is_dry=options.dry_run, also=paper_ids)
    for line in taking_down.what_is_left(lake, paper_ids):
        write_line(line)
    return EXIT_DONE


def prune(
    lake: Lake,
    config: PruneConfig,
    tell: Callable[[str], None],
    *,
    is_dry: bool = False,
    also: frozenset[str] = frozenset(),
) -> None:
    """Sweep the whole lake; `tell` gets a line for everything that is removed, and the sum.

    `also`: papers to treat as taken down, for a dry run, which notes nothing. Raises IntegrityError if a pointer names
    nothing readable.
    """
    lake.disk.refresh()
    # First: a stage that ends while we look names its inputs only after `kept_folders` has read the manifests.
    read_now = _datasets_read_now(lake)
    gone = Holding(lake, takedowns.taken_down(lake) | also)
    broom = _Broom(lake, tell, is_dry)
    withdrawn = _withdraw(lake, gone, broom)
    kept = kept_folders(lake, gone, withdrawn)
    for dataset in DATASETS:
        _prune_dataset(lake, dataset, kept, withdrawn, read_now, config, broom)
    _prune_pdfs(lake, kept, config, gone.paper_ids, broom)
    _prune_archives(lake, broom)
    tell(f"{broom.verb} {broom.n_removed} things, {broom.size_bytes} bytes; {len(kept)} parts are kept")


def prune_pdfs(lake: Lake, config: PruneConfig, tell: Callable[[str], None]) -> None:
    """Sweep the PDFs whose documents are published, if they may go: a backfill's runs end before any release."""
    if config.keep_pdfs == "until_extracted":
        lake.disk.refresh()
        broom = _Broom(lake, tell, is_dry=False, tells_each=False)
        _prune_pdfs(lake, kept_folders(lake), config, takedowns.taken_down(lake), broom)
        tell(f"removed {broom.n_removed} PDFs that are read by now, {broom.size_bytes} bytes")


def _withdraw(lake: Lake, gone: Holding, broom: _Broom) -> frozenset[Path]:
    """Take CURRENT from parts that hold a paper which was taken down and that no run would make anew by itself.

    What a release serves by stays on disk as long as that release; but nothing new may begin from it.
    """
    withdrawn = set()
    for folder in sorted(taking_down.to_withdraw(lake, gone)):
        part = folder.parent
        try:
            with durable.locked(part / LOCK_FILE):
                dataset, _, name = part.relative_to(lake.root).as_posix().partition("/")
                if (lake.current_key(dataset, name) or "").startswith(folder.name):  # no writer moved it meanwhile
                    broom.sweep(part / CURRENT_FILE)
                    withdrawn.add(folder)
        except LockedError:
            broom.tell(f"left {part.relative_to(lake.root).as_posix()}: it is being written")
    return frozenset(withdrawn)


def kept_folders(lake: Lake, gone: Holding | None = None, withdrawn: frozenset[Path] = frozenset()) -> set[Path]:
    """Folders of the published parts that must stay: current ones, their kin, and what these name as inputs.

    Of those that hold a paper of `gone`, only what is current and not `withdrawn` stays, and what that needs to work.
    A part that rows were taken over from (`previous`) is history and need not stay; nor need the snapshot that a window
    was cut from long ago, or every week would keep 5 GB for ever. Raises IntegrityError if a pointer
    names nothing readable: what such a part needs is not known.
    """
    waiting: list[Path] = []
    for dataset in DATASETS:
        for name in begun_parts(lake, dataset):
            waiting += _roots(lake, dataset, name, gone, withdrawn)
    kept: set[Path] = set()
    while waiting:
        folder = waiting.pop()
        if folder not in kept and (folder / MANIFEST_FILE).is_file():
            kept.add(folder)
            made = Manifest.read(folder)
            named = [(one.dataset, one.part, one.key) for one in made.inputs if one.key and one.dataset != "snapshots"]
            inputs = [lake.part_folder(dataset, part) / key[:KEY_LENGTH] for dataset, part, key in named]
            if made.dataset in DERIVED and (made.dataset != "releases" or "names" in made.extra):
                inputs = [one for one in inputs if not _holds(gone, one)]
            # a release may serve a student of an earlier run, which is none of its inputs
            serving = made.extra.get("names", {}).items()
            waiting += inputs + [lake.part_folder(dataset, "all") / key[:KEY_LENGTH] for dataset, key in serving]
    return kept


def _holds(gone: Holding | None, folder: Path) -> bool:
    """Whether the part in the folder, if it is there still, holds a paper that was taken down."""
    return gone is not None and (folder / MANIFEST_FILE).is_file() and bool(gone.of_folder(folder))


def _roots(
    lake: Lake, dataset: str, name: str, gone: Holding | None = None, withdrawn: frozenset[Path] = frozenset()
) -> list[Path]:
    """Keys of one part that stay whoever names them: the current one, the newest others, the pinned ones."""
    current = lake.current(dataset, name)
    roots = [current.folder] if current and current.folder not in withdrawn else []
    made_at = {
        folder: Manifest.read(folder).created_at
        for folder in key_folders(lake.part_folder(dataset, name))
        if folder not in roots and (folder / MANIFEST_FILE).is_file() and not _holds(gone, folder)
    }
    newest_first = sorted(made_at, key=lambda folder: (made_at[folder], folder.name), reverse=True)
    pinned = [folder for folder in made_at if lake.disk.files(folder / PINNED_FILE)]
    return roots + newest_first[: KEPT_BESIDE_CURRENT.get(dataset, 0)] + pinned


class _Broom:
    """Removes things, or only says so, and counts them."""

    def __init__(self, lake: Lake, tell: Callable[[str], None], is_dry: bool, *, tells_each: bool = True) -> None:
        self._disk = lake.disk
        self._tells_each = tells_each
        self.tell = tell
        self._is_dry = is_dry
        self.verb = "would remove" if is_dry else "removed"
        self.n_removed = self.size_bytes = 0

    def sweep(self, path: Path) -> None:
        size_bytes = sum(file.size_bytes for file in self._disk.files(path))
        self.n_removed += 1
        self.size_bytes += size_bytes
        if not self._is_dry:
            self._disk.remove(path)
        if self._tells_each:
            self.tell(f"{self.verb} {path.relative_to(self._disk.root).as_posix()} bytes={size_bytes}")


def _prune_dataset(
    lake: Lake,
    dataset: str,
    kept: set[Path],
    withdrawn: frozenset[Path],
    read_now: set[str],
    config: PruneConfig,
    broom: _Broom,
) -> None:
    """Sweep the parts that nobody writes, each under its lock."""
    is_read_now = dataset in read_now | _datasets_read_now(lake)
    for name in begun_parts(lake, dataset):
        try:
            with durable.locked(lake.part_folder(dataset, name) / LOCK_FILE):
                for path in _waste_of(lake, dataset, name, kept, withdrawn, is_read_now):
                    if path.parent.name == ATTEMPTS or _is_quiet(lake, path, config):
                        broom.sweep(path)
        except LockedError:
            broom.tell(f"left {dataset}/{name}: it is being written")


def _waste_of(
    lake: Lake, dataset: str, name: str, kept: set[Path], withdrawn: frozenset[Path], is_read_now: bool
) -> list[Path]:
    """What may go of a part whose lock we hold. CURRENT is read anew: an old key may have become current again."""
    folder = lake.part_folder(dataset, name)
    current = lake.current(dataset, name)
    if current and current.folder in withdrawn:  # a dry run, which took no pointer away
        current = None
    keys = [path for path in key_folders(folder) if path not in kept and not (current and path == current.folder)]
    work = _published_work(lake, folder, current.manifest) if current else []
    return ([] if is_read_now else keys) + entries(folder / ATTEMPTS) + work


def _is_quiet(lake: Lake, path: Path, config: PruneConfig) -> bool:
    """Whether nobody elsewhere can be at work on a path: long ago it was written, and its part got another content."""
    pointer = (path.parent.parent if path.parent.name == WORK else path.parent) / CURRENT_FILE
    changed_at = (file.changed_at for one in (path, pointer) for file in lake.disk.files(one))
    return max(changed_at, default=0.0) <= _quiet_since(lake, config)


def _quiet_since(lake: Lake, config: PruneConfig) -> float:
    return math.inf if lake.disk.sees_all_writers else time.time() - config.quiet_hours * 3600


def _published_work(lake: Lake, folder: Path, made: Manifest) -> list[Path]:
    """What a writer left that died between moving CURRENT and removing its work.

    A fetch that is tried again has the request key that it had before, so its work stays by being newer than CURRENT.
    """
    pointed_at = max(file.changed_at for file in lake.disk.files(folder / CURRENT_FILE))
    mine = [work for work in entries(folder / WORK) if work.name == made.request_key[:KEY_LENGTH]]
    written_at = {work: [file.changed_at for file in lake.disk.files(work)] for work in mine}
    return [work for work in mine if all(at <= pointed_at for at in written_at[work])]


def _datasets_read_now(lake: Lake) -> set[str]:
    """Datasets that a stage which is writing now reads: it may hold a key that is current no longer."""
    written = {dataset for dataset in DATASETS for name in begun_parts(lake, dataset) if is_held(lake, dataset, name)}
    return {dataset for stage in STAGES.values() if written & set(stage.writes) for dataset in stage.reads}


def _prune_pdfs(lake: Lake, kept: set[Path], config: PruneConfig, taken_down: frozenset[str], broom: _Broom) -> None:
    root = lake.pdf_files
    for name in begun_parts(lake, "pdfs"):
        if is_held(lake, "pdfs", name) or entries(lake.part_folder("pdfs", name) / WORK):
            broom.tell(f"left the PDFs: fetching {name} has not ended, no part names its files yet")
            return
    named = _named_pdfs(lake, kept, config, taken_down)
    for file in lake.disk.files(root):
        is_quiet = file.changed_at <= _quiet_since(lake, config)
        if file.path.relative_to(root).as_posix() not in named and is_quiet:
            broom.sweep(file.path)


def _prune_archives(lake: Lake, broom: _Broom) -> None:
    """Sweep archives for executors that other programs left, unless a stage runs: it may be one of theirs."""
    old = [path for path in entries(lake.root / ARCHIVES) if path != archive_folder(lake.root)]
    if old and not any(is_held(lake, dataset, name) for dataset in DATASETS for name in begun_parts(lake, dataset)):
        for path in old:
            broom.sweep(path)


def _named_pdfs(lake: Lake, kept: set[Path], config: PruneConfig, taken_down: frozenset[str]) -> set[str]:
    """Paths below pdfs/_files that kept parts name and that are still wanted."""
    extracted: set[str] = set()
    if config.keep_pdfs == "until_extracted":
        for name in lake.parts("documents"):
            if part := lake.current("documents", name):
                extracted.update(row["pdf_sha256"] for row in part.rows(["pdf_sha256"]))
    parts = [Part(folder, Manifest.read(folder)) for folder in kept if folder.is_relative_to(lake.root / "pdfs")]
    rows = [row for part in parts for row in pdf_rows(part)]
    return {row["path"] for row in rows if row["sha256"] not in extracted and row["paper_id"] not in taken_down}
