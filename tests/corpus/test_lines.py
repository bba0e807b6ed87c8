"""Lines of a page: what spans look like, and how PyMuPDF is set while they are read."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any, cast

import pymupdf
import pytest

from jobs.corpus import layout, lines, looks

PAINTED, WIDE_BLANK = 16, 512 | 16  # char_flags of MuPDF: filled; a blank inferred from a wide gap, filled


def span(text: str, x0: float, **properties: Any) -> dict[str, Any]:
    """A span as PyMuPDF's `dict` has them, 5 points a character."""
    plain = {"font": "CMR10", "size": 10.0, "flags": 4, "color": 0, "alpha": 255, "char_flags": PAINTED}
    box = (x0, 90.0, x0 + 5 * len(text), 102.0)
    return {"text": text, "bbox": box, "origin": (x0, 100.0), **plain, **properties}


def line_of(*spans: dict[str, Any]) -> lines.Line:
    found = looks.Looks().of(list(spans))
    line = lines.make_line(list(spans), found, len(set(found)) == 1, 0, 0, Counter())
    assert line is not None
    return line


def test_blank_of_a_wide_gap_looks_as_its_words() -> None:
    one, blank, two = looks.Looks().of(
        [span("one", 0), span(" ", 15, char_flags=WIDE_BLANK), span("two", 20, char_flags=PAINTED)]
    )
    assert one is blank is two


@pytest.mark.parametrize(
    "hidden", [{"alpha": 0}, {"char_flags": WIDE_BLANK - PAINTED}, {"size": 1.0}, {"color": 0xFFFFFF}]
)
def test_text_that_may_be_invisible_is_suspect(hidden: dict[str, Any]) -> None:
    seen, suspect = looks.Looks().of([span("seen", 0), span("hidden", 20, **hidden)])
    assert (seen.is_suspect, suspect.is_suspect) == (False, True)


def test_font_goes_by_its_name_without_the_prefix_of_its_subset() -> None:
    assert line_of(span("word", 0, font="ABCDEF+NimbusRomNo9L-Medi")).font == "NimbusRomNo9L-Medi"


def test_line_is_measured_by_the_longest_span_of_its_main_size() -> None:
    line = line_of(
        span("x", 0), span("2", 5, size=7.0, origin=(5, 96.0)), span(" is its square", 10, origin=(10, 99.0))
    )
    assert (line.size, line.base) == (10.0, 99.0)


def test_share_of_math_counts_characters() -> None:
    assert line_of(span("so ", 0), span("x", 15, font="CMMI10")).math_01 == 0.25


def test_blank_that_a_formula_lost_is_put_back() -> None:
    assert line_of(span("x", 0, font="CMMI10"), span("is", 8)).text == "x is"


def test_pymupdf_mends_boxes_again_after_reading() -> None:
    def settings() -> tuple[bool, bool]:
        tools: Any = pymupdf.TOOLS
        return bool(tools.unset_quad_corrections()), bool(tools.set_subset_fontnames())

    def fail() -> None:
        with lines.plain_boxes():
            assert settings() == (True, True)
            raise EOFError

    with pytest.raises(EOFError):
        fail()
    assert settings() == (False, False)


def test_collector_rests_while_a_document_is_read() -> None:
    was_enabled: list[bool] = []

    class Damaged(list[Any]):
        def __getitem__(self, _: Any) -> Any:
            was_enabled.append(gc.isenabled())
            raise RuntimeError("no such page")

    with pytest.raises(layout.Rejected):
        layout.read_document(cast("pymupdf.Document", Damaged([0])))
    assert was_enabled == [False]
    assert gc.isenabled()
