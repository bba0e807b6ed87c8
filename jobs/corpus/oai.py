"""OAI-PMH 2.0 as arXiv speaks it: pages of `arXivRaw` records, linked by resumption tokens.

Datestamps are days and say when a record last changed; a list is ordered by them. arXiv announces neither the length
of a list nor a cursor, and a token dies at the next UTC midnight.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from jobs.core.errors import ContractError, UsageError
from jobs.corpus import oai_records
from jobs.corpus.oai_records import OAI
from jobs.corpus.web_client import AnswerError, WebClient

# 2,500 records, arXiv's page, take about 8 MB.
MAX_PAGE_BYTES = 64 << 20
MAX_TOKEN_CHARS = 4096
MOST_SETS = 10  # more are harvested as one list of everything: a set costs a request of its own at least
HOSTS = ("oaipmh.arxiv.org", "export.arxiv.org", "arxiv.org")  # the base moved twice since 2025
EARLIEST_DAY = dt.date(2005, 9, 16)  # arXiv's Identify: an earlier `from` is a badArgument

_HEADERS = {"Accept": "text/xml, application/xml"}
_ARCHIVE = re.compile(r"[a-z][a-z-]*")
_CATEGORY = re.compile(r"([a-z][a-z-]*)\.([A-Za-z-]+)")
_PHYSICS = frozenset(
    {
        *("astro-ph", "cond-mat", "gr-qc", "hep-ex", "hep-lat", "hep-ph", "hep-th", "math-ph", "nlin", "nucl-ex"),
        *("nucl-th", "physics", "quant-ph"),
    }
)
_OTHER_ARCHIVES = frozenset({"cs", "econ", "eess", "math", "q-bio", "q-fin", "stat"})


class ExpiredTokenError(Exception):
    """The server no longer knows a resumption token: the list has to be asked for again."""


@dataclass(frozen=True)
class RawRecord:
    """A record of a page. `record` is a row in the form of Kaggle's file, None for a deleted paper."""

    paper_id: str
    datestamp: str
    record: dict[str, Any] | None


@dataclass(frozen=True)
class Page:
    """One answer to ListRecords. `refused` counts records that cannot be used, by reason of `snapshots`."""

    responded_on: dt.date
    records: list[RawRecord]
    token: str | None = None
    refused: Counter[str] = field(default_factory=Counter)


class OaiServer:
    """Lists of records from a server."""

    def __init__(self, client: WebClient) -> None:
        self._client = client

    def first_page(self, since: dt.date, set_spec: str | None) -> Page:
        """The first page of what changed on or after a day; none, if nothing did."""
        asked = {"verb": "ListRecords", "metadataPrefix": "arXivRaw"}
        if since > EARLIEST_DAY:
            asked["from"] = since.isoformat()
        if set_spec:
            asked["set"] = set_spec
        return self._ask(asked)

    def next_page(self, token: str) -> Page:
        """The page that a token stands for. Raises ExpiredTokenError."""
        return self._ask({"verb": "ListRecords", "resumptionToken": token})

    def _ask(self, asked: dict[str, str]) -> Page:
        url = f"{self._client.base_url}?{urlencode(asked)}"
        try:
            return self._client.persist(lambda: parse_page(self._client.read(url, MAX_PAGE_BYTES, _HEADERS)))
        except AnswerError as error:
            _refuse(self._client.base_url, error)


def set_of(category: str) -> str | None:
    """The set `group:archive:CATEGORY` of a category, None for one that arXiv has no set of."""
    match = _CATEGORY.fullmatch(category)
    archive = match[1] if match else category
    if not _ARCHIVE.fullmatch(archive) or archive not in _PHYSICS | _OTHER_ARCHIVES:
        return None
    group = "physics" if archive in _PHYSICS else archive
    return f"{group}:{archive}:{match[2]}" if match else f"{group}:{archive}"


