"""Keep the pairs that pass every check, split them by paper, and say of the others why not.

Reads drafts, indexes (and reviews). Writes qa: rows.parquet has the kept pairs, refused.parquet the others with their
reason, judged.parquet what a judge said, if there is one. A test question stays where one of another split asks the
same, so nothing that is tested is trained on. Fails with TryAgainError if the judge is away.
Run: python -m jobs curate_qa [--judge openai --judge-model NAME --judge-url http://127.0.0.1:8000/v1]
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.core import tables
from jobs.core.config import setting
from jobs.core.contracts import DATASETS
from jobs.core.definition import split_of
from jobs.core.errors import UsageError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Input
from jobs.retrieval import passages
from jobs.retrieval.encoder import load_encoder
from jobs.retrieval.index_view import View
from jobs.retrieval.searcher import Searcher
from jobs.tuning import difficulty, duplicates, judging, qa_checks, reviews, round_trip, verdicts
from jobs.tuning.duplicates import SPLIT_ORDER, Asked
from jobs.tuning.judging import Judged, PairJudgeConfig
from jobs.tuning.prompt_file import MOST_UNANSWERABLE_01
from jobs.tuning.qa_checks import QA

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

VERSION = 4
REFUSED_FILE = "refused.parquet"

Row = dict[str, Any]


@dataclass(frozen=True)
class Config(PairJudgeConfig):
    """Settings of this stage; the salt of the split is in the lake's definition."""

    near_duplicate_cosine: float = setting(
        duplicates.NEAR_COSINE, "cosine above which two questions count as the same", affects_rows=True
    )
    near_duplicate_jaccard: float = setting(
        duplicates.NEAR_JACCARD,
        "share of common word triples from which on two pairs are the same",
        affects_rows=True,
    )
    round_trip_k: int = setting(
        5,
        "first passages, by words or vectors, that must have a train question's own among them; 0: any",
        affects_rows=True,
    )
    max_unanswerable_01: float = setting(
        MOST_UNANSWERABLE_01, "share of a split's pairs that may have no answer", affects_rows=True
    )
    answered_support_01: float = setting(
        round_trip.ANSWERED_SUPPORT_01,
        "support from which a question that is meant to have no answer is taken for answered",
        affects_rows=True,
    )


@dataclass(frozen=True)
class _Passages:
    """What the index knows of chunks: text and licence by chunk id."""

    texts: dict[str, str]
    licences: dict[str, str | None]

    @classmethod
    def read(cls, index: Part) -> _Passages:
        """The chunks of the index's view; older versions and withdrawn papers are not among them."""
        table = tables.read_table(index.file(passages.FILE), ["chunk_id", "text", "license"])
        ids = table["chunk_id"].to_pylist()
        texts, licences = (dict(zip(ids, table[name].to_pylist(), strict=True)) for name in ("text", "license"))
        return cls(texts, licences)


def inputs(lake: Lake, part: str) -> list[tuple[Input, Part | None]]:
    """The index, the reviews, and of every window the newest complete set of shards; see `complete_sets`."""
    found = complete_sets(lake)
    drafts: list[tuple[Input, Part | None]] = [(one.as_input, one) for one in found]
    if not drafts:
        window = next(iter(lake.parts("chunks")), "WINDOW")
        drafts = [lake.input_of("drafts", f"{window}/0-of-1")]
    return [*drafts, lake.input_of("indexes", part), *reviews.inputs_of(lake)]


def complete_sets(lake: Lake) -> list[Part]:
    """Shards of every window that were all made from the same chunks; of several such sets the newest."""
    sets: dict[tuple[str, int, str], list[Part]] = {}
    for name in lake.parts("drafts"):
        part = lake.current("drafts", name)
        if part is not None:
            window, _, shard = name.partition("/")
            n_shards = int(shard.partition("-of-")[2])
            sets.setdefault((window, n_shards, part.manifest.inputs[0].digest), []).append(part)
    newest: dict[str, tuple[str, int]] = {}
    chosen: dict[str, list[Part]] = {}
    for (window, n_shards, _), found in sorted(sets.items()):
        age = (max(part.manifest.created_at for part in found), n_shards)
        if len(found) == n_shards and age >= newest.get(window, ("", 0)):
            newest[window], chosen[window] = age, found
    return [part for window in sorted(chosen) for part in chosen[window]]


