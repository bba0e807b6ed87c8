"""Bring arXiv's metadata into the lake: from Kaggle, from OAI-PMH, from a file, or from a folder of PDFs alone.

Reads a source outside the lake. Writes snapshots. Fails with InputMissingError if the source is not there, UsageError
if it refuses us, TryAgainError if it is away.
Run: python -m jobs fetch_snapshot --metadata arxiv-metadata-oai-snapshot.json --lake lakes/mine
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import REMOTE_KINDS, SOURCE_PARTS, Definition, Source
from jobs.core.errors import ContractError, InputMissingError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.windows import Window
from jobs.corpus import archive, harvest, kaggle_source, local_source, oai, pace, snapshot, snapshot_lines
from jobs.corpus.harvest import Asked, Harvest, Newest
from jobs.corpus.kaggle_source import KaggleServer
from jobs.corpus.oai import OaiServer
from jobs.corpus.pace import Pace
from jobs.corpus.selection import select
from jobs.corpus.web_client import Manners, WebClient

log = logging.getLogger(__name__)

VERSION = 1
SNAPSHOT_FILE = DATASETS["snapshots"].files[0]
KAGGLE_GB = 9.0  # zip and text of 2026 together, with room to grow
_ALL_TIME = Window(dt.date(1900, 1, 1), dt.date(2100, 1, 1))


@dataclass(frozen=True)
class Config:
    """Settings of this stage. From where and how politely it asks decides no rows."""

    max_snapshot_gb: float = setting(64.0, "largest snapshot in GB after unpacking: a bomb is larger")
    max_age_hours: float = setting(20.0, "hours after which Kaggle and OAI-PMH are asked for news again")
    kaggle_url: str = setting("https://www.kaggle.com", "address of Kaggle, or of a mirror that answers like it")
    oai_url: str = setting("https://oaipmh.arxiv.org/oai", "address of arXiv's OAI-PMH server, or of a mirror")
    contact: str = setting("", "address of whoever runs this, for the server's owner; goes into the User-Agent")
    request_interval_s: float = setting(3.0, "seconds between requests; arXiv asks for 3")
    clock_folder: str = setting("", "folder where all jobs that ask one server meet; empty: beside the lake")

    @property
    def max_bytes(self) -> int:
        """The largest snapshot in bytes."""
        return int(self.max_snapshot_gb * 2**30)


def parts(_config: Config, lake: Lake, _windows: Sequence[Window]) -> list[str]:
    """One part a source; what is newer than Kaggle's snapshot comes beside it."""
    return list(SOURCE_PARTS[lake.lake_file.source.kind])


def inputs(_lake: Lake, _part: str) -> list[Any]:
    """Nothing in the lake."""
    return []


def stale(config: Config, lake: Lake, part: Part, windows: Sequence[Window]) -> str | None:
    """Whether a file or folder looks different from when it was read, or a server was not asked for long."""
    source, name = lake.lake_file.source, part.manifest.part
    if source.kind not in REMOTE_KINDS:
        is_same = lake.seen("snapshots", name) == local_source.looks(source)
        return None if is_same else f"{local_source.place(source)} changed since it was read"
    if name == "oai" and (lacks := _lacks(lake, part, windows)):
        return lacks
    looked_at = lake.seen("snapshots", name).get("looked_at", part.manifest.created_at)
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(looked_at)
    hours = age.total_seconds() / 3600
    return f"last asked for news {hours:.0f} hours ago" if hours > config.max_age_hours else None


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Write the lines of each part, plain; the digest does not depend on their order."""
    for task in tasks:
        if task.part == "kaggle":
            _fetch_kaggle(config, lake, task)
        elif task.part == "oai":
            _fetch_oai(config, lake, task)
        else:
            _read_local(config, lake, task)


def papers_by_day(config: Config, definition: Definition, source: Source) -> dict[dt.date, int]:
    """How many papers of a file or folder pass the lake's filters, by day; asked before the first stage runs."""
    problems = missing(source)
    if problems:
        raise InputMissingError(" ".join(problems))
    return dict(_papers_by_day(config, definition, source))


def papers_fetched(lake: Lake, windows: Sequence[Window]) -> int | None:
    """How many papers of the windows the snapshots of a server hold that are in the lake; None if none is."""
    found = [part for name in SOURCE_PARTS[lake.lake_file.source.kind] if (part := lake.current("snapshots", name))]
    if not found:
        return None
    wanted = select(lake.definition, tuple(windows))
    paths = [part.file(SNAPSHOT_FILE, by_size=True) for part in found]
    scanned = snapshot.merged(
        snapshot.scan_range(path, start, end, wanted)
        for path in paths
        for start, end in snapshot.byte_ranges(path.stat().st_size)
    )
    return len({paper_id for scan in scanned.windows.values() for paper_id in scan.papers.columns["paper_id"]})


