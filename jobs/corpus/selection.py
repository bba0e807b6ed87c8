"""Which papers are wanted: windows, categories, keywords, ids.

Made for a scan: a day is looked up once, then remembered by the bytes that spell it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Protocol

from jobs.core.definition import Definition
from jobs.core.errors import UsageError
from jobs.corpus import arxiv, records
from jobs.corpus.records import PaperRow

OUTSIDE = -1  # the day is in no window
UNSURE = -2  # the bytes do not tell the day


class WindowLike(Protocol):
    """A half-open span of UTC days with a name; `jobs.core.windows.Window` is one."""

    @property
    def start(self) -> date:
        """First day."""

    @property
    def end(self) -> date:
        """Day after the last."""

    @property
    def name(self) -> str:
        """Name of the window's part."""


@dataclass(frozen=True)
class Selection:
    """Which papers are wanted. Empty `categories`, `keywords` or `ids` mean no such filter.

    `select_by` is `submitted` (first version) or `updated` (newest). Windows may come in any order but must not
    overlap. Raises ValueError otherwise.
    """

    windows: tuple[WindowLike, ...]
    categories: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    select_by: str = "submitted"

    def __post_init__(self) -> None:
        if self.select_by not in ("submitted", "updated"):
            raise ValueError(f"select_by={self.select_by!r}; expected 'submitted' or 'updated'")
        ordered = sorted(self.windows, key=lambda window: window.start)
        for window, following in pairwise(ordered):
            if following.start < window.end:
                raise ValueError(f"windows {window.name} and {following.name} overlap; expected each day in one window")


def select(about: Definition, windows: tuple[WindowLike, ...]) -> Selection:
    """The selection of a lake's definition. Raises UsageError for a category or an id that arXiv does not have."""
    if unknown := [name for name in about.categories if not arxiv.is_category(name)]:
        raise UsageError(
            f"--categories {' '.join(unknown)}: no arXiv category. Expected names such as cs.LG or hep-th."
        )
    try:
        ids = frozenset(arxiv.parse_id(text).paper_id for text in about.ids)
    except ValueError as error:
        raise UsageError(f"--ids: {error}.") from error
    return Selection(windows, about.categories, about.keywords, ids, about.select_by)


class Calendar(dict[bytes, int]):
    """The first bytes of a `created` -> number of its window, OUTSIDE or UNSURE. Remembers each day it has read."""

    def __init__(self, windows: Sequence[WindowLike]) -> None:
        super().__init__()
        self._spans = sorted((window.start, window.end, i) for i, window in enumerate(windows))
        self._starts = [start for start, _, _ in self._spans]

    def __missing__(self, day: bytes) -> int:
        try:
            place = self.place(arxiv.parse_day(day.decode("ascii")))
        except ValueError:
            return UNSURE
        self[day] = place
        return place

    def place(self, day: date) -> int:
        """Number of the window that holds the day, or OUTSIDE."""
        at = bisect_right(self._starts, day) - 1
        if at < 0 or day >= self._spans[at][1]:
            return OUTSIDE
        return self._spans[at][2]


class Filter:
    """The filters of a selection that look at a whole row, after its window is known."""

    def __init__(self, selection: Selection) -> None:
        self._categories = frozenset(selection.categories)
        self._keyword = _keyword_pattern(selection.keywords)
        self._ids = selection.ids

    def refusal(self, row: PaperRow) -> str | None:
        """Why the paper is not wanted, from PAPER_REASONS, or None to keep it. The first reason counts."""
        if self._categories and row["categories"] and self._categories.isdisjoint(row["categories"]):
            return "other_category"
        if self._keyword and not (self._keyword.search(row["title"]) or self._keyword.search(row["abstract"])):
            return "no_keyword"
        if self._ids and row["paper_id"] not in self._ids:
            return "not_listed"
        return None


def _keyword_pattern(keywords: Sequence[str]) -> re.Pattern[str] | None:
    words = [re.escape(records.clean(keyword)) for keyword in keywords if records.clean(keyword)]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE) if words else None
