"""Makes metadata in the form of Kaggle's arXiv file, of any size, with a known answer."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path

CATEGORY = "cs.LG"
YEAR = 2024
_CATEGORIES = ("cs.LG", "cs.CL", "cs.CV", "stat.ML", "hep-th", "astro-ph.GA", "math.CO", "cond-mat.str-el", "quant-ph")
_FIRST_DAY = dt.date(2008, 1, 1)
_N_DAYS = 17 * 365
_N_TEXTS = 3000  # different abstracts; more would only make the maker slower
_PROSE = (
    "we show that the model of a field with weak coupling has graph spectrum bounded by energy in the limit where "
    "training converges under mild assumptions on data and noise {\\it quantum} $O(n\\log n)$ cs.LGX learning theory"
)


def write_snapshot(path: Path, size_bytes: int, seed: int = 0) -> int:
    """Write lines until the size is reached; how many papers are of CATEGORY and YEAR is returned."""
    rng = random.Random(seed)
    words = _PROSE.split()
    texts = [" ".join(rng.choices(words, k=rng.randrange(60, 280))) for _ in range(_N_TEXTS)]
    written = n_wanted = number = 0
    with path.open("wb", buffering=1 << 20) as file:
        while written < size_bytes:
            number += 1
            day = _FIRST_DAY + dt.timedelta(days=rng.randrange(_N_DAYS))
            categories = rng.sample(_CATEGORIES, rng.choice([1, 2, 2, 3]))
            n_wanted += day.year == YEAR and CATEGORY in categories
            written += file.write(_line(rng, number, day, categories, rng.choice(texts)))
    return n_wanted


def _line(rng: random.Random, number: int, day: dt.date, categories: list[str], abstract: str) -> bytes:
    at = dt.datetime(day.year, day.month, day.day, rng.randrange(24), tzinfo=dt.UTC)
    record = {
        "id": f"{day:%y%m}.{10000 + number % 90000}" if day.year >= 2015 else f"hep-th/{day:%y%m}{number % 1000:03d}",
        "submitter": "Ada Example",
        "authors": "A. Example, B. Sample",
        "title": abstract[:70],
        "comments": "12 pages",
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": " ".join(categories),
        "license": "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "abstract": f"  {abstract}\n",
        "versions": [{"version": "v1", "created": f"{at:%a}, {at.day} {at:%b %Y %H:%M:%S} GMT"}],
        "update_date": f"{day:%Y-%m-%d}",
        "authors_parsed": [["Example", "A.", ""], ["Sample", "B.", ""]],
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
