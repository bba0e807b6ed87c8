"""Ways to read a PDF, ours and others', and the CPU-seconds of each over the same files.

What is installed here takes turns on each PDF, and the least of the rounds counts: a busy machine slows all of them, so
their ratios say more than their rates. Others read in an environment of their own, one after the other.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pymupdf

from benchmarks.peers import python_with
from jobs.core import durable
from jobs.corpus.layout import read_document
from jobs.corpus.pdf import PdfReader

# Peer -> what has to be installed for it; None: a program of the system.
PEERS = {"pypdfium2": "pypdfium2==5.13.0", "pdftotext": None, "pymupdf4llm": "pymupdf==2.0"}
PEER_SCRIPT = Path(__file__).with_name("peers_text.py")
# pymupdf4llm's layout model makes two pages a CPU-second: it reads these shortest PDFs once, which takes two minutes.
SLOW = {"pymupdf4llm": 24}


def count_pages(pdfs: list[Path]) -> int:
    """Pages of all PDFs."""
    n_pages = 0
    for path in pdfs:
        with pymupdf.open(path) as document:
            n_pages += len(document)
    return n_pages


def cpu_s_here(pdfs: list[Path], rounds: int) -> dict[str, float]:
    """CPU-seconds of each reader of this process over all PDFs, and of our reader in its child."""
    ways: dict[str, Callable[[Path], object]] = {
        "bare_text": partial(_read_bare, "text"),
        "bare_dict": partial(_read_bare, "dict"),
        "read_document": _read_in_process,
    }
    least: dict[tuple[str, Path], float] = {}
    for _ in range(rounds):
        for path in pdfs:
            for name, read in ways.items():
                begun = _used_s()
                read(path)
                used = _used_s() - begun
                least[name, path] = min(least.get((name, path), used), used)
    costs = {name: sum(least[name, path] for path in pdfs) for name in ways}
    return costs | {"pdf_reader": _cpu_s_of_child(pdfs)}


def peer_rate(name: str, pdfs: list[Path], rounds: int) -> float | None:
    """Pages a CPU-second of a peer, the least of the rounds for each PDF; None if it cannot be had here."""
    if name in SLOW:
        pdfs, rounds = sorted(pdfs, key=lambda path: count_pages([path]))[: SLOW[name]], 1
    with tempfile.TemporaryDirectory(prefix="bench-readers-") as folder:
        requirement = PEERS[name]
        python = python_with(requirement, Path(folder) / name) if requirement else Path(sys.executable)
        if python is None or (requirement is None and shutil.which(name) is None):
            return None
        runs = [_peer_cpu_s(name, python, pdfs) for _ in range(rounds)]
    return count_pages(pdfs) / sum(map(min, zip(*runs, strict=True)))


def _peer_cpu_s(name: str, python: Path, pdfs: list[Path]) -> list[float]:
    done = subprocess.run([python, PEER_SCRIPT, name, *pdfs], check=True, stdout=subprocess.PIPE, text=True)
    return [one["cpu_s"] for one in json.loads(done.stdout.splitlines()[-1])]


def _read_bare(kind: str, path: Path) -> None:
    with pymupdf.open(path) as document:
        for page in document:
            # Without images: with them `dict` decodes every picture and is six times slower.
            page.get_text(kind, flags=pymupdf.TEXTFLAGS_TEXT)


def _read_in_process(path: Path) -> None:
    with pymupdf.open(path) as document:
        read_document(document)


def _cpu_s_of_child(pdfs: list[Path]) -> float:
    """CPU-seconds of reading all PDFs once as the stage does, in one child with its start."""
    begun = _used_s()
    with PdfReader() as reader:
        for path in pdfs:
            durable.sha256_file(path)
            reader.read(path)
    return _used_s() - begun


def _used_s() -> float:
    """CPU-seconds of this process and of its children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime
