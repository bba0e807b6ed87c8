"""Facts about real papers, on the corpus that is no part of the repository."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from jobs.corpus import arxiv
from jobs.corpus.layout import Document, read_document
from tests.corpus.layout_rules import blocks, check, titles

pytestmark = pytest.mark.slow

HEADS = {
    "1412.6980": "Published as a conference paper at ICLR 2015",
    "1311.2542": "JEAN BOURGAIN, SJOERD DIRKSEN, AND JELANI NELSON",
    "1706.08606": "Cognitive Psychology for Deep Neural Networks: A Shape Bias Case Study\n",
    "2107.05407": "PonderNet: Learning to Ponder\n",
}
# Sections that must be found, in this order.
SECTIONS = {
    "1412.6980": ["ABSTRACT", "1 INTRODUCTION", "2 ALGORITHM", "2.1 ADAM’S UPDATE RULE", "7.1 ADAMAX", "8 CONCLUSION"],
    "1502.03167": ["Abstract", "2 Towards Reducing Internal Covariate Shift", "5 Conclusion"],
    "2004.04906": ["Abstract", "1 Introduction", "References", "A Distant Supervision"],
    "2205.14135": ["1 Introduction", "2.1 Hardware Performance", "References", "A Related Work", "E.1 BERT"],
    "hep-th_9108004": ["1. Introduction", "2. The Discrete States", "2.2. The Ground Ring", "REFERENCES"],
    "1512.03905": ["INTRODUCTION", "SUMMARY", "REFERENCES"],
    "1410.0342": ["1 Introduction", "2.6 Offsets and scaling", "9.3 Spark implementation", "References"],
    "2202.00535": ["Introduction", "Experiments", "Dataset", "Conclusion", "References"],
}
# Sentences that run over a column or page break, or past a float.
TORN = {
    "2004.04906": [
        "along with analysis on how its output differs from traditional retrieval methods",
        "When training with multiple datasets, TREC, the smallest dataset of the five, benefits greatly",
        "setting new state-of-the-art results on multiple open-domain QA datasets, it also suffers from",
        "From the table, we can see that higher retriever accuracy typically leads to better final QA results",
    ],
    "1502.03167": [
        "which then amplify the gradient during backpropagation",
        "as input, and 3 fully-connected hidden layers with 100 activations each.",
        "also applies to sub-networks and layers",
        "we can match its performance using only 7% of the training steps, and can further exceed its accuracy",
    ],
    "1412.6980": [
        "We propose Adam, a method for efficient stochastic optimization that only requires first-order gradients"
    ],
}


@functools.cache
def read(path: Path) -> Document:
    import pymupdf

    with pymupdf.open(path) as doc:
        return read_document(doc)


def paper(corpus: Path, name: str) -> Document:
    return read(corpus / "pdf" / f"{name}.pdf")


def test_every_paper_keeps_the_rules_of_a_document(corpus: Path) -> None:
    paths = sorted((corpus / "pdf").glob("*.pdf"))
    assert len(paths) == 29
    for path in paths:
        check(read(path))


def test_every_stamp_is_recorded_and_leaves_no_text(corpus: Path) -> None:
    for path in sorted((corpus / "pdf").glob("*.pdf")):
        document = read(path)
        assert document.stamp is not None, path.name
        stamped = arxiv.id_from_first_page(document.stamp)
        assert stamped is not None
        assert stamped.paper_id.replace("/", "_") == path.stem
        assert document.stamp not in document.text


def test_every_paper_has_sections_and_little_unknown(corpus: Path) -> None:
    for path in sorted((corpus / "pdf").glob("*.pdf")):
        document = read(path)
        assert len(document.sections) >= 5, path.name
        assert document.text.count("\ufffd") < 1e-3 * len(document.text), path.name


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_are_found_in_order(corpus: Path, name: str) -> None:
    found = [title for _, title in titles(paper(corpus, name))]
    places = [found.index(title) for title in SECTIONS[name]]
    assert places == sorted(places)


@pytest.mark.parametrize("name", TORN)
def test_sentences_over_breaks_are_whole(corpus: Path, name: str) -> None:
    text = paper(corpus, name).text
    assert [sentence for sentence in TORN[name] if sentence not in text] == []


@pytest.mark.parametrize("name", HEADS)
def test_running_head_is_gone(corpus: Path, name: str) -> None:
    assert paper(corpus, name).text.count(HEADS[name]) <= 1


def test_references_are_labelled_entry_by_entry(corpus: Path) -> None:
    entries = blocks(paper(corpus, "1406.2661"), "references")
    assert len(entries) > 25
    assert all(len(entry) < 600 for entry in entries)


def test_appendix_behind_the_references_is_text(corpus: Path) -> None:
    document = paper(corpus, "2004.04906")
    appendix = next(section for section in document.sections if section.title == "A Distant Supervision")
    kinds = {block.kind for block in document.blocks if block.start >= appendix.start}
    assert "paragraph" in kinds
    assert "references" not in kinds


def test_footnotes_are_no_part_of_a_sentence(corpus: Path) -> None:
    footnotes = blocks(paper(corpus, "2004.04906"), "footnote")
    assert any("The ideal size and boundary of a text passage" in text for text in footnotes)
    assert not any("The ideal size and boundary" in text for text in blocks(paper(corpus, "2004.04906"), "paragraph"))


def test_korean_text_is_text(corpus: Path) -> None:
    document = read(corpus / "bad" / "korean-with-tables.pdf")
    assert len(re.findall("[가-힣]", document.text)) > 300
