"""The styles that papers are typeset in: what each prints besides the text, which its preamble alone cannot say."""

from __future__ import annotations

from dataclasses import dataclass

LINE_NUMBERS = "\\usepackage{lineno}\n\\linenumbers\n"
LINE_NUMBERS_OUTSIDE = "\\usepackage[switch]{lineno}\n\\linenumbers\n"


@dataclass(frozen=True)
class Style:
    """A way to print a paper. `preamble` names a file of `preambles/`, `extra` stands behind it.

    `numbering` is the form of section numbers (1, 1., I. or none), `abstract` what is printed before the abstract.
    """

    name: str
    preamble: str
    n_columns: int
    numbering: str
    extra: str = ""
    abstract: str = "Abstract"
    is_abstract_heading: bool = True
    is_upper: bool = False  # first-level titles in capitals
    is_title_upper: bool = False
    figure: str = "Figure"
    table: str = "Table"
    mark: str = ":"  # behind the number of a caption
    is_author_year: bool = False
    has_stamp: bool = False
    has_appendix: bool = True
    appendix: str = ""  # before the letter of an appendix
    has_narrow_floats: bool = True
    is_balanced: bool = False  # columns by multicols, which takes no narrow floats
    has_dropped_capital: bool = False
    has_affiliation: bool = False
    first_page: int = 1


STYLES = (
    Style("neurips", "neurips", 1, "1", has_stamp=True),
    Style("neurips_review", "neurips", 1, "1", LINE_NUMBERS),
    Style("icml", "icml", 2, "1.", has_stamp=True, has_affiliation=True),
    Style("acl", "acl", 2, "1", is_author_year=True, has_stamp=True, first_page=4171),
    Style("acl_review", "acl", 2, "1", LINE_NUMBERS_OUTSIDE, is_author_year=True),
    Style(
        "ieee", "ieee", 2, "I.", abstract="Abstract—", is_abstract_heading=False, is_upper=True, figure="Fig.",
        table="TABLE", mark=".", has_appendix=False, has_dropped_capital=True, first_page=2213,
    ),
    Style(
        "ams", "ams", 1, "1.", abstract="Abstract.", is_abstract_heading=False, is_title_upper=True, mark=".",
        has_stamp=True, appendix="Appendix ",
    ),
    Style(
        "revtex", "revtex", 2, "I.", abstract="", is_abstract_heading=False, is_upper=True, figure="FIG.",
        table="TABLE", mark=".", has_appendix=False, has_stamp=True,
    ),
    Style("elsevier", "elsevier", 1, "1."),
    Style(
        "lncs", "lncs", 1, "1", abstract="Abstract.", is_abstract_heading=False, figure="Fig.", mark=".",
        has_appendix=False, first_page=118,
    ),
    Style("acm", "acm", 2, "1", abstract="ABSTRACT", is_upper=True, has_affiliation=True),
    Style("cvpr_review", "cvpr", 2, "1."),
    Style("jmlr", "jmlr", 1, "1.", has_stamp=True),
    Style("contents", "contents", 1, "1", has_stamp=True),
    Style("physics", "physics", 1, "1", abstract="ABSTRACT", has_appendix=False, has_stamp=True),
    Style(
        "letter", "letter", 2, "", abstract="", is_abstract_heading=False, has_appendix=False, has_narrow_floats=False,
        is_balanced=True, first_page=37,
    ),
    Style("iclr", "iclr", 1, "1", abstract="ABSTRACT", is_upper=True, is_author_year=True),
)  # fmt: skip
