"""What a published part says of itself: counters, files, inputs, settings, and the key that names it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.contracts import CONTRACT_VERSION, Dataset
from jobs.core.errors import ContractError, IntegrityError

MANIFEST_FILE = "_MANIFEST.json"
CURRENT_FILE = "CURRENT"
LOCK_FILE = ".lock"
KEY_LENGTH = 12  # characters of the key in a folder's name


@dataclass(frozen=True)
class Counts:
    """Rows read, kept and dropped by reason; they add up. `not_counted`: refusals that do not count as read."""

    read: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    not_counted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset, kept: int, refused: Mapping[str, int]) -> Counts:
        """Counts from the kept rows and the refused ones by reason. Raises ContractError for a reason not declared."""
        if unknown := sorted(set(refused) - set(dataset.reasons)):
            raise ContractError(f"{dataset.name} has no reason {unknown}. Expected one of {sorted(dataset.reasons)}.")
        counted = {reason: n for reason, n in refused.items() if n and dataset.reasons[reason].counts_as_read}
        beside = {reason: n for reason, n in refused.items() if n and not dataset.reasons[reason].counts_as_read}
        return cls(kept + sum(counted.values()), kept, counted, beside)

    @staticmethod
    def total(counts: Iterable[Counts]) -> Counts:
        """The sum over several parts."""
        read = kept = 0
        dropped: dict[str, int] = {}
        not_counted: dict[str, int] = {}
        for one in counts:
            read, kept = read + one.read, kept + one.kept
            for into, by_reason in ((dropped, one.dropped), (not_counted, one.not_counted)):
                for reason, n in by_reason.items():
                    into[reason] = into.get(reason, 0) + n
        return Counts(read, kept, dropped, not_counted)

    def __str__(self) -> str:
        reasons = " ".join(f"{reason}={n}" for reason, n in sorted((self.dropped | self.not_counted).items()))
        return f"read={self.read} kept={self.kept} dropped={sum(self.dropped.values())}" + (
            f" ({reasons})" if reasons else ""
        )


@dataclass(frozen=True, order=True)
class Input:
    """A part that a stage reads. Only its digest enters keys, so the same content under another key changes nothing."""

    dataset: str
    part: str
    digest: str
    key: str | None = None  # None: the dataset has no such part, which reads as zero rows


@dataclass(frozen=True)
class Manifest:
    """Content of `_MANIFEST.json`, written last and read first."""

    dataset: str
    part: str
    stage: str
    stage_version: int
    request_key: str  # of what was asked; names _work
    key: str  # of what was made; equals request_key unless the stage asks the outside world
    digest: str
    rows: int
    counts: Counts
    files: dict[str, dict[str, Any]]  # name -> {bytes, sha256}
    inputs: tuple[Input, ...]
    settings: dict[str, Any]  # those in the key
    previous: str | None = None  # key of the part that rows were taken over from
    taken_over: int = 0
    contract_version: int = CONTRACT_VERSION
    config: dict[str, Any] = field(default_factory=dict)  # all settings, also those that decide no rows
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    created_at: str = ""
    extra: dict[str, Any] = field(default_factory=dict)  # what one stage alone has to say

    def to_json(self) -> bytes:
        """What `_MANIFEST.json` holds."""
        return durable.pretty_json(dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a published folder. Raises IntegrityError if it is missing or unreadable."""
        path = folder / MANIFEST_FILE
        try:
            content = json.loads(path.read_bytes())
            counts = Counts(**content.pop("counts"))
            inputs = tuple(Input(**one) for one in content.pop("inputs"))
            return cls(counts=counts, inputs=inputs, **content)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise IntegrityError(
                f"{path} cannot be read ({error!r}). Expected the manifest of a published part. "
                "Remove the part's CURRENT file and run its stage again, or copy the part from another lake."
            ) from error


def make_key(stage: str, stage_version: int, settings: Mapping[str, Any], inputs: Iterable[Input]) -> str:
    """The key of a part: 64 hexadecimal digits of what decides its rows, and of nothing else."""
    named = sorted((one.dataset, one.part, one.digest) for one in inputs)
    return durable.sha256_bytes(durable.canonical_json([stage, stage_version, dict(settings), named]))


def result_key(request_key: str, result: Any) -> str:
    """The key of what a fetch stage got: what was asked, and what came."""
    return durable.sha256_bytes(durable.canonical_json([request_key, result]))
