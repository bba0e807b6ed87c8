"""Makes lines in the form of Kaggle's arXiv file, in all the spellings that JSON allows."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

TEXT = (
    "field theory model energy graph quantum learning spectrum of the in a mass, {\\it small} [{}] hep-th/9901001"
    ' cs.CLX cs.C naïve 量子 "quoted" back\\slash versions categories'
)
WORDS = TEXT.split(" ")
CATEGORIES = ["cs.CL", "cs.LG", "cs.CLX", "hep-th", "math-ph", "math.CO", "stat.ML", "astro-ph"]


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A record like the file's, submitted on 2 January 2024, with some fields replaced or, as `...`, left out.

    `_` in a field's name stands for a hyphen where Kaggle has one.
    """
    record: dict[str, Any] = {
        "id": f"2401.{number:05d}",
        "submitter": "Ada Example",
        "authors": "A. Example and B. Sample",
        "title": "On the spectrum\n  of graphs",
        "comments": None,
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": "cs.LG stat.ML",
        "license": None,
        "abstract": "  We show a bound.\n",
        "versions": [{"version": "v1", "created": "Tue, 2 Jan 2024 10:00:00 GMT"}],
        "update_date": "2024-01-03",
        "authors_parsed": [["Example", "A.", ""], ["Sample", "B.", "Jr."]],
    }
    record.update(fields)
    return {name: value for name, value in record.items() if value is not ...}


def versions(*created: str | None) -> list[dict[str, str | None]]:
    """Versions v1, v2 … of these dates."""
    return [{"version": f"v{i}", "created": at} for i, at in enumerate(created, start=1)]


def created(rng: random.Random, at: datetime) -> str:
    """The date as Kaggle writes it, or padded as arXiv's own server does."""
    day = rng.choice([f"{at.day}", f"{at.day:02d}"])
    return f"{at:%a}, {day} {at:%b %Y %H:%M:%S} GMT"


def random_row(rng: random.Random, number: int) -> dict[str, Any]:
    """A record of December 2023 to February 2024, often with something missing or odd, never malformed."""
    first = datetime(2023, 12, 10, tzinfo=UTC) + timedelta(minutes=rng.randrange(80 * 24 * 60))
    dates: list[str | None] = [created(rng, first + timedelta(days=20 * i)) for i in range(rng.choice([1, 1, 2, 3]))]
    if rng.random() < 0.2:
        dates[rng.randrange(len(dates))] = None
    tokens = rng.sample(CATEGORIES, rng.choice([1, 1, 2, 3]))
    history: Any = rng.choice([versions(*dates)] * 8 + [None, ..., [], versions(*dates)[-1:]])
    return row(
        id=f"{first:%y%m}.{number:05d}",
        title=" ".join(rng.choices(WORDS, k=6)),
        abstract=rng.choice([f"  {' '.join(rng.choices(WORDS, k=30))}\n", None]),
        categories=rng.choice([" ".join(tokens), " ".join(tokens), tokens, "", None, ...]),
        versions=history,
        authors_parsed=[["Müller", "{\\'E}.", ""]] * rng.randrange(3),
    )


def spell(rng: random.Random, record: dict[str, Any]) -> bytes:
    """The record as one line of JSON in a random spelling: spacing, order of keys, escapes."""
    names = list(record)
    if rng.random() < 0.3:
        rng.shuffle(names)
    separators = rng.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,", " : ")])
    line = json.dumps({name: record[name] for name in names}, separators=separators, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        line = _escape_letters(rng, line)
    return line.encode() + rng.choice([b"", b"", b"\r", b" "])


def _escape_letters(rng: random.Random, line: str) -> str:
    """Letters, in keys too, spelt as escapes here and there; none that already belong to an escape or a bare word."""
    share = rng.choice([0.002, 0.05])
    in_string = False
    result: list[str] = []
    skip = 0
    for i, char in enumerate(line):
        if in_string and not skip and char not in '"\\' and char.isascii() and rng.random() < share:
            result.append(f"\\u{ord(char):04x}")
            continue
        result.append(char)
        if skip:
            skip -= 1
        elif char == "\\":
            skip = 5 if line[i + 1] == "u" else 1
        elif char == '"':
            in_string = not in_string
    return "".join(result)


def write(path: Path, lines: list[bytes]) -> Path:
    """The lines as a file, each with a newline."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def shared_corpus() -> Path:
    """Folder of the private test corpus, beside the checkout; skips the test where it is not."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("SPARK_ARXIV_CORPUS", root / ".." / "shared" / "corpus"))
    if not folder.is_dir():
        pytest.skip(f"the private test corpus is not at {folder}: real records are not checked")
    return folder
