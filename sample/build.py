"""Typeset the sample notes and write their metadata rows.

Reads tex/*.tex. Writes pdf/sample_<id>v<N>.pdf and metadata.jsonl: one row a note, in the form of Kaggle's file.
What a row says (title, abstract, dates, pages) is taken from the sources, so that the two cannot differ. A rebuild with
the same TeX distribution gives the same bytes: the clock that TeX sees is the date of the note.

Run: python sample/build.py             everything
     python sample/build.py 2401001     the PDFs of these notes, no metadata
     python sample/build.py --check     build, write nothing, exit 1 if a committed file differs
"""

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger("sample.build")

HERE = Path(__file__).resolve().parent
AUTHORS = "Spark-ArXiv contributors"
LICENSE_URL = "http://creativecommons.org/licenses/by/4.0/"
MAX_PASSES = 4  # two settle the references; hyperref's outlines may ask for one more

# Categories beside the primary one, which the stamp on page 1 names.
CROSS_LISTED = {
    "2401001": "cs.CL",
    "2401002": "cs.CL",
    "2401003": "cs.PF",
    "2401005": "cs.DB",
    "2401006": "cs.LG",
    "2401007": "cs.IR cs.LG",
    "2401008": "cs.LG",
    "2401009": "cs.FL",
    "2401010": "cs.CL",
    "2401012": "cs.CL",
    "2402001": "cs.CL",
    "2402002": "cs.DB",
    "2402003": "cs.SE",
    "2402004": "cs.IR",
    "2402005": "cs.IR",
    "2402006": "cs.DS",
    "2402007": "cs.CL",
    "2403001": "cs.OS",
    "2403003": "cs.CL",
    "2403004": "cs.CL",
    "2403005": "cs.IR",
}

_STAMP = re.compile(r"\\notestamp\{(\d{7})\}\{(\d+)\}\{([\w.-]+)\}\{(\d{1,2} \w{3} \d{4})\}")
_PAGES = re.compile(r"Output written on \S+ \((\d+) pages?")
_UNDEFINED = re.compile(r"(?:Reference|Citation) `([^']+)' .{0,40}undefined")
_RERUN = re.compile(r"Rerun to get|Label\(s\) may have changed|has changed\.")


@dataclass(frozen=True)
class Note:
    """One version of one note, as its source declares it."""

    path: Path
    note_id: str
    version: int
    category: str
    submitted: datetime
    title: str
    abstract: str

    @property
    def pdf_name(self) -> str:
        """File name of this version, e.g. sample_2401008v2.pdf, as old arXiv ids are written."""
        return f"sample_{self.note_id}v{self.version}.pdf"


def read_note(path: Path) -> Note:
    """The declarations of one source. Raises ValueError if the stamp, title or abstract is missing or misnamed."""
    source = path.read_text(encoding="utf-8")
    stamp = _STAMP.search(source)
    if stamp is None:
        raise ValueError(f"{path.name} has no \\notestamp{{id}}{{version}}{{category}}{{1 Jan 2024}}")
    note_id, version, category, day = stamp.groups()
    if path.stem not in (note_id, f"{note_id}v{version}"):
        raise ValueError(f"{path.name} is stamped {note_id}v{version}: name and stamp must agree")
    submitted = datetime.strptime(day, "%d %b %Y").replace(hour=9, tzinfo=UTC)
    title = plain(braced(source, "\\title"))
    abstract = plain(between(source, "\\begin{abstract}", "\\end{abstract}"))
    return Note(path, note_id, int(version), category, submitted, title, abstract)


def braced(source: str, command: str) -> str:
    """The argument of a command, with the braces inside it balanced. Raises ValueError if the command is missing."""
    start = source.index(command + "{") + len(command) + 1
    depth, end = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(source[end], 0)
        end += 1
    return source[start : end - 1]


def between(source: str, opening: str, closing: str) -> str:
    """The text from the first `opening` to the next `closing`. Raises ValueError if one is missing."""
    start = source.index(opening) + len(opening)
    return source[start : source.index(closing, start)]


def plain(tex: str) -> str:
    """TeX as arXiv's abstracts have it: formulas stay, the commands that only change the look of words go."""
    text = re.sub(r"(?<!\\)%.*", "", tex)
    text = re.sub(r"\\(?:emph|textit|textbf|texttt|textsf|mbox)\{([^{}]*)\}", r"\1", text)
    text = text.replace("\\,", " ").replace("~", " ").replace("---", " - ").replace("--", "-")
    text = text.replace("``", '"').replace("''", '"')
    text = re.sub(r"\\([%&_#])", r"\1", text)
    return " ".join(text.split())