def missing(source: Source) -> list[str]:
    """What the source needs and this machine does not have, a sentence each."""
    return local_source.missing(source)


def disk_gb(lake: Lake) -> float:
    """What fetching may need for a while beside what is kept: a zip and its text."""
    return KAGGLE_GB if lake.lake_file.source.kind == "kaggle" else 0.0


@functools.lru_cache(maxsize=4)
def _papers_by_day(config: Config, definition: Definition, source: Source) -> Counter[dt.date]:
    """Cached because the plan asks for the range first and for the number of papers then."""
    wanted = select(definition, (_ALL_TIME,))
    with local_source.as_plain_file(source, config.max_bytes) as path:
        ranges = snapshot.byte_ranges(path.stat().st_size)
        found = snapshot.merged(snapshot.scan_range(path, start, end, wanted) for start, end in ranges)
    scan = found.windows.get(_ALL_TIME.name)
    is_by_update = definition.select_by == "updated"
    days = (
        ((row["updated_at"] if is_by_update else row["submitted_at"]).date() for row in scan.papers.rows())
        if scan
        else ()
    )
    return Counter(days)


def _read_local(config: Config, lake: Lake, task: PartTask) -> None:
    source = lake.lake_file.source
    looks = local_source.looks(source)
    with lake.attempt(task) as attempt:
        sha256, refused = local_source.write_lines(source, attempt.folder / SNAPSHOT_FILE, config.max_bytes)
        lines = snapshot_lines.digest(attempt.folder / SNAPSHOT_FILE)[0]
        counts = Counts.of(DATASETS["snapshots"], lines.n_rows, refused)
        attempt.finish(counts, rows=lines.n_rows, digest=lines.hexdigest(), result=sha256)
    lake.note_seen("snapshots", task.part, looks)


def _fetch_kaggle(config: Config, lake: Lake, task: PartTask) -> None:
    """Fetch Kaggle's newest version, unless it is the one that is here."""
    asked_at = _now()
    # No pause: Kaggle asks for none, and a version costs three requests. Bytes may take hours on a slow line.
    manners = Manners(tries=20, deadline_s=12 * 3600)
    with WebClient(config.kaggle_url, manners, config.contact, pace=Pace(0.0), hosts=kaggle_source.HOSTS) as client:
        server = KaggleServer(client)
        version = server.newest_version()
        current = lake.current("snapshots", "kaggle")
        if current and current.manifest.extra["version"] == version.number:
            log.info("Kaggle's version %d of %s is here already", version.number, version.updated_on)
        else:
            with lake.attempt(task) as attempt:
                _write_kaggle(config, attempt, server, version)
    lake.note_seen("snapshots", "kaggle", {"looked_at": asked_at})


def _write_kaggle(config: Config, attempt: Attempt, server: KaggleServer, version: kaggle_source.Version) -> None:
    target = attempt.folder / SNAPSHOT_FILE
    packed = server.download(version, attempt.work)
    try:
        with target.open("wb") as file:
            sha256 = archive.unpack(packed, file, config.max_bytes).sha256
    except ContractError:
        packed.unlink()  # the next attempt must not go on with it
        raise
    lines, newest_day = snapshot_lines.digest(target)
    attempt.finish(
        Counts.of(DATASETS["snapshots"], lines.n_rows, Counter()),
        rows=lines.n_rows,
        digest=lines.hexdigest(),
        result={"version": version.number, "sha256": sha256},
        extra={
            "version": version.number,
            "updated_on": version.updated_on.isoformat(),
            # The file is older than its version; what changed between the two must not be missed.
            "newest_day": min(newest_day or version.updated_on, version.updated_on).isoformat(),
        },
    )


