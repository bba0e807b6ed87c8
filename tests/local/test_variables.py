"""Make variables become flags of the jobs and fields of the trigger form."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from jobs.core.errors import UsageError
from jobs.core.mirror import disk_of
from local.commands import absolute
from local.variables import Given

REPOSITORY = Path(__file__).resolve().parents[2]


def given(**values: str) -> Given:
    return Given.of(list(values), values)


def test_variable_is_the_flag_of_its_setting() -> None:
    assert given(MAX_PAPERS_PER_WINDOW="20", CATEGORIES="cs.LG cs.CL").flags == [
        *("--max-papers-per-window", "20", "--categories", "cs.LG cs.CL")
    ]


def test_variable_that_was_not_given_is_left_alone() -> None:
    assert Given.of(["GOAL"], {"GOAL": "index", "NAME": "my-laptop"}).flags == ["--goal", "index"]


def test_variables_of_the_stack_are_no_settings() -> None:
    assert given(AIRFLOW_PORT="1", YES="1").flags == []


def test_flag_without_value_has_none() -> None:
    assert given(UPGRADE="1", REDEFINE="0").flags == ["--upgrade"]


def test_form_gets_its_fields_and_the_rest_as_settings(tmp_path: Path) -> None:
    conf = given(FROM="2024-01-01", MAX_PAPERS_PER_WINDOW="3", KEYWORDS="a b", PDFS=str(tmp_path), LAKE="x").conf("/l")
    assert shlex.split(conf.pop("settings")) == ["--keywords", "a b", "--pdfs", str(tmp_path)]
    assert conf == {"lake": "/l", "from": "2024-01-01", "max_papers_per_window": 3}


def test_weekly_runs_keep_what_neither_one_run_nor_the_lake_is_about() -> None:
    words = {"FROM": "2024-01-01", "TO": "2024-01-07", "CATEGORIES": "cs.CL", "PDFS": "p", "LAKE": "x", "UPGRADE": "1"}
    kept = given(**words, PROFILE="t4", CONTACT="me@x.org", GOAL="index", MAX_PAPERS_PER_WINDOW="20").standing
    assert kept == "--contact me@x.org --goal index --max-papers-per-window 20"
    assert given(**words).standing == ""


def test_number_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a whole number"):
        given(MAX_PAPERS_PER_WINDOW="many").conf("/l")


def test_backfill_without_range_says_how() -> None:
    with pytest.raises(UsageError, match="make backfill FROM=2024-01-01"):
        _ = given(FROM="2024-01-01").days


def test_make_passes_names_and_no_values() -> None:
    """What a shell never sees it cannot run."""
    argv = ["make", "-n", "demo", "CATEGORIES=$$(touch x)", "GOAL=index"]
    # The make that runs this test would hand down its own flags and variables.
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    made = subprocess.run(argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True)
    words = made.stdout.splitlines()[-1].split()
    assert words[1:4] == ["-m", "local", "demo"]
    assert sorted(words[4:]) == ["CATEGORIES", "GOAL"]


def test_address_of_a_store_stays_one_on_its_way_through_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE_MIRROR", str(tmp_path))
    assert disk_of(str(absolute("s3://bucket/lakes/mine"))).address == "s3://bucket/lakes/mine"
