"""The grid of time windows: whole UTC weeks from Monday, months or years.

All runs of a lake cut time the same way, so a bulk run and a backfill make the same parts and nothing overlaps.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from jobs.core.errors import UsageError

GRIDS = ("week", "month", "year")


@dataclass(frozen=True, order=True)
class Window:
    """Half-open span of UTC days, [start, end)."""

    start: dt.date
    end: dt.date

    @property
    def name(self) -> str:
        """The name of the window's part: `2024-01-01_2024-01-08`."""
        return f"{self.start.isoformat()}_{self.end.isoformat()}"

    def __str__(self) -> str:
        return self.name


def parse_day(text: str) -> dt.date:
    """A day as 2024-01-31. Raises UsageError."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no day. Expected a date such as 2024-01-31.") from error


def window_of(day: dt.date, grid: str) -> Window:
    """The window of the grid that holds a day."""
    if grid == "week":
        start = day - dt.timedelta(days=day.weekday())
        return Window(start, start + dt.timedelta(days=7))
    if grid == "month":
        start = day.replace(day=1)
        return Window(start, (start + dt.timedelta(days=32)).replace(day=1))
    if grid == "year":
        return Window(dt.date(day.year, 1, 1), dt.date(day.year + 1, 1, 1))
    raise UsageError(f"grid={grid!r} is unknown. Expected one of: {', '.join(GRIDS)}.")


def windows_between(first: dt.date, last: dt.date, grid: str) -> list[Window]:
    """All windows that hold a day from `first` to `last`, both included: the range rounded out to the grid."""
    if last < first:
        raise UsageError(f"The range ends ({last}) before it begins ({first}). Expected --from not after --to.")
    windows: list[Window] = []
    day = first
    while not windows or windows[-1].end <= last:
        windows.append(window_of(day, grid))
        day = windows[-1].end
    return windows


def parse_window(text: str, grid: str) -> Window:
    """A window by its name. Raises UsageError if it is none or does not lie on the grid."""
    start_text, _, end_text = text.partition("_")
    if not end_text:
        raise UsageError(f"{text!r} is no window. Expected START_END, such as 2024-01-01_2024-01-08.")
    window = Window(parse_day(start_text), parse_day(end_text))
    if window != (on_grid := window_of(window.start, grid)):
        raise UsageError(
            f"Window {window} does not lie on this lake's grid (grid={grid}). The window with {window.start} is "
            f"{on_grid}. Use --from and --to: a range is rounded out to the grid."
        )
    return window


def last_complete_window(now: dt.datetime, grid: str) -> Window:
    """The newest window whose end is not after `now` (aware, any zone)."""
    today = now.astimezone(dt.UTC).date()
    return window_of(window_of(today, grid).start - dt.timedelta(days=1), grid)
