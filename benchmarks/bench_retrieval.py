"""Retrieval on 22 real papers: 161 questions written by hand, in other words than the passages that answer them.

11 papers are for development, the other 11 are held out from all tuning: report theirs. So are 44 follow-ups to other
questions about them, but the rules that tell what goes on were written knowing all of these. Needs the private corpus
beside the checkout (or SPARK_ARXIV_CORPUS). Means are over questions, 95 % intervals over papers.
Run: python -m benchmarks.bench_retrieval [--half "held out"] [--lake LAKE that was built of the corpus]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measuring import REPOSITORY, corpus_folder, jobs_cost, write_result
from jobs.core.lake import Lake
from jobs.retrieval.passages import Passage
from jobs.retrieval.ranking import MODES
from jobs.retrieval.searcher import Searcher

QUESTIONS = REPOSITORY / "tests" / "retrieval" / "real_questions.jsonl"
FOLLOW_UPS = REPOSITORY / "tests" / "retrieval" / "real_follow_ups.jsonl"
CATEGORIES = "cs.LG cs.CL stat.ML cs.CV hep-ph hep-th math.NT math.CO quant-ph cs.DS cs.PL cs.SE"
K = 10
N_RESAMPLES = 2000
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
N_BINS = 5
SETTINGS = ("open", "titled", "inside")
_WORD = re.compile(r"[^\W_]+")

Figures = dict[str, float]
Ranks = np.ndarray  # [n questions]: 0-based place of the first passage with evidence, inf if it is not in the first K


@dataclass(frozen=True)
class Question:
    """A question and the passages that answer it: each holds a run of `n` words whose hash is known, not its text."""

    paper_id: str
    half: str
    question: str
    evidence: tuple[tuple[int, str], ...]
    before: tuple[str, ...] = ()

    def is_evidence(self, passage: Passage) -> bool:
        """Whether the passage answers the question."""
        if passage.paper_id != self.paper_id:
            return False
        words = _WORD.findall(passage.text.lower())
        return any(
            hash_of(words[start : start + n]) == known
            for n, known in self.evidence
            for start in range(len(words) - n + 1)
        )


def hash_of(words: Sequence[str]) -> str:
    """What stands for a run of words."""
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def main() -> int:
    """Search the lake in every mode and setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", default="held out", choices=("held out", "development", "both"), help="which papers")
    parser.add_argument(
        "--lake", type=Path, help="a lake of the corpus, with an index; without one it is built (minutes)"
    )
    options = parser.parse_args()
    if not options.lake and not (corpus_folder() / "pdf").is_dir():
        print(f"no corpus in {corpus_folder()}: set SPARK_ARXIV_CORPUS, or give --lake", file=sys.stderr)
        return 66
    with tempfile.TemporaryDirectory(prefix="bench-retrieval-") as folder:
        part = Lake.open(options.lake or build(Path(folder) / "lake")).current("indexes", "all")
        if part is None:
            print(f"{options.lake} has no index", file=sys.stderr)
            return 66
        questions, going_on = (
            [one for one in read_questions(path) if options.half in (one.half, "both")]
            for path in (QUESTIONS, FOLLOW_UPS)
        )
        searcher = Searcher.open(part)
        figures = measure(searcher, questions) | {"refusal": refusals(searcher, questions)}
        figures["follow_ups"] = follow_ups(searcher, going_on)
    counts = {"half": options.half, "questions": len(questions), "papers": len({one.paper_id for one in questions})}
    write_result("retrieval", counts | figures)
    return 0


def build(lake: Path) -> Path:
    """An index of all PDFs of the corpus."""
    source = ("--metadata", corpus_folder() / "metadata.jsonl", "--pdfs", corpus_folder() / "pdf")
    jobs_cost("run", "--goal", "index", *source, "--categories", CATEGORIES, "--lake", lake, "--grid", "year")
    return lake


def read_questions(path: Path = QUESTIONS) -> list[Question]:
    """Questions of both halves."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Question(
            row["paper_id"],
            row["half"],
            row["question"],
            tuple((one["n_words"], one["sha256"]) for one in row["evidence"]),
            (row["before"],) if "before" in row else (),
        )
        for row in rows
    ]


def measure(searcher: Searcher, questions: Sequence[Question]) -> dict[str, dict[str, object]]:
    """Every setting's figures by mode, and what hybrid has more than the others have."""
    titles = {paper.paper_id: paper.title for paper in searcher.papers}
    of_paper = np.array([one.paper_id for one in questions])
    samples = list(resamples(of_paper))
    ranks = {
        (s, m): np.array([rank(searcher, titles, one, s, m) for one in questions]) for s in SETTINGS for m in MODES
    }
    figures: dict[str, dict[str, object]] = {}
    for setting in (*SETTINGS, "right_paper"):
        at = {mode: ranks["open" if setting == "right_paper" else setting, mode] for mode in MODES}
        column = 1 if setting == "right_paper" else 0
        figures[setting] = {mode: summary(at[mode][:, column], samples) for mode in MODES}
        k = 5 if setting == "inside" else K
        for other in ("dense", "bm25"):
            more = (at["hybrid"][:, column] < k).astype(float) - (at[other][:, column] < k)
            figures[setting][f"hybrid_minus_{other}_at_{k}"] = with_interval(more, samples)
    return figures


