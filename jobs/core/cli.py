"""The command line: `python -m jobs STAGE | run | define | plan | list | config | show | search | review | copy | …`.

Owns argv, the log's format and exit codes. Results go to stdout, the log to stderr.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from jobs.core.config import resolve
from jobs.core.errors import EXIT_DONE, EXIT_TO_DO, JobError, UsageError
from jobs.core.request import make_request
from jobs.core.runner import make_parts, require_inputs, survey
from jobs.core.spark import SparkConfig, submit_command
from jobs.core.stages import GOALS, ONLY, STAGES, load, require_wanted, stage_named

EXIT_READER_LEFT = 128 + 13  # what a shell says of a process that SIGPIPE ended

log = logging.getLogger(__name__)

USAGE = """python -m jobs COMMAND [options] [--SETTING VALUE ...]

stages, in the pipeline's order:
  {stages}

commands:
  run        all stages that --goal wants, one process each
  define     say what a lake is about (LAKE.json), and run nothing
  plan       what would run and why, without running it
  list       datasets of the lake: parts, rows, bytes, age
  show       a dataset or part, or what a paper, a chunk, an answer, a release or a model was made from
  config     settings of a stage, each with where it comes from
  search     passages that answer a question
  serve_chat the chat app over what the lake has released
  export_dataset
             the curated pairs as a dataset for others: Parquet, chats, a plain list, a card
  review     carry pairs to people and their decisions back: a sheet (CSV)
  copy       the lake's current parts into another lake, verified
  prune      remove what nothing refers to any more; --paper ID takes a paper out of everything

`python -m jobs COMMAND --help` shows a command's options and settings."""


