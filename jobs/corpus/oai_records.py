"""Records of OAI-PMH (`arXivRaw`) in the form of Kaggle's file, so that nothing behind needs a second reader.

What the form has and `arXivRaw` does not: `update_date` is the record's datestamp, `authors_parsed` is made from the
string of authors, whose TeX accents become the Unicode that Kaggle's has. `acm-class` is left out: arXiv's server fills
it with another class.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Any
from xml.etree.ElementTree import Element

from jobs.corpus import arxiv, records

OAI = "{http://www.openarchives.org/OAI/2.0/}"
RAW = "{http://arxiv.org/OAI/arXivRaw/}"

_ID_PREFIX = "oai:arXiv.org:"
_WITHDRAWN = "I"  # arXiv's letter for a version without files

_COMBINING = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "c": "\u0327", "v": "\u030c", "u": "\u0306", "H": "\u030b", "k": "\u0328", "r": "\u030a", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip
_LETTERS = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å",
    "AA": "Å", "i": "ı", "j": "ȷ", "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ",
}  # fmt: skip
# `\'e`, `\'{e}`, `\c{c}`, `\c c`, `\'\i`, `{\'e}`: a mark that is a letter needs a brace or a blank.
_ACCENT = re.compile(r"""\\(?:(['`^"~=.])\s*|([cvuHkrdb])(?:\s+|(?=\{)))(?:\{\s*(\\?[A-Za-z])\s*\}|(\\?[A-Za-z]))""")
_LETTER = re.compile(rf"\\({'|'.join(sorted(_LETTERS, key=len, reverse=True))})(?![A-Za-z])\s*(?:\{{\}})?")
_DOTLESS = {"\\i": "i", "\\j": "j", "ı": "i", "ȷ": "j"}


def header(element: Element) -> tuple[str, str, bool]:
    """(paper id, datestamp, is it deleted) of a `record` element. Raises ValueError if it lacks one."""
    found = element.find(f"{OAI}header")
    if found is None:
        raise ValueError("no header")
    identifier = (found.findtext(f"{OAI}identifier") or "").strip()
    datestamp = (found.findtext(f"{OAI}datestamp") or "").strip()[:10]
    dt.date.fromisoformat(datestamp)
    paper_id = arxiv.parse_id(identifier.removeprefix(_ID_PREFIX)).paper_id
    return paper_id, datestamp, found.get("status") == "deleted"


def to_record(element: Element, paper_id: str, datestamp: str) -> dict[str, Any]:
    """The row of a `record` element. Raises ValueError if it has no metadata, or that of another paper."""
    raw = element.find(f"{OAI}metadata/{RAW}arXivRaw")
    if raw is None:
        raise ValueError("no arXivRaw metadata")
    if arxiv.parse_id(_text(raw, "id") or "").paper_id != paper_id:
        raise ValueError("the metadata is that of another paper")
    authors = _text(raw, "authors")
    return {
        "id": paper_id,
        "submitter": _text(raw, "submitter"),
        "authors": authors,
        "title": _text(raw, "title"),
        "comments": _text(raw, "comments"),
        "journal-ref": _text(raw, "journal-ref"),
        "doi": _text(raw, "doi"),
        "report-no": _text(raw, "report-no"),
        "categories": _text(raw, "categories"),
        "license": _text(raw, "license"),
        "abstract": _text(raw, "abstract"),
        "versions": [_version(version) for version in raw.iterfind(f"{RAW}version")],
        "update_date": datestamp,
        "authors_parsed": [_parsed_name(name) for name in records.split_authors(from_tex(authors or ""))],
    }


def withdrawn(record: dict[str, Any], datestamp: str) -> dict[str, Any]:
    """The last known row of a paper whose record arXiv deleted: no version of it has files any more."""
    past = record.get("versions") or [{"version": "v1", "created": None}]
    return {**record, "versions": [*past[:-1], {**past[-1], "source_type": _WITHDRAWN}], "update_date": datestamp}


def from_tex(text: str) -> str:
    """Text with TeX's accents and letters as Unicode, its braces gone: `Bal\\'azs` -> `Balázs`."""
    if "\\" not in text:
        return text
    accented = _LETTER.sub(lambda match: _LETTERS[match[1]], _ACCENT.sub(_accented, text))
    return unicodedata.normalize("NFC", accented.replace("{", "").replace("}", ""))


def _accented(match: re.Match[str]) -> str:
    letter = match[3] or match[4]
    if letter.startswith("\\") and letter not in _DOTLESS:
        return match[0]
    return _DOTLESS.get(letter, letter) + _COMBINING[match[1] or match[2]]


def _text(raw: Element, name: str) -> str | None:
    """The text of a field, None where there is none (the server prints Python's `None` for some)."""
    text = raw.findtext(f"{RAW}{name}")
    return None if text is None or text.strip() in ("", "None") else text.strip()


def _version(element: Element) -> dict[str, str | None]:
    """Keys in the order of Kaggle's file: the scan of a snapshot looks for these bytes first."""
    version: dict[str, str | None] = {
        "version": element.get("version"),
        "created": (element.findtext(f"{RAW}date") or "").strip() or None,
    }
    source_type = (element.findtext(f"{RAW}source_type") or "").strip()
    return version | ({"source_type": source_type} if source_type else {})


def _parsed_name(name: str) -> list[str]:
    """Last name, first names, suffix: only their order when joined again is ever used."""
    first, _, last = name.rpartition(" ")
    return [last, first, ""]
