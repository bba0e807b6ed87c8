"""`make demo`, `start`, `stop`, `status` and `backfill`."""

from __future__ import annotations

import getpass
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs.core.config import REPOSITORY
from jobs.core.errors import EXIT_DONE, ContractError, InputMissingError, TryAgainError, UsageError
from jobs.core.lake import Lake
from jobs.core.store import is_store
from local import processes, running
from local.follow import follow
from local.layout import USER, Layout
from local.rest import Airflow
from local.variables import Given

log = logging.getLogger(__name__)

QUESTIONS_FILE = "prompts/questions.txt"
EXIT_STOPPED = 3  # `status`, when nothing runs: what `systemctl status` says too


def demo(layout: Layout, given: Given) -> int:
    """Set up, walk the pipeline over the corpus' dates, say where to look. Nothing to do: say that."""
    plan = ask_plan(given.flags)
    _say_plan(plan)
    lake = absolute(plan["lake"])
    airflow = running.start(layout, lake, given.standing)
    if plan["to_do"] == 0:
        log.info("nothing to do: all %d windows are done", len(plan["windows"]))
        _say_where_it_answers(layout, lake)
        return EXIT_DONE
    return _walk(layout, airflow, given.conf(str(lake)), lake)


def start(layout: Layout, given: Given) -> int:
    """Start the stack over the lake that the settings name. Triggers nothing."""
    plan = ask_plan(given.flags, is_refused=False)
    lake = absolute(plan["lake"])
    running.start(layout, lake, given.standing)
    for sentence in plan["missing"]:
        log.warning("before a run can end well: %s", sentence)
    say_where(layout, lake)
    return EXIT_DONE


def stop(layout: Layout, _given: Given) -> int:
    """End everything that was started."""
    running.stop(layout)
    log.info("stopped; lakes and Airflow's history stay")
    return EXIT_DONE


def status(layout: Layout, _given: Given) -> int:
    """One line a part, then addresses. A part that crashed is shown with the end of its log."""
    names = [*running.AIRFLOW_PARTS, running.APP]
    is_up, is_wanted = running.postgres_pid(layout) is not None, processes.running(layout, "api-server") is not None
    state = "running" if is_up else f"crashed; look at {layout.postgres / 'log'}" if is_wanted else "stopped"
    log.info("%-14s %s", "postgres", state)
    for name in names:
        found = processes.running(layout, name)
        crashed = found is None and processes.was_started(layout, name)
        state = f"running (pid {found.pid})" if found else "crashed" if crashed else "stopped"
        log.info("%-14s %s", name, state)
        if crashed:
            log.info("  the end of %s:\n%s", processes.log_file(layout, name), processes.tail(layout, name))
    app = processes.running(layout, running.APP)
    if not running.addresses(layout):
        log.info("start it with: make demo, or make start PROFILE=t4")
        return EXIT_STOPPED
    say_where(layout, Path(app.facts["lake"]) if app else None)
    return EXIT_DONE


def backfill(layout: Layout, given: Given) -> int:
    """One run over a range, window stages only; asks first."""
    first, last = given.days
    given = Given(given.values | {"only": "window"})
    plan = ask_plan(given.flags)
    _say_plan(plan)
    if plan["to_do"] == 0:
        log.info("nothing to do: all %d windows from %s to %s are done", len(plan["windows"]), first, last)
        return EXIT_DONE
    if not _is_agreed():
        log.info("nothing was started")
        return EXIT_DONE
    lake = absolute(plan["lake"])
    return _walk(layout, running.start(layout, lake), given.conf(str(lake)), lake)


def ask_plan(flags: list[str], *, is_refused: bool = True) -> dict[str, Any]:
    """`python -m jobs plan --json`, its log shown. Raises UsageError where the run could not end well.

    `is_refused` false: a plan that only lacks something is returned all the same.
    """
    argv = [sys.executable, "-m", "jobs", "plan", "--json", *flags]
    ended = subprocess.run(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if ended.returncode and (is_refused or not ended.stdout):
        kind = {65: ContractError, 66: InputMissingError, 75: TryAgainError}.get(ended.returncode, UsageError)
        raise kind("the plan was refused; the line above says why")
    plan: dict[str, Any] = json.loads(ended.stdout)
    return plan


def absolute(lake: str) -> Path:
    """A lake's folder as every process can use it; the address of one on a store stays what it is."""
    path = Path(lake)
    if is_store(lake):
        return path
    return path if path.is_absolute() else REPOSITORY / path


def say_where(layout: Layout, lake: Path | None) -> None:
    """Addresses, the password's file, and three questions worth asking."""
    found = running.addresses(layout)
    log.info("")
    if "chat" in found:
        log.info("chat      %s%s", found["chat"], f"  (over {lake})" if lake else "")
    if "Airflow" in found:
        log.info("Airflow   %s  (user %s, password in %s)", found["Airflow"], USER, layout.passwords)
        log.info("runs      %s/dags/%s", found["Airflow"], running.DAG_ID)
    ports = " ".join(
        f"-L {port}:{url.removeprefix('http://')}" for url in found.values() if (port := url.split(":")[-1])
    )
    log.info("from another machine: ssh %s %s@%s", ports, getpass.getuser(), socket.gethostname())
    if lake and (questions := questions_of(lake)):
        log.info("ask it, for example:")
        for question in questions:
            log.info("  %s", question)


def _say_where_it_answers(layout: Layout, lake: Path) -> None:
    """Addresses, once the chat has loaded what the lake has released."""
    if release := Lake.open(lake).current("releases", "all"):
        running.wait_for_release(layout, release.folder.name)
    say_where(layout, lake)


def questions_of(lake: Path) -> list[str]:
    """Three questions that the lake's release can answer; none before there is a release."""
    release = Lake.open(lake).current("releases", "all")
    return release.file(QUESTIONS_FILE).read_text().splitlines()[:3] if release else []


def _walk(layout: Layout, airflow: Airflow, conf: dict[str, Any], lake: Path) -> int:
    run_id = airflow.trigger(running.DAG_ID, conf)
    log.info("run %s (Ctrl-C leaves it running)", run_id)
    if not follow(airflow, running.DAG_ID, run_id):
        raise TryAgainError(f"the run failed; the lines above say where. It is at {airflow.url}/dags/{running.DAG_ID}")
    _say_where_it_answers(layout, lake)
    return EXIT_DONE


def _say_plan(plan: dict[str, Any]) -> None:
    papers = "?" if plan["papers"] is None else plan["papers"]
    log.info("lake %s: %d windows, %s papers, goal %s", plan["lake"], len(plan["windows"]), papers, plan["goal"])
    for stage in plan["stages"]:
        if stage["to_do"]:
            cost = "" if stage["hours"] is None else f", {stage['hours'] * 60:.1f} min, {stage['gb']:.2f} GB"
            log.info("  %-16s to do %d%s", stage["stage"], stage["to_do"], cost)


def _is_agreed() -> bool:
    if os.environ.get("YES") == "1" or os.environ.get("CI"):
        return True
    if not sys.stdin.isatty():
        raise UsageError("Nobody is here to be asked. Add YES=1.")
    sys.stderr.write("Start? [y/N] ")
    return input().strip().lower() in ("y", "yes")
