"""What arXiv's identifiers, categories, dates and addresses look like, and how they become file names.

Three forms of id are known: `2205.14135` (since April 2007), `hep-th/9901001` (before), and `sample/2401001`, the
bundled notes, which are written like the old form but dated like the new one. Sources: info.arxiv.org,
help/arxiv_identifier and help/arxiv_identifier_for_services.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

SAMPLE_ARCHIVE = "sample"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The archives that gave out ids of the old form, the subsumed ones among them; the list has been closed since 2007.
OLD_ARCHIVES = _words(
    "acc-phys adap-org alg-geom ao-sci astro-ph atom-ph bayes-an chao-dyn chem-ph cmp-lg comp-gas cond-mat cs dg-ga"
    " funct-an gr-qc hep-ex hep-lat hep-ph hep-th math math-ph mtrl-th nlin nucl-ex nucl-th patt-sol physics plasm-ph"
    " q-alg q-bio quant-ph solv-int supr-con"
)
ARCHIVES = OLD_ARCHIVES | _words("econ eess q-fin stat")

_NEW_FORM_FROM, _FIVE_DIGITS_FROM = date(2007, 4, 1), date(2015, 1, 1)

_VERSION = r"(?:v(?P<version>[1-9][0-9]{0,3}))?"
_NEW_ID = r"(?P<yymm>[0-9]{4})\.(?P<number>[0-9]{4,5})"
_OLD_ID = r"(?P<archive>[a-z][a-z-]*)(?:\.[A-Za-z-]{2,9})?/(?P<yymm>[0-9]{4})(?P<number>[0-9]{3})"
_NEW = re.compile(_NEW_ID + _VERSION)
_OLD = re.compile(_OLD_ID + _VERSION)

_FLAT_STEM = re.compile(r"(?P<archive>[a-z][a-z-]*(?:\.[A-Z]{2})?)_?(?P<tail>[0-9]{7}(?:v[0-9]+)?)")
_TAIL_STEM = re.compile(r"(?P<yymm>[0-9]{4})[0-9]{3}(?:v[0-9]+)?")

# A stamp has a version; a paper's own text cites others mostly without one.
_STAMP = re.compile(
    r"(?:(?i:arxiv):[ ]?(?P<id>[a-z][a-z-]*(?:\.[A-Z]{2})?/[0-9]{7}v[0-9]+|[0-9]{4}\.[0-9]{4,5}v[0-9]+)"
    r"|sample:(?P<sample>[0-9]{7}v[0-9]+))"
    r"(?P<category>\s*\[[A-Za-z.-]+\])?(?P<day>\s*[0-9]{1,2} [A-Z][a-z]{2} [0-9]{4})?"
)

# Not from `calendar`: its names follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_FORM = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), {1,2}([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4})"
_DAY = re.compile(_DAY_FORM)
_CLOCK = re.compile(r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
_CLOCK_CHARS = len(" 19:18:42 GMT")

_CATEGORY = re.compile(r"(?P<archive>[a-z][a-z-]*)(?:\.(?:[A-Z]{2}|[a-z]+(?:-[a-z]+)*))?")


@dataclass(frozen=True)
class ArxivId:
    """A paper and, where one was named, its version. `paper_id` has neither version nor subject class."""

    paper_id: str
    version: int | None = None

    def __str__(self) -> str:
        """The id as arXiv writes it: `2205.14135v2`, or `2205.14135` without a version."""
        return self.paper_id if self.version is None else f"{self.paper_id}v{self.version}"


def parse_id(text: str) -> ArxivId:
    """The id that `text` is, whole: `math.CA/0611800v2` -> paper `math/0611800`, version 2.

    Raises ValueError, with a sentence, for everything that arXiv would not have given out: another form, a month over
    12, number 0, an unknown archive, the old form after March 2007 or the new one before April 2007.
    """
    match = _NEW.fullmatch(text) or _OLD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is no arXiv id; expected a form such as 2205.14135v2 or hep-th/9901001")
    archive = match["archive"] if match.re is _OLD else None
    _check_number(text, archive, match["yymm"], match["number"])
    version = match["version"]
    paper_id = f"{archive}/{match['yymm']}{match['number']}" if archive else f"{match['yymm']}.{match['number']}"
    return ArxivId(paper_id, int(version) if version else None)


def _check_number(text: str, archive: str | None, yymm: str, number: str) -> None:
    month = _month(archive, yymm)
    if month is None or not number.strip("0"):
        raise ValueError(f"{text!r} is no arXiv id: it has month {yymm[2:]} and number {number}")
    if archive is None:
        digits = 4 if month < _FIVE_DIGITS_FROM else 5
        if month < _NEW_FORM_FROM or len(number) != digits:
            raise ValueError(f"{text!r} is no arXiv id: ids of {month:%B %Y} do not have {len(number)} digits")
    elif archive in OLD_ARCHIVES:
        if not date(1991, 1, 1) <= month <= date(2007, 3, 1):
            raise ValueError(f"{text!r} is no arXiv id: {archive} gave out ids from 1991 to March 2007")
    elif archive != SAMPLE_ARCHIVE or month.year < 2000:
        raise ValueError(f"{text!r} is no arXiv id: there is no archive {archive!r} of {month.year}")


@lru_cache(maxsize=1000)
def _month(archive: str | None, yymm: str) -> date | None:
    """First day of the month; None if there is no such month. Years 91 to 99 are 19xx where an archive is named."""
    year, month = int(yymm[:2]), int(yymm[2:])
    if not 1 <= month <= 12:
        return None
    return date((1900 if archive and year > 90 else 2000) + year, month, 1)


def id_from_file_name(name: str) -> ArxivId | None:
    """The id that a PDF's relative path tells, or None.

    Knows `2205.14135v2.pdf`, `hep-th_9108004.pdf`, `hep-th9108004`, our own quoted names (`hep-th%2F9108004.pdf`), and
    numbers below their archive's folder: `hep-th/9108004.pdf`, `cs/pdf/9912/9912018v1.pdf` (the layout of arXiv's
    bucket on Google Cloud Storage).
    """
    path = PurePosixPath(name)
    stem = path.name[: -len(".pdf")] if path.name.lower().endswith(".pdf") else path.name
    candidates = [unquote(stem)]
    if flat := _FLAT_STEM.fullmatch(stem):
        candidates.append(f"{flat['archive']}/{flat['tail']}")
    if (tail := _TAIL_STEM.fullmatch(stem)) and (archive := _archive_folder(path, tail["yymm"])):
        candidates.append(f"{archive}/{stem}")
    return next((found for text in candidates if (found := _parse_or_none(text))), None)


def _archive_folder(path: PurePosixPath, yymm: str) -> str | None:
    """The folder's name that stands for the archive: the nearest that is neither the month nor `pdf`."""
    return next((folder for folder in reversed(path.parts[:-1]) if folder not in (yymm, "pdf")), None)