def main(argv: list[str] | None = None, *, in_spark: bool = False) -> int:
    """Run a command; the exit code is returned. Every error that a job explains becomes one line and its code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        write_line(USAGE.format(stages=" ".join(STAGES)))
        return EXIT_DONE if argv else UsageError.exit_code
    set_up_log(argv[0])
    try:
        return _command(argv[0], in_spark)(argv)
    except JobError as error:
        log.error("%s: %s", type(error).__name__, error)
        return error.exit_code
    except KeyboardInterrupt:
        log.error("interrupted; what was published stays, the rest is made by the same command")
        return 130


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are ours: a bad flag is exit code 64."""

    def print_help(self, file: Any = None) -> None:  # noqa: ARG002 - argparse asks for stdout only
        """Write the help as a command's result."""
        write_line(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of leaving with exit code 2."""
        raise UsageError(f"{message}. `{self.prog} --help` lists what is expected.")


def stage_parser(command: str) -> argparse.ArgumentParser:
    """Options of a stage and of `run` and `plan`; settings are read from the words that are left over."""
    parser = Parser(
        prog=f"python -m jobs {command}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--lake", metavar="DIR", help="the lake's folder (or environment LAKE)")
    parser.add_argument("--name", help="name of a new lake, and of its folder below lakes/")
    parser.add_argument("--profile", help="demo, t4, multi_gpu; default: the lake's own, else demo")
    parser.add_argument("--window", action="append", metavar="A_B", help="a window of the grid; may be repeated")
    parser.add_argument("--from", dest="from_day", metavar="DAY", help="first day, with --to; rounded out to the grid")
    parser.add_argument("--to", dest="to_day", metavar="DAY", help="last day, included")
    parser.add_argument("--goal", choices=GOALS, help="how far the run goes (default: student)")
    parser.add_argument("--only", choices=ONLY, help="window stages or all-stages only")
    parser.add_argument("--upgrade", action="store_true", help="make anew what an older stage version made")
    parser.add_argument("--redefine", action="store_true", help="change what the lake is about to what the flags say")
    return parser


def lake_parser(command: str) -> argparse.ArgumentParser:
    """Options of a command that looks at or keeps a lake which is there."""
    parser = Parser(prog=f"python -m jobs {command}", allow_abbrev=False)
    parser.add_argument(
        "--lake", metavar="DIR", default=os.environ.get("LAKE", "lakes/sample"), help="the lake's folder"
    )
    return parser


def set_up_log(stage: str) -> None:
    """Lines such as `2024-01-31 12:00:00 INFO chunk_documents: done=…` on stderr, times in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(f"%(asctime)s %(levelname)s {stage}: %(message)s", "%Y-%m-%d %H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    # On CPUs with AVX512_BF16 it asks for a package that would call the Hub whenever it is imported.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    root = logging.getLogger("jobs")
    root.handlers[:] = [handler]
    root.setLevel(os.environ.get("SPARK_ARXIV_LOG", "INFO").upper())
    root.propagate = False


def write_line(text: str) -> None:
    """A line of a command's result. Ends the command without a word if the reader left (`python -m jobs … | head`)."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        sys.exit(EXIT_READER_LEFT)


def _command(name: str, in_spark: bool) -> Callable[[list[str]], int]:
    if name in STAGES:
        return lambda argv: _run_stage(argv, in_spark)
    if name == "serve_chat":  # by name: the hallway imports no room
        serve: Callable[[list[str]], int] = importlib.import_module("jobs.serving.serve_chat").serve_command
        return serve
    if name == "export_dataset":
        export: Callable[[list[str]], int] = importlib.import_module("jobs.tuning.export_dataset").export_command
        return export
    if name == "review":
        review: Callable[[list[str]], int] = importlib.import_module("jobs.tuning.review").review_command
        return review
    from jobs.core import copying, looking, planning, pruning, showing, walking

    commands: dict[str, Callable[[list[str]], int]] = {
        "run": walking.run_command,
        "define": planning.define_command,
        "plan": planning.plan_command,
        "submission": planning.submission_command,  # for Airflow's hook, which wants the parts of the command line
        "list": looking.list_command,
        "show": showing.show_command,
        "config": looking.config_command,
        "search": looking.search_command,
        "copy": copying.copy_command,
        "prune": pruning.prune_command,
    }
    if name not in commands:
        raise UsageError(f"{name!r} is no command and no stage. `python -m jobs --help` lists them.")
    return commands[name]


def _run_stage(argv: list[str], in_spark: bool) -> int:
    stage = stage_named(argv[0])
    parser = stage_parser(stage.name)
    parser.add_argument("--check", action="store_true", help="only say: exit 0 done, 10 to do, 99 not wanted")
    if stage.is_previewed:
        parser.add_argument("--preview", type=int, metavar="N", help="show N prompts, replies, verdicts; write nothing")
    if {"-h", "--help"} & set(argv):  # a stage that is not wanted is skipped before its module is looked for
        _describe(parser, stage.name)
    options, words = parser.parse_known_args(argv[1:])
    require_wanted(stage, options.goal or GOALS[-1], options.only)
    module = load(stage)
    request = make_request(options, words, may_create=True)
    tasks = survey(stage, request, module)
    to_do = [task for task in tasks if task.state != "done"]
    if options.check:
        for task in to_do:
            log.info("%s %s: %s", task.part, task.state, task.why)
        return EXIT_TO_DO if to_do else EXIT_DONE
    require_inputs(stage, tasks)
    if getattr(options, "preview", None) is not None:
        module.preview(request.config_of(module).values, tasks, options.preview, write_line)
        return EXIT_DONE
    if to_do and stage.engine == "spark" and not in_spark:
        spark_config = resolve(SparkConfig, request.layers).values
        command, env = submit_command(spark_config, argv, request.lake.root)
        os.dup2(2, 1)  # spark-submit writes the driver's stderr to stdout; a stage's own stdout is empty
        os.execve(command[0], command, env)  # noqa: S606  a kill must reach the JVM, and its exit code is ours
    make_parts(stage, module, request, tasks)
    return EXIT_DONE


def _describe(parser: argparse.ArgumentParser, stage_name: str) -> None:
    """The stage's docstring above its options, its settings below."""
    from jobs.core.looking import describe_settings

    stage = STAGES[stage_name]
    module = load(stage)
    parser.description = module.__doc__
    parser.epilog = "settings (--name VALUE):\n" + describe_settings(stage, module)
