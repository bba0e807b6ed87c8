"""What the report says of search: how often each mode finds the passage asked about, and which one the chat uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jobs.retrieval.ranking import DEFAULT_MODE
from jobs.tuning import metrics
from jobs.tuning.scoring import RANKS

DEEPEST = f"recall_at_{RANKS[-1]}"
WHY = (
    "It is the default because it found most on questions that people wrote about papers that nothing was tuned on "
    "(`python -m benchmarks.bench_retrieval`). The questions below were written from the passages themselves."
)

Ranks = Sequence[int | None]


def scores(ranks: dict[str, list[int | None]], papers: Sequence[str], draws: int) -> dict[str, Any]:
    """By mode and metric, with intervals over papers; a mode without questions is left out."""
    return {
        mode: {name: metrics.score(of(found), papers, draws=draws).to_dict() for name, of in _METRICS.items()}
        for mode, found in ranks.items()
        if found
    }


def paired(ranks: dict[str, list[int | None]], papers: Sequence[str], draws: int) -> dict[str, Any]:
    """What the default mode has more than each other one on the same questions: `<default>-<mode>` -> metric."""
    default = ranks.get(DEFAULT_MODE)
    return {
        f"{DEFAULT_MODE}-{mode}": {
            name: metrics.difference(of(default), of(found), papers, draws=draws).to_dict()
            for name, of in _METRICS.items()
        }
        for mode, found in ranks.items()
        if default and found and mode != DEFAULT_MODE
    }


def lines(made: dict[str, Any]) -> list[str]:
    """Which mode the chat uses and why, then the table. `made`: a report; one of before has no pairs."""
    said = [f"The chat searches by `{DEFAULT_MODE}`. {WHY}", ""]
    said += [f"- {_sentence(name, found[DEEPEST])}" for name, found in made.get("paired_retrieval", {}).items()]
    return [*said, "", *_table(made["retrieval"])]


def _sentence(name: str, found: dict[str, Any]) -> str:
    """Whether the right passage is among the first 10 more often."""
    _, _, other = name.partition("-")
    is_few = found["n_papers"] < metrics.LEAST_PAPERS
    surely = "" if is_few else "surely "
    says = "finds more" if found["low"] > 0 else "finds less" if found["high"] < 0 else ""
    what = f"{surely}{says} than" if says else "does not surely find more or less than"
    change = f"{found['diff']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    few = f" of {found['n_papers']} papers, too few to be sure" if is_few else ""
    return f"Here it {what} `{other}` among the first {RANKS[-1]}: {change}, n={found['n_rows']}{few}."


def _table(retrieval: dict[str, Any]) -> list[str]:
    head = ["| search | " + " | ".join(_METRICS) + " |", "|---" * (len(_METRICS) + 1) + "|"]
    return head + [
        f"| {mode} | " + " | ".join(metrics.shown(found[name]) for name in _METRICS) + " |"
        for mode, found in retrieval.items()
    ]


def _recall(k: int) -> Callable[[Ranks], list[float]]:
    return lambda ranks: [metrics.recall_at(rank, k) for rank in ranks]


_METRICS: dict[str, Callable[[Ranks], list[float]]] = {
    **{f"recall_at_{k}": _recall(k) for k in RANKS},
    "mrr": lambda ranks: [metrics.reciprocal_rank(rank) for rank in ranks],
}
