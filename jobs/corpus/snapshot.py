"""Scan a metadata snapshot for the papers of some windows, before most of its lines are ever parsed.

JSON parsing is nearly all the cost of filtering JSON lines, so cheap tests on raw bytes go first (Palkar et al. 2018,
Sparser, PVLDB 11(11)). A raw test may let a line through for nothing, but never loses one: wherever the bytes leave a
doubt (other spacing or key order, escapes, no date) the line is parsed. It takes for granted what every arXiv
snapshot keeps: one object a line, no key twice, `versions` and `categories` keys of that object and of none inside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypedDict

from jobs.corpus import arxiv, records
from jobs.corpus.paper_columns import PaperColumns
from jobs.corpus.records import History, MalformedError
from jobs.corpus.selection import OUTSIDE, UNSURE, Calendar, Filter, Selection

RANGE_BYTES = 256 << 20
MAX_LINE_BYTES = 1 << 20
MAX_REJECTS = 1000  # lines kept of one range: enough to see what is wrong, also of a file that is all wrong
REJECT_CHARS = 2000
_BLOCK_BYTES = 2 * MAX_LINE_BYTES  # read at once; small enough to stay in a CPU's cache

# A line parsed alone, after a megabyte of others was looked at, finds nothing of the parser in the CPU's cache.
_PARSED_AT_ONCE = 64

_VERSIONS = b'"versions"'
# What follows the key, up to the first version's date, in Kaggle's file and in Python's default spacing.
_COMPACT = b':[{"version":"v1","created":"'
_SPACED = b': [{"version": "v1", "created": "'
# `Mon, 2 Apr 2007 ` or `Mon, 12 Apr 2007`: both forms of a day are whole in these bytes.
_DAY_BYTES = 16
_SPELLING_BYTES = len(_VERSIONS + _COMPACT) + _DAY_BYTES
_NEXT_DAY = re.compile(rb'"created": ?"(.{16})')
_CATEGORIES = b'"categories"'
# At least one category, all of them spelt without escapes: `cs.LG` may be written `\u0063s.LG`.
_PLAIN_CATEGORIES = re.compile(
    rb'"categories"\s*:\s*(?:"[A-Za-z][^"\\]*"|\[\s*"[A-Za-z][^"\\]*"(?:\s*,\s*"[^"\\]*")*\s*\])'
)
_ANY_DAY = re.compile(rb'"created"\s*:\s*"([A-Z][a-z]{2}, {1,2}[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4})')
_ANY_ID = re.compile(rb'"id"\s*:\s*"([0-9A-Za-z./-]{9,40})"')


class Reject(TypedDict):
    """A refused line, by the columns of the file of rejects."""

    source: str
    offset: int
    reason: str
    line: str


@dataclass
class WindowScan:
    """What a scan found of one window. Every line read is a row or is dropped for a reason of PAPER_REASONS."""

    papers: PaperColumns = field(default_factory=PaperColumns)
    dropped: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def n_read(self) -> int:
        """Lines of the window that passed the raw test."""
        return len(self.papers) + self.dropped.total()


@dataclass
class ScanResult:
    """Lines that are there, lines that were parsed, and what was found by name of window."""

    windows: dict[str, WindowScan]
    n_lines: int = 0
    n_parsed: int = 0


def byte_ranges(size_bytes: int, range_bytes: int = RANGE_BYTES) -> list[tuple[int, int]]:
    """Half-open ranges that cover a file. A line belongs to the range that holds its first byte."""
    return [(start, min(start + range_bytes, size_bytes)) for start in range(0, size_bytes, range_bytes)]


def scan_range(path: Path, start: int, end: int, selection: Selection, source: str = "") -> ScanResult:
    """The wanted papers among the lines that begin in bytes [start, end) of a file of JSON lines.

    Filters, in this order, the first reason counts: malformed (no JSON object, wrong types, over 1 MiB, nested deeper
    than 20), bad_id, then the window (a line of no window is not read), other_category (whole tokens; a paper without
    categories passes), no_keyword (whole words in title or abstract, case ignored), not_listed. Only malformed and
    bad_id lines are kept as rejects: the others are well-formed papers that are not wanted. A line whose day
    cannot be told at all counts in every window. `source` goes into the rows and rejects.
    """
    scanner = _Scanner(selection, source)
    with path.open("rb") as handle:
        scanner.take_all(_blocks(handle, start, end))
    return scanner.result


def merged(results: Iterable[ScanResult]) -> ScanResult:
    """The results of several ranges or files as one, rows in the order given."""
    total = ScanResult({})
    for result in results:
        total.n_lines += result.n_lines
        total.n_parsed += result.n_parsed
        for name, scan in result.windows.items():
            kept = total.windows.setdefault(name, WindowScan())
            kept.papers.extend(scan.papers)
            kept.dropped += scan.dropped
            kept.rejects += scan.rejects
    return total


def _blocks(handle: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(block, its offset, limit): the lines of bytes [start, end) are those that begin before `limit` in the blocks.

    Of a line longer than a block only a block's worth comes. Read, not mapped: in Python 3.11 `mmap.find` compares
    byte by byte, `bytes.find` does not.
    """
    base = 0 if start == 0 else _after_newline(handle, start - 1)
    while base < end:
        handle.seek(base)
        block = handle.read(_BLOCK_BYTES)
        if not block:
            return
        cut = block.rfind(b"\n") + 1
        yield block, base, min(cut or 1, end - base)
        # without a newline it is the file's last line, or one longer than a block
        base = base + cut if cut else _after_newline(handle, base + len(block))


