"""One record of arXiv metadata: from a line of JSON to a row of `papers`.

The form is that of Kaggle's arXiv file: flat but for `versions` and `authors_parsed`. Copies differ: spaced JSON,
`categories` as a list, `created` or whole `versions` missing. A missing date is no fault; a field of another type is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict

from jobs.corpus import arxiv

MAX_DEPTH = 20

_TEXT_FIELDS = ("id", "title", "abstract", "authors", "comments", "license", "update_date")
_VERSION = re.compile(r"v([1-9][0-9]{0,3})")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Control characters become blanks too: no title needs them, and some tools end a string at NUL.
_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")
_IS_CONTROL = bytes(char < 0x20 or char == 0x7F for char in range(256))
# A comment such as `withdrawn from PRL` does not take the paper from arXiv.
_WHAT = r"(?:paper|article|submission|manuscript|preprint|work)"
_WITHDRAWN = re.compile(
    rf"(?:this|the) {_WHAT} (?:has been|is|was) withdrawn\b(?! from)"
    rf"|(?:(?:this|the) )?(?:{_WHAT} )?(?:(?:has been|is|was) )?withdrawn by (?:the )?(?:author|arxiv)",
    re.IGNORECASE,
)
_AND = re.compile(r"(?<!\\),|\band\b")
_NAME_SUFFIXES = frozenset(["Jr", "Jr.", "Sr", "Sr.", "II", "III", "IV"])


class MalformedError(ValueError):
    """The line is no JSON object of this form; the message says why."""


class PaperRow(TypedDict):
    """A row of `papers`, and by what the newest record is told: its day, where it lies."""

    paper_id: str
    version: int
    title: str
    abstract: str
    authors: list[str]
    categories: list[str]
    primary_category: str | None
    submitted_at: datetime
    updated_at: datetime
    submitted_from: str
    license: str | None
    is_withdrawn: bool
    update_date: str
    source: str
    offset: int


class History(NamedTuple):
    """What `versions` tells. `version` is the highest number, 1 without any; the times are UTC, None if unknown."""

    version: int
    submitted_at: datetime | None
    updated_at: datetime | None
    source_type: str | None


def load(line: bytes) -> dict[str, Any]:
    """The JSON object of a line, its known fields checked. Raises MalformedError."""
    import orjson

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"no JSON: {error}") from error
    if not isinstance(record, dict):
        raise MalformedError(f"JSON, but {type(record).__name__} instead of an object")
    # Braces of TeX count too, so many lines take the long way; none that is too deep takes the short one.
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH:
        _check_depth(record)
    for name in _TEXT_FIELDS:
        value = record.get(name)
        if value is not None and not isinstance(value, str):
            raise MalformedError(f"{name} is {type(value).__name__}; expected text or null")
    if not _is_list_of(record.get("authors_parsed"), list):
        raise MalformedError("authors_parsed is no list of lists")
    if not isinstance(record.get("categories"), str) and not _is_list_of(record.get("categories"), str):
        raise MalformedError("categories is neither text nor a list of texts")
    return record


def _is_list_of(value: object, kind: type) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, kind) for item in value))


def _check_depth(record: dict[str, Any]) -> None:
    level: list[Any] = [record]
    for _ in range(MAX_DEPTH):
        inner = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in inner if isinstance(child, dict | list)]
        if not level:
            return
    raise MalformedError(f"nested deeper than {MAX_DEPTH}")


def history(versions: object) -> History:
    """Number and dates of a record's `versions`; null and [] are an unknown history. Raises MalformedError.

    The first version's date is that of the entry named v1: records made from the stamp on a PDF have a single entry
    such as v3, whose date says nothing of the first submission.
    """
    if not _is_list_of(versions, dict):
        raise MalformedError("versions is no list of objects")
    entries: list[dict[str, Any]] = versions or []  # type: ignore[assignment]
    numbers = [_number(entry) for entry in entries]
    if not entries:
        return History(1, None, None, None)
    newest = len(numbers) - 1 - numbers[::-1].index(max(numbers))  # of two with one number the later
    first = numbers.index(1) if 1 in numbers else None
    first_at = None if first is None else _created(entries[first])
    source_type = entries[newest].get("source_type")
    return History(
        version=numbers[newest],
        submitted_at=first_at,
        updated_at=first_at if newest == first else _created(entries[newest]),
        source_type=source_type if isinstance(source_type, str) else None,
    )


def _number(entry: Mapping[str, Any]) -> int:
    name = entry.get("version")
    number = _number_of(name) if isinstance(name, str) else None
    if number is None:
        raise MalformedError(f"version is {str(name)[:40]!r}; expected a form such as 'v2'")
    return number


@lru_cache(maxsize=1000)
def _number_of(name: str) -> int | None:
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else None


def _created(entry: Mapping[str, Any]) -> datetime | None:
    created = entry.get("created")
    if not isinstance(created, str | None):
        raise MalformedError(f"created is {type(created).__name__}; expected text or null")
    try:
        return arxiv.parse_created(created)
    except ValueError as error:
        raise MalformedError(f"created: {error}") from error


def to_row(record: Mapping[str, Any], past: History, source: str = "", offset: int = 0) -> PaperRow:
    """A loaded record and its history as a row of `papers`. Raises ValueError if the id is none of arXiv's.

    Where the first version's date is unknown, the first day of the id's month stands for it; where the newest one's
    is, the first one's.
    """
    paper_id = arxiv.parse_id(record.get("id") or "").paper_id
    submitted_at = past.submitted_at or _start_of_month(paper_id)
    categories = category_tokens(record.get("categories"))
    return PaperRow(
        paper_id=paper_id,
        version=past.version,
        title=clean(record.get("title")),
        abstract=clean(record.get("abstract")),
        authors=_authors(record),
        categories=categories,
        primary_category=categories[0] if categories else None,
        submitted_at=submitted_at,
        updated_at=past.updated_at or submitted_at,
        submitted_from="version" if past.submitted_at else "id",
        license=clean(record.get("license")) or None,
        is_withdrawn=is_withdrawn(past.source_type, record.get("comments")),
        update_date=_iso_day(record.get("update_date")),
        source=source,
        offset=offset,
    )


def _start_of_month(paper_id: str) -> datetime:
    month = arxiv.month_of_id(paper_id)
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def _iso_day(text: str | None) -> str:
    """The day if it has the form that sorts by time, else "", which is older than all."""
    return text if text and _ISO_DAY.fullmatch(text) else ""


def clean(text: str | None) -> str:
    """The text with blanks collapsed and control characters gone; "" for None."""
    flat = (text or "").strip()
    if "\n" in flat:
        flat = flat.replace("\n  ", "\n").replace("\n", " ")  # where arXiv breaks a line, and parts paragraphs
    if "  " not in flat and _is_printable(flat):
        return flat
    collapsed = " ".join(flat.split())
    return collapsed if collapsed.isprintable() else " ".join(collapsed.translate(_CONTROL).split())


def _is_printable(text: str) -> bool:
    """`text.isprintable()`, which asks Unicode's tables for every letter, at a third of its price for long text."""
    if len(text) > 200 and text.isascii():
        return b"\1" not in text.encode().translate(_IS_CONTROL)
    return text.isprintable()


