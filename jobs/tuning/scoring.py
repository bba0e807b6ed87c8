"""Ask students the test questions and score what they say: losses, answers, overlaps, retrieval.

A scored row is one question under one system in one mode. What is done is kept beside the attempt unit by unit, so a
kill costs one system's pass over the rows.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.retrieval import ranking
from jobs.retrieval.quoting import answer_quoted
from jobs.tuning import metrics, prompts
from jobs.tuning.shelf import Shelf
from jobs.tuning.student import Messages, Student

MODES = ("closed", "retrieval")
RANKS = (1, 5, 10)  # recall is measured among the first 1, 5 and 10 passages
METRICS = ("answer_loss", "token_f1", "rouge_l")
JUDGED_METRICS = ("faithfulness",)  # only where a judge was asked
NAN = float("nan")


@dataclass(frozen=True)
class Asked:
    """A test question with its expected answer, and the passages that the searcher found for it."""

    qa_id: str
    paper_id: str
    question: str
    answer: str
    chunk_ids: tuple[str, ...]
    found: tuple[prompts.PassageText, ...]
    is_answerable: bool = True


@dataclass(frozen=True)
class Scored:
    """What one system made of one question. NaN and None: not measured for this row.

    Of a question without an answer only the answer is kept: whether it was refused is another measure than overlap.
    """

    qa_id: str
    paper_id: str
    system: str
    mode: str
    answer_loss: float
    token_f1: float
    rouge_l: float
    answer: str | None
    is_answerable: bool = True
    faithfulness: float | None = None  # None: no judge was asked about this row; NaN: it says nothing to judge

    @property
    def is_refused_01(self) -> float:
        """1 for a refusal; NaN where nothing was said."""
        return NAN if self.answer is None else float(prompts.is_refusal(self.answer))


def in_order(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Test pairs so that the first n cover as many papers as they can; only ids decide."""
    ranked: dict[str, int] = defaultdict(int)
    placed = []
    for pair in sorted(pairs, key=lambda pair: durable.sha256_bytes(pair["qa_id"].encode())):
        placed.append((ranked[pair["paper_id"]], pair))
        ranked[pair["paper_id"]] += 1
    return [pair for _, pair in sorted(placed, key=lambda one: one[0])]


def ask_searcher(pairs: Sequence[dict[str, Any]], shelf: Shelf, n_passages: int) -> list[Asked]:
    """Find the passages that the chat would show, over all papers of the index."""
    asked = []
    for pair in pairs:
        found = shelf.searcher.search(pair["question"], n_passages).passages if shelf.searcher else ()
        asked.append(_asked(pair, tuple(shelf.passage(passage.chunk_id) for passage in found)))
    return asked


def _asked(pair: dict[str, Any], found: tuple[prompts.PassageText, ...]) -> Asked:
    is_answerable: bool = pair["is_answerable"]
    answer = pair["answer"] if is_answerable else prompts.REFUSAL
    return Asked(
        pair["qa_id"], pair["paper_id"], pair["question"], answer, tuple(pair["chunk_ids"]), found, is_answerable
    )


def retrieval_ranks(pairs: Sequence[dict[str, Any]], shelf: Shelf) -> dict[str, list[int | None]]:
    """For each mode of search, the rank of the first right passage of each pair that an index can answer."""
    ranks: dict[str, list[int | None]] = {mode: [] for mode in ranking.MODES}
    searcher = shelf.searcher
    if searcher is None:
        return ranks
    for pair in pairs:
        query = searcher.to_query(pair["question"])
        for mode in ranking.MODES:
            found = searcher.find(query, max(RANKS), mode=mode).passages
            ranks[mode].append(metrics.rank_of([one.chunk_id for one in found], pair["chunk_ids"]))
    return ranks


def quoted_answers(pairs: Sequence[dict[str, Any]], shelf: Shelf) -> list[Scored]:
    """What the chat answers without any model: sentences quoted from the passages found; a refusal counts as one."""
    scored = []
    for pair in pairs if shelf.searcher else ():
        found = shelf.searcher.search(pair["question"])  # type: ignore[union-attr]  # there is one, or no pair
        quoted = answer_quoted(pair["question"], found)
        said = quoted.text if quoted.supported else prompts.REFUSAL
        scored.append(_scored(QUOTED, _asked(pair, ()), NAN, said))
    return scored


def metrics_of(rows: Sequence[Scored]) -> tuple[str, ...]:
    """What rows were measured by: a judge is not asked of every system."""
    return (*METRICS, *(name for name in JUDGED_METRICS if any(getattr(row, name) is not None for row in rows)))


def value_of(row: Scored, metric: str) -> float:
    """NaN where it was not measured."""
    value: float | None = getattr(row, metric)
    return NAN if value is None else value