def run(config: Config, lake: Lake, tasks: list[PartTask]) -> None:
    """Check every pair of the parts that the task names, whatever is current by now. Raises UsageError."""
    if not 0 <= config.max_unanswerable_01 < 1:
        raise UsageError(f"max_unanswerable_01 {config.max_unanswerable_01}: expected a share from 0 to below 1.")
    for task in tasks:
        with lake.attempt(task) as attempt:
            read = {one: lake.published(one.dataset, one.part, str(one.key)) for one in task.inputs}
            index = next(part for one, part in read.items() if one.dataset == "indexes")
            drafts = [part for one, part in read.items() if one.dataset == "drafts"]
            _curate(config, lake, attempt, drafts, index)


def _curate(config: Config, lake: Lake, attempt: Attempt, drafts: Sequence[Part], index: Part) -> None:
    known, decisions = _Passages.read(index), reviews.of_task(attempt.task)
    salt = lake.definition.split_salt
    drafted = (row for part in drafts for row in part.rows())
    rows = duplicates.under_own_ids(drafted, lambda paper_id: split_of(salt, paper_id))
    rows = [_with_split(row, salt, known) for row in rows]
    rows = reviews.with_reviews(rows, decisions)
    judged = {row["qa_id"]: reviews.overruled(row["qa_id"], _reason(row, known), decisions) for row in rows}
    reasons = {qa_id: reason for qa_id, reason in judged.items() if reason is not None}
    asked = _kept(rows, reasons, decisions)
    reasons |= _by_id(asked, duplicates.exact(asked))
    asked = _kept(rows, reasons, decisions)
    reasons |= _by_id(asked, duplicates.nearly_worded(asked, config.near_duplicate_jaccard))
    asked = _kept(rows, reasons, decisions)
    searcher: Searcher | None = None
    tried = [row for row in rows if row["qa_id"] not in decisions]
    if asked:
        encoder = load_encoder(View.read(index).encoder, device=config.device)
        vectors = encoder.encode([one.question for one in asked])
        reasons |= _by_id(asked, duplicates.near(asked, vectors, config.near_duplicate_cosine))
        searcher = Searcher.open(index, encoder)
        reasons |= round_trip.not_found_again(config.round_trip_k, searcher, tried, reasons)
        reasons |= round_trip.answered_after_all(config.answered_support_01, searcher, tried, reasons, known.texts)
    # Last of all that looks at pairs alone, for nothing costs more.
    by_judge = judging.judge_pairs(config, attempt, index, rows, reasons, decisions)
    reasons |= by_judge.refused
    reasons |= _too_many_unanswerable(config.max_unanswerable_01, tried, reasons)
    _write(attempt, by_judge.with_scores(_with_difficulty(searcher, rows, reasons)), reasons, by_judge)


def _with_split(row: Row, salt: str, known: _Passages) -> Row:
    scores = [
        {"name": "question_words", "value": float(len(row["question"].split()))},
        {"name": "answer_words", "value": float(len(row["answer"].split()))},
    ]
    licence = known.licences.get(next(iter(row["chunk_ids"]), ""))
    return row | {"split": split_of(salt, row["paper_id"]), "license": licence, "scores": scores}


def _reason(row: Row, known: _Passages) -> str | None:
    texts = [known.texts.get(chunk_id) for chunk_id in row["chunk_ids"]]
    if not texts or None in texts:
        return "not_in_index"
    if row["is_answerable"] and len(row["evidence"]) != len(texts):
        return "no_evidence"
    for quote, text in zip(row["evidence"] or [""], texts, strict=False):
        qa = QA(row["question"], row["answer"], quote or "", text or "", row["is_answerable"])
        if reason := qa_checks.first_reason(qa):
            return reason
    if len(texts) > 1 and not qa_checks.needs_each(row["answer"], [text or "" for text in texts]):
        return "one_passage_suffices"
    return None


