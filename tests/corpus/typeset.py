"""PDFs made by TeX from the sources beside this file: with ligatures, hyphens, floats and heads as papers have them."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "tex"


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spark-arxiv-tex-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def typeset(name: str) -> Path:
    """The PDF of tex/<name>.tex, made once a test run. Fails, with what to install, without pdflatex."""
    if shutil.which("pdflatex") is None:
        raise AssertionError(
            "pdflatex is missing: these tests read PDFs that TeX makes. Install Debian's texlive-latex-base, "
            "texlive-latex-recommended, texlive-latex-extra and texlive-fonts-recommended"
        )
    source = SOURCES / f"{name}.tex"
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={_folder()}", str(source)]
    for _ in range(2):  # the second run knows the table of contents
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
        assert run.returncode == 0, f"pdflatex failed on {source.name}:\n{run.stdout[-2000:]}"
    return _folder() / f"{name}.pdf"
