"""Reading order: columns, bands between wide objects, and the pieces of a printed line put together.

A page is cut into bands by what spans both columns (title, wide floats); a band is read left column first. Inside a
column the order of the file stands where pieces share a height, so formulas stay as TeX wrote them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import accumulate, pairwise
from statistics import median
from typing import NamedTuple

from jobs.corpus.lines import Line, Page
from jobs.corpus.scripts import EXPONENT, RAISED, SMALL, is_numerator

MIN_GUTTER = 8.0  # points; the narrowest styles have 10
BIN = 2.0  # points of one histogram bin
MAX_CROSSING_01 = 0.03  # lines that may cross a gutter: titles, wide floats
MIN_COLUMN_LINES = 6
PROSE_WIDTH_01 = 0.24  # of the page width: a line of prose in one of two columns is at least that wide


class Run(NamedTuple):
    """Lines of one column of one band, top to bottom, with the column's edges in points."""

    lines: list[Line]
    left: float
    right: float


def find_gutter(page: Page) -> float | None:
    """The middle of the empty strip between two columns of prose, in points; None on a page with one column."""
    wide = [line for line in page.lines if line.x1 - line.x0 > PROSE_WIDTH_01 * page.width]
    if len(wide) < 2 * MIN_COLUMN_LINES:
        return None
    first, last = int(0.35 * page.width / BIN), int(0.65 * page.width / BIN)
    steps = [0] * (last - first + 2)
    for line in wide:
        start, end = max(first, int(line.x0 / BIN)), min(last, int(line.x1 / BIN))
        if start <= end:
            steps[start - first] += 1
            steps[end - first + 1] -= 1
    crossing = list(accumulate(steps[:-1]))
    allowed = max(MAX_CROSSING_01 * len(wide), 0.5)
    if min(crossing) > allowed:
        allowed = 0.35 * len(wide)  # a page that is half wide table: the strip must then be confirmed by both columns
    start, length = _longest_run([count <= allowed for count in crossing])
    if length * BIN < MIN_GUTTER:
        return None
    middle = (first + start + length / 2) * BIN
    left = sum(line.x1 <= middle for line in wide)
    right = sum(line.x0 >= middle for line in wide)
    return middle if min(left, right) >= MIN_COLUMN_LINES else None


def _longest_run(flags: list[bool]) -> tuple[int, int]:
    best, start = (0, 0), 0
    for i, flag in enumerate([*flags, False]):
        if not flag:
            if i - start > best[1]:
                best = (start, i - start)
            start = i + 1
    return best


def document_gutter(gutters: list[float | None]) -> float | None:
    """The gutter that pages without a clear one of their own may be tried with; None in a one-column document."""
    found = [gutter for gutter in gutters if gutter is not None]
    return median(found) if len(found) >= max(1, 0.3 * len(gutters)) else None


def page_gutter(page: Page, own: float | None, document: float | None) -> float | None:
    """The gutter to read a page by: its own, else the document's unless too much crosses it."""
    if own is not None or document is None:
        return own
    crossing = sum(line.x0 < document - 6 and line.x1 > document + 6 for line in page.lines)
    return document if crossing <= 0.5 * len(page.lines) else None


def read_in_order(page: Page, gutter: float | None) -> list[Run]:
    """The page as runs of lines in reading order, printed lines put together."""
    if gutter is None:
        return [_run(_by_height(page.lines))] if page.lines else []
    spanning: list[Line] = []
    sides: list[Line] = []
    top = _front_matter_end(page)
    for line in page.lines:
        crosses = line.base < top or (line.x0 < gutter - 6 and line.x1 > gutter + 6)
        (spanning if crosses else sides).append(line)
    spanning += _rest_of(spanning, sides)
    if spanning:
        known = set(map(id, spanning))
        spanning += _rows_of_table(spanning, [line for line in sides if id(line) not in known], gutter)
    wide = set(map(id, spanning))
    return [_run(_by_height(lines)) for _, lines in _bands(page.lines, wide, gutter)]


def _front_matter_end(page: Page) -> float:
    """Height of the word Abstract on a first page: authors beside each other above it are no columns. 0 without one."""
    if page.number:
        return 0.0
    heads = [line for line in page.lines if line.text.lstrip()[:8].lower() == "abstract"]
    return heads[0].base - 0.5 * heads[0].size if heads and heads[0].base < 0.5 * page.height else 0.0