def _kept(rows: Sequence[Row], reasons: dict[str, str], decisions: reviews.Decisions) -> list[Asked]:
    """The pairs that nothing refused yet; a refusal is the same for all and tells nothing apart."""
    return [
        Asked(
            row["qa_id"],
            row["question"],
            row["split"],
            row["qa_id"] in decisions,
            row["answer"] if row["is_answerable"] else "",
        )
        for row in rows
        if row["qa_id"] not in reasons
    ]


def _by_id(asked: Sequence[Asked], refused: dict[int, str]) -> dict[str, str]:
    return {asked[place].qa_id: reason for place, reason in refused.items()}


def _too_many_unanswerable(most_01: float, rows: Sequence[Row], refused: dict[str, str]) -> dict[str, str]:
    """In each split the last by id above the share that may have no answer; ids are hashes, so this is a draw."""
    found: dict[str, str] = {}
    for split in SPLIT_ORDER:
        there = [row for row in rows if row["split"] == split and row["qa_id"] not in refused]
        impossible = sorted(row["qa_id"] for row in there if not row["is_answerable"])
        n_most = int(most_01 / (1 - most_01) * (len(there) - len(impossible)))
        found |= dict.fromkeys(impossible[n_most:], "too_many_unanswerable")
    return found


def _with_difficulty(searcher: Searcher | None, rows: Sequence[Row], refused: dict[str, str]) -> list[Row]:
    """Rows with the kept pairs' difficulty among their scores."""
    if searcher is None:  # nothing is kept
        return list(rows)
    found: dict[str, float] = {}
    for row, query in round_trip.asked_again(searcher, [row for row in rows if row["qa_id"] not in refused]):
        rank = difficulty.rank_by_words(searcher, query, row["chunk_ids"])
        found[row["qa_id"]] = difficulty.difficulty_01(rank, row["answer"], row["evidence"] or [])
    return [row | {"scores": [*row["scores"], *_score(found.get(row["qa_id"]))]} for row in rows]


def _score(value: float | None) -> list[Row]:
    return [] if value is None else [{"name": difficulty.SCORE, "value": value}]


def _write(attempt: Attempt, rows: Sequence[Row], reasons: dict[str, str], by_judge: Judged) -> None:
    """The files, pairs ordered by paper, chunk and id."""
    dataset = DATASETS["qa"]
    ordered = sorted(rows, key=lambda row: (row["paper_id"], row["chunk_ids"], row["question_type"], row["qa_id"]))
    kept = [row for row in ordered if row["qa_id"] not in reasons]
    refused = [row for row in ordered if row["qa_id"] in reasons]
    written = tables.write_rows(attempt.folder / tables.ROWS_FILE, dataset, [tables.make_table(dataset, kept)])
    table = _refused_table(refused, reasons)
    tables.write_tables(attempt.folder / REFUSED_FILE, table.schema, [table])
    verdicts.write(attempt.folder / verdicts.FILE, by_judge.verdicts)
    splits = Counter(row["split"] for row in kept)
    log.info("pairs by split: %s", ", ".join(f"{name} {splits[name]}" for name in ("train", "validation", "test")))
    attempt.finish(
        Counts.of(dataset, len(kept), Counter(reasons.values())),
        rows=written.n_rows,
        digest=written.digest,
        taken_over=by_judge.n_taken_over,
        extra=by_judge.told
        | {
            "splits": dict(splits),
            "n_unanswerable": sum(not row["is_answerable"] for row in kept),
            "types": dict(Counter(row["question_type"] for row in kept)),
            "papers": {name: len({row["paper_id"] for row in kept if row["split"] == name}) for name in splits},
        },
    )


def _refused_table(rows: Sequence[Row], reasons: dict[str, str]) -> pyarrow.Table:
    import pyarrow as pa

    table = tables.make_table(DATASETS["qa"], rows)
    return table.append_column("reason", pa.array([reasons[row["qa_id"]] for row in rows], pa.string()))
