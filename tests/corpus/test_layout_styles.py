"""What the many styles of papers do with floats, heads and headings, on PDFs that TeX makes."""

from __future__ import annotations

import functools

import pytest

from jobs.corpus.layout import Document, read_document
from tests.corpus.layout_rules import blocks, check, measurements, titles
from tests.corpus.typeset import typeset

pytestmark = pytest.mark.tex

N_SENTENCES = {"floats": 120, "roman": 80, "heads": 190}


@functools.cache
def read(name: str) -> Document:
    import pymupdf

    with pymupdf.open(typeset(name)) as doc:
        return read_document(doc)


@pytest.mark.parametrize("name", [*N_SENTENCES, "runin"])
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


def test_lettered_sections_lie_below_roman_ones() -> None:
    named = [(level, title.casefold()) for level, title in titles(read("roman"))]
    assert named == [
        (1, "i. introduction"),
        (1, "ii. methods"),
        (2, "a. winding"),
        (2, "b. setting the hands"),
        (1, "iii. results"),
        (2, "a. hours"),
        (1, "iv. conclusion"),
        (1, "references"),
        (1, "appendix a. proofs"),
    ]


def test_appendix_behind_the_references_is_none_of_them() -> None:
    assert measurements(" ".join(blocks(read("roman"), "references"))) == []


def test_note_without_a_mark_under_the_first_column_is_a_footnote() -> None:
    assert "Correspondence about clocks goes to nobody at all." in blocks(read("roman"), "footnote")


def test_small_names_below_the_title_are_kept() -> None:
    assert "Ada Mill, Department of Hours" in blocks(read("roman"), "front_matter")


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


def test_titles_on_the_first_line_of_their_prose_are_headings() -> None:
    assert [title for _, title in titles(read("runin"))] == [
        "1. Introduction",
        "1.1. Tower clocks.",
        "1.2. Application to k-sparse towers.",
        "2. Results",
        "2.1. Pocket watches.",
    ]


def test_prose_behind_a_title_on_its_line_is_a_paragraph() -> None:
    assert all(text.startswith("The clocks of the town") for text in blocks(read("runin"), "paragraph"))