def sets_of(categories: Iterable[str]) -> tuple[str, ...]:
    """The sets of some categories; none, which means all of arXiv, if one has no set, or if they are many."""
    found = {set_of(category) for category in categories}
    if len(found) > MOST_SETS:
        return ()
    named = sorted(name for name in found if name)
    return tuple(named) if len(named) == len(found) else ()


def parse_page(content: bytes) -> Page:
    """A page from its XML.

    Raises AnswerError, which may pass, for what is no page (HTML, nothing, cut short, wrong bytes); ExpiredTokenError;
    ContractError for what a server never has to send: a DTD, entities, an error that blames our request.
    """
    root = _parse_xml(content)
    if root.tag != f"{OAI}OAI-PMH":
        raise AnswerError(f"the answer is {root.tag[:80]}, no page of OAI-PMH", 200, may_pass=True)
    responded_on = _day(root.findtext(f"{OAI}responseDate") or "")
    if responded_on is None:
        raise AnswerError("the page has no responseDate", 200, may_pass=True)
    error = root.find(f"{OAI}error")
    if error is not None:
        _check_error(error)
        return Page(responded_on, [])
    listed = root.find(f"{OAI}ListRecords")
    if listed is None:
        raise AnswerError("the page has neither records nor an error", 200, may_pass=True)
    page = Page(responded_on, [], _token(listed))
    for element in listed.iterfind(f"{OAI}record"):
        try:
            page.records.append(_raw_record(element))
        except ValueError:
            page.refused["malformed"] += 1
    return page


def _raw_record(element: Element) -> RawRecord:
    """A record. Raises ValueError if it has no id of arXiv's, no day, or no metadata without being deleted."""
    paper_id, datestamp, is_deleted = oai_records.header(element)
    record = None if is_deleted else oai_records.to_record(element, paper_id, datestamp)
    return RawRecord(paper_id, datestamp, record)


def _parse_xml(content: bytes) -> Element:
    """The root of a document that has no DTD: without one there are no entities, so nothing expands or is fetched."""
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.EntityDeclHandler = _refuse_dtd
    parser.StartElementHandler = lambda tag, attributes: builder.start(_qualified(tag), attributes)
    parser.EndElementHandler = lambda tag: builder.end(_qualified(tag))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except expat.ExpatError as error:
        start = content[:60].decode("ascii", "replace")
        raise AnswerError(f"the answer is no XML ({error}): {start!r}", 200, may_pass=True) from error
    except (LookupError, ValueError) as error:  # an encoding that there is not
        raise AnswerError(f"the answer is in no known encoding ({error})", 200, may_pass=True) from error


def _qualified(tag: str) -> str:
    return f"{{{tag}" if "}" in tag else tag


def _refuse_dtd(*_declared: object) -> NoReturn:
    raise ContractError("The OAI server's page declares a document type or an entity. Expected plain XML; not read.")


def _check_error(error: Element) -> None:
    """Nothing for `noRecordsMatch`: it means no news."""
    code, said = error.get("code", ""), (error.text or "").strip()[:300]
    if code == "badResumptionToken":
        raise ExpiredTokenError(said)
    if code != "noRecordsMatch":
        raise ContractError(
            f"The OAI server refuses the request: {code or 'error'}: {said}. Expected ListRecords of arXivRaw; is "
            "--oai-url the address of arXiv's server, https://oaipmh.arxiv.org/oai?"
        )


def _token(listed: Element) -> str | None:
    token = (listed.findtext(f"{OAI}resumptionToken") or "").strip()
    if len(token) > MAX_TOKEN_CHARS:
        raise ContractError(f"The OAI server's resumption token has {len(token)} characters; expected a few hundred.")
    return token or None


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text.strip()[:10])
    except ValueError:
        return None


def _refuse(base_url: str, error: AnswerError) -> NoReturn:
    if error.status in (401, 403):
        raise UsageError(
            f"{base_url}: {error}. Nothing more is asked: arXiv takes requests after a refusal for an attack. Wait "
            "some hours, give --contact an address of yours, and see that no other program asks from this address."
        ) from error
    raise ContractError(f"{base_url}: {error}. Expected a page of OAI-PMH. Is --oai-url right?") from error