def _fetch_oai(config: Config, lake: Lake, task: PartTask) -> None:
    """Harvest what is newer than Kaggle's snapshot, or than the earliest window; go on from the last harvest."""
    asked_at = _now()
    previous = lake.current("snapshots", "oai")
    if previous and _lacks(lake, previous, task.windows):
        previous = None
    asked = _asked(lake, previous, task.windows)
    arxiv = pace.shared(config.clock_folder, lake.root, config.request_interval_s, config.oai_url)
    with (
        lake.attempt(task) as attempt,
        WebClient(config.oai_url, Manners(), config.contact, pace=arxiv, hosts=oai.HOSTS) as client,
    ):
        log.info("harvesting what changed since %s in %s", asked.since, " ".join(asked.sets) or "all sets")
        found = Harvest(attempt.work / "pages", OaiServer(client), asked, config.max_bytes)
        pages, until, refused = found.run()
        newest = _newest(previous, pages)
        elsewhere = _rows_at_kaggle(lake, newest)
        with (attempt.folder / SNAPSHOT_FILE).open("wb") as file:
            newest.write(file, elsewhere)
        lines = snapshot_lines.digest(attempt.folder / SNAPSHOT_FILE)[0]
        refused += Counter(superseded=newest.n_superseded, deleted=len(newest.without_metadata() - elsewhere.keys()))
        holds = _holds(lake, task.windows) if previous is None else _held(previous)
        attempt.finish(
            Counts.of(DATASETS["snapshots"], lines.n_rows, refused),
            rows=lines.n_rows,
            digest=lines.hexdigest(),
            result=holds | {"digest": lines.hexdigest()},
            taken_over=previous.manifest.rows if previous else 0,
            extra=holds | {"until": until.isoformat()},
        )
    lake.note_seen("snapshots", "oai", {"looked_at": asked_at, "until": until.isoformat()})


def _asked(lake: Lake, previous: Part | None, windows: Sequence[Window]) -> Asked:
    """From the day of the server's last answer on, else from where the part has to begin."""
    if previous is None:
        holds = _holds(lake, windows)
        return Asked(dt.date.fromisoformat(holds["since"]), tuple(holds["sets"]), holds["kaggle"])
    until = lake.seen("snapshots", "oai").get("until", previous.manifest.extra["until"])
    return Asked(dt.date.fromisoformat(until), tuple(previous.manifest.extra["sets"]), previous.manifest.key)


def _holds(lake: Lake, windows: Sequence[Window]) -> dict[str, Any]:
    """What the part has to hold: all that changed since a day, in some sets (none: all), beside a Kaggle version.

    A record's datestamp is never before its paper's submission, so the start of the earliest window is early enough.
    """
    since = min((window.start for window in windows), default=dt.datetime.now(dt.UTC).date())
    kaggle = ""
    if lake.lake_file.source.kind == "kaggle":
        snapshot_part = lake.current("snapshots", "kaggle")
        if snapshot_part is None:
            raise InputMissingError("snapshots/kaggle is missing. Make it first: python -m jobs fetch_snapshot")
        since = dt.date.fromisoformat(snapshot_part.manifest.extra["newest_day"])
        kaggle = snapshot_part.manifest.key
    return {"since": since.isoformat(), "sets": list(oai.sets_of(lake.definition.categories)), "kaggle": kaggle}


def _held(part: Part) -> dict[str, Any]:
    return {name: part.manifest.extra[name] for name in ("since", "sets", "kaggle")}


def _lacks(lake: Lake, part: Part, windows: Sequence[Window]) -> str | None:
    """What a harvested part does not hold of what is asked, in words."""
    if lake.lake_file.source.kind == "kaggle" and lake.current("snapshots", "kaggle") is None:
        return None  # it comes in the same run
    wanted, held = _holds(lake, windows), _held(part)
    if held["kaggle"] != wanted["kaggle"] and wanted["kaggle"]:
        return "Kaggle has a newer version"
    if wanted["since"] < held["since"]:
        return f"windows from {wanted['since']} are asked, it begins on {held['since']}"
    if held["sets"] and not (wanted["sets"] and set(wanted["sets"]) <= set(held["sets"])):
        return "other categories are asked"
    return None


def _newest(previous: Part | None, pages: Sequence[Path]) -> Newest:
    newest = Newest()
    if previous:
        newest.add_lines(previous.file(SNAPSHOT_FILE, by_size=True))
    for page in pages:
        newest.add_page(page)
    return newest


def _rows_at_kaggle(lake: Lake, newest: Newest) -> dict[str, dict[str, Any]]:
    """What Kaggle's snapshot has of papers whose record was deleted since: the row that has to be withdrawn."""
    part = lake.current("snapshots", "kaggle") if lake.lake_file.source.kind == "kaggle" else None
    unknown = newest.without_metadata()
    return harvest.rows_of(part.file(SNAPSHOT_FILE, by_size=True), unknown) if part and unknown else {}


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