def _rest_of(spanning: list[Line], sides: list[Line]) -> list[Line]:
    """What belongs to spanning lines without crossing the gutter: pieces beside them, last lines of a wide caption."""
    rest: list[Line] = []
    blocks: dict[int, list[Line]] = {}
    for line in spanning:
        blocks.setdefault(line.block, []).append(line)
    for line in sides:
        for wide in blocks.get(line.block, ()):
            step = line.base - wide.base
            is_below = (
                0 < step < 1.5 * line.size and abs(line.size - wide.size) < 0.5 and line.x0 < wide.x0 + 2 * line.size
            )
            if is_below:
                rest.append(line)
                break
    return rest


def _rows_of_table(spanning: list[Line], sides: list[Line], gutter: float) -> list[Line]:
    """Rows that go on across the gutter, several cells on both sides, next to something that spans the columns."""
    rows: dict[int, list[Line]] = {}
    for line in sides:
        rows.setdefault(round(line.base), []).append(line)
    heights = [line.base for line in spanning]
    found: dict[int, list[Line]] = {}
    order = sorted(rows)
    for base in [*order, *reversed(order), *order]:  # grow down from what spans, then up, then fill what lies between
        if base in found:
            continue
        cells = sorted(rows[base], key=lambda line: line.x0)
        size = cells[0].size
        left = _n_cells([line for line in cells if line.x0 < gutter])
        right = _n_cells([line for line in cells if line.x0 >= gutter])
        above = min((base - height for height in heights if height <= base), default=math.inf)
        below = min((height - base for height in heights if height > base), default=math.inf)
        is_row = left + right >= 4 and min(left, right) >= 1 and min(above, below) < 2.6 * size
        is_between = max(above, below) < 1.5 * size and left + right == 1 and len(cells[0].text) < 30
        if is_row or is_between or min(above, below) < 0.2 * size:
            found[base] = cells
            heights.append(base)
    return [line for cells in found.values() for line in cells]


def _n_cells(pieces: list[Line]) -> int:
    return sum(b.x0 - a.x1 > 0.9 * b.size for a, b in pairwise(pieces)) + bool(pieces)


def _bands(lines: list[Line], wide: set[int], gutter: float) -> list[tuple[str, list[Line]]]:
    """Cut a page at its spanning lines: (kind, lines) with kind `wide` or `column`, in reading order."""
    zones = _wide_zones([line for line in lines if id(line) in wide])
    bottoms = [bottom for _, bottom in zones]
    buckets: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        if id(line) in wide:
            zone = next(i for i, (top, bottom) in enumerate(zones) if top <= line.base <= bottom)
            key = (2 * zone + 1, 0)
        else:
            above = bisect_left(bottoms, line.base)
            key = (2 * above, 1 if (line.x0 + line.x1) / 2 > gutter else 0)
        buckets.setdefault(key, []).append(line)
    return _merged([("column" if key[0] % 2 == 0 else "wide", buckets[key]) for key in sorted(buckets)])


def _merged(bands: list[tuple[str, list[Line]]]) -> list[tuple[str, list[Line]]]:
    """Wide bands that follow each other as one."""
    merged: list[tuple[str, list[Line]]] = []
    for kind, lines in bands:
        if merged and kind == merged[-1][0] == "wide":
            merged[-1] = (kind, merged[-1][1] + lines)
        else:
            merged.append((kind, lines))
    return merged


def _wide_zones(wide: list[Line]) -> list[tuple[float, float]]:
    """Heights that spanning lines take, neighbours within two lines joined."""
    zones: list[tuple[float, float]] = []
    for line in sorted(wide, key=lambda line: line.base):
        if zones and line.top - zones[-1][1] < 1.2 * line.size:
            zones[-1] = (zones[-1][0], max(zones[-1][1], line.base))
        else:
            zones.append((line.base, line.base))
    return zones


def _by_height(lines: list[Line]) -> list[Line]:
    """Blocks of the file from top to bottom; those that share a height stay in the order of the file."""
    groups: list[list[Line]] = []
    block, last_top = -1, 0.0
    for line in lines:
        top = line.top
        if line.block == block and top >= last_top - 2 * line.size:
            groups[-1].append(line)
        else:
            groups.append([line])
        block, last_top = line.block, top
    spans = sorted([(*_extent(group), i) for i, group in enumerate(groups)])
    ordered: list[Line] = []
    cluster: list[int] = []
    lowest = float("-inf")
    for top, bottom, i in spans:
        if cluster and top >= lowest - 0.25 * groups[i][0].size:
            ordered += _in_rows([groups[j] for j in sorted(cluster)])
            cluster = []
        lowest = max(lowest, bottom) if cluster else bottom
        cluster.append(i)
    return ordered + _in_rows([groups[j] for j in sorted(cluster)])


