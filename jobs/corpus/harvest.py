"""A harvest of OAI-PMH: page after page into a folder, so that a kill costs one page; then its newest records as lines.

A page is a file; `STATE.json` beside them, written after each, says where to go on. When a token has expired the list
is asked for again from the last day that the stored pages may not hold whole; what comes twice falls away at the end.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from jobs.core import durable
from jobs.core.errors import ContractError, TryAgainError
from jobs.corpus import oai_records
from jobs.corpus.oai import ExpiredTokenError, OaiServer, Page

log = logging.getLogger(__name__)

STATE_FILE = "STATE.json"
MAX_EXPIRIES = 5  # of one harvest without a page in between, where a token lives to midnight

Place = tuple[int, int]  # number of the file, offset of the line


@dataclass(frozen=True)
class Asked:
    """What a harvest asks for: what changed on or after a day, in some sets or (none named) in all.

    `origin` names what the harvest adds to; a folder of another harvest is not gone on with.
    """

    since: dt.date
    sets: tuple[str, ...]
    origin: str


@dataclass
class State:
    """How far a harvest is. `since` is where the present set's list began or begins again."""

    asked: dict[str, Any]
    since: str
    set_number: int = 0
    token: str | None = None
    n_pages: int = 0
    n_bytes: int = 0
    n_expiries: int = 0
    responded_on: str | None = None
    refused: dict[str, int] = field(default_factory=dict)


