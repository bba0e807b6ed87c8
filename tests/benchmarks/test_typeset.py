"""Typeset papers: the source and its truth agree, and what TeX wrote down is read rightly."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

import pytest

from benchmarks import text_measures as measures
from benchmarks.bench_text_quality import Paper, Reading, summary
from benchmarks.typeset.papers import HEAD_LEFT, STAMP
from benchmarks.typeset.press import Truth, typeset, write_source
from benchmarks.typeset.styles import STYLES, Style

BY_NAME = {style.name: style for style in STYLES}


@functools.cache
def paper(name: str) -> tuple[str, Truth]:
    """The text that the pages of a typeset paper hold, in the order of the file, and its truth."""
    import pymupdf

    with tempfile.TemporaryDirectory() as folder:
        pdf, truth = typeset(BY_NAME[name], 0, Path(folder))
        with pymupdf.open(pdf) as document:
            return "\n".join(page.get_text() for page in document), truth


def test_there_are_twelve_styles_of_both_widths() -> None:
    assert len(STYLES) >= 12
    assert len({style.name for style in STYLES}) == len(STYLES)
    assert {style.n_columns for style in STYLES} == {1, 2}


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_source_is_the_same_for_the_same_seed_only(style: Style) -> None:
    assert write_source(style, 3) == write_source(style, 3)
    assert write_source(style, 3)[0] != write_source(style, 4)[0]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_no_sentence_is_used_twice(style: Style) -> None:
    sentences = [text for element in write_source(style, 0)[1] for _, text in element.sentences]
    assert len(sentences) == len(set(sentences)) > 100


def test_section_numbers_are_those_that_the_class_prints() -> None:
    numbers = [one.text.split()[0] for one in write_source(BY_NAME["jmlr"], 0)[1] if one.kind == "heading"]
    assert " ".join(numbers) == "Abstract 1. 2. 3. 3.1. 3.2. 4. 4.1. 4.2. 5. Acknowledgments References A. B."


@pytest.mark.tex
@pytest.mark.slow
@pytest.mark.parametrize("name", ["icml", "ams", "ieee"])
def test_pages_hold_the_words_of_the_truth(name: str) -> None:
    text, truth = paper(name)
    dehyphenated = re.sub(r"-\n(?=[a-z])", "", text)
    _, recall = measures.word_precision_recall(dehyphenated, truth.text)
    assert recall > 0.97


@pytest.mark.tex
@pytest.mark.slow
def test_breaks_lie_where_the_pages_break() -> None:
    text, truth = paper("lncs")
    assert truth.page_breaks
    assert not truth.column_breaks
    assert measures.n_whole([truth.sentences[n] for n in truth.page_breaks], text)[0] == 0
    unbroken = [sentence for n, sentence in truth.sentences.items() if n not in truth.page_breaks]
    whole, total = measures.n_whole(unbroken, text)
    assert whole > 0.95 * total


@pytest.mark.tex
@pytest.mark.slow
def test_sentences_over_columns_are_known() -> None:
    _, truth = paper("icml")
    assert truth.column_breaks
    assert not truth.column_breaks & truth.page_breaks


@pytest.mark.tex
@pytest.mark.slow
def test_heads_page_numbers_and_stamp_are_logged_as_printed() -> None:
    text, truth = paper("ams")
    assert truth.folios == tuple(range(1, len(truth.folios) + 1))
    assert truth.heads.count(HEAD_LEFT) == len(truth.folios) // 2
    assert measures.n_left(truth.heads, text, truth.text) == (len(truth.heads), len(truth.heads))
    assert truth.stamp == STAMP
    assert STAMP in text


@pytest.mark.tex
@pytest.mark.slow
def test_truth_itself_is_read_without_a_fault() -> None:
    _, truth = paper("icml")
    own = Paper(Path(), truth, tuple(text for text in truth.sentences.values()), 1)
    figures = summary([own], [Reading(truth.text, [text for _, _, text in truth.titles], 1.0)])
    best = ("similarity", "word_precision", "word_recall", "whole_over_pages", "whole_over_columns", "sections_f1")
    assert [figures[name] for name in best] == [1.0] * len(best)
    assert not any(value for name, value in figures.items() if "_left" in name or "lost" in name)


def test_missing_command_is_said_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pdflatex"):
        typeset(BY_NAME["icml"], 0, tmp_path)
