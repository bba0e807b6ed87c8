"""What the many styles of papers do with floats, heads and headings, on PDFs that TeX makes."""

from __future__ import annotations

import functools

import pytest

from jobs.corpus.layout import Document, read_document
from tests.corpus.layout_rules import blocks, check, measurements, titles
from tests.corpus.typeset import typeset

pytestmark = pytest.mark.tex

N_SENTENCES = {"floats": 120, "heads": 190}


@functools.cache
def read(name: str) -> Document:
    import pymupdf

    with pymupdf.open(typeset(name)) as doc:
        return read_document(doc)


@pytest.mark.parametrize("name", N_SENTENCES)
def test_document_keeps_its_rules(name: str) -> None:
    check(read(name))


@pytest.mark.parametrize(("name", "n"), N_SENTENCES.items())
def test_sentences_past_floats_heads_and_notes_stay_whole(name: str, n: int) -> None:
    assert measurements(read(name).text) == list(range(1, n))


def test_rows_below_the_title_of_a_table_are_no_labels_of_the_next_figure() -> None:
    assert "Clock Early Late Mean Tower 10.1 11.2 10.6 Pocket 20.1 21.2 20.6" in read("floats").text


def test_labels_of_a_plot_below_a_table_are_dropped() -> None:
    assert "tickmark" not in read("floats").text


def test_steps_of_an_algorithm_float_with_its_title() -> None:
    captions = " ".join(blocks(read("floats"), "caption"))
    assert "Algorithm 1 Winding 1: take the key 2: for each clock do" in captions


def test_caption_with_a_full_stop_in_the_size_of_prose_is_a_caption() -> None:
    assert "Figure 1. A plot below a table that is none of its own" in blocks(read("floats"), "caption")


def test_reference_to_a_figure_at_a_line_start_begins_no_caption() -> None:
    assert "most clearly in Figure 1. The hands are late." in read("floats").text


def test_heads_that_change_with_the_section_are_dropped() -> None:
    document = read("heads")
    assert "Head of" not in document.text
    assert document.cleaned["running_heads"] >= document.n_pages - 1


def test_date_beside_a_notice_is_dropped_with_it() -> None:
    assert "May 1999" not in read("heads").text


def test_contents_without_dots_are_dropped() -> None:
    document = read("heads")
    assert titles(document) == [(1, "1 Springs"), (2, "1.1 Steel ones"), (1, "2 Pendulums"), (1, "3 Hands")]
    assert "Contents" not in document.text
