"""Carry pairs to people and their decisions back: `review export` writes a sheet, `review import` reads it.

Reads qa, drafts, indexes and reviews of one lake; import writes reviews, which curate_qa reads.
Run: python -m jobs review export --lake lakes/mine --out pairs.csv
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.core import durable, tables, takedowns
from jobs.core.cli import lake_parser, write_line
from jobs.core.contracts import DATASETS
from jobs.core.errors import EXIT_DONE, InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.retrieval import passages
from jobs.tuning import review_sheet, reviews
from jobs.tuning.review_sheet import Line
from jobs.tuning.reviews import DROP, KEEP, UNDO, Decision, Decisions

log = logging.getLogger(__name__)

ANY, KEPT = "any", "kept"
SPLITS = ("train", "validation", "test")
SHOWN = 5  # of a list of ids in a log line

Row = dict[str, Any]


def review_command(argv: list[str]) -> int:
    """Export pairs for review, or import what was decided."""
    parser = lake_parser("review")
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=("export", "import"))
    parser.add_argument("sheet", nargs="?", metavar="CSV", help="import: the sheet that was filled in")
    parser.add_argument("--out", metavar="CSV", help="export: where to write the sheet")
    parser.add_argument("--split", choices=SPLITS, help="export: pairs of this split alone")
    parser.add_argument(
        "--reason",
        default=KEPT,
        choices=(KEPT, ANY, *sorted(DATASETS["qa"].reasons)),
        help="export: kept pairs (default), those refused for this reason, or any",
    )
    parser.add_argument("--n", type=int, default=0, help="export: pairs at most, undecided ones first; 0: all")
    options = parser.parse_args(argv[1:])
    _refuse_mixture(options)
    lake = Lake.open(options.lake)
    if options.action == "export":
        _export(lake, Path(options.out), options)
    else:
        _import(lake, Path(options.sheet))
    return EXIT_DONE


def _refuse_mixture(options: argparse.Namespace) -> None:
    if options.action == "export" and (options.sheet or not options.out):
        raise UsageError("review export writes to --out. Expected: python -m jobs review export --out pairs.csv")
    if options.action == "import" and (options.out or not options.sheet):
        raise UsageError("review import reads one sheet. Expected: python -m jobs review import pairs.csv")
    if options.n < 0:
        raise UsageError(f"--n {options.n}: expected a number of pairs, or 0 for all.")


def _export(lake: Lake, path: Path, options: argparse.Namespace) -> None:
    decisions, drafts = reviews.of_lake(lake), _drafts(lake)
    taken_down = takedowns.taken_down(lake)
    curated = [row for row in _curated(lake) if row["paper_id"] not in taken_down]
    asked = [row for row in curated if options.reason in (ANY, row["reason"] or KEPT)]
    asked = [row for row in asked if options.split in (None, row["split"])]
    known = sorted((row for row in asked if row["qa_id"] in drafts), key=lambda row: _place(row, decisions))
    if n_gone := len(asked) - len(known):
        log.warning("%d pairs are left out: their chunks were asked anew since. Run curate_qa, then export", n_gone)
    wanted = known[: options.n or None]
    durable.make_dirs(path.absolute().parent)
    review_sheet.write(path, _sheet_rows(lake, wanted, drafts, decisions))
    write_line(
        f"{path}: {len(wanted)} of {len(known)} pairs, {sum(row['qa_id'] in decisions for row in wanted)} decided"
    )
    _tell_unmatched(lake, decisions, drafts)


def _place(row: Row, decisions: Decisions) -> tuple[bool, str]:
    """Undecided pairs first, else in an order that is a fair sample from any place on."""
    return row["qa_id"] in decisions, hashlib.sha256(row["qa_id"].encode()).hexdigest()


def _curated(lake: Lake) -> Iterator[Row]:
    """Kept and refused pairs, with their reason."""
    qa = lake.current("qa", "all")
    if qa is None:
        raise InputMissingError(
            f"{lake.address} has no qa yet. Make it with: python -m jobs curate_qa --lake {lake.address}"
        )
    for name in DATASETS["qa"].files:
        if name in qa.manifest.files:
            yield from ({"reason": None} | row for row in tables.read_table(qa.file(name)).to_pylist())


def _drafts(lake: Lake) -> dict[str, Row]:
    """Every pair as its teacher wrote it."""
    parts = (part for name in lake.parts("drafts") if (part := lake.current("drafts", name)))
    return {row["qa_id"]: row for part in parts for row in part.rows()}


def _sheet_rows(
    lake: Lake, pairs: Sequence[Row], drafts: dict[str, Row], decisions: Decisions
) -> Iterator[tuple[str, ...]]:
    index = lake.current("indexes", "all")
    columns = ["chunk_id", "title", "page_first"]
    found = tables.read_table(index.file(passages.FILE), columns).to_pylist() if index else []
    places = {row["chunk_id"]: row for row in found}
    for pair in pairs:
        decision = decisions.get(pair["qa_id"])
        told = decision.applied(drafts[pair["qa_id"]]) if decision else drafts[pair["qa_id"]]
        place = places.get(next(iter(pair["chunk_ids"]), ""), {"title": "", "page_first": ""})
        yield (
            *(pair["qa_id"], pair["paper_id"], place["title"], str(place["page_first"])),
            *(pair["split"], pair["reason"] or KEPT, told["question"], told["answer"]),
            "\n".join(pair["evidence"] or []),
            *((decision.verdict, decision.note or "") if decision else ("", "")),
        )


def _tell_unmatched(lake: Lake, decisions: Decisions, drafts: dict[str, Row]) -> None:
    """Decisions about pairs that are there no more stay, and hold again if the pair comes back."""
    unmatched = sorted(decisions.keys() - drafts.keys())
    if unmatched:
        shown = ", ".join(f"{one} ({decisions[one].paper_id}, {decisions[one].verdict})" for one in unmatched[:SHOWN])
        more = f" and {len(unmatched) - SHOWN} more" if len(unmatched) > SHOWN else ""
        log.warning(
            "%d decisions match no pair of %s: a newer prompt or teacher asked the chunk anew, or it is gone: %s%s",
            len(unmatched),
            lake.root,
            shown,
            more,
        )


def _import(lake: Lake, path: Path) -> None:
    """Take a sheet whole, or refuse it whole with the lines that are wrong."""
    lines, drafts = review_sheet.read(path), _drafts(lake)
    review_sheet.refuse(path, list(_complaints(lines, drafts)))
    found = [one for line in lines if (one := _decision(line, drafts[line.cells["qa_id"]]))]
    n_new = reviews.merge(lake, found)
    counted = Counter(one.verdict for one in found)
    n_edited = sum(one.is_edited for one in found)
    write_line(
        f"{path}: {counted[KEEP]} keep ({n_edited} edited), {counted[DROP]} drop, {counted[UNDO]} undo, "
        f"{len(lines) - len(found)} undecided; {n_new} are new"
    )
    if idle := [line for line in lines if line.cells.get("note") and not _decision(line, drafts[line.cells["qa_id"]])]:
        log.warning("%d notes stand beside no verdict, the first in line %d: not kept", len(idle), idle[0].number)
    if n_new:
        write_line(f"they count from the next run on, or now: python -m jobs curate_qa --lake {lake.address}")


def _complaints(lines: Iterable[Line], drafts: dict[str, Row]) -> Iterator[str]:
    first: dict[str, int] = {}
    for line in lines:
        qa_id, verdict = line.cells["qa_id"], _verdict(line)
        if qa_id not in drafts:
            yield f"line {line.number}: {qa_id!r} is no pair of this lake (asked anew since? then export again)"
            continue
        if qa_id in first:
            yield f"line {line.number}: {qa_id} stands in line {first[qa_id]} already"
        first.setdefault(qa_id, line.number)
        if verdict not in ("", KEEP, DROP, UNDO):
            yield f"line {line.number}: the verdict is {verdict!r}, expected {KEEP}, {DROP}, {UNDO} or nothing"
        if empty := [name for name in ("question", "answer") if not line.cells[name]]:
            yield f"line {line.number}: the {' and the '.join(empty)} is empty; to refuse a pair write {DROP}"


def _verdict(line: Line) -> str:
    return line.cells["verdict"].strip().casefold()


def _decision(line: Line, draft: Row) -> Decision | None:
    """What the line decides; who edits a pair keeps it, unless the verdict says otherwise."""
    cells, verdict = line.cells, _verdict(line)
    edits = {name: cells[name] for name in ("question", "answer") if cells[name] != review_sheet.normal(draft[name])}
    if not verdict and not edits:
        return None
    if verdict in (DROP, UNDO):
        edits = {}
    return Decision(draft["qa_id"], draft["paper_id"], verdict or KEEP, note=cells.get("note") or None, **edits)
