"""A `python -m jobs` whose end a test decides; it writes down what it was given."""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = """
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid()}) + chr(10))
script = json.loads((here / "script.json").read_text())
answer = script["check"] if "--check" in sys.argv else script.get(sys.argv[1], script["else"])
print(answer.get("stdout", ""), flush=True)
print(answer.get("stderr", ""), file=sys.stderr, flush=True)
time.sleep(answer.get("sleep_s", 0))
sys.exit(answer["exit"])
"""


def install(home: Path) -> None:
    """Put the fake where `python -m jobs` finds it from `home`."""
    package = home / "jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SOURCE)


def python() -> str:
    """The interpreter that runs it."""
    return sys.executable
