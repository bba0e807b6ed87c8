"""`copy`: what every CURRENT names into another lake, files verified and durable, pointers last.

It may be killed at any moment and run again: a copied part is visible only when it is whole.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections import Counter
from pathlib import Path

from jobs.core import durable
from jobs.core.cli import lake_parser, write_line
from jobs.core.contracts import DATASETS
from jobs.core.definition import differences, read_lake_file
from jobs.core.disk import WORK
from jobs.core.errors import EXIT_DONE, IntegrityError, UsageError
from jobs.core.lake import LOCK_FILE, LOCK_WAIT_S, Lake, Part, remove_part
from jobs.core.listing import ATTEMPTS, begun_parts, entries, files, pdf_rows
from jobs.core.manifest import KEY_LENGTH, MANIFEST_FILE, Manifest
from jobs.core.mirror import PDF_FILES, disk_of

log = logging.getLogger(__name__)


def copy_command(argv: list[str]) -> int:
    """Copy what every CURRENT names into another lake: files verified and durable, pointers last."""
    parser = lake_parser("copy")
    parser.add_argument("--to", metavar="DIR", required=True, help="the other lake; made if it is not there")
    parser.add_argument("--work", action="store_true", help="take resumable work (_work) along")
    parser.add_argument(
        "--without", action="append", default=[], choices=tuple(DATASETS), help="a dataset to leave out; repeatable"
    )
    options = parser.parse_args(argv[1:])
    source = Lake.open(options.lake)
    target = _target_lake(source, options.to)
    tally: Counter[str] = Counter()
    for dataset in (name for name in DATASETS if name not in options.without):
        for name in source.parts(dataset):
            if part := source.current(dataset, name):
                _copy_part(part, source, target, tally)
        if options.work:
            source.disk.refresh()
            _copy_work(dataset, source, target, tally)
    counters = ("parts", "already_there", "pdf_files", "pdf_files_gone", "work_folders", "bytes")
    write_line(
        f"copied {source.address} to {target.address}: " + " ".join(f"{name}={tally[name]}" for name in counters)
    )
    return EXIT_DONE


def _target_lake(source: Lake, address: str) -> Lake:
    """The lake to copy into, made if it is not there. Raises UsageError if it is about something else."""
    if disk_of(address).root.resolve() == source.root.resolve():
        raise UsageError(f"copy --to {address}: that is the lake itself. Expected another folder, or a store.")
    there = read_lake_file(address)
    if there is None:
        return Lake.create(address, source.lake_file)
    if changed := differences(there.definition, dataclasses.asdict(source.definition)):
        said = "; ".join(f"{name} is {theirs!r} there, {ours!r} here" for name, (theirs, ours) in changed.items())
        raise UsageError(f"Lake {address} is about something else: {said}. Expected an empty folder or a copy.")
    return Lake(address, there)


def _copy_part(part: Part, source: Lake, target: Lake, tally: Counter[str]) -> None:
    """Copy a part under the lock of its twin, unless that is there already, and make it current."""
    made = part.manifest
    folder = target.part_folder(made.dataset, made.part)
    with durable.locked(folder / LOCK_FILE, LOCK_WAIT_S):
        staged = folder / ATTEMPTS / uuid.uuid4().hex
        seen = target.pointer(made.dataset, made.part)
        try:
            if made.dataset == "pdfs":  # first: a pointer must not name files that are not there
                _copy_pdfs(part, source, target, staged, tally)
            if _is_whole(target, made):
                tally["already_there"] += 1
            else:
                _copy_folder(part, staged, target, folder / part.folder.name)
                tally["parts"] += 1
                tally["bytes"] += sum(file["bytes"] for file in made.files.values())
        finally:
            for left in entries(folder / ATTEMPTS):
                durable.remove_tree(left)
        if seen is None or seen.content.decode().strip() != made.key:
            target.move_pointer(made.dataset, made.part, made.key, seen)


def _is_whole(lake: Lake, made: Manifest) -> bool:
    """Whether the lake has the part undamaged.

    A current one is judged by its files' sizes, so that copying again is cheap. One that is not is read whole: to
    remove CURRENT is how a reader who found damage asks for another copy.
    """
    if not lake.has(made.dataset, made.part, made.key):
        return False
    try:
        there = lake.published(made.dataset, made.part, made.key)
        if lake.current_key(made.dataset, made.part) != made.key:
            there.verify()
            return True
    except IntegrityError as error:
        log.warning("%s/%s is copied again: %s", made.dataset, made.part, error)
        return False
    sizes = {file.path: file.size_bytes for file in lake.disk.files(there.folder)}
    wrong = [name for name, listed in there.manifest.files.items() if sizes.get(there.folder / name) != listed["bytes"]]
    if wrong:
        log.warning("%s/%s is copied again: %s has another size, or is missing", made.dataset, made.part, wrong[0])
    return not wrong


def _copy_folder(part: Part, staged: Path, target: Lake, folder: Path) -> None:
    for name, listed in part.manifest.files.items():
        _copy_verified(part.file(name, by_size=True), staged / name, listed["sha256"])
    durable.copy_file(part.folder / MANIFEST_FILE, staged / MANIFEST_FILE)
    if target.disk.is_begun(folder):
        remove_part(folder)
    target.disk.place(staged, folder)


def _copy_pdfs(part: Part, source: Lake, target: Lake, staged: Path, tally: Counter[str]) -> None:
    """Copy the PDFs that the part names. They are never replaced, so one that is there with its size is done."""
    for row in pdf_rows(part):
        old, new = (lake.pdf_files / row["path"] for lake in (source, target))
        if target.disk.size_of(f"{PDF_FILES}/{row['path']}") == row["size_bytes"]:
            continue
        if not source.has_pdf(row["path"]):  # keep_pdfs=until_extracted
            tally["pdf_files_gone"] += 1
            continue
        source.disk.fetch(old, row["size_bytes"], row["sha256"], by_size=True)
        _copy_verified(old, staged / row["path"], row["sha256"])
        durable.move_file(staged / row["path"], new)
        target.disk.push(new)
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
    for name in begun_parts(source, dataset):
        old, new = (lake.part_folder(dataset, name) for lake in (source, target))
        if not entries(old / WORK):
            continue
        with durable.locked(old / LOCK_FILE, LOCK_WAIT_S), durable.locked(new / LOCK_FILE, LOCK_WAIT_S):
            if dataset == "pdfs":
                _copy_unnamed_pdfs(source, target, tally)
            for work in entries(old / WORK):
                source.disk.pull(work)
                twin = new / WORK / work.name
                _copy_work_folder(work, twin, new / ATTEMPTS / uuid.uuid4().hex, tally)
                for path in files(twin):
                    target.disk.push(path)


def _copy_work_folder(work: Path, twin: Path, staged: Path, tally: Counter[str]) -> None:
    if _hashes(work) == _hashes(twin):
        return
    for path in files(work):
        durable.copy_file(path, staged / path.relative_to(work))
        tally["bytes"] += path.stat().st_size
    if twin.exists():
        durable.remove_tree(twin)
    durable.publish_dir(staged, twin)
    tally["work_folders"] += 1


def _copy_unnamed_pdfs(source: Lake, target: Lake, tally: Counter[str]) -> None:
    """Work of a fetch that has not ended names PDFs that no part names yet; a PDF's name carries its hash."""
    source.disk.pull(source.pdf_files)
    for old in files(source.pdf_files):
        name = old.relative_to(source.pdf_files).as_posix()
        new = target.pdf_files / name
        if not target.has_pdf(name) and f".{durable.sha256_file(old)[:KEY_LENGTH]}." in old.name:
            durable.copy_file(old, new)
            target.disk.push(new)
            tally["pdf_files"] += 1
            tally["bytes"] += new.stat().st_size


def _hashes(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): durable.sha256_file(path) for path in files(folder)}
