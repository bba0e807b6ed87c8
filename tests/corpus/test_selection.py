"""Which papers a selection wants, and which selections are none."""

from __future__ import annotations

from datetime import date

import pytest

from jobs.core.windows import Window
from jobs.corpus.selection import OUTSIDE, UNSURE, Calendar, Selection

JANUARY = Window(date(2024, 1, 1), date(2024, 2, 1))
MARCH = Window(date(2024, 3, 1), date(2024, 4, 1))


@pytest.mark.parametrize(
    ("day", "place"),
    [
        (date(2023, 12, 31), OUTSIDE),
        (date(2024, 1, 1), 1),
        (date(2024, 1, 31), 1),
        (date(2024, 2, 1), OUTSIDE),
        (date(2024, 3, 31), 0),
        (date(2024, 4, 1), OUTSIDE),
    ],
)
def test_window_is_half_open_and_keeps_its_number(day: date, place: int) -> None:
    assert Calendar([MARCH, JANUARY]).place(day) == place


@pytest.mark.parametrize("day", [b"Fri, 5 Jan 2024 ", b"Fri, 05 Jan 2024", b"Fri,  5 Jan 2024", b"Fri, 15 Jan 2024"])
def test_day_is_read_from_its_bytes(day: bytes) -> None:
    assert Calendar([JANUARY])[day] == 0


@pytest.mark.parametrize("day", [b"Fri, 5 Jan 20241", b"Fri, 32 Jan 2024", b"2024-01-05T10:00", b"Fri, \xff Jan 2024"])
def test_other_bytes_leave_the_day_open_and_are_not_remembered(day: bytes) -> None:
    calendar = Calendar([JANUARY])
    assert calendar[day] == UNSURE
    assert not calendar


def test_overlapping_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Selection((MARCH, JANUARY, Window(date(2024, 1, 31), date(2024, 2, 7))))


def test_neighbours_do_not_overlap() -> None:
    assert Selection((Window(date(2024, 2, 1), date(2024, 3, 1)), MARCH, JANUARY)).select_by == "submitted"


def test_unknown_way_to_select_is_refused() -> None:
    with pytest.raises(ValueError, match="select_by"):
        Selection((JANUARY,), select_by="update_date")