def _after_newline(handle: BinaryIO, offset: int) -> int:
    """Offset after the first newline at or behind `offset`; the file's size if there is none."""
    handle.seek(offset)
    while block := handle.read(1 << 16):
        at = block.find(b"\n")
        if at >= 0:
            return offset + at + 1
        offset += len(block)
    return offset


@lru_cache(maxsize=1)
def _days_of(selection: Selection) -> tuple[Calendar, set[bytes]]:
    """What a process learns of days: their windows by spelling, and what stands around those of no window.

    Shared by the ranges that it scans: to read the thousands of days of arXiv anew for each took a tenth of its time.
    """
    return Calendar(selection.windows), set()


class _Scanner:
    """Takes lines one by one into a result."""

    def __init__(self, selection: Selection, source: str) -> None:
        self._source = source
        self._calendar, self._outside = _days_of(selection)
        self._is_by_update = selection.select_by == "updated"
        self._needles = [category.encode() for category in selection.categories]
        self._filter = Filter(selection)
        self._waiting: list[tuple[bytes, int, int]] = []
        self._scans = [WindowScan() for _ in selection.windows]
        self.result = ScanResult({window.name: self._scans[i] for i, window in enumerate(selection.windows)})

    def take_all(self, blocks: Iterable[tuple[bytes, int, int]]) -> None:
        """Look at every line of the blocks (bytes, offset, limit).

        Nine of ten lines are of another day: they end at a look into the set of spellings that were found to be so.
        """
        outside = self._outside
        n_outside = 0
        for block, base, limit in blocks:
            find, rfind = block.find, block.rfind
            stop = -1
            while (begin := stop + 1) < limit:
                stop = find(b"\n", begin)
                if stop < 0:
                    stop = len(block)
                key = rfind(_VERSIONS, begin, stop)
                spelling = block[key : key + _SPELLING_BYTES]
                if spelling in outside:
                    n_outside += 1
                    continue
                place = self._sure_place(block, key, stop)
                if place == OUTSIDE and not self._is_by_update and spelling.startswith(_VERSIONS + _COMPACT):
                    outside.add(spelling)
                self._take(block, base + begin, begin, stop, place)
        self.result.n_lines += n_outside
        self._parse_waiting()

    def _take(self, block: bytes, offset: int, begin: int, stop: int, place: int) -> None:
        if stop - begin > MAX_LINE_BYTES:
            self._parse_waiting()  # so that rejects come in the order of the file
            self.result.n_lines += 1
            self._reject(block[begin:stop], offset, "malformed", place)
        elif place == OUTSIDE:
            self.result.n_lines += 1
        elif place != UNSURE or block[begin:stop].strip():
            self.result.n_lines += 1
            if self._may_have_category(block, begin, stop):
                self._waiting.append((block[begin:stop], offset, place))
                if len(self._waiting) >= _PARSED_AT_ONCE:
                    self._parse_waiting()

    def _sure_place(self, block: bytes, key: int, stop: int) -> int:
        """Window of the line's day as far as the bytes tell. `key` is where `versions` begins, -1 if nowhere."""
        if key < 0:
            return UNSURE
        at = key + len(_VERSIONS)
        if block.startswith(_COMPACT, at):
            at += len(_COMPACT)
        elif block.startswith(_SPACED, at):
            at += len(_SPACED)
        else:
            return UNSURE
        if self._is_by_update:
            return OUTSIDE if self._are_all_outside(block, at, stop) else UNSURE
        return self._calendar[block[at : at + _DAY_BYTES]]

    def _are_all_outside(self, block: bytes, at: int, stop: int) -> bool:
        """Whether no version can be of a window, the first one's day being at `at`, whichever is the newest."""
        days = _NEXT_DAY.findall(block, at, stop)
        if len(days) != block.count(b"{", at, stop):  # an object without a day that can be read, or TeX in a name
            return False
        return all(self._calendar[day] == OUTSIDE for day in (block[at : at + _DAY_BYTES], *days))

    def _may_have_category(self, block: bytes, begin: int, stop: int) -> bool:
        """False only if the line plainly spells its categories and none of the wanted ones is among them."""
        if not self._needles:
            return True
        at = block.find(_CATEGORIES, begin, stop)
        plain = _PLAIN_CATEGORIES.match(block, at, stop) if at >= 0 else None
        return plain is None or any(block.find(needle, at, plain.end()) >= 0 for needle in self._needles)

    def _parse_waiting(self) -> None:
        for line, offset, place in self._waiting:
            self._parse(line, offset, place)
        self._waiting.clear()

    def _parse(self, line: bytes, offset: int, place: int) -> None:
        self.result.n_parsed += 1
        try:
            record = records.load(line)
            past = records.history(record.get("versions"))
        except MalformedError:
            self._reject(line, offset, "malformed", place)
            return
        try:
            row = records.to_row(record, past, self._source, offset)
        except ValueError:
            self._reject(line, offset, "bad_id", self._place_without_id(past))
            return
        place = self._calendar.place((row["updated_at"] if self._is_by_update else row["submitted_at"]).date())
        if place == OUTSIDE:
            return
        if reason := self._filter.refusal(row):
            self._scans[place].dropped[reason] += 1
        else:
            self._scans[place].papers.append(row)

    def _place_without_id(self, past: History) -> int:
        at = (self._is_by_update and past.updated_at) or past.submitted_at
        return self._calendar.place(at.date()) if at else UNSURE

    def _reject(self, line: bytes, offset: int, reason: str, place: int) -> None:
        if place == UNSURE:
            place = self._place_of_wreck(line)
        if place == OUTSIDE:
            return
        text = line[: 4 * REJECT_CHARS].decode("utf-8", errors="replace")[:REJECT_CHARS]
        reject = Reject(source=self._source, offset=offset, reason=reason, line=text)
        for scan in self._scans if place == UNSURE else [self._scans[place]]:
            scan.dropped[reason] += 1
            if len(scan.rejects) < MAX_REJECTS:
                scan.rejects.append(reject)

    def _place_of_wreck(self, line: bytes) -> int:
        """Window of a line that cannot be parsed: by a date in its bytes, else by an id, else UNSURE."""
        days = _ANY_DAY.findall(line)
        place = self._calendar[days[-1 if self._is_by_update else 0]] if days else UNSURE
        found = _ANY_ID.search(line) if place == UNSURE else None
        if found is None:
            return place
        try:
            return self._calendar.place(arxiv.month_of_id(found[1].decode("ascii")))
        except ValueError:
            return UNSURE
