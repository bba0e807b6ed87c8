"""What is printed on every page but belongs to no sentence: running heads, page and line numbers, stamps, contents."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

from jobs.corpus.cleaning import is_off
from jobs.corpus.lines import Line, Page

STAMP = re.compile(
    r"(?:arXiv:\s?(?:\d{4}\.\d{4,5}|[a-z\-]+(?:\.[A-Z]{2})?/\d{7})|sample:\d{7})(?:v\d+)?"
    r"\s+(?:\[[\w.\-]+\]\s+)?\d{1,2} \w{3} \d{4}"
)
MARGIN_01 = 0.13  # of the page height: where heads and feet stand
REPEATED_01 = 0.3  # of the pages of one side
MIN_NUMBERED_LINES = 15
PAGED_01 = 0.4  # of the pages: rows at one edge whose numbers count up with them; two-sided styles have half of them
MIN_PAGED = 3
CONTENTS = ("contents", "table of contents")
MIN_ENTRIES = 3  # of a table of contents below its title
MIN_LEADERS = 5  # entries with dotted leaders that need no title
MAX_HEAD_CHARS = 150
_STARTS = re.compile(r"\d{1,4}(?=\s|$)")
_ENDS = re.compile(r"(?<!\S)\d{1,4}$")
_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"[-–—\s]*(\d{1,4}|[ivxlc]{1,7})[-–—.\s]*$")
_NOTICE = re.compile(
    r"(preprint|published as|under review|accepted (to|at|for)|to appear in|page \d+ of \d+|proceedings of|"
    r"workshop track|manuscript (submitted|under)|copyright \d{4}|permission to make digital)",
    re.IGNORECASE,
)
_LEADERS = re.compile(r"(\.\s?){4,}\s*\d{1,3}$")
_ENDS_IN_PAGE = re.compile(r"\D\s+(\d{1,3}|[ivxl]+)$")


def find_stamp(page: Page, rotated: list[str]) -> str | None:
    """The stamp of the first page, such as `arXiv:2205.14135v2 [cs.LG] 23 Jun 2022`, or None."""
    for text in [" ".join(rotated), *(line.text for line in page.lines)]:
        match = STAMP.search(text)
        if match:
            return match[0]
    return None


def drop_stamp(page: Page, counts: Counter[str]) -> Page:
    """The first page without the stamp where that was set upright."""
    if is_off(counts, "stamps"):
        return page
    kept = [line for line in page.lines if not STAMP.match(line.text.strip())]
    counts["stamps"] += len(page.lines) - len(kept)
    return page._replace(lines=kept)


def _key(line: Line) -> tuple[int, str]:
    return round(line.base / 4), _DIGITS.sub("#", line.text.strip())[:60]


def _in_margins(lines: list[Line], page: Page) -> list[Line]:
    head, foot = MARGIN_01 * page.height, (1 - MARGIN_01) * page.height
    return [line for line in lines if line.base < head or line.top > foot]


def running_heads(pages: list[Page]) -> set[tuple[int, str]]:
    """Keys (height, text with digits as #) of lines that come back on many pages; odd and even pages apart."""
    seen: dict[int, Counter[tuple[int, str]]] = defaultdict(Counter)
    for page in pages:
        keys = {_key(line) for line in _in_margins(page.lines, page)}
        # A number alone may be that of a section at the top of a column: `drop_heads` looks at its place instead.
        seen[page.number % 2].update({key for key in keys if any(char.isalpha() for char in key[1])})
    total = seen[0] + seen[1]
    heads = {key for key, n in total.items() if n >= max(2, REPEATED_01 * len(pages))}
    for side in (0, 1):
        n_pages = sum(page.number % 2 == side for page in pages)
        heads |= {key for key, n in seen[side].items() if n >= max(2, REPEATED_01 * n_pages)}
    return heads


def drop_heads(page: Page, heads: set[tuple[int, str]], counts: Counter[str]) -> Page:
    """The page without running heads, feet, page numbers and notices of the publisher."""
    if is_off(counts, "running_heads"):
        return _without_page_number(page, counts)
    margins = _in_margins(page.lines, page)
    notices = [line for line in margins if _is_notice(line.text.strip())]
    gone = {id(line) for line in margins if _key(line) in heads} | set(map(id, notices))
    heights = [line.base for line in notices]
    if heights:  # what stands beside a notice belongs to it: a date, a page number
        gone |= {id(line) for line in page.lines if any(abs(line.base - height) < 1.0 for height in heights)}
    if gone:
        counts["running_heads"] += len(gone)
        page = page._replace(lines=[line for line in page.lines if id(line) not in gone])
    return _without_page_number(page, counts)


def _without_page_number(page: Page, counts: Counter[str]) -> Page:
    lines = page.lines
    if not lines or is_off(counts, "page_numbers"):
        return page
    bases = [line.base for line in lines]
    top, bottom = min(bases), max(bases)
    kept = []
    for line, base in zip(lines, bases, strict=True):
        is_edge = base - top < line.size or bottom - base < line.size
        if is_edge and _NUMBER.match(line.text.strip()) and _is_alone(line, page):
            counts["page_numbers"] += 1
        else:
            kept.append(line)
    return page._replace(lines=kept)


Row = list[Line]


def edge_rows(page: Page) -> tuple[Row, Row]:
    """The highest and the lowest printed line of a page, each as all its pieces; empty on a page without text."""
    if not page.lines:
        return [], []
    bases = [line.base for line in page.lines]
    top, bottom = min(bases), max(bases)
    return (
        [line for line in page.lines if line.base - top < 2.0],
        [line for line in page.lines if bottom - line.base < 2.0],
    )


def drop_numbered_rows(pages: list[Page], counts: Counter[str]) -> list[Page]:
    """The pages without the highest or lowest row where that holds their number, which counts up with them.

    So heads are known that say something else on every page, such as titles of sections.
    """
    if is_off(counts, "page_numbers") or is_off(counts, "running_heads"):
        return pages
    rows = [edge_rows(page) for page in pages]
    found = [tuple(_offsets(row, page) for row in pair) for page, pair in zip(pages, rows, strict=True)]
    numbering = [_common_offset([pair[edge] for pair in found]) for edge in (0, 1)]
    gone: set[int] = set()
    for pair, offsets in zip(rows, found, strict=True):
        for edge in (0, 1):
            is_lone = len(pair[edge]) == 1 and len(pair[edge][0].text.strip()) < 5  # first pages have it elsewhere
            if offsets[edge] & (set(numbering) if is_lone else {numbering[edge]}):
                gone.update(map(id, pair[edge]))
                counts["page_numbers"] += 1
                counts["running_heads"] += any(char.isalpha() for line in pair[edge] for char in line.text)
    if not gone:
        return pages
    return [page._replace(lines=[line for line in page.lines if id(line) not in gone]) for page in pages]


def _common_offset(offsets: list[set[int]]) -> int | None:
    """The difference between number and page that enough pages share; None if their numbers do not count up."""
    total = Counter(offset for found in offsets for offset in found)
    offset, n = max(total.items(), key=lambda item: item[1], default=(0, 0))
    return offset if n >= max(MIN_PAGED, PAGED_01 * len(offsets)) else None


def _offsets(row: Row, page: Page) -> set[int]:
    """By how much the numbers at either end of a row differ from the page's place in the document."""
    if not _in_margins(row[:1], page) or sum(len(line.text) for line in row) > MAX_HEAD_CHARS:
        return set()
    ends = [match[0] for line in row for match in (_STARTS.match(line.text), _ENDS.search(line.text)) if match]
    return {int(number) - page.number for number in ends}


def _is_notice(text: str) -> bool:
    return len(text) < 120 and bool(_NOTICE.match(text))


def _is_alone(line: Line, page: Page) -> bool:
    """Nothing else on the same height, and a gap of more than a line to the text: a page number high or low."""
    others = [other for other in page.lines if other is not line]
    return all(abs(other.base - line.base) > 1.6 * line.size for other in others)


def drop_line_numbers(page: Page, counts: Counter[str]) -> Page:
    """The page without the column of line numbers that review styles print in the margin."""
    if is_off(counts, "line_numbers"):
        return page
    numbers = [line for line in page.lines if len(line.text) < 6 and line.text.strip().isdigit()]
    gone: set[int] = set()
    for edge in ("x1", "x0"):  # set flush right, or flush left
        columns: dict[int, list[Line]] = defaultdict(list)
        for line in numbers:
            columns[round(getattr(line, edge) / 4)].append(line)
        for place in list(columns):
            column = sorted(columns[place] + columns.get(place + 1, []), key=lambda line: line.base)
            if len(column) >= MIN_NUMBERED_LINES and _counts_up(column) and _is_outside(column, page):
                gone.update(map(id, column))
    if not gone:
        return page
    counts["line_numbers"] += len(gone)
    return page._replace(lines=[line for line in page.lines if id(line) not in gone])


def _counts_up(column: list[Line]) -> bool:
    values = [int(line.text) for line in column]
    steps = Counter(b - a for a, b in pairwise(values))
    step, n = steps.most_common(1)[0]
    return step in (1, 5) and n >= 0.8 * (len(values) - 1)


def _is_outside(column: list[Line], page: Page) -> bool:
    """Left of nearly all other text that shares the page half, or right of it."""
    gone = set(map(id, column))
    rest = [line for line in page.lines if id(line) not in gone]
    left, right = min(line.x0 for line in column), max(line.x1 for line in column)
    inside = sum(line.x0 < left and line.x1 > right for line in rest)
    return inside <= 0.1 * len(rest)


def drop_contents(lines: list[Line], counts: Counter[str]) -> list[Line]:
    """The lines of a page without its table of contents: entries below that title, or five with dotted leaders."""
    if is_off(counts, "contents_lines"):
        return lines
    leaders = [line for line in lines if line.text.count(".") > 3 and _LEADERS.search(line.text)]
    entries = _entries_below_title(lines)
    if len(entries) < MIN_ENTRIES and len(leaders) < MIN_LEADERS:
        return lines
    is_titled = len(entries) >= MIN_ENTRIES
    top, bottom = _span(entries if is_titled else leaders)
    gone = {id(line) for line in lines if top - 1 <= line.base <= bottom + 1 and len(line.text) < 130}
    if not is_titled:  # the entries of whole sections have no dots
        gone |= {
            id(line) for line in lines if line.cells > 1 and _ENDS_IN_PAGE.search(line.text) and len(line.text) < 130
        }
    titles = {id(line) for line in lines if line.text.strip().lower() in CONTENTS}
    counts["contents_lines"] += len(gone)
    return [line for line in lines if id(line) not in gone | titles]


def _span(lines: list[Line]) -> tuple[float, float]:
    return min(line.base for line in lines), max(line.base for line in lines)


def _entries_below_title(lines: list[Line]) -> list[Line]:
    """Lines under `Contents` that end in page numbers which never fall; between two, one may take a second line."""
    start = next((i for i, line in enumerate(lines) if line.text.strip().lower() in CONTENTS), len(lines))
    entries: list[Line] = []
    last = n_other = 0
    for line in lines[start + 1 :]:
        match = _ENDS_IN_PAGE.search(line.text.strip())
        if match and match[1].isdigit() and int(match[1]) >= last:
            entries.append(line)
            last, n_other = int(match[1]), 0
        else:
            n_other += 1
        if n_other > 2:
            break
    return entries
