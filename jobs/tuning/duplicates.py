"""Questions that are asked twice, word by word or nearly, within a split and across splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.tuning.qa_checks import normalised

if TYPE_CHECKING:
    import numpy as np

NEAR_COSINE = 0.92
# Test questions stay and those of the other splits give way, so that nothing is trained on that is tested.
SPLIT_ORDER = ("test", "validation", "train")
_BLOCK = 1024


@dataclass(frozen=True)
class Asked:
    """A question in its split; `qa_id` decides which of two stays."""

    qa_id: str
    question: str
    split: str


def in_order(asked: Sequence[Asked]) -> list[int]:
    """Places of the questions in the order in which they are kept."""
    return sorted(range(len(asked)), key=lambda i: (SPLIT_ORDER.index(asked[i].split), asked[i].qa_id))


def exact(asked: Sequence[Asked]) -> dict[int, str]:
    """Place -> reason of questions that an earlier one asks in the same words."""
    first: dict[str, str] = {}
    refused: dict[int, str] = {}
    for place in in_order(asked):
        words, split = normalised(asked[place].question), asked[place].split
        if words in first:
            refused[place] = "duplicate" if first[words] == split else "leak"
        else:
            first[words] = split
    return refused


def near(asked: Sequence[Asked], vectors: np.ndarray, threshold: float = NEAR_COSINE) -> dict[int, str]:
    """Place -> reason of questions whose cosine to one that is kept is above the threshold.

    vectors [n, dim] float32, unit norm, a row a question.
    """
    import numpy as np

    ordered = in_order(asked)
    kept: list[int] = []
    refused: dict[int, str] = {}
    for start in range(0, len(ordered), _BLOCK):
        block = ordered[start : start + _BLOCK]
        before = vectors[block] @ vectors[kept].T if kept else np.zeros((len(block), 0), np.float32)
        inside = vectors[block] @ vectors[block].T
        n_before, here = len(kept), list[int]()  # `here`: places in the block that are kept
        for i, place in enumerate(block):
            nearest = _nearest(before[i], inside[i, here], threshold)
            if nearest is None:
                here.append(i)
                kept.append(place)
            else:
                other = kept[nearest] if nearest < n_before else block[here[nearest - n_before]]
                refused[place] = "near_duplicate" if asked[other].split == asked[place].split else "leak"
    return refused


def _nearest(before: np.ndarray, inside: np.ndarray, threshold: float) -> int | None:
    """Place of the most similar kept question, those of earlier blocks first; None if all are below the threshold."""
    import numpy as np

    similar = np.concatenate([before, inside])
    if not len(similar) or float(similar.max()) <= threshold:
        return None
    return int(similar.argmax())
