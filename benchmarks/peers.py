"""Peers that our lock does not have: each in a throw-away environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import REPOSITORY


def python_with(requirement: str, folder: Path) -> Path | None:
    """The Python of a new environment `folder` with one package; None, said on stderr, if it cannot be made."""
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    made = subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], cwd=REPOSITORY)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, requirement]
    if made.returncode or subprocess.run(install, cwd=REPOSITORY).returncode:
        print(f"{requirement} cannot be installed here (no package index?): not compared", file=sys.stderr)
        return None
    return python