def typeset(note: Note, folder: Path) -> tuple[Path, int]:
    """Run pdflatex in a scratch folder until nothing changes. Returns the PDF and its number of pages."""
    env = os.environ | {
        "SOURCE_DATE_EPOCH": str(int(note.submitted.timestamp())),
        "FORCE_SOURCE_DATE": "1",  # \today and the dates in the PDF follow the epoch too
        "TEXINPUTS": f"{note.path.parent}:",
        "TZ": "UTC",
    }
    job = Path(note.pdf_name).stem
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-jobname={job}", str(note.path)]
    for _ in range(MAX_PASSES):
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            raise RuntimeError(f"pdflatex failed on {note.path.name}:\n" + "\n".join(done.stdout.splitlines()[-25:]))
        log = (folder / f"{job}.log").read_text(encoding="utf-8", errors="replace").replace("\n", " ")
        if not _RERUN.search(log):
            break
    if undefined := _UNDEFINED.search(log):
        raise RuntimeError(f"{note.path.name} refers to `{undefined.group(1)}`, which it does not define")
    pages = _PAGES.search(log)
    if pages is None:
        raise RuntimeError(f"pdflatex says nothing of its output for {note.path.name}: see {job}.log")
    return folder / note.pdf_name, int(pages.group(1))


def metadata_row(versions: list[Note], n_pages: int) -> dict[str, object]:
    """One row in Kaggle's form from all versions of a note, oldest first; text and pages are the newest's."""
    newest = versions[-1]
    categories = f"{newest.category} {CROSS_LISTED.get(newest.note_id, '')}".strip()
    return {
        "id": f"sample/{newest.note_id}",
        "submitter": AUTHORS,
        "authors": AUTHORS,
        "title": newest.title,
        "comments": f"{n_pages} pages",
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": categories,
        "license": LICENSE_URL,
        "abstract": "  " + textwrap.fill(newest.abstract, 80, break_long_words=False, break_on_hyphens=False) + "\n",
        "versions": [{"version": f"v{note.version}", "created": http_date(note.submitted)} for note in versions],
        "update_date": newest.submitted.date().isoformat(),
        "authors_parsed": [[AUTHORS, "", ""]],
    }


def http_date(moment: datetime) -> str:
    """The form of `versions[].created`: "Mon, 1 Jan 2024 09:00:00 GMT", the day without a leading zero."""
    return f"{moment:%a}, {moment.day} {moment:%b %Y %H:%M:%S} GMT"


def build(notes: list[Note], out: Path) -> list[dict[str, object]]:
    """Typeset the notes into out/pdf and return their metadata rows in order of id."""
    (out / "pdf").mkdir(parents=True, exist_ok=True)
    versions: dict[str, list[Note]] = {}
    n_pages: dict[str, int] = {}
    for note in notes:
        with tempfile.TemporaryDirectory() as scratch:
            pdf, n_pages[note.note_id] = typeset(note, Path(scratch))
            shutil.copyfile(pdf, out / "pdf" / note.pdf_name)
        versions.setdefault(note.note_id, []).append(note)
        logger.info("built %s pages=%d", note.pdf_name, n_pages[note.note_id])
    return [metadata_row(versions[note_id], n_pages[note_id]) for note_id in sorted(versions)]


def write_metadata(rows: list[dict[str, object]], path: Path) -> None:
    """Compact JSON lines, as Kaggle's snapshot has them."""
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows), encoding="utf-8")


def differing(built: Path) -> list[str]:
    """Names of the files under `built` whose committed twin is missing or has other bytes."""
    names = sorted(str(path.relative_to(built)) for path in built.rglob("*") if path.is_file())
    twins = {name: HERE / name for name in names}
    return [n for n, twin in twins.items() if not twin.exists() or twin.read_bytes() != (built / n).read_bytes()]


def main() -> int:
    """Build what was asked for. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Typeset the sample notes and write their metadata rows.")
    parser.add_argument("note_ids", nargs="*", help="build only the PDFs of these notes, e.g. 2401001")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a committed file differs")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    notes = sorted((read_note(p) for p in (HERE / "tex").glob("*.tex")), key=lambda note: note.pdf_name)
    if args.note_ids:
        notes = [note for note in notes if note.note_id in args.note_ids]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) if args.check else HERE
        rows = build(notes, out)
        if not args.note_ids:
            write_metadata(rows, out / "metadata.jsonl")
        stale = differing(out) if args.check else []
    for name in stale:
        logger.error("%s differs from a fresh build: run python sample/build.py and commit it", name)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
