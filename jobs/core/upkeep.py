"""Commands that keep lakes in order: `copy` (current parts into another lake) and `prune` (what nothing refers to).

Both may be killed at any moment and run again: a copied part is visible only when it is whole, and a part that is
removed loses its manifest first, so what is left of it is never taken for a part.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jobs.core import durable
from jobs.core.cli import Parser, write_line
from jobs.core.config import load_profile, resolve, setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import differences, read_lake_file
from jobs.core.errors import EXIT_DONE, IntegrityError, LockedError, UsageError
from jobs.core.lake import CURRENT_FILE, LOCK_FILE, LOCK_WAIT_S, Lake, Part, refuse_object_store, remove_part
from jobs.core.manifest import KEY_LENGTH, MANIFEST_FILE, Manifest
from jobs.core.stages import STAGES

log = logging.getLogger(__name__)

ATTEMPTS, WORK = "_attempts", "_work"
PINNED_FILE = "PINNED"  # in a release's folder: its owner wants it kept
KEPT_BESIDE_CURRENT = {"snapshots": 1, "releases": 1}  # newest other keys of a part, to go back to
_KEY_FOLDER = re.compile(rf"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass(frozen=True)
class PruneConfig:
    """What `prune` may remove beyond what nothing refers to."""

    keep_pdfs: str = setting(
        "always",
        "until_extracted: prune removes a PDF whose document is published; a newer reader must fetch it again",
        choices=("always", "until_extracted"),
    )


def copy_command(argv: list[str]) -> int:
    """Copy what every CURRENT names into another lake: files verified and durable, pointers last."""
    parser = _parser("copy")
    parser.add_argument("--to", metavar="DIR", required=True, help="the other lake; made if it is not there")
    parser.add_argument("--work", action="store_true", help="take resumable work (_work) along")
    parser.add_argument(
        "--without", action="append", default=[], choices=tuple(DATASETS), help="a dataset to leave out; repeatable"
    )
    options = parser.parse_args(argv[1:])
    source = Lake.open(Path(options.lake))
    target = _target_lake(source, Path(options.to))
    tally: Counter[str] = Counter()
    for dataset in (name for name in DATASETS if name not in options.without):
        for name in source.parts(dataset):
            if part := source.current(dataset, name):
                _copy_part(part, source, target, tally)
        if options.work:
            _copy_work(dataset, source, target, tally)
    counters = ("parts", "already_there", "pdf_files", "pdf_files_gone", "work_folders", "bytes")
    write_line(f"copied {source.root} to {target.root}: " + " ".join(f"{name}={tally[name]}" for name in counters))
    return EXIT_DONE


def prune_command(argv: list[str]) -> int:
    """Remove parts, attempts, work and PDFs that nothing refers to any more, and say what and how much."""
    parser = _parser("prune")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--keep-pdfs", choices=("always", "until_extracted"), help="when a PDF may go")
    parser.add_argument("--paper", metavar="ID", help=argparse.SUPPRESS)
    options = parser.parse_args(argv[1:])
    if options.paper:
        raise UsageError(
            f"prune --paper {options.paper}: taking a paper out of a lake is not part of this version, it comes with "
            "takedowns. Expected prune without --paper."
        )
    lake = Lake.open(Path(options.lake))
    flags = {"keep_pdfs": options.keep_pdfs} if options.keep_pdfs else {}
    profile = lake.lake_file.profile
    config: PruneConfig = resolve(PruneConfig, {f"profile {profile}": load_profile(profile), "flag": flags}).values
    kept = kept_folders(lake)
    broom = _Broom(lake, options.dry_run)
    for dataset in DATASETS:
        _prune_dataset(lake, dataset, kept, broom)
    _prune_pdfs(lake, kept, config, broom)
    write_line(f"{broom.verb} {broom.n_removed} things, {broom.size_bytes} bytes; {len(kept)} parts are kept")
    return EXIT_DONE


def kept_folders(lake: Lake) -> set[Path]:
    """Folders of the published parts that must stay: current ones, their kin, and what these name as inputs.

    A part that rows were taken over from (`previous`) is history and need not stay; nor need the snapshot that a window
    was cut from long ago, or every week would keep 5 GB for ever. Raises IntegrityError if a pointer
    names nothing readable: what such a part needs is not known.
    """
    waiting: list[Path] = []
    for dataset in DATASETS:
        for name in _part_names(lake, dataset):
            waiting += _roots(lake, dataset, name)
    kept: set[Path] = set()
    while waiting:
        folder = waiting.pop()
        if folder not in kept and (folder / MANIFEST_FILE).is_file():
            kept.add(folder)
            made = Manifest.read(folder)
            named = [(one.dataset, one.part, one.key) for one in made.inputs if one.key and one.dataset != "snapshots"]
            # a release may serve a student of an earlier run, which is none of its inputs
            named += [(dataset, "all", key) for dataset, key in made.extra.get("names", {}).items()]
            waiting += [lake.part_folder(dataset, part) / key[:KEY_LENGTH] for dataset, part, key in named]
    return kept


def _roots(lake: Lake, dataset: str, name: str) -> list[Path]:
    """Keys of one part that stay whoever names them: the current one, the newest others, the pinned ones."""
    current = lake.current(dataset, name)
    roots = [current.folder] if current else []
    made_at = {
        folder: Manifest.read(folder).created_at
        for folder in _key_folders(lake.part_folder(dataset, name))
        if folder not in roots and (folder / MANIFEST_FILE).is_file()
    }
    newest_first = sorted(made_at, key=lambda folder: (made_at[folder], folder.name), reverse=True)
    pinned = [folder for folder in made_at if (folder / PINNED_FILE).is_file()]
    return roots + newest_first[: KEPT_BESIDE_CURRENT.get(dataset, 0)] + pinned


class _Broom:
    """Removes things, or only says so, and counts them."""

    def __init__(self, lake: Lake, is_dry: bool) -> None:
        self._root = lake.root
        self._is_dry = is_dry
        self.verb = "would remove" if is_dry else "removed"
        self.n_removed = self.size_bytes = 0

    def sweep(self, path: Path) -> None:
        size_bytes = sum(file.stat().st_size for file in _files(path))
        self.n_removed += 1
        self.size_bytes += size_bytes
        if not self._is_dry:
            remove_part(path) if path.is_dir() else path.unlink()
        write_line(f"{self.verb} {path.relative_to(self._root).as_posix()} bytes={size_bytes}")


def _prune_dataset(lake: Lake, dataset: str, kept: set[Path], broom: _Broom) -> None:
    """Sweep the parts that nobody writes, each under its lock."""
    is_read_now = dataset in _datasets_read_now(lake)
    for name in _part_names(lake, dataset):
        try:
            with durable.locked(lake.part_folder(dataset, name) / LOCK_FILE):
                for path in _waste_of(lake, dataset, name, kept, is_read_now):
                    broom.sweep(path)
        except LockedError:
            write_line(f"left {dataset}/{name}: it is being written")


def _waste_of(lake: Lake, dataset: str, name: str, kept: set[Path], is_read_now: bool) -> list[Path]:
    """What may go of a part whose lock we hold. CURRENT is read anew: an old key may have become current again."""
    folder = lake.part_folder(dataset, name)
    current = lake.current(dataset, name)
    keys = [path for path in _key_folders(folder) if path not in kept and not (current and path == current.folder)]
    work = _published_work(folder, current.manifest) if current else []
    return ([] if is_read_now else keys) + _entries(folder / ATTEMPTS) + work


def _published_work(folder: Path, made: Manifest) -> list[Path]:
    """What a writer left that died between moving CURRENT and removing its work.

    A fetch that is tried again has the request key that it had before, so its work stays by being newer than CURRENT.
    """
    pointed_at = (folder / CURRENT_FILE).stat().st_mtime_ns
    mine = [work for work in _entries(folder / WORK) if work.name == made.request_key[:KEY_LENGTH]]
    return [work for work in mine if all(file.stat().st_mtime_ns <= pointed_at for file in _files(work))]


def _datasets_read_now(lake: Lake) -> set[str]:
    """Datasets that a stage which is writing now reads: it may hold a key that is current no longer."""
    written = {dataset for dataset in DATASETS for name in _part_names(lake, dataset) if _is_held(lake, dataset, name)}
    return {dataset for stage in STAGES.values() if written & set(stage.writes) for dataset in stage.reads}


def _prune_pdfs(lake: Lake, kept: set[Path], config: PruneConfig, broom: _Broom) -> None:
    root = lake.pdf_files
    for name in _part_names(lake, "pdfs"):
        if _is_held(lake, "pdfs", name) or _entries(lake.part_folder("pdfs", name) / WORK):
            write_line(f"left the PDFs: fetching {name} has not ended, no part names its files yet")
            return
    named = _named_pdfs(lake, kept, config)
    for path in _files(root):
        if path.relative_to(root).as_posix() not in named:
            broom.sweep(path)


def _named_pdfs(lake: Lake, kept: set[Path], config: PruneConfig) -> set[str]:
    """Paths below pdfs/_files that kept parts name and that are still wanted."""
    extracted: set[str] = set()
    if config.keep_pdfs == "until_extracted":
        for name in lake.parts("documents"):
            if part := lake.current("documents", name):
                extracted.update(row["pdf_sha256"] for row in part.rows(["pdf_sha256"]))
    parts = [Part(folder, Manifest.read(folder)) for folder in kept if folder.is_relative_to(lake.root / "pdfs")]
    return {row["path"] for part in parts for row in _pdf_rows(part) if row["sha256"] not in extracted}


def _pdf_rows(part: Part) -> list[dict[str, Any]]:
    """path, sha256 and size_bytes of the files that a part of pdfs names. Raises IntegrityError if one lies outside."""
    rows = [row for row in part.rows(["path", "sha256", "size_bytes"]) if row["path"] is not None]
    for row in rows:
        path = PurePosixPath(row["path"])
        if path.is_absolute() or ".." in path.parts:
            raise IntegrityError(f"{part.folder} names the file {path}. Expected a path below pdfs/_files.")
    return rows


def _target_lake(source: Lake, root: Path) -> Lake:
    """The lake to copy into, made if it is not there. Raises UsageError if it is about something else."""
    refuse_object_store(str(root))
    if root.resolve() == source.root.resolve():
        raise UsageError(f"copy --to {root}: that is the lake itself. Expected another folder.")
    there = read_lake_file(root)
    if there is None:
        return Lake.create(root, source.lake_file)
    if changed := differences(there.definition, dataclasses.asdict(source.definition)):
        said = "; ".join(f"{name} is {theirs!r} there, {ours!r} here" for name, (theirs, ours) in changed.items())
        raise UsageError(f"Lake {root} is about something else: {said}. Expected an empty folder or a copy.")
    return Lake(root, there)


def _copy_part(part: Part, source: Lake, target: Lake, tally: Counter[str]) -> None:
    """Copy a part under the lock of its twin, unless that is there already, and make it current."""
    made = part.manifest
    folder = target.part_folder(made.dataset, made.part)
    with durable.locked(folder / LOCK_FILE, LOCK_WAIT_S):
        staged = folder / ATTEMPTS / uuid.uuid4().hex
        try:
            if made.dataset == "pdfs":  # first: a pointer must not name files that are not there
                _copy_pdfs(part, source, target, staged, tally)
            if _is_whole(target, made):
                tally["already_there"] += 1
            else:
                _copy_folder(part, staged, folder / part.folder.name)
                tally["parts"] += 1
                tally["bytes"] += sum(file["bytes"] for file in made.files.values())
        finally:
            for left in _entries(folder / ATTEMPTS):
                durable.remove_tree(left)
        if target.current_key(made.dataset, made.part) != made.key:
            durable.write_atomic(folder / CURRENT_FILE, f"{made.key}\n".encode())


def _is_whole(lake: Lake, made: Manifest) -> bool:
    """Whether the lake has the part undamaged.

    A current one is judged by its files' sizes, so that copying again is cheap. One that is not is read whole: to
    remove CURRENT is how a reader who found damage asks for another copy.
    """
    if not lake.has(made.dataset, made.part, made.key):
        return False
    is_current = lake.current_key(made.dataset, made.part) == made.key
    try:
        there = lake.published(made.dataset, made.part, made.key)
        for name in there.manifest.files:
            there.file(name, by_size=is_current)
    except IntegrityError as error:
        log.warning("%s/%s is copied again: %s", made.dataset, made.part, error)
        return False
    return True


def _copy_folder(part: Part, staged: Path, target: Path) -> None:
    for name, listed in part.manifest.files.items():
        _copy_verified(part.file(name, by_size=True), staged / name, listed["sha256"])
    durable.copy_file(part.folder / MANIFEST_FILE, staged / MANIFEST_FILE)
    if target.exists():
        remove_part(target)
    durable.publish_dir(staged, target)


def _copy_pdfs(part: Part, source: Lake, target: Lake, staged: Path, tally: Counter[str]) -> None:
    """Copy the PDFs that the part names. They are never replaced, so one that is there with its size is done."""
    for row in _pdf_rows(part):
        old, new = (lake.pdf_files / row["path"] for lake in (source, target))
        if new.is_file() and new.stat().st_size == row["size_bytes"]:
            continue
        if not old.is_file():  # keep_pdfs=until_extracted
            tally["pdf_files_gone"] += 1
            continue
        _copy_verified(old, staged / row["path"], row["sha256"])
        durable.move_file(staged / row["path"], new)
        tally["pdf_files"] += 1
        tally["bytes"] += row["size_bytes"]


def _copy_verified(source: Path, target: Path, sha256: str) -> None:
    if (found := durable.copy_file(source, target)) != sha256:
        raise IntegrityError(
            f"{source} has sha256 {found[:12]}…, its part says {sha256[:12]}…; it was not copied. "
            "Remove the CURRENT file of its part and run its stage again, then copy."
        )


def _copy_work(dataset: str, source: Lake, target: Lake, tally: Counter[str]) -> None:
    """Replace resumable work by its twin. Waits for writers on both sides: theirs is still moving."""
    for name in _part_names(source, dataset):
        old, new = (lake.part_folder(dataset, name) for lake in (source, target))
        if not _entries(old / WORK):
            continue
        with durable.locked(old / LOCK_FILE, LOCK_WAIT_S), durable.locked(new / LOCK_FILE, LOCK_WAIT_S):
            if dataset == "pdfs":
                _copy_unnamed_pdfs(source, target, tally)
            for work in _entries(old / WORK):
                _copy_work_folder(work, new / WORK / work.name, new / ATTEMPTS / uuid.uuid4().hex, tally)


def _copy_work_folder(work: Path, twin: Path, staged: Path, tally: Counter[str]) -> None:
    if _hashes(work) == _hashes(twin):
        return
    for path in _files(work):
        durable.copy_file(path, staged / path.relative_to(work))
        tally["bytes"] += path.stat().st_size
    if twin.exists():
        durable.remove_tree(twin)
    durable.publish_dir(staged, twin)
    tally["work_folders"] += 1


def _copy_unnamed_pdfs(source: Lake, target: Lake, tally: Counter[str]) -> None:
    """Work of a fetch that has not ended names PDFs that no part names yet; a PDF's name carries its hash."""
    for old in _files(source.pdf_files):
        new = target.pdf_files / old.relative_to(source.pdf_files)
        if not new.is_file() and f".{durable.sha256_file(old)[:KEY_LENGTH]}." in old.name:
            durable.copy_file(old, new)
            tally["pdf_files"] += 1
            tally["bytes"] += new.stat().st_size


def _hashes(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): durable.sha256_file(path) for path in _files(folder)}


def _part_names(lake: Lake, dataset: str) -> list[str]:
    """Parts that were ever begun, published or not: every writer leaves its lock's file."""
    root = lake.root / dataset
    patterns = (f"{depth}/{name}" for depth in ("*", "*/*") for name in (LOCK_FILE, CURRENT_FILE))
    return sorted({path.parent.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)})


def _is_held(lake: Lake, dataset: str, name: str) -> bool:
    return durable.is_locked(lake.part_folder(dataset, name) / LOCK_FILE)


def _key_folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _KEY_FOLDER.fullmatch(path.name) and path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(path: Path) -> list[Path]:
    """The file itself, or all files below a folder; none if it is not there."""
    return [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())


def _parser(command: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"python -m jobs {command}", allow_abbrev=False)
    parser.add_argument(
        "--lake", metavar="DIR", default=os.environ.get("LAKE", "lakes/sample"), help="the lake's folder"
    )
    return parser
