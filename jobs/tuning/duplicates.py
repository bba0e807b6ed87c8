"""Pairs that are there twice, within a split and across splits: word by word, nearly, or in other words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.tuning.minhash import NearTexts, Sketch
from jobs.tuning.qa_checks import normalised

if TYPE_CHECKING:
    import numpy as np

NEAR_COSINE = 0.92
# Of the word triples of question and answer together: two of 35 words may differ. The entity alone in a short question
# of two with answers of their own stays below 0.4.
NEAR_JACCARD = 0.6
# Test questions stay and those of the other splits give way, so that nothing is trained on that is tested.
SPLIT_ORDER = ("test", "validation", "train")
_BLOCK = 1024


@dataclass(frozen=True)
class Asked:
    """A question in its split; `qa_id` decides which of two stays.

    One that is wanted by a reviewer stays before others, and beside others of its split that ask the same.
    """

    qa_id: str
    question: str
    split: str
    is_wanted: bool = False
    answer: str = ""


def in_order(asked: Sequence[Asked]) -> list[int]:
    """Places of the questions in the order in which they are kept."""

    def rank(place: int) -> tuple[int, bool, str]:
        one = asked[place]
        return SPLIT_ORDER.index(one.split), not one.is_wanted, one.qa_id

    return sorted(range(len(asked)), key=rank)


def exact(asked: Sequence[Asked]) -> dict[int, str]:
    """Place -> reason of questions that an earlier one asks in the same words."""
    first: dict[str, str] = {}
    refused: dict[int, str] = {}
    for place in in_order(asked):
        words, split = normalised(asked[place].question), asked[place].split
        if words not in first:
            first[words] = split
        elif first[words] != split:
            refused[place] = "leak"
        elif not asked[place].is_wanted:
            refused[place] = "duplicate"
    return refused


def nearly_worded(asked: Sequence[Asked], threshold: float = NEAR_JACCARD) -> dict[int, str]:
    """Place -> reason of pairs that share that many word triples, question and answer together, with a kept one."""
    texts = NearTexts(threshold)
    refused: dict[int, str] = {}
    for place in in_order(asked):
        sketch = Sketch.of(normalised(f"{asked[place].question} {asked[place].answer}"))
        reason = _reason_beside(asked[place], [asked[other] for other in texts.close_to(sketch)])
        if reason is None:
            texts.add(place, sketch)
        else:
            refused[place] = reason
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
        here = list[int]()  # places in the block that are kept
        for i, place in enumerate(block):
            similar = np.concatenate([before[i], inside[i, here]])
            reason = _reason_beside(asked[place], [asked[kept[n]] for n in np.flatnonzero(similar > threshold)])
            if reason is None:
                here.append(i)
                kept.append(place)
            else:
                refused[place] = reason
    return refused


def _reason_beside(one: Asked, similar: Sequence[Asked]) -> str | None:
    """Why a question is refused beside kept ones that ask nearly the same; None to keep it."""
    if any(other.split != one.split for other in similar):
        return "leak"
    return "near_duplicate" if similar and not one.is_wanted else None


def under_own_ids(rows: Iterable[dict[str, Any]], split_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """Each pair once. Of a text that stands under several papers there is one pair for each, with the same `qa_id`.

    The one of the split that stays keeps it; the others get one with their paper in it, so that each is counted and
    refused like any other pair that asks the same. A paper that moved is in two windows, and counts once.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["qa_id"], {})[row["paper_id"]] = row
    made = []
    for qa_id, by_paper in found.items():
        papers = sorted(by_paper, key=lambda paper_id: (SPLIT_ORDER.index(split_of(paper_id)), paper_id))
        made.append(by_paper[papers[0]])
        made += [by_paper[paper_id] | {"qa_id": f"{qa_id}@{paper_id}"} for paper_id in papers[1:]]
    return made