def category_tokens(categories: str | list[str] | None) -> list[str]:
    """Categories in order, primary first, from text (`cs.LG stat.ML`) or a list of such texts."""
    if isinstance(categories, str):
        return list(dict.fromkeys(categories.split()))
    return list(dict.fromkeys(token for text in categories or [] for token in text.split()))


def is_withdrawn(source_type: str | None, comments: str | None) -> bool:
    """Whether the newest version has no PDF: arXiv's letter `I` where the source has letters, else the comments.

    The comments count only if they begin with it; a wrong yes would lose a paper, a wrong no costs one request.
    """
    if source_type is not None:
        return "I" in source_type
    return _WITHDRAWN.match(clean(comments)) is not None


def _authors(record: Mapping[str, Any]) -> list[str]:
    """Names as `First Last Suffix`; from the one string of authors where no parsed names are given."""
    parsed = record.get("authors_parsed") or []
    names = [name for parts in parsed if (name := _name(parts))]
    return names or split_authors(record.get("authors"))


def _name(parts: list[Any]) -> str:
    ordered = [*parts[1:2], *parts[:1], *parts[2:3]]
    return clean(" ".join([str(part) for part in ordered if part]))


def split_authors(text: str | None) -> list[str]:
    """Names in a string such as `A. Oller (1,2), B. Roca, Jr. and C. Yu ((1) Valencia)`; affiliations dropped."""
    names: list[str] = []
    for name in map(clean, _AND.split(_outside_parentheses(clean(text)))):
        if name in _NAME_SUFFIXES and names:
            names[-1] += f" {name}"
        elif name:
            names.append(name)
    return names


def _outside_parentheses(text: str) -> str:
    """One pass with a counter: a pattern applied until nothing changes takes quadratic time on nested parentheses."""
    depth = 0
    kept: list[str] = []
    for part in re.split(r"([()])", text):
        if part == "(":
            depth += 1
        elif part == ")":
            depth = max(depth - 1, 0)
        elif not depth:
            kept.append(part)
    return " ".join(kept)