class Harvest:
    """A harvest in a folder: new, or the one that was begun there if it asks for the same."""

    def __init__(self, folder: Path, server: OaiServer, asked: Asked, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._server = server
        self._sets: tuple[str | None, ...] = asked.sets or (None,)
        self._state = self._begun(asked)

    def run(self) -> tuple[list[Path], dt.date, Counter[str]]:
        """Fetch what is missing: (files of pages, day of the server's first answer, records refused by reason).

        Raises TryAgainError where the server is away or its tokens die faster than pages come, ContractError for a list
        of more than `max_bytes`.
        """
        while self._state.set_number < len(self._sets):
            self.step()
        files = [self._page_file(number) for number in range(self._state.n_pages)]
        return files, dt.date.fromisoformat(str(self._state.responded_on)), Counter(self._state.refused)

    def _begun(self, asked: Asked) -> State:
        named = json.loads(json.dumps(dataclasses.asdict(asked), default=str))
        path = self._folder / STATE_FILE
        if path.is_file():
            state = State(**json.loads(path.read_bytes()))
            if state.asked == named:
                log.info("going on with a harvest of %d pages", state.n_pages)
                return state
            durable.remove_tree(self._folder)
        durable.make_dirs(self._folder)
        return State(asked=named, since=asked.since.isoformat())

    def step(self) -> None:
        """Fetch and store one page, or begin the list again where its token has expired."""
        state = self._state
        try:
            page = self._next()
        except ExpiredTokenError as error:
            state.n_expiries += 1
            if state.n_expiries > MAX_EXPIRIES:
                raise TryAgainError(
                    f"The OAI server forgot {MAX_EXPIRIES} resumption tokens in a row ({error}). {state.n_pages} pages "
                    "are kept; run this again later."
                ) from error
            log.info("a resumption token expired; the list begins again on %s", state.since)
            state.token = None
            self._save()
            return
        if page.token is not None and page.token == state.token:
            raise ContractError(
                "The OAI server's page names itself as the next one. Expected another resumption token."
            )
        self._store(page)

    def _next(self) -> Page:
        state = self._state
        if state.token is not None:
            return self._server.next_page(state.token)
        return self._server.first_page(dt.date.fromisoformat(state.since), self._sets[state.set_number])

    def _store(self, page: Page) -> None:
        """Write a page, then the state: a kill between the two fetches the page again."""
        import orjson

        state = self._state
        lines = b"".join(orjson.dumps((one.paper_id, one.datestamp, one.record)) + b"\n" for one in page.records)
        if state.n_bytes + len(lines) > self._max_bytes:
            raise ContractError(
                f"The OAI server's list has more than {self._max_bytes:,} bytes and does not end. Expected arXiv's, a "
                "few GB; raise --max-snapshot-gb if it is."
            )
        durable.write_atomic(self._page_file(state.n_pages), lines)
        state.n_pages += 1
        state.n_bytes += len(lines)
        state.n_expiries = 0
        state.responded_on = state.responded_on or page.responded_on.isoformat()
        state.refused = dict(Counter(state.refused) + page.refused)
        state.token = page.token
        if page.token is None:
            state.set_number += 1
            state.since = state.asked["since"]
        elif page.records:
            # Days before the earliest of this page are whole, for the list is in order of days.
            state.since = min(one.datestamp for one in page.records)
        self._save()
        newest = max((one.datestamp for one in page.records), default="no news")
        log.info("harvest pages=%d records=%d up to %s", state.n_pages, len(page.records), newest)

    def _page_file(self, number: int) -> Path:
        return self._folder / f"{number:05d}.jsonl"

    def _save(self) -> None:
        durable.write_atomic(self._folder / STATE_FILE, durable.pretty_json(dataclasses.asdict(self._state)))


class Newest:
    """The newest record of each paper among many files. In memory: a paper's id and where its records lie."""

    def __init__(self) -> None:
        self._files: list[Path] = []
        self._newest: dict[str, tuple[str, bool]] = {}  # paper id -> (datestamp, is it deleted)
        self._known: dict[str, Place] = {}  # where the newest record with metadata lies
        self._is_page: list[bool] = []
        self.n_superseded = 0

    def add_lines(self, path: Path) -> None:
        """Rows in the form of Kaggle's file, older than all that is added later."""
        for offset, record in _objects(path):
            self._add(record["id"], record["update_date"], False, (len(self._files), offset))
        self._files.append(path)
        self._is_page.append(False)

    def add_page(self, path: Path) -> None:
        """A stored page of a harvest."""
        for offset, (paper_id, datestamp, record) in _objects(path):
            self._add(paper_id, datestamp, record is None, (len(self._files), offset))
        self._files.append(path)
        self._is_page.append(True)

    def without_metadata(self) -> set[str]:
        """Papers of which nothing is known but that arXiv deleted them."""
        return {paper_id for paper_id in self._newest if paper_id not in self._known}

    def write(self, target: BinaryIO, elsewhere: dict[str, dict[str, Any]]) -> int:
        """Write a line a paper in order of id; the number of papers.

        `elsewhere` has rows of papers that are known from another snapshot. A deleted paper is a withdrawn one; one
        that nothing is known of is left out.
        """
        import orjson

        n_written = 0
        for paper_id, record in self._records(elsewhere):
            datestamp, is_deleted = self._newest[paper_id]
            target.write(orjson.dumps(oai_records.withdrawn(record, datestamp) if is_deleted else record) + b"\n")
            n_written += 1
        return n_written

    def _add(self, paper_id: str, datestamp: str, is_deleted: bool, place: Place) -> None:
        before = self._newest.get(paper_id)
        self.n_superseded += before is not None
        if before is None or datestamp >= before[0]:
            self._newest[paper_id] = (datestamp, is_deleted)
            if not is_deleted:
                self._known[paper_id] = place
        elif not is_deleted:
            self._known.setdefault(paper_id, place)

    def _records(self, elsewhere: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        import orjson

        for paper_id in sorted(self._newest):
            place = self._known.get(paper_id)
            if place is None:
                if paper_id in elsewhere:
                    yield paper_id, elsewhere[paper_id]
                continue
            number, offset = place
            with self._files[number].open("rb") as file:  # one at a time: a harvest of all has 1,200 pages
                file.seek(offset)
                found = orjson.loads(file.readline())
            yield paper_id, found[2] if self._is_page[number] else found


def rows_of(path: Path, paper_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of some papers in a file in the form of Kaggle's; one pass over its bytes, few lines parsed."""
    import orjson

    wanted = {paper_id: f'"{paper_id}"'.encode() for paper_id in paper_ids}
    found: dict[str, dict[str, Any]] = {}
    if not wanted:
        return found
    with path.open("rb") as file:
        for line in file:
            head = line[:80]
            if not any(needle in head for needle in wanted.values()):
                continue
            record = orjson.loads(line)
            if record.get("id") in wanted:
                found[record["id"]] = record
    return found


def _objects(path: Path) -> Iterator[tuple[int, Any]]:
    """Offset and value of each line of JSON."""
    import orjson

    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, orjson.loads(line)
            offset += len(line)
