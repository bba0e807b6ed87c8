"""Which published parts hold something of a paper: rows about it, its text, or weights that learnt from it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from jobs.core import tables
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake, Part
from jobs.core.part import part_at

# Files whose rows are about papers, which they name by `paper_id` or by `chunk_id`.
ROWS_ABOUT_PAPERS = {
    "papers": ("rows.parquet",),
    "pdfs": ("rows.parquet",),
    "documents": ("rows.parquet",),
    "chunks": ("rows.parquet",),
    "embeddings": ("rows.parquet",),
    "drafts": ("rows.parquet",),
    "indexes": ("passages.parquet",),
    "qa": ("rows.parquet", "refused.parquet"),
    "reports": ("rows.parquet",),
    "reviews": ("rows.parquet",),
}
LEARNT_FILE = "papers.json"  # of an adapter
RESTING_ON = ("adapters", "indexes", "qa")  # what models, reports and releases show or know papers by


class Holding:
    """Looks for some papers in parts, each part once."""

    def __init__(self, lake: Lake, paper_ids: Collection[str]) -> None:
        self._lake = lake
        self.paper_ids = frozenset(paper_ids)
        self._seen: dict[Path, frozenset[str]] = {}

    def of(self, part: Part) -> frozenset[str]:
        """Those of the papers that the part holds. Raises IntegrityError for a damaged part."""
        if not self.paper_ids:
            return self.paper_ids
        if part.folder not in self._seen:
            self._seen[part.folder] = frozenset(self._look(part))
        return self._seen[part.folder]

    def of_folder(self, folder: Path) -> frozenset[str]:
        """As `of`, for the folder of a published part."""
        return self.of(part_at(folder)) if self.paper_ids else self.paper_ids

    def current(self, datasets: Iterable[str] = tuple(DATASETS)) -> Iterator[tuple[Part, frozenset[str]]]:
        """Every current part of the datasets that holds some of the papers."""
        for dataset in datasets if self.paper_ids else ():
            for name in self._lake.parts(dataset):
                part = self._lake.current(dataset, name)
                if part is not None and (found := self.of(part)):
                    yield part, found

    def _look(self, part: Part) -> Iterator[str]:
        dataset = part.manifest.dataset
        for name in ROWS_ABOUT_PAPERS.get(dataset, ()):
            if name in part.manifest.files:
                yield from self.paper_ids & papers_in(part.file(name, by_size=True))  # its pages have checksums
        if dataset == "adapters" and LEARNT_FILE in part.manifest.files:
            yield from self.paper_ids & set(json.loads(part.file(LEARNT_FILE).read_bytes())["papers"])
        if dataset in ("models", "reports", "releases"):
            for other in parts_named(self._lake, part):
                yield from self.of(other)


def parts_named(lake: Lake, part: Part) -> Iterator[Part]:
    """The adapters, indexes and pairs that a part rests on, as far as the lake has them still."""
    named = [(one.dataset, one.part, one.key or "") for one in part.manifest.inputs]
    if "names" in part.manifest.extra:  # what a release serves by, which need not be what its run made
        named = [(dataset, "all", key) for dataset, key in part.manifest.extra["names"].items()]
    for place in named:
        if place[0] in RESTING_ON and lake.has(*place):
            yield lake.published(*place)


def papers_in(path: Path) -> set[str]:
    """Ids of the papers that a file of rows is about."""
    import pyarrow.parquet as pq

    column = "paper_id" if "paper_id" in pq.read_schema(path).names else "chunk_id"
    values = tables.read_table(path, [column])[column].unique().to_pylist()
    return {value if column == "paper_id" else paper_of(value) for value in values}


def paper_of(chunk_id: str) -> str:
    """The paper in `<paper_id>v<version>#<ordinal>`."""
    return chunk_id.partition("#")[0].rpartition("v")[0]