def refusals(searcher: Searcher, questions: Sequence[Question]) -> dict[str, object]:
    """What refusing by `support_01` costs and gains: each question, and the same with its paper taken out.

    At each threshold the share of questions refused wrongly, then of those whose paper is out; another paper may answer
    some of these. The area under the curve is the chance that the first has the higher support.
    """
    there = np.array([searcher.search(one.question).support_01 for one in questions])
    out = np.array([searcher.search(one.question, without=[one.paper_id]).support_01 for one in questions])
    area = (there[:, None] > out).mean() + 0.5 * (there[:, None] == out).mean()
    curve = {f"below_{at}": f"{(there < at).mean():.2f} {(out < at).mean():.2f}" for at in THRESHOLDS}
    return {"area": float(area), **curve, "reliability": reliability(there, out)}


def reliability(there: np.ndarray, out: np.ndarray) -> dict[str, str]:
    """In five bins of `support_01`: its mean, the share of questions whose paper is there, and how many questions."""
    said = np.concatenate([there, out])
    is_there = np.concatenate([np.ones(len(there)), np.zeros(len(out))])
    bins = np.minimum((said * N_BINS).astype(int), N_BINS - 1)
    return {
        f"from_{n / N_BINS}": f"{said[bins == n].mean():.2f} {is_there[bins == n].mean():.2f} {(bins == n).sum()}"
        for n in np.unique(bins).tolist()
    }


def follow_ups(searcher: Searcher, questions: Sequence[Question]) -> dict[str, object]:
    """Questions that go on from one before them: searched together with it, and alone."""
    samples = resamples(np.array([one.paper_id for one in questions]))
    ranks = {
        name: np.array(
            [
                first(searcher.search(one.question, K, before=one.before[:n]).passages, one.is_evidence)
                for one in questions
            ]
        )
        for name, n in (("together", 1), ("alone", 0))
    }
    more = (ranks["together"] < K).astype(float) - (ranks["alone"] < K)
    figures = {name: summary(found, samples) for name, found in ranks.items()}
    return {"n": len(questions)} | figures | {f"together_minus_alone_at_{K}": with_interval(more, samples)}


def rank(searcher: Searcher, titles: dict[str, str], one: Question, setting: str, mode: str) -> tuple[float, float]:
    """Places of the first passage with evidence and of the first one of the right paper."""
    text = f'In "{titles[one.paper_id]}": {one.question}' if setting == "titled" else one.question
    found = searcher.search(text, K, mode=mode, paper_id=one.paper_id if setting == "inside" else None).passages
    return first(found, one.is_evidence), first(found, lambda passage: passage.paper_id == one.paper_id)


def first(found: Sequence[Passage], is_right: Callable[[Passage], bool]) -> float:
    """Place of the first right passage, from 0; inf without one."""
    return next((float(place) for place, passage in enumerate(found) if is_right(passage)), float("inf"))


def summary(ranks: Ranks, samples: Sequence[np.ndarray]) -> dict[str, object]:
    """Recall and mean reciprocal rank among the first K, with the interval of the recall at K."""
    recall: dict[str, object] = {f"at_{k}": float((ranks < k).mean()) for k in (1, 5)}
    recall |= {f"at_{K}": with_interval((ranks < K).astype(float), samples), "mrr": float((1 / (1 + ranks)).mean())}
    return recall


def with_interval(values: np.ndarray, samples: Sequence[np.ndarray]) -> str:
    """Mean and 95 % interval."""
    low, high = np.percentile([values[sample].mean() for sample in samples], [2.5, 97.5])
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def resamples(of_paper: np.ndarray) -> list[np.ndarray]:
    """Rows of papers drawn with replacement: questions of one paper are alike."""
    random = np.random.default_rng(0)
    rows = [np.flatnonzero(of_paper == paper) for paper in np.unique(of_paper)]
    return [np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))]) for _ in range(N_RESAMPLES)]


if __name__ == "__main__":
    sys.exit(main())
