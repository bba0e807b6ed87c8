"""Heads, page numbers, line numbers, stamps and contents on pages made by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from jobs.corpus import furniture
from jobs.corpus.cleaning import StepCounter
from jobs.corpus.lines import Line, Page


def line(text: str, base: float, *, x0: float = 70.0, size: float = 10.0, cells: int = 1) -> Line:
    return Line(x0, x0 + 5 * len(text), base, size, text, False, False, 0.0, False, 0, 0, "CMR10", cells)


def page(number: int, *lines: Line) -> Page:
    body = [line(f"Prose of page {number} that is like no other, line {i}.", 150.0 + 12 * i) for i in range(20)]
    return Page(number, 612.0, 792.0, [*lines, *body], [])


def texts(pages: list[Page]) -> list[str]:
    heads = furniture.running_heads(pages)
    counts: Counter[str] = Counter()
    return [line.text for page in pages for line in furniture.drop_heads(page, heads, counts).lines]


def test_heads_that_alternate_are_dropped() -> None:
    pages = [page(i, line("Mill and Stone" if i % 2 else "The Drift of Clocks", 40.0)) for i in range(6)]
    assert not any("Mill" in text or "Drift" in text for text in texts(pages))


def test_head_with_the_page_number_in_it_is_dropped() -> None:
    pages = [page(i, line(f"Journal of Hours, page {i}", 40.0)) for i in range(5)]
    assert not any("Journal" in text for text in texts(pages))


def test_title_at_the_top_of_one_page_stays() -> None:
    pages = [page(0, line("The Drift of Clocks", 60.0)), *(page(i) for i in range(1, 5))]
    assert "The Drift of Clocks" in texts(pages)


def test_repeated_line_in_the_middle_of_pages_stays() -> None:
    pages = [page(i, line("Proof of the lemma.", 400.0)) for i in range(5)]
    assert texts(pages).count("Proof of the lemma.") == 5


@pytest.mark.parametrize("number", ["7", "xii", "– 12 –"])
def test_page_number_alone_is_dropped(number: str) -> None:
    assert number not in texts([page(0, line(number, 760.0, x0=300.0))])


def test_number_of_a_section_at_the_top_of_a_column_stays() -> None:
    top = [line("2", 40.0), line("Towards Better Clocks", 40.0, x0=90.0)]
    assert "2" in texts([page(0, *top)])


def test_notice_of_the_publisher_is_dropped() -> None:
    assert not any("Preprint" in text for text in texts([page(0, line("Preprint. Under review.", 770.0))]))


@pytest.mark.parametrize(("step", "dropped"), [(1, 20), (5, 20), (3, 0)])
def test_line_numbers_count_up_by_one_or_five(step: int, dropped: int) -> None:
    numbers = [line(str(step * (i + 1)), 150.0 + 12 * i, x0=40.0) for i in range(20)]
    counts: Counter[str] = Counter()
    furniture.drop_line_numbers(page(0, *numbers), counts)
    assert counts["line_numbers"] == dropped


def test_column_of_numbers_inside_the_text_stays() -> None:
    numbers = [line(str(i + 1), 150.0 + 12 * i, x0=150.0) for i in range(20)]
    counts: Counter[str] = Counter()
    assert len(furniture.drop_line_numbers(page(0, *numbers), counts).lines) == 40


@pytest.mark.parametrize(
    "stamp",
    [
        "arXiv:2401.00001v2 [cs.LG] 3 Jan 2024",
        "arXiv:hep-th/9108004v1 20 Aug 1991",
        "arXiv:math/0501170v3 [math.CO] 24 Mar 2005",
        "sample:2401008v2 [cs.CL] 31 Jan 2024",
    ],
)
def test_stamp_is_read_in_all_its_forms(stamp: str) -> None:
    assert furniture.find_stamp(page(0), [f"{stamp} or more"]) == stamp
    assert furniture.find_stamp(page(0), stamp.split(" ", 1)) == stamp


def test_citation_is_no_stamp() -> None:
    assert furniture.find_stamp(page(0), ["see arXiv:2401.00001 for more"]) is None


def test_contents_with_dots_are_dropped() -> None:
    entries = [line(f"{i} Clocks of kind {i} . . . . . . . {i + 1}", 100.0 + 12 * i, cells=3) for i in range(6)]
    rest = [line("The text begins here.", 300.0)]
    counts: Counter[str] = Counter()
    assert furniture.drop_contents([line("Contents", 80.0), *entries, *rest], counts) == rest
    assert counts["contents_lines"] == 6


def test_numbers_at_line_ends_without_a_heading_of_contents_stay() -> None:
    lines = [line(f"The clock showed {i}", 100.0 + 12 * i) for i in range(8)]
    assert furniture.drop_contents(lines, Counter()) == lines


def test_stamp_set_upright_is_dropped_unless_that_is_switched_off() -> None:
    first = page(0, line("arXiv:2401.00001v1 [cs.LG] 2 Jan 2024", 100))
    assert "arXiv" not in furniture.drop_stamp(first, StepCounter()).lines[0].text
    assert furniture.drop_stamp(first, StepCounter(["stamps"])) == first
