"""The word index beside bm25s, whose files it writes."""

from __future__ import annotations

import random
from pathlib import Path

import bm25s
import pytest

from jobs.core import durable
from jobs.retrieval import word_index
from jobs.retrieval.words import words_of


def texts_of(n: int, seed: int) -> list[str]:
    """Texts of 0 to 40 words, few of them frequent."""
    source = random.Random(seed)
    return [" ".join(f"w{int(source.paretovariate(0.5))}" for _ in range(source.randrange(41))) for _ in range(n)]


def by_bm25s(texts: list[str], folder: Path) -> None:
    vocabulary: dict[str, int] = {}
    numbered = [[vocabulary.setdefault(word, len(vocabulary)) for word in words_of(text)] for text in texts]
    index = bm25s.BM25(method="lucene")
    index.index((numbered, vocabulary), create_empty_token=False, show_progress=False)
    index.save(folder / word_index.FOLDER, show_progress=False)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: durable.sha256_file(path) for path in (folder / word_index.FOLDER).iterdir()}


@pytest.mark.parametrize(("n", "block"), [(1, 7), (6, 7), (7, 7), (300, 7), (300, 10_000)])
def test_files_are_those_of_bm25s_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, block: int
) -> None:
    monkeypatch.setattr(word_index, "BLOCK", block)
    texts = [*texts_of(n - 1, seed=n), "last words"]
    word_index.build(texts, tmp_path / "ours")
    by_bm25s(texts, tmp_path / "theirs")
    assert hashes(tmp_path / "ours") == hashes(tmp_path / "theirs")


@pytest.mark.parametrize("texts", [[], ["", "the of and"]])
def test_texts_without_words_have_no_files(tmp_path: Path, texts: list[str]) -> None:
    word_index.build(texts, tmp_path)
    assert list(tmp_path.iterdir()) == []