def _extent(lines: list[Line]) -> tuple[float, float]:
    """Upper edge of the highest line and lower edge of the lowest."""
    if len(lines) == 1:
        return lines[0].top, lines[0].bottom
    return min([line.top for line in lines]), max([line.bottom for line in lines])


def _in_rows(groups: list[list[Line]]) -> list[Line]:
    """Groups beside each other: the columns of a table row by row, anything else one after the other."""
    lines = [line for group in groups for line in group]
    if len(groups) < 2 or max(map(len, groups)) < 3:
        return lines
    rows: Counter[int] = Counter()
    for group in groups:
        rows.update({round(line.base) for line in group})
    n_shared = sum(n > 1 for n in rows.values())
    if n_shared < 3 or n_shared < 0.5 * len(rows) or sum(line.math_01 for line in lines) > 0.3 * len(lines):
        return lines
    return sorted(lines, key=lambda line: (round(line.base), line.x0))


def _run(lines: list[Line]) -> Run:
    joined = join_pieces(lines)
    lefts = Counter([round(line.x0) for line in joined])
    most = max(lefts.values())
    left = float(min([edge for edge, n in lefts.items() if n >= 0.5 * most]))
    right = sorted([line.x1 for line in joined])[int(0.9 * (len(joined) - 1))]
    return Run(joined, left, right)


def join_pieces(lines: list[Line]) -> list[Line]:
    """Put neighbours in the file that stand on one printed line together."""
    joined: list[Line] = []
    for line in lines:
        if joined and _continues(joined[-1], line):
            joined[-1] = _glue(joined[-1], line)
        else:
            joined.append(line)
    return joined


def _continues(a: Line, b: Line) -> bool:
    """Whether b stands on a's line: same baseline, or a sub- or superscript right beside it."""
    size = a.size if a.size > b.size else b.size
    shift = abs(b.base - a.base)
    if shift > 0.75 * size:
        return False
    gap = b.x0 - a.x1
    if shift <= 0.2 * size:
        return b.x0 > a.x0 and (gap > -0.7 * size or (gap > -1.6 * size and b.x1 > a.x1))
    is_script = min(a.size, b.size) <= 0.8 * size or max(a.math_01, b.math_01) > 0.5
    return is_script and -0.9 * size <= gap <= 0.6 * size and b.x0 > a.x0


def _glue(a: Line, b: Line) -> Line:
    n_a, n_b = len(a.text), len(b.text)
    main = a if (n_a * a.size >= n_b * b.size) else b
    gap = b.x0 - a.x1
    is_cell = gap > 1.1 * main.size
    between = "" if gap < 0.12 * main.size or a.text.endswith(" ") or b.text.startswith(" ") else " "
    if not between and b.text[0].isalnum() and (b.is_raised or b.size < SMALL * a.size):
        between = _between_scripts(a, b)
    return Line(
        a.x0,
        max(a.x1, b.x1),
        main.base,
        main.size,
        a.text + between + b.text,
        a.is_bold and b.is_bold,
        a.is_lead_bold,
        (a.math_01 * n_a + b.math_01 * n_b) / (n_a + n_b),
        a.is_raised if n_a > 3 or n_b < 3 else a.size < 0.8 * b.size and a.base < b.base,
        a.block,
        a.page,
        main.font,
        a.cells + b.cells if is_cell else a.cells + b.cells - 1,
        a.run_in,
        len(b.text.rstrip()) if _is_raised(a, b) else b.n_raised,
    )


def _is_raised(a: Line, b: Line) -> bool:
    """Whether all of b is small and stands above a's baseline."""
    return b.size < SMALL * a.size and a.base - b.base > RAISED * a.size


def _between_scripts(a: Line, b: Line) -> str:
    """What parts a small text from the one above it: x^2_1 has an index below its exponent, 1/2 is a fraction."""
    if EXPONENT.search(a.text):
        return "_" if b.text[0].isdigit() else ""
    is_below = b.x0 < a.x1 - 0.15 * a.size
    return "/" if is_below and is_numerator(a.text, a.n_raised) else ""
