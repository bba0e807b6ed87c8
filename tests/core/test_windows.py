"""The grid: windows tile time, whatever the range."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.errors import UsageError
from jobs.core.windows import (
    GRIDS,
    Window,
    last_complete_window,
    parse_day,
    parse_window,
    window_of,
    windows_between,
)

DAY = dt.timedelta(days=1)
days = st.dates(dt.date(1991, 1, 1), dt.date(2100, 1, 1))
grids = st.sampled_from(GRIDS)


@given(days, grids)
def test_every_day_lies_in_exactly_one_window(day: dt.date, grid: str) -> None:
    window = window_of(day, grid)
    assert window.start <= day < window.end
    assert {window_of(window.start, grid), window_of(window.end - DAY, grid)} == {window}
    assert window_of(window.start - DAY, grid) != window != window_of(window.end, grid)


@given(days, st.integers(0, 800), grids)
def test_windows_of_a_range_tile_it_and_round_out(first: dt.date, n_days: int, grid: str) -> None:
    last = first + n_days * DAY
    windows = windows_between(first, last, grid)
    assert all(left.end == right.start for left, right in itertools.pairwise(windows))
    assert windows[0] == window_of(first, grid)
    assert windows[-1] == window_of(last, grid)


@given(days, grids)
def test_name_of_a_window_parses_back(day: dt.date, grid: str) -> None:
    window = window_of(day, grid)
    assert parse_window(window.name, grid) == window


@given(days)
def test_weeks_begin_on_monday_and_have_seven_days(day: dt.date) -> None:
    window = window_of(day, "week")
    assert (window.start.weekday(), window.end - window.start) == (0, 7 * DAY)


@given(st.datetimes(dt.datetime(1992, 1, 1), dt.datetime(2100, 1, 1)), grids)
def test_last_complete_window_has_ended_and_its_successor_has_not(now: dt.datetime, grid: str) -> None:
    window = last_complete_window(now.replace(tzinfo=dt.UTC), grid)
    today = now.date()
    assert window.end <= today < window_of(window.end, grid).end


def test_last_complete_window_counts_in_utc() -> None:
    now = dt.datetime(2024, 1, 8, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))  # still Sunday in UTC
    assert last_complete_window(now, "week").name == "2023-12-25_2024-01-01"


@pytest.mark.parametrize(
    ("grid", "expected"),
    [("week", "2024-02-26_2024-03-04"), ("month", "2024-02-01_2024-03-01"), ("year", "2024-01-01_2025-01-01")],
)
def test_leap_day_lies_in_its_window(grid: str, expected: str) -> None:
    assert window_of(dt.date(2024, 2, 29), grid).name == expected


def test_off_grid_window_is_refused_with_the_one_on_the_grid() -> None:
    with pytest.raises(UsageError, match=r"grid=week.*2024-01-02 is 2024-01-01_2024-01-08.*--from and --to"):
        parse_window("2024-01-02_2024-01-09", "week")


def test_window_of_another_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="grid=month"):
        parse_window("2024-01-01_2024-01-08", "month")


@pytest.mark.parametrize("text", ["2024-01-01", "all", "2024-01-01_", "2024-13-01_2024-13-08", ""])
def test_text_that_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Expected START_END|Expected a date"):
        parse_window(text, "week")


def test_text_that_is_no_day_is_refused() -> None:
    with pytest.raises(UsageError, match="Expected a date such as 2024-01-31"):
        parse_day("31.1.2024")


def test_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="not after"):
        windows_between(dt.date(2024, 1, 2), dt.date(2024, 1, 1), "week")


def test_unknown_grid_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="week, month, year"):
        window_of(dt.date(2024, 1, 1), "day")


def test_windows_sort_by_time() -> None:
    first, second = (Window(dt.date(year, 1, 1), dt.date(year + 1, 1, 1)) for year in (2023, 2024))
    assert sorted([second, first]) == [first, second]
