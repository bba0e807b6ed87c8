"""Mutants of good PDFs through the stage: 300 in `make test`, 3,000 in `make soak`; no job fails, none is lost."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core.config import REPOSITORY
from jobs.core.reasons import DOCUMENT_REASONS
from tests.corpus import make_pdfs
from tests.corpus.test_extract_text import papers_of, put
from tests.corpus.test_filter_papers import current, make
from tests.soaking import ROUNDS

log = logging.getLogger(__name__)
pytestmark = pytest.mark.slow

MUTANTS_A_ROUND = 300
TYPESET = [REPOSITORY / "sample" / "pdf" / f"sample_{number}v1.pdf" for number in (2401002, 2403001)]


def seeds() -> list[bytes]:
    """Good PDFs: drawn, compressed with object streams, with a strange table, and typeset by TeX."""
    drawn = [make_pdfs.paper(), make_pdfs.paper(deflate=True, use_objstms=1), make_pdfs.looping_xref()]
    return drawn + [path.read_bytes() for path in TYPESET]


def mutants(n: int, seed: int) -> Iterator[bytes]:
    """Truncations, changed bytes and moved slices, the same for the same arguments but for pymupdf's ids of files."""
    chance, originals = random.Random(seed), seeds()
    for number in range(n):
        content = bytearray(originals[number % len(originals)])
        size = len(content)
        if number % 3 == 0:
            del content[chance.randrange(size) :]
        elif number % 3 == 1:
            for _ in range(chance.randint(1, 200)):
                content[chance.randrange(size)] = chance.randrange(256)
        else:
            start, target = chance.randrange(size), chance.randrange(size)
            content[target:target] = content[start : start + chance.randint(1, 2_000)]
        yield bytes(content)


def outcome(row: dict[str, Any]) -> str:
    """`ok`, or the reason; a document has text and pages, a refused one neither."""
    if row["status"] == "ok":
        assert row["text"].strip()
        assert len(row["pages"]) == row["n_pages"] > 0
        return "ok"
    assert row["text"] is None
    assert row["detail"]
    return str(row["reason"])


@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_job_fails_on_mutants_and_each_ends_as_text_or_reason(number: int, tmp_path: Path) -> None:
    lake = papers_of(tmp_path)
    put(lake, **{f"p{i:05d}": content for i, content in enumerate(mutants(MUTANTS_A_ROUND, seed=number))})
    make("extract_text", lake, min_yield_01=0.0)
    part = current(lake, "documents")
    ends = Counter(outcome(row) for row in part.rows())
    log.info("round %d: %s", number, dict(ends.most_common()))
    assert ends.total() == part.manifest.counts.read == MUTANTS_A_ROUND
    assert {reason: n for reason, n in ends.items() if reason != "ok"} == part.manifest.counts.dropped
    assert set(ends) <= {"ok", *DOCUMENT_REASONS}
    assert {"ok", "truncated"} <= set(ends)  # else the mutations are all too mild, or all too rough