def _parse_or_none(text: str) -> ArxivId | None:
    try:
        return parse_id(text)
    except ValueError:
        return None


def id_from_first_page(text: str) -> ArxivId | None:
    """The id in the stamp of a first page (`arXiv:2205.14135v2  [cs.LG]  23 Jun 2022`), or None.

    The id with the most around it wins, category and date before one of them; with neither, an id counts if it is the
    only one on the page that has a version. Ids without a version are citations. The bundled notes have stamps of
    their own, `sample:2401001v1`.
    """
    found: dict[int, list[ArxivId]] = {}
    for match in _STAMP.finditer(text):
        sample = match["sample"]
        if arxiv_id := _parse_or_none(f"{SAMPLE_ARCHIVE}/{sample}" if sample else match["id"]):
            n_around = (match["category"] is not None) + (match["day"] is not None)
            found.setdefault(n_around, []).append(arxiv_id)
    for n_around in (2, 1):
        if n_around in found:
            return found[n_around][0]
    bare = found.get(0, [])
    return bare[0] if len(set(bare)) == 1 else None


def month_of_id(paper_id: str) -> date:
    """First day of the month in the id, when the paper was announced. Raises ValueError for no id."""
    paper_id = parse_id(paper_id).paper_id
    archive = paper_id.split("/")[0] if "/" in paper_id else None
    month = _month(archive, yymm(paper_id))
    assert month is not None  # parse_id refuses others
    return month


