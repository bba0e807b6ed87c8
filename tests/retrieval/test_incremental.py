"""An index that takes over from the one before equals one that is built from nothing, whatever happened between."""

from __future__ import annotations

import functools
import random
import shutil
from pathlib import Path

import pytest

from jobs.core import takedowns
from jobs.core.lake import Lake, Part
from jobs.retrieval import cells, vector_index
from tests.retrieval import house
from tests.retrieval.house import WINDOWS, Row, chunk, embed, index, paper, put
from tests.soaking import ROUNDS

pytestmark = pytest.mark.slow  # lakes and files

EXACT_ROWS = 20


@pytest.fixture(autouse=True)
def few_rows_have_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "build", functools.partial(vector_index.build, exact_rows=EXACT_ROWS))


class Corpus:
    """Papers of two windows that come, get new versions, are withdrawn or are taken down, as chance has it."""

    def __init__(self, lake: Lake, seed: int) -> None:
        self._lake = lake
        self._random = random.Random(seed)
        self._papers: dict[str, Row] = {}
        self._windows: dict[str, dict[str, list[Row]]] = {WINDOWS[0]: {}, WINDOWS[1]: {}}

    def change(self) -> None:
        """One thing happens; the window's vectors are made again."""
        window = self._random.choice(WINDOWS)
        there = sorted(self._windows[window])
        what = self._random.choice(["add", "revise", "withdraw", "take down"]) if there else "add"
        if what == "take down":
            takedowns.add(self._lake, {self._random.choice(there): [window]}, "asked for")
            return
        paper_id = self._random.choice(there) if there else ""
        if what == "add":
            self._write(window, f"2401.{len(self._papers):05d}", 1)
        elif what == "revise":
            self._write(window, paper_id, self._papers[paper_id]["version"] + 1)
        else:
            self._papers[paper_id]["is_withdrawn"] = True
        self.publish(window)

    def fill(self, window: str, n_papers: int) -> None:
        for _ in range(n_papers):
            self._write(window, f"2401.{len(self._papers):05d}", 1)
        self.publish(window)

    def publish(self, window: str) -> None:
        chunks = self._windows[window]
        put(
            self._lake, [row for rows in chunks.values() for row in rows], [self._papers[one] for one in chunks], window
        )
        embed(self._lake, window)

    def _write(self, window: str, paper_id: str, version: int) -> None:
        self._papers[paper_id] = paper(paper_id, version)
        texts = [" ".join(self._random.choices(["alpha", "beta", "gamma", "delta", "epsilon"], k=6)) for _ in range(4)]
        older = self._windows[window].get(paper_id, [])
        newer = [chunk(paper_id, n, f"{text} {n}", version) for n, text in enumerate(texts)]
        self._windows[window][paper_id] = [*older, *newer] if self._random.random() < 0.5 else newer


def rebuilt(lake: Lake, folder: Path) -> Part:
    """The index of a copy of the lake that never had one."""
    shutil.copytree(lake.root, folder)
    shutil.rmtree(folder / "indexes")
    return index(Lake.open(folder))


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
def test_index_after_any_changes_equals_a_full_rebuild(lake: Lake, tmp_path: Path, seed: int) -> None:
    corpus = Corpus(lake, seed)
    corpus.fill(WINDOWS[0], 8)
    for step in range(4):
        corpus.change()
        part = index(lake)
        full = rebuilt(lake, tmp_path / f"rebuilt-{step}")
        assert house.file_hashes(part) == house.file_hashes(full)
        assert (part.manifest.key, part.manifest.counts) == (full.manifest.key, full.manifest.counts)


def test_centres_are_taken_over_when_a_week_is_added(lake: Lake, tmp_path: Path) -> None:
    corpus = Corpus(lake, seed=0)
    corpus.fill(WINDOWS[0], 9)
    before = index(lake)
    corpus.fill(WINDOWS[1], 2)
    after = index(lake)
    assert (before.manifest.extra["centres_taken_over"], after.manifest.extra["centres_taken_over"]) == (False, True)
    assert after.manifest.previous == before.manifest.key
    assert house.file_hashes(after) == house.file_hashes(rebuilt(lake, tmp_path / "rebuilt"))


def test_centres_are_found_anew_when_an_old_paper_changed_or_rows_doubled(lake: Lake) -> None:
    corpus = Corpus(lake, seed=0)
    corpus.fill(WINDOWS[0], 9)
    index(lake)
    takedowns.add(lake, {"2401.00000": [WINDOWS[0]]}, "asked for")
    assert not index(lake).manifest.extra["centres_taken_over"]
    corpus.fill(WINDOWS[1], 9)
    part = index(lake)
    assert not part.manifest.extra["centres_taken_over"]
    assert part.manifest.previous is None


def test_few_rows_have_no_centres(lake: Lake) -> None:
    Corpus(lake, seed=0).fill(WINDOWS[0], 2)
    assert cells.CENTRES_FILE not in index(lake).manifest.files
