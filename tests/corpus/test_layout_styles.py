"""What the many styles of papers do with floats, heads and headings, on PDFs that TeX makes."""

from __future__ import annotations

import functools

import pytest

from jobs.corpus.layout import Document, read_document
from tests.corpus.layout_rules import check, measurements, titles
from tests.corpus.typeset import typeset

pytestmark = pytest.mark.tex

N_SENTENCES = {"heads": 190}


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
