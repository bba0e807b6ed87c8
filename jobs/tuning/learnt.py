"""What an adapter has learnt from: the file that evaluation reads before it believes a score."""

from __future__ import annotations

import json
from dataclasses import dataclass

from jobs.core import durable
from jobs.core.lake import Part

TRAINING_FILE, PAPERS_FILE = "training.json", "papers.json"


@dataclass(frozen=True)
class Learnt:
    """Papers whose text was in any training row, through every warm start; pairs that training could choose from."""

    papers: frozenset[str]
    qa_ids: frozenset[str]

    def to_json(self) -> bytes:
        """What papers.json holds."""
        return durable.pretty_json({"papers": sorted(self.papers), "qa_ids": sorted(self.qa_ids)})

    @classmethod
    def read(cls, adapter: Part) -> Learnt:
        """Of an adapter part."""
        told = json.loads(adapter.file(PAPERS_FILE).read_bytes())
        return cls(frozenset(told["papers"]), frozenset(told["qa_ids"]))
