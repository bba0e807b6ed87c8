"""Two passages of one paper that belong together: they share words that few others of its passages have.

The partner of a passage stands behind it in the paper, so no two passages are asked about together twice. A pure
function of a paper's chunks.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from jobs.retrieval.sentences import word_set
from jobs.retrieval.words import words_of
from jobs.tuning.asking import Chunk

# Words that stand in half of 29 papers of seven fields tie no two passages, however rare they are in one paper.
_EVERYDAY = word_set(
    "able above abstract achieve across adding addition additional again allow already also although alway amount"
    " analysi another answer appear application applied apply applying approach approache approximate assume available"
    " avoid based become below benefit best better beyond call called cannot case change choice class combine common"
    " compare compared comparison conclusion condition consider considered consist constant construct contain context"
    " contrast correct correspond corresponding cost current define defined definition demonstrate denote depend"
    " describe described detail difference different direction directly discuss discussed discussion done during early"
    " easily easy effect effective either enable enough ensure equal especially evaluate evaluation even every exactly"
    " example except exist expected experiment explicitly fact faster figure final finally find first fixed focus"
    " follow following form found framework full function future general generate generated give given goal good hand"
    " help high higher however idea important improve improved improvement include including increase indeed"
    " information initial input instance instead interesting introduce introduced introduction know knowledge known"
    " large larger last later lead left length less level like line long lower made main make making many match mean"
    " method much multiple need next note number observe obtain obtained often order original output pair paper part"
    " particular perform performance performed point possible potential practice predict present presented previous"
    " problem procedure process processing produce property propose proposed provide question range rate rather real"
    " reason recent recently reduce reducing related rely remain report represent representation require required"
    " research respect respectively result resulting right rule search second section seen sense setting several show"
    " showed shown significant significantly similar similarly simple simply since single size small smaller solution"
    " specific specifically standard start step still study suggest support system table take technique term test text"
    " thank therefore though three thus time together total toward true type typically unit update used useful using"
    " usually value various version want weight well whether whole without word work"
)
_TERM = re.compile(r"[^\W\d_]{4,}|[^\W\d_]{2,}\d{1,4}[^\W\d_]*")  # shorter words are letters of formulas: but nf4, bm25
RARE_01 = 0.2  # share of a paper's passages that may have a word that ties two of them
LEAST_RARE = 3  # passages that may have it however short the paper is
MIN_SHARED = 2  # such words that two passages share


def partners(chunks: Iterable[Chunk]) -> dict[str, Chunk]:
    """chunk_id -> the later passage of the same paper that shares most; the farther it is, the more it must share."""
    by_paper: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        by_paper[chunk.paper_id].append(chunk)
    return {chunk_id: one for paper in by_paper.values() for chunk_id, one in _of_paper(paper).items()}


def _of_paper(chunks: Sequence[Chunk]) -> dict[str, Chunk]:
    ordered = sorted(chunks, key=lambda chunk: (chunk.ordinal, chunk.chunk_id))
    places: dict[str, list[int]] = defaultdict(list)
    for place, chunk in enumerate(ordered):
        for word in filter(_TERM.fullmatch, set(words_of(chunk.text)) - _EVERYDAY):
            places[word].append(place)
    shared: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    most = max(LEAST_RARE, RARE_01 * len(ordered))
    for word in sorted(places):  # floats add up to the same in one order alone
        there = places[word]
        if 2 <= len(there) <= most:
            weight = math.log(len(ordered) / len(there)) + 1
            for i, first in enumerate(there):
                for second in there[i + 1 :]:
                    shared[first][second].append(weight)
    return {ordered[first].chunk_id: ordered[best] for first in shared if (best := _best(first, shared[first])) >= 0}


def _best(first: int, shared: dict[int, list[float]]) -> int:
    """The place with most shared weight for its distance, the nearest of equals; -1 if none shares enough words."""
    ranked = [
        (-sum(weights) / (1 + math.log(place - first)), place)
        for place, weights in shared.items()
        if len(weights) >= MIN_SHARED
    ]
    return min(ranked)[1] if ranked else -1
