"""Training rows that look like what serving asks: a question with the passages that were found, some of them useless.

After RAFT (Zhang et al. 2024, arXiv:2403.10131), made consistent with the prompt, which allows no answer from memory
where there are passages. A row is one of three kinds: its own passages among distractors, with the answer and its
citations; distractors alone, with the refusal; or no passages at all, with the answer from memory (the paper's rows
without oracle).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.tuning import prompts
from jobs.tuning.loading import ids_of, text_of
from jobs.tuning.shelf import Find, Shelf

KINDS = ("passages", "refusal", "closed")


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of rows, and how many distractors go with a passage."""

    n_distractors: int
    refusal_01: float
    closed_book_01: float
    seed: int


@dataclass(frozen=True)
class Example:
    """One training row: `chunk_ids` are the passages in the order of their numbers, `own` the ones that answer."""

    qa_id: str
    paper_id: str
    question: str
    answer: str
    kind: str
    chunk_ids: tuple[str, ...]
    own: tuple[str, ...]


def examples_of(pairs: Iterable[dict[str, Any]], shelf: Shelf, find: Find, mix: Mix) -> list[Example]:
    """Rows of `qa` whose chunks are all on the shelf, each as an example, in an order that only the seed decides.

    `find` must answer with chunks of train papers alone: distractors come from it.
    """
    there = [pair for pair in pairs if all(chunk_id in shelf for chunk_id in pair["chunk_ids"])]
    there.sort(key=lambda pair: _hash(mix.seed, pair["qa_id"]))
    return [_example_of(pair, shelf, find, mix) for pair in there]


def shuffle_answers(examples: Sequence[Example], seed: int) -> list[Example]:
    """Every question with another one's answer, for the control: what is learnt so is form, not content."""
    answering = [place for place, one in enumerate(examples) if one.kind != "refusal"]
    mixed = list(answering)
    random.Random(seed).shuffle(mixed)  # noqa: S311  no secret
    following = {mixed[i]: mixed[(i + 1) % len(mixed)] for i in range(len(mixed))}  # one cycle: none keeps its own
    return [
        replace(one, answer=examples[following[place]].answer) if place in following else one
        for place, one in enumerate(examples)
    ]


def messages_of(example: Example, shelf: Shelf, passage_chars: int) -> tuple[list[dict[str, str]], str]:
    """Prompt and answer. The answer cites its own passages by their numbers, as the prompt asks."""
    passages = [shelf.passage(chunk_id) for chunk_id in example.chunk_ids]
    messages = prompts.answer_messages(example.question, passages, passage_chars=passage_chars)
    numbers = [number for number, chunk_id in enumerate(example.chunk_ids, start=1) if chunk_id in example.own]
    cited = " ".join([example.answer, *(f"[{number}]" for number in numbers)])
    return messages, cited if example.kind == "passages" else example.answer


def fitted(example: Example, shelf: Shelf, passage_chars: int, tokenizer: Any, max_tokens: int) -> FittedRow | None:
    """The example without as many distractors as are too many for `max_tokens`; None if it does not fit at all."""
    while True:
        messages, answer = messages_of(example, shelf, passage_chars)
        said = [*messages, {"role": "assistant", "content": answer}]
        n_tokens = len(ids_of(tokenizer, text_of(tokenizer, said, is_open=False)))
        if n_tokens <= max_tokens:
            papers = frozenset(shelf.paper_of(chunk_id) for chunk_id in example.chunk_ids)
            return FittedRow(example, messages, answer, n_tokens, papers)
        spare = [chunk_id for chunk_id in example.chunk_ids if chunk_id not in example.own]
        if not spare or len(example.chunk_ids) == 1:
            return None
        example = replace(example, chunk_ids=tuple(one for one in example.chunk_ids if one != spare[-1]))


@dataclass(frozen=True)
class FittedRow:
    """An example as it is trained on, its length in tokens of the student, and the papers of its passages."""

    example: Example
    messages: list[dict[str, str]]
    answer: str
    n_tokens: int
    papers_shown: frozenset[str]


def _example_of(pair: dict[str, Any], shelf: Shelf, find: Find, mix: Mix) -> Example:
    draw = random.Random(_hash(mix.seed, pair["qa_id"]))  # noqa: S311  no secret
    kind = _kind_of(pair["is_answerable"], draw.random(), mix)
    own = tuple(pair["chunk_ids"]) if kind == "passages" else ()
    chunk_ids = list(own)
    if kind != "closed":
        chunk_ids += _distractors(pair, shelf, find, mix.n_distractors + (kind == "refusal"), kind)
        draw.shuffle(chunk_ids)
    if kind == "refusal" and not chunk_ids:  # nothing else is on the shelf
        kind = "closed"
    answer = prompts.REFUSAL if kind == "refusal" or not pair["is_answerable"] else pair["answer"]
    return Example(
        pair["qa_id"],
        pair["paper_id"],
        pair["question"],
        answer,
        "refusal" if answer == prompts.REFUSAL else kind,
        tuple(chunk_ids),
        own if answer != prompts.REFUSAL else (),
    )


def _kind_of(is_answerable: bool, drawn_01: float, mix: Mix) -> str:
    if not is_answerable:  # asked of its own passages, which do not answer it
        return "passages"
    if drawn_01 < mix.refusal_01:
        return "refusal"
    return "closed" if drawn_01 < mix.refusal_01 + mix.closed_book_01 else "passages"


def _distractors(pair: dict[str, Any], shelf: Shelf, find: Find, n: int, kind: str) -> list[str]:
    """The chunks nearest to the question that are not its own; where they alone are shown, of other papers too."""
    found = [chunk_id for chunk_id in find(pair["question"], n + len(pair["chunk_ids"])) if chunk_id in shelf]
    if kind == "refusal":
        found = [chunk_id for chunk_id in found if shelf.paper_of(chunk_id) != pair["paper_id"]]
    return [chunk_id for chunk_id in found if chunk_id not in pair["chunk_ids"]][:n]


def _hash(seed: int, qa_id: str) -> str:
    return hashlib.sha256(f"{seed}\n{qa_id}".encode()).hexdigest()
