"""Clean, ordered, structured text of PDFs that TeX makes, so that the truth is known."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from jobs.corpus.layout import Document, Rejected, read_document
from tests.corpus.layout_rules import blocks, check, measurements, titles
from tests.corpus.typeset import typeset

if TYPE_CHECKING:
    import pymupdf

pytestmark = pytest.mark.tex

READABLE = (
    "article",
    "columns",
    "contents",
    "hidden",
    "hyphens",
    "listings",
    "mathematics",
    "numbered",
    "scripts",
    "sideways",
)


@functools.cache
def read(name: str) -> Document:
    import pymupdf

    with pymupdf.open(typeset(name)) as doc:
        return read_document(doc)


@pytest.mark.parametrize("name", READABLE)
def test_document_keeps_its_rules(name: str) -> None:
    check(read(name))


@pytest.mark.parametrize("name", READABLE)
def test_document_has_no_unknown_characters(name: str) -> None:
    assert "\ufffd" not in read(name).text


def test_sentences_over_page_breaks_stay_whole_and_in_order() -> None:
    assert measurements(read("article").text) == list(range(1, 230))


def test_sentences_over_column_breaks_stay_whole_and_in_order() -> None:
    assert measurements(read("columns").text) == list(range(1, 220))


def test_paragraph_that_runs_over_pages_is_one_block() -> None:
    paragraphs = [text for text in blocks(read("article"), "paragraph") if "Measurement 1 was" in text]
    assert measurements(paragraphs[0]) == list(range(1, 180))


def test_floats_stand_behind_the_paragraph_that_they_interrupt() -> None:
    kinds = [block.kind for block in read("columns").blocks]
    first = kinds.index("caption")
    assert kinds[first - 1] == "paragraph"
    assert "paragraph" not in kinds[first : kinds.index("footnote")]


def test_running_heads_of_both_sides_are_dropped() -> None:
    document = read("article")
    assert "Left Head" not in document.text
    assert "Right Head" not in document.text
    assert document.cleaned["running_heads"] == document.n_pages - 1


def test_page_numbers_are_dropped() -> None:
    document = read("columns")
    assert document.cleaned["page_numbers"] == document.n_pages
    assert not any(text.isdigit() for text in document.text.split("\n\n"))


def test_line_numbers_are_dropped() -> None:
    document = read("numbered")
    assert measurements(document.text) == list(range(1, 60))
    assert document.cleaned["line_numbers"] > 40


def test_stamp_up_the_side_is_recorded_and_dropped() -> None:
    document = read("sideways")
    assert (document.stamp or "").startswith("arXiv:2401.00001v2")
    assert "arXiv" not in document.text


def test_page_printed_sideways_is_turned_and_read() -> None:
    document = read("sideways")
    assert any(text.startswith("Sideways sentences are read") for text in blocks(document, "paragraph"))
    assert document.cleaned["lines_turned"] > 5


def test_paragraphs_parted_by_space_alone_are_apart() -> None:
    paragraphs = blocks(read("sideways"), "paragraph")
    assert [text.split()[0] for text in paragraphs[:3]] == ["First", "Second", "Run-in"]


def test_ligatures_are_letters() -> None:
    assert "An efficient office flow of fluffy affluent fifths is the first difficult affair" in read("article").text


def test_accents_are_on_their_letters() -> None:
    text = read("article").text
    for name in ("Färber", "Schrödinger", "Malmö", "René Garçon", "Jiří Novák", "Bjørn Ås"):
        assert name in text


def test_indented_line_begins_a_paragraph() -> None:
    assert any(text.startswith("A second paragraph begins") for text in blocks(read("article"), "paragraph"))


@pytest.mark.parametrize(
    "words",
    [
        "fine-tuning takes a day",
        "to demonstrate the gain",
        "a state-of-the-art result",
        "in parameters.",
        "1990-1995",
        "http://example.org/clocks/reading.html",
    ],
)
def test_words_broken_at_line_ends_are_whole(words: str) -> None:
    assert words in read("hyphens").text


def test_sections_have_their_levels() -> None:
    assert titles(read("article")) == [
        (1, "Abstract"),
        (1, "1 Introduction"),
        (1, "2 Method"),
        (2, "2.1 Setting"),
        (2, "2.2 Formulas"),
        (1, "3 Results"),
        (1, "4 Conclusion"),
        (1, "Acknowledgments"),
        (1, "References"),
        (1, "A Further Measurements"),
    ]


def test_section_holds_its_subsections() -> None:
    document = read("article")
    method = next(section for section in document.sections if section.title == "2 Method")
    assert "2.2 Formulas" in document.text[method.start : method.end]
    assert "3 Results" not in document.text[method.start : method.end]


def test_bookmarks_are_the_tree_where_they_exist() -> None:
    assert titles(read("contents")) == [
        (1, "1 Introduction"),
        (1, "2 Clocks of Towers"),
        (2, "2.1 Large Towers"),
        (2, "2.2 Small Towers"),
        (1, "3 Clocks of Kitchens"),
        (2, "3.1 Old Kitchens"),
        (1, "4 Conclusion"),
    ]


def test_table_of_contents_is_dropped() -> None:
    document = read("contents")
    assert ". . ." not in document.text
    assert document.text.count("Large Towers") == 1


def test_title_and_authors_are_front_matter() -> None:
    assert blocks(read("article"), "front_matter") == [
        "Measuring the Drift of Clocks",
        "Ada Mill Ben Stone Institute of Time",
    ]


def test_every_reference_is_a_block_of_its_own() -> None:
    entries = blocks(read("article"), "references")
    assert [entry[:3] for entry in entries] == ["[1]", "[2]"]
    assert entries[1].endswith("pages 30–39, 2004.")


def test_appendix_behind_the_references_is_text() -> None:
    assert "The appendix stands behind the references and is text again." in blocks(read("article"), "paragraph")


def test_footnotes_are_blocks_of_their_own() -> None:
    assert blocks(read("article"), "footnote") == [
        "1 Offices differ in their flow.",
        "2 The footnote stands below a paragraph that runs over the page.",
    ]


def test_theorem_and_proof_are_paragraphs_of_their_own() -> None:
    paragraphs = blocks(read("article"), "paragraph")
    assert "Theorem 1. Every clock that drifts is read twice." in paragraphs
    assert any(text.startswith("Proof. A clock that is read once") for text in paragraphs)


def test_display_formula_is_one_block_with_its_number() -> None:
    formulas = blocks(read("article"), "formula")
    assert len(formulas) == 1
    assert formulas[0].endswith("(1)")


def test_fraction_inside_a_sentence_does_not_cut_it() -> None:
    assert any(
        text.startswith("where n is how often") and text.endswith("inside a sentence does not end it.")
        for text in blocks(read("article"), "paragraph")
    )


def test_captions_are_whole_and_apart() -> None:
    captions = blocks(read("columns"), "caption")
    assert [caption[:9] for caption in captions] == ["Figure 1:", "Table 1: ", "Figure 2:"]
    assert captions[0].endswith("so that it cuts the page into bands and then ends early.")


def test_wide_table_is_read_row_by_row() -> None:
    assert blocks(read("columns"), "table") == [
        "Clock Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mean "
        "Tower 10.1 11.2 12.3 13.4 14.5 15.6 16.7 13.4 "
        "Pocket 20.1 21.2 22.3 23.4 24.5 25.6 26.7 23.4 "
        "Kitchen 30.1 31.2 32.3 33.4 34.5 35.6 36.7 33.4"
    ]


def test_labels_of_pictures_are_dropped_and_counted() -> None:
    document = read("columns")
    assert "speed" not in document.text
    assert document.cleaned["float_debris"] == 3


def test_pages_say_where_each_begins() -> None:
    document = read("article")
    second = document.pages[1]
    before = measurements(document.text[:second])
    after = measurements(document.text[second:])
    assert before == list(range(1, before[-1] + 1))
    assert after[0] - before[-1] in (1, 2)  # 2 if the sentence itself runs over the break


@pytest.mark.parametrize("word", ["Whitewash", "Tinyprint", "Unpainted", "Offpage"])
def test_text_that_nobody_sees_is_removed(word: str) -> None:
    document = read("hidden")
    assert word not in document.text
    assert document.cleaned["hidden_chars"] > 60


def test_white_text_on_a_dark_box_stays() -> None:
    assert "Reversed letters can be seen well." in read("hidden").text


@pytest.mark.parametrize(
    ("name", "reason"), [("invisible", "hidden_text"), ("garbled", "garbled"), ("empty", "no_text")]
)
def test_document_without_readable_text_is_rejected(name: str, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read(name)
    assert rejected.value.reason == reason


def test_page_of_formulas_is_no_garbage() -> None:
    document = read("mathematics")
    assert "This holds for all x." in document.text
    assert blocks(document, "formula")


@pytest.mark.parametrize(
    "words", ["6 × 10^4 times", "10^−3 seconds", "log^2 n", "x^2_1", "m^2 of windows", "n/√2 was taken", "∥d∥^2_2 and"]
)
def test_raised_digits_are_exponents(words: str) -> None:
    assert words in read("scripts").text


@pytest.mark.parametrize("words", ["half of it, 1/2, is lost", "blocks of B = M/4d are read"])
def test_small_fractions_have_a_bar(words: str) -> None:
    assert words in read("scripts").text


def test_index_in_a_numerator_is_no_exponent() -> None:
    assert "µ^1" not in read("scripts").text


def test_marks_of_footnotes_are_no_part_of_words() -> None:
    document = read("scripts")
    assert "the mean of all clocks is kept. It was read at noon. Then the square root" in document.text
    assert document.cleaned["footnote_marks"] == 2
    assert blocks(document, "footnote") == [
        "1 The mean leaves out the kitchen.",
        "2 Noon is when the tower strikes.",
    ]


def test_sums_and_products_stand_on_their_line() -> None:
    text = read("scripts").text
    assert "S = ∑i di stands" in text
    assert text.index("D(n) =") < text.index("∑") < text.index("P(n) =") < text.index("∏")


def test_long_text_stops_the_reading() -> None:
    import pymupdf

    with pymupdf.open(typeset("article")) as doc, pytest.raises(Rejected) as rejected:
        read_document(doc, max_text_chars=2_000)
    assert rejected.value.reason == "text_too_long"
    assert "of 7 pages" in rejected.value.detail


def damaged(name: str, first: int) -> pymupdf.Document:
    """A typeset document whose pages from `first` (counted from 0) lead back to the root of the page tree."""
    import pymupdf

    with pymupdf.open(typeset(name)) as doc:
        for number in range(first, len(doc)):
            parent = doc.xref_get_key(doc.page_xref(number), "Parent")[1]
            doc.update_object(doc.page_xref(number), f"<</Type/Pages/Count 1/Kids[{parent}]/Parent {parent}>>")
        return pymupdf.open("pdf", doc.tobytes())


def test_page_that_cannot_be_read_is_counted() -> None:
    document = read_document(damaged("article", first=6))
    assert document.cleaned["pages_failed"] == 1
    assert document.n_pages == 7
    check(document)


def test_document_without_any_page_that_can_be_read_is_a_parse_error() -> None:
    with pytest.raises(Rejected) as rejected:
        read_document(damaged("contents", first=0))
    assert rejected.value.reason == "parse_error"


def test_program_text_in_a_float_is_kept_whole_and_lets_the_sentence_pass() -> None:
    document = read("listings")
    (listing,) = (text for text in blocks(document, "caption") if text.startswith("(define-clock"))
    for said in ("[x:id", "(with-hands ([(hand ...)", "(cond hand ...", '[else (stop "no hand")])))]))'):
        assert said in listing
    assert measurements(document.text) == list(range(1, 90))
    assert "for clock in tower.clocks(): key.turn(clock, twice=True)" in blocks(document, "paragraph")


# A step -> a fixture on which it acts.
ACTS_ON = {
    "running_heads": "article",
    "page_numbers": "columns",
    "line_numbers": "numbered",
    "contents_lines": "contents",
    "float_debris": "floats",
    "accents": "article",
    "exponents": "scripts",
    "footnote_marks": "scripts",
    "hyphens_joined": "hyphens",
    "breaks_joined": "article",
}


@pytest.mark.parametrize(("step", "name"), ACTS_ON.items())
def test_step_that_is_switched_off_does_not_act(step: str, name: str) -> None:
    import pymupdf

    assert read(name).cleaned[step] > 0
    with pymupdf.open(typeset(name)) as doc:
        without = read_document(doc, without=(step,))
    assert step not in without.cleaned
    assert without.text != read(name).text