def passages_shown(row: Scored, asked: Asked, shelf: Shelf, passage_chars: int) -> tuple[prompts.PassageText, ...]:
    """What a system had before it when it answered with retrieval: a student cut passages, quoting whole ones."""
    if row.system == QUOTED.system:
        found = shelf.searcher.search(asked.question).passages if shelf.searcher else ()
        return tuple(shelf.passage(passage.chunk_id) for passage in found)
    return tuple(dataclasses.replace(one, text=prompts.as_data(one.text, passage_chars)) for one in asked.found)


def prompt_of(asked: Asked, mode: str, passage_chars: int, question: str | None = None) -> Messages:
    """The prompt of a row; `question`: another one in its place."""
    passages = asked.found if mode == "retrieval" else ()
    return prompts.answer_messages(question or asked.question, passages, passage_chars=passage_chars)


def wrong_questions(rows: Sequence[Asked]) -> list[str | None]:
    """For each row the question of the next row of another paper; None where all rows are of one paper."""
    others = [
        next((rows[(i + step) % len(rows)] for step in range(1, len(rows)) if _differs(rows, i, step)), None)
        for i in range(len(rows))
    ]
    return [other.question if other else None for other in others]


def _differs(rows: Sequence[Asked], i: int, step: int) -> bool:
    return rows[(i + step) % len(rows)].paper_id != rows[i].paper_id


@dataclass(frozen=True)
class Limits:
    """How many rows each kind of measurement takes, and how long answers may be."""

    loss_rows: int
    generated_rows: int
    answer_tokens: int
    passage_chars: int


@dataclass(frozen=True)
class Pass:
    """One system over all rows: the student with its adapter on or off, in one mode, maybe asked the wrong question."""

    system: str
    mode: str
    with_adapter: bool = True
    is_wrong_question: bool = False
    has_answers: bool = True

    @property
    def name(self) -> str:
        """Of the file that keeps it."""
        return f"{self.system}-{self.mode}"


QUOTED = Pass("quoted", "retrieval", with_adapter=False)


def run_pass(student: Student, one: Pass, rows: Sequence[Asked], limits: Limits) -> list[Scored]:
    """Losses of the expected answers, and for the first rows the answers themselves with their overlaps.

    Questions without an answer are only asked where there are passages to find none in, and all of them.
    """
    impossible = [row for row in rows if not row.is_answerable and one.mode == "retrieval" and one.has_answers]
    rows = [row for row in rows if row.is_answerable][: max(limits.loss_rows, limits.generated_rows)]
    questions = wrong_questions(rows) if one.is_wrong_question else [row.question for row in rows]
    asked = [
        (prompt_of(row, one.mode, limits.passage_chars, question), row.answer)
        for row, question in zip(rows, questions, strict=True)
        if question is not None
    ]
    found = iter(student.answer_losses(asked[: limits.loss_rows], with_adapter=one.with_adapter))
    losses = [NAN if question is None else next(found, NAN) for question in questions]
    generated = [messages for messages, _ in asked[: limits.generated_rows if one.has_answers else 0]]
    refusable = [prompt_of(row, one.mode, limits.passage_chars) for row in impossible]
    said = student.generate_batch([*generated, *refusable], limits.answer_tokens, with_adapter=one.with_adapter)
    answers: list[str | None] = [*said[: len(generated)], *[None] * (len(rows) - len(generated))]
    scored = [_scored(one, row, loss, answer) for row, loss, answer in zip(rows, losses, answers, strict=True)]
    refusals = zip(impossible, said[len(generated) :], strict=True)
    return [*scored, *(_scored(one, row, NAN, answer) for row, answer in refusals)]


def _scored(one: Pass, row: Asked, loss: float, answer: str | None) -> Scored:
    return Scored(
        row.qa_id,
        row.paper_id,
        one.system,
        one.mode,
        loss,
        NAN if answer is None or not row.is_answerable else metrics.token_f1(answer, row.answer),
        NAN if answer is None or not row.is_answerable else metrics.rouge_l(answer, row.answer),
        answer,
        row.is_answerable,
    )


def keep(folder: Path, one: Pass, rows: Sequence[Scored]) -> None:
    """Write the rows of a finished pass; durable when it returns."""
    durable.make_dirs(folder)
    durable.write_atomic(folder / f"{one.name}.json", json.dumps([vars(row) for row in rows]).encode())


def read_kept(folder: Path, one: Pass) -> list[Scored] | None:
    """The rows of a pass that this or an earlier attempt finished; None if none did."""
    path = folder / f"{one.name}.json"
    return [Scored(**row) for row in json.loads(path.read_bytes())] if path.is_file() else None
