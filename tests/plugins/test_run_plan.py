"""What a run covers, for each way to start one."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.conftest import calls

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
WEEK = (dt.date(2024, 1, 8), dt.date(2024, 1, 15))
EMPTY = dict.fromkeys(("from", "to", "lake", "profile", "only", "max_papers_per_window", "settings")) | {
    "goal": "student",
    "lookback_weeks": 1,
}
Script = Callable[..., Path]


def plan_answer(**facts: Any) -> dict[str, Any]:
    plan = {"lake": "lakes/x", "windows": ["W"], "papers": 1, "goal": "student", "stages": [], "shards": [0, 1]}
    return {"exit": 0, "stdout": json.dumps(plan | {"grid": "week", "source": "kaggle"} | facts)}


def run_plan(run_type: str, interval: Any = None, **params: Any) -> Any:
    from arxiv_run_plan import Asked, make_run_plan

    return make_run_plan(Asked(EMPTY | params, run_type, interval))


def asked_range(home: Path) -> list[str]:
    """The range of the last question to the jobs."""
    argv = calls(home)[-1]["argv"]
    return argv[argv.index("--from") : argv.index("--from") + 4] if "--from" in argv else []


def test_form_range_wins_over_the_interval(jobs: Script) -> None:
    home = jobs(plan=plan_answer())
    run_plan("manual", WEEK, **{"from": "2023-01-01", "to": "2023-02-01"})
    assert asked_range(home) == ["--from", "2023-01-01", "--to", "2023-02-01"]


def test_half_a_range_is_refused(jobs: Script) -> None:
    jobs(plan=plan_answer())
    with pytest.raises(Exception, match="expected both days"):
        run_plan("manual", **{"from": "2023-01-01"})


def test_scheduled_run_looks_a_week_back(jobs: Script) -> None:
    home = jobs(plan=plan_answer())
    run_plan("scheduled", WEEK)
    assert asked_range(home) == ["--from", "2024-01-01", "--to", "2024-01-14"]


def test_backfill_covers_its_week_and_window_stages_only(jobs: Script) -> None:
    home = jobs(plan=plan_answer(source="file"))
    plan = run_plan("backfill", WEEK)
    assert asked_range(home) == ["--from", "2024-01-08", "--to", "2024-01-14"]
    assert plan.flags[plan.flags.index("--only") + 1] == "window"


def test_backfill_on_another_grid_is_refused_with_the_way_out(jobs: Script) -> None:
    jobs(plan=plan_answer(grid="year"))
    with pytest.raises(Exception, match="make backfill FROM=2024-01-08 TO=2024-01-14"):
        run_plan("backfill", WEEK)


def test_scheduled_run_of_a_folder_skips_itself(jobs: Script) -> None:
    jobs(plan=plan_answer(source="folder"))
    assert run_plan("scheduled", WEEK) is None


def test_manual_run_of_a_file_covers_all_of_it(jobs: Script) -> None:
    home = jobs(plan=plan_answer(source="file"))
    assert run_plan("manual", WEEK).shards == [0, 1]
    assert asked_range(home) == []


def test_run_without_dates_leaves_them_to_the_jobs(jobs: Script) -> None:
    home = jobs(plan=plan_answer())
    assert run_plan("manual").flags[-2:] == ["--window", "W"]
    assert asked_range(home) == []


@pytest.mark.parametrize(("run_type", "goal"), [("manual", "student"), ("scheduled", "index")])
def test_standing_settings_hold_for_every_run_and_give_way_to_a_form_that_was_filled_in(
    jobs: Script, monkeypatch: pytest.MonkeyPatch, run_type: str, goal: str
) -> None:
    jobs(plan=plan_answer())
    monkeypatch.setenv("SPARK_ARXIV_SETTINGS", "--goal index --contact 'Ada <ada@example.org>'")
    flags = run_plan(run_type, WEEK).flags
    assert flags[flags.index("--contact") + 1] == "Ada <ada@example.org>"
    assert [word for before, word in itertools.pairwise(flags) if before == "--goal"][-1] == goal


def test_settings_of_the_form_become_flags(jobs: Script) -> None:
    jobs(plan=plan_answer())
    flags = run_plan("manual", max_papers_per_window=5, settings="--keywords 'a b'", lake="L").flags
    assert flags == [
        *("--lake", "L", "--goal", "student", "--max-papers-per-window", "5", "--keywords", "a b", "--window", "W")
    ]


def test_refused_plan_fails_with_its_sentence(jobs: Script) -> None:
    jobs(plan={"exit": 64, "stderr": "2024-01-01 00:00:00 ERROR plan: UsageError: no Java"})
    with pytest.raises(Exception, match=r"not retried.*no Java"):
        run_plan("manual")
