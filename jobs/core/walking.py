"""`python -m jobs run`: the stages in the order of the table, one process each. A loop, not a scheduler."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time

from jobs.core.cli import stage_parser
from jobs.core.config import REPOSITORY
from jobs.core.errors import EXIT_DONE, NotWantedError
from jobs.core.planning import forecast, refuse_what_cannot_end_well
from jobs.core.request import make_request
from jobs.core.runner import Request
from jobs.core.stages import GOALS, Stage, wanted

log = logging.getLogger(__name__)


def run_command(argv: list[str]) -> int:
    """Walk the stages; ends with the first that fails, with its exit code."""
    options, words = stage_parser("run").parse_known_args(argv[1:])
    stages = wanted(options.goal or GOALS[-1], options.only)
    request = make_request(options, words, may_create=True)
    refuse_what_cannot_end_well(forecast(request))
    log.info(
        "lake %s, %d windows, stages: %s", request.lake.address, len(request.windows), " ".join(s.name for s in stages)
    )
    for stage in stages:
        begun_at = time.monotonic()
        exit_code = _run_stage(stage, request, options, words)
        if exit_code == NotWantedError.exit_code:
            continue
        if exit_code != EXIT_DONE:
            log.error("%s ended with exit code %d; the lines above say why", stage.name, exit_code)
            return exit_code
        log.info("%s took %.1f s", stage.name, time.monotonic() - begun_at)
    return EXIT_DONE


def _run_stage(stage: Stage, request: Request, options: argparse.Namespace, words: list[str]) -> int:
    command = [sys.executable, "-m", "jobs", stage.name, "--lake", request.lake.address, "--goal", request.goal]
    for window in request.windows:
        command += ["--window", window.name]
    for flag, value in (("--profile", options.profile), ("--only", options.only)):
        if value:
            command += [flag, value]
    if options.upgrade:
        command.append("--upgrade")
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return subprocess.run([*command, *words], env=os.environ | {"PYTHONPATH": path}).returncode