def yymm(paper_id: str) -> str:
    """The four digits of year and month: `2205.14135` -> `2205`, `hep-th/9108004` -> `9108`."""
    return paper_id.rpartition("/")[2][:4]


def file_stem(paper_id: str) -> str:
    """A name for files of the paper: `hep-th%2F9108004`. No two ids share one, on no file system (no capitals).

    Raises ValueError if `paper_id` is not a canonical id without a version.
    """
    if str(ArxivId(parse_id(paper_id).paper_id)) != paper_id:
        raise ValueError(f"{paper_id!r} is not how arXiv writes a paper's id: {parse_id(paper_id).paper_id!r}")
    return quote(paper_id, safe="")


def id_from_file_stem(stem: str) -> str:
    """The id whose `file_stem` is `stem`. Raises ValueError for any other text."""
    paper_id = unquote(stem)
    if file_stem(paper_id) != stem:
        raise ValueError(f"{stem!r} is not the file stem of an arXiv id")
    return paper_id


def pdf_file_name(paper_id: str, version: int | None, sha256: str) -> str:
    """Path below `pdfs/_files`: `2205/2205.14135v2.0a1b2c3d4e5f.pdf`; without `v2` where the version is unknown.

    Raises ValueError if the id is not canonical or `sha256` is not 64 hexadecimal digits.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{sha256[:80]!r} is no sha256; expected 64 hexadecimal digits")
    suffix = "" if version is None else f"v{version:d}"
    return f"{yymm(paper_id)}/{file_stem(paper_id)}{suffix}.{sha256[:12]}.pdf"


def abs_url(paper_id: str, version: int | None = None) -> str | None:
    """Address of the paper's page at arXiv; None for the bundled notes, which are not there."""
    if paper_id.startswith(f"{SAMPLE_ARCHIVE}/"):
        return None
    return f"https://arxiv.org/abs/{ArxivId(paper_id, version)}"


def is_category(text: str) -> bool:
    """Whether `text` has the form of a category of a known archive: `cs.LG`, `hep-th`, `cond-mat.mes-hall`."""
    match = _CATEGORY.fullmatch(text)
    return match is not None and match["archive"] in ARCHIVES


def id_hash(paper_id: str) -> int:
    """A number of 64 bits that depends on the id alone: the order in which capped windows take their papers."""
    return int.from_bytes(hashlib.sha256(paper_id.encode()).digest()[:8], "big")


def parse_day(text: str) -> date:
    """The day at the start of a version's `created`: `Mon, 2 Apr 2007`, padded by 0, by a blank or not at all.

    Raises ValueError if it is none, or if more than a blank follows it.
    """
    day = _day(text.removesuffix(" "))
    if day is None:
        raise ValueError(f"{text[:80]!r} is no day; expected a form such as 'Mon, 2 Apr 2007'")
    return day


def parse_created(text: str | None) -> datetime | None:
    """When a version was submitted, UTC: `Mon, 2 Apr 2007 19:18:42 GMT`. None or "" -> None, else ValueError."""
    if not text:
        return None
    day, clock = _day(text[:-_CLOCK_CHARS]), _CLOCK.fullmatch(text[-_CLOCK_CHARS:])
    if day is None or clock is None:
        raise ValueError(f"{text[:80]!r} is no date; expected a form such as 'Mon, 2 Apr 2007 19:18:42 GMT'")
    hour, minute, second = clock.groups()
    return datetime(day.year, day.month, day.day, int(hour), int(minute), int(second), tzinfo=UTC)


@lru_cache(maxsize=5000)
def _day(text: str) -> date | None:
    """The day, if `text` is nothing but one. Remembered: a scan meets each of a window's days hundreds of times."""
    match = _DAY.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        return None
    return date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))
