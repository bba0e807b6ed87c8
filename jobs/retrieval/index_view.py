"""What an index looked at: the parts of every window, by key, and the encoder of its vectors.

Later stages of a run read exactly these parts, so a backfill that commits in between mixes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from jobs.core import durable
from jobs.core.errors import ContractError
from jobs.core.lake import Lake, Part
from jobs.core.manifest import Input
from jobs.retrieval.reranker import RerankerCard

FILE = "view.json"


@dataclass(frozen=True)
class View:
    """`parts`: dataset/part -> key. `encoder`, `revision` and `dim` are what questions must be encoded with.

    `reranker`: what reorders what is found; None in most indexes, whose view.json does not speak of it.
    """

    parts: dict[str, str]
    encoder: str
    revision: str
    dim: int
    reranker: RerankerCard | None = None

    def to_json(self) -> bytes:
        """What view.json holds."""
        told = {"parts": self.parts, "encoder": self.encoder, "revision": self.revision, "dim": self.dim}
        return durable.pretty_json(told | ({"reranker": self.reranker.to_dict()} if self.reranker else {}))

    @classmethod
    def read(cls, part: Part) -> View:
        """The view of an index part."""
        told = json.loads(part.file(FILE).read_bytes())
        reranker = RerankerCard(**told["reranker"]) if "reranker" in told else None
        return cls(**told | {"reranker": reranker})


def inputs_of(lake: Lake) -> list[tuple[Input, Part | None]]:
    """For every window with vectors: these, and the chunks and papers that their manifest names, current or not."""
    found: list[tuple[Input, Part | None]] = []
    for window in lake.parts("embeddings"):
        embeddings = lake.current("embeddings", window)
        if embeddings is None:  # its pointer was removed since it was listed
            continue
        for named in (embeddings.as_input, *embeddings.manifest.inputs):
            found.append((named, lake.published(named.dataset, named.part, str(named.key))))
    return found


def view_of(parts: Iterable[Part]) -> View:
    """The view over published parts.

    Raises ContractError if two windows were embedded by different encoders, or by one in different ways.
    """
    there = {f"{part.manifest.dataset}/{part.manifest.part}": part.manifest for part in parts}
    made_by = {name: made.extra for name, made in there.items() if made.dataset == "embeddings"}
    encoders = {
        (extra["encoder"], extra["revision"], extra["dim"], extra.get("pooling"), extra.get("max_tokens")): name
        for name, extra in made_by.items()
    }
    if len(encoders) != 1:
        differing = ", ".join(
            f"{name} by {one[0]} {one[1][:12]} ({one[3]} pooling, {one[4]} tokens)" for one, name in encoders.items()
        )
        raise ContractError(
            f"Vectors of one index need one encoder, found {len(encoders)}: {differing}. "
            "Run embed_chunks again over all windows (--from, --to)."
        )
    ((encoder, revision, dim, *_),) = encoders
    return View({name: made.key for name, made in sorted(there.items())}, encoder, revision, dim)
