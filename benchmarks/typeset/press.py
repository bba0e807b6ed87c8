"""The press: a paper's source by pdflatex, and where its sentences broke, as TeX itself wrote down."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.typeset import papers, prose
from benchmarks.typeset.papers import Element, Writer
from benchmarks.typeset.styles import Style

PREAMBLES = Path(__file__).parent / "preambles"
N_PASSES = 2  # the second one knows the table of contents and the sides of line numbers
MIDDLE = 303 * 65_536  # scaled points: the gutter of every style lies within 8 points of it, on Letter and on A4


@dataclass(frozen=True)
class Truth:
    """What a paper says, in order, and what its pages print besides.

    `sentences` are those of paragraphs by number; `page_breaks` and `column_breaks` name those that run over one.
    `heads` are the texts of running heads and notices, one for each time it is printed; `folios` the page numbers.
    """

    style: Style
    elements: tuple[Element, ...]
    sentences: dict[int, str]
    page_breaks: frozenset[int]
    column_breaks: frozenset[int]
    heads: tuple[str, ...]
    folios: tuple[int, ...]
    stamp: str | None

    @property
    def text(self) -> str:
        """All of it as read, an empty line between two elements."""
        return "\n\n".join(element.text for element in self.elements if element.text)

    @property
    def titles(self) -> list[tuple[int, str, str]]:
        """Level, title without number and heading as printed, in order."""
        return [(one.level, one.title, one.text) for one in self.elements if one.kind == "heading"]


def typeset(style: Style, seed: int, folder: Path) -> tuple[Path, Truth]:
    """A paper of this style and seed as `folder/<style>.pdf`, and its truth.

    Raises FileNotFoundError without pdflatex, RuntimeError with the end of its log if it fails.
    """
    source, elements = write_source(style, seed)
    path = folder / f"{style.name}.tex"
    path.write_text(source)
    for name in ("common", style.preamble):
        shutil.copy(PREAMBLES / f"{name}.tex", folder / f"preamble-{name}.tex")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name]
    env = os.environ | {"SOURCE_DATE_EPOCH": "1704067200", "FORCE_SOURCE_DATE": "1"}
    for _ in range(N_PASSES):
        run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, errors="replace")
        if run.returncode:
            raise RuntimeError(f"pdflatex failed on the style {style.name}:\n{run.stdout[-2000:]}")
    return path.with_suffix(".pdf"), _truth(style, elements, path.with_suffix(".spots").read_text())


def write_source(style: Style, seed: int) -> tuple[str, list[Element]]:
    """The whole TeX source and its elements in reading order, title to appendix."""
    writer = Writer(style, seed)
    title = f"{writer.title()}: {writer.title()}"
    writer.paragraph(6)
    abstract = writer.elements.pop()
    papers.write_body(writer)
    body = "\n".join(element.tex for element in writer.elements if element.tex)
    if style.is_balanced:
        body = f"\\begin{{multicols}}{{2}}\n{body}\\end{{multicols}}\n"
    stamp = f"\\sidestamp{{{papers.STAMP}}}\n" if style.has_stamp else ""
    source = (
        f"\\input{{preamble-{style.preamble}}}\n\\input{{preamble-common}}\n{style.extra}"
        f"\\newcommand\\headleft{{{papers.HEAD_LEFT}}}\\newcommand\\headright{{{title}}}\n"
        f"\\newcommand\\affiliation{{{papers.AFFILIATION}}}\n"
        f"\\begin{{document}}\n\\setcounter{{page}}{{{style.first_page}}}\n{stamp}"
        f"\\opening{{{title}}}{{{papers.AUTHORS}}}{{{abstract.tex.strip()}}}\n"
        f"\\suppressfloats[t]\n\n{body}\\end{{document}}\n"
    )
    return source, [*_front(style, title, abstract), *writer.elements]


def _front(style: Style, title: str, abstract: Element) -> list[Element]:
    """Title, authors, abstract and the block of affiliations as elements."""
    upper = str.upper if style.is_title_upper else str
    front = [
        Element("title", "", upper(prose.as_read(title))),
        Element("authors", "", upper(papers.AUTHORS)),
    ]
    text = abstract.text
    if style.is_abstract_heading:
        front.append(Element("heading", "", style.abstract, 1, "Abstract"))
    elif style.abstract:
        text = style.abstract + ("" if style.abstract.endswith("—") else " ") + text
    front.append(Element("paragraph", "", text, sentences=abstract.sentences))
    if style.has_affiliation:
        front.append(Element("footnote", "", papers.AFFILIATION))
    return front


def _truth(style: Style, elements: list[Element], spots: str) -> Truth:
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    heads, folios = [], []
    for line in spots.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "spot":
            number, page, x = map(int, rest.split())
            places[number].append((page, x))
        elif kind == "head":
            heads.append(rest.partition(" ")[2])
        elif kind == "folio":
            folios.append(int(rest))
    return Truth(
        style,
        tuple(elements),
        {number: text for element in elements for number, text in element.sentences},
        frozenset(number for number, (start, end) in places.items() if start[0] != end[0]),
        frozenset(number for number, ends in places.items() if style.n_columns == 2 and _is_over_columns(*ends)),
        tuple(heads),
        tuple(folios),
        papers.STAMP if style.has_stamp else None,
    )


def _is_over_columns(start: tuple[int, int], end: tuple[int, int]) -> bool:
    """Starts left and ends right of the middle of the same page."""
    return start[0] == end[0] and start[1] < MIDDLE <= end[1]
