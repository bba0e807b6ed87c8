"""Quality of text read from pages that we typeset, so that the truth is known: ours beside its peers on the same PDFs.

Each measure is defined in `text_measures`; shares are taken over all papers together, similarity and words are means
over papers. Run: python -m benchmarks.bench_text_quality [--seeds 2] [--styles icml acl] [--peers pymupdf] [--each]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import pymupdf

from benchmarks import readers
from benchmarks import text_measures as measures
from benchmarks.measuring import rounded, write_result
from benchmarks.peers import python_with
from benchmarks.typeset.papers import FLOATING
from benchmarks.typeset.press import Truth, typeset
from benchmarks.typeset.styles import STYLES
from jobs.corpus.layout import read_document

PEERS = {"pymupdf": None} | readers.PEERS
LABELS = ("qcurvex", "qcurvey")  # words inside the plots


@dataclass(frozen=True)
class Reading:
    """What a tool read from one PDF. `titles` are None where it tells no headings."""

    text: str
    titles: list[str] | None
    cpu_s: float


@dataclass(frozen=True)
class Paper:
    """A typeset paper, its truth and the lines that its pages show."""

    pdf: Path
    truth: Truth
    lines: tuple[str, ...]
    n_pages: int


def main() -> None:
    """Typeset, let every tool read, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="papers of each style")
    parser.add_argument("--styles", nargs="+", default=[style.name for style in STYLES], help="only these styles")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), help="which to compare with")
    parser.add_argument("--each", action="store_true", help="figures of each style on stderr")
    parser.add_argument("--keep", type=Path, help="a folder for the PDFs and what was read from them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-text-") as folder:
        root = options.keep or Path(folder)
        papers = [_paper(style, seed, root) for seed in range(options.seeds) for style in _chosen(options.styles)]
        readings = {"ours": [_read(paper) for paper in papers]}
        readings |= {name: read for name in options.peers if (read := _read_by_peer(name, papers, Path(folder)))}
        for name, read in readings.items() if options.keep else ():
            for paper, one in zip(papers, read, strict=True):
                paper.pdf.with_suffix(f".{name}.txt").write_text(one.text)
    if options.each:
        _tell_each(papers, readings)
    figures: dict[str, Any] = {"n_papers": len(papers), "n_pages": sum(paper.n_pages for paper in papers)}
    figures |= {name: summary(papers, read) for name, read in readings.items()}
    figures |= {f"not_here_{name}": True for name in options.peers if name not in readings}
    write_result("text_quality", figures)


def _chosen(names: Sequence[str]) -> list[Any]:
    return [style for style in STYLES if style.name in names]


def _paper(style: Any, seed: int, root: Path) -> Paper:
    folder = root / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    pdf, truth = typeset(style, seed, folder)
    with pymupdf.open(pdf) as document:
        lines = [
            "".join(span["text"] for span in line["spans"])
            for page in document
            for block in page.get_text("dict", flags=pymupdf.TEXTFLAGS_TEXT)["blocks"]
            for line in block["lines"]
        ]
        return Paper(pdf, truth, tuple(lines), len(document))


def _read(paper: Paper) -> Reading:
    with pymupdf.open(paper.pdf) as document:
        begun = time.process_time()
        read = read_document(document)
        return Reading(read.text, [section.title for section in read.sections], time.process_time() - begun)


def _read_by_peer(name: str, papers: Sequence[Paper], root: Path) -> list[Reading] | None:
    """What a peer read, or None if it cannot be had here."""
    requirement = PEERS[name]
    python = python_with(requirement, root / name) if requirement else Path(sys.executable)
    if python is None or (name == "pdftotext" and shutil.which(name) is None):
        return None
    command = [str(python), str(readers.PEER_SCRIPT), name, *(str(paper.pdf) for paper in papers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Reading(**one) for one in json.loads(done.stdout.splitlines()[-1])]


def _share(pairs: Sequence[tuple[int, int]]) -> float | None:
    total = sum(n for _, n in pairs)
    return sum(n for n, _ in pairs) / total if total else None


def summary(papers: Sequence[Paper], readings: Sequence[Reading]) -> dict[str, float | None]:
    """All measures of one tool over all papers."""
    both = [(paper.truth, paper.truth.text, read.text) for paper, read in zip(papers, readings, strict=True)]
    words = [measures.word_precision_recall(text, true) for _, true, text in both]
    n_words = sum(len(measures.words(text)) for _, _, text in both)
    n_chars = sum(len("".join(text.split())) for _, _, text in both)
    hyphens = [measures.n_hyphens(text, true) for _, true, text in both]
    return {
        "similarity": mean(_similarity(truth, text) for truth, _, text in both),
        "word_precision": mean(precision for precision, _ in words),
        "word_recall": mean(recall for _, recall in words),
        "heads_left": _share([measures.n_left(truth.heads, text, true) for truth, true, text in both]),
        "folios_left": _share([measures.n_folios_left(truth.folios, text, true) for truth, true, text in both]),
        "stamps_left": _share([measures.n_left([truth.stamp or ""], text, true) for truth, true, text in both]),
        "labels_left": _share([measures.n_left(LABELS, text, true) for _, true, text in both]),
        "whole_over_pages": _share(
            [measures.n_whole(_broken(truth, truth.page_breaks), text) for truth, _, text in both]
        ),
        "whole_over_columns": _share(
            [measures.n_whole(_broken(truth, truth.column_breaks), text) for truth, _, text in both]
        ),
        "lines_in_order": _share(
            [
                measures.n_lines_in_order(paper.lines, [one.text for one in paper.truth.elements], read.text)
                for paper, read in zip(papers, readings, strict=True)
            ]
        ),
        "hyphens_left_per_1000": 1000 * sum(left for left, _ in hyphens) / n_words,
        "hyphens_lost_per_1000": 1000 * sum(lost for _, lost in hyphens) / n_words,
        "ligatures": float(sum(measures.n_ligatures(text) for _, _, text in both)),
        "bad_per_10000": 10_000 * sum(measures.n_bad(text) for _, _, text in both) / n_chars,
        "sections_f1": _sections_f1(papers, readings),
        "pages_per_cpu_s": sum(paper.n_pages for paper in papers) / max(1e-9, sum(read.cpu_s for read in readings)),
    }


def _similarity(truth: Truth, text: str) -> float:
    body = [element.text for element in truth.elements if element.kind not in FLOATING]
    return measures.similarity_01(text, " ".join(body), [one.text for one in truth.elements if one.kind in FLOATING])


def _broken(truth: Truth, numbers: frozenset[int]) -> list[str]:
    return [truth.sentences[number] for number in sorted(numbers)]


def _sections_f1(papers: Sequence[Paper], readings: Sequence[Reading]) -> float | None:
    """Harmonic mean of the shares of found and of wanted headings that are right, over all papers."""
    counts = [
        measures.n_sections(read.titles, [(title, heading) for _, title, heading in paper.truth.titles])
        for paper, read in zip(papers, readings, strict=True)
        if read.titles is not None
    ]
    total = sum(found + wanted for _, found, wanted in counts)
    return 2 * sum(right for right, _, _ in counts) / total if total else None


def _tell_each(papers: Sequence[Paper], readings: dict[str, list[Reading]]) -> None:
    for name, read in readings.items():
        for style in STYLES:
            own = [(paper, one) for paper, one in zip(papers, read, strict=True) if paper.truth.style is style]
            if own:
                figures = summary([paper for paper, _ in own], [one for _, one in own])
                print(f"{name} {style.name}", json.dumps(rounded(figures)), file=sys.stderr)


if __name__ == "__main__":
    main()
