"""Where chunks may be cut at all: a document's blocks gathered into runs of one kind and one section."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

TEXT_KINDS = frozenset({"paragraph", "heading", "formula"})  # together the kind `text` of chunks
BLANKS = re.compile(r"\s*")

Span = tuple[int, int]


class Run(NamedTuple):
    """Blocks of one kind in one section: what chunks are cut from. Up to `body_start` it is headings.

    Positions are characters of the document's text; `sections` are numbers of the sections around, outermost first.
    """

    start: int
    end: int
    kind: str
    sections: tuple[int, ...]
    body_start: int

    @property
    def has_body(self) -> bool:
        """False if the run is headings alone."""
        return self.body_start < self.end


def find_runs(text: str, sections: Sequence[Any], blocks: Sequence[Any]) -> list[Run]:
    """The runs of a document in order; together they hold all that is not blank."""
    runs: list[Run] = []
    for piece in _pieces(text, sections, blocks):
        if runs and _continues(runs[-1], piece):
            body_start = runs[-1].body_start if runs[-1].has_body else piece.body_start
            runs[-1] = Run(runs[-1].start, piece.end, piece.kind, piece.sections, body_start)
        else:
            runs.append(piece)
    return runs


def _continues(run: Run, piece: Run) -> bool:
    """True if the piece belongs to the run. A heading begins a run; bare headings take in what is below them."""
    if run.kind != piece.kind:
        return False
    if run.has_body:
        return piece.has_body and piece.sections == run.sections
    return piece.sections[: len(run.sections)] == run.sections


def _pieces(text: str, sections: Sequence[Any], blocks: Sequence[Any]) -> Iterator[Run]:
    """Blocks, cut where sections begin or end, each as a run of its own."""
    edges, paths = _section_paths(sections)
    for kind, block_start, block_end in _cover(text, blocks):
        first = bisect_right(edges, block_start)
        cuts = [block_start, *edges[first : bisect_left(edges, block_end)], block_end]
        for number, (left, right) in enumerate(pairwise(cuts), start=first):
            start, end = strip(text, left, right)
            if start < end:
                body_start = end if kind == "heading" else start
                yield Run(start, end, "text" if kind in TEXT_KINDS else kind, paths[number], body_start)


def _cover(text: str, blocks: Sequence[Any]) -> Iterator[tuple[str, int, int]]:
    """Kind and span of the blocks in order, without overlap; what lies between them counts as paragraph."""
    done = 0
    for kind, block_start, block_end in fields(blocks, "kind", "start", "end"):
        start, end = max(done, block_start), min(len(text), block_end)
        if start < end:
            if text[done:start].strip():
                yield "paragraph", done, start
            yield kind, start, end
            done = end
    yield "paragraph", done, len(text)


def _section_paths(sections: Sequence[Any]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Sorted positions where sections begin or end, and the sections in force before the first and after each."""
    spans = list(fields(sections, "start", "end"))
    edges = sorted({edge for span in spans for edge in span})
    outermost_first = sorted(range(len(spans)), key=lambda number: (spans[number][0], -spans[number][1]))
    paths: list[tuple[int, ...]] = [()]
    for edge in edges:
        paths.append(tuple(number for number in outermost_first if spans[number][0] <= edge < spans[number][1]))
    return edges, paths


def fields(rows: Sequence[Any], *names: str) -> Iterator[tuple[Any, ...]]:
    """The named fields (two or more) of rows that are dicts or objects, all of one sort."""
    is_dict = bool(rows) and isinstance(rows[0], Mapping)
    return map(itemgetter(*names) if is_dict else attrgetter(*names), rows)


def strip(text: str, start: int, end: int) -> Span:
    """The span without blanks at its ends."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def skip_blanks(text: str, position: int) -> int:
    """The first position from `position` on that is no blank."""
    blanks = BLANKS.match(text, position)
    return blanks.end() if blanks else position
