"""A teacher made of rules: it finds a sentence that says something by itself, and asks for it.

The baseline that a model must beat. Better no pair than a bad one: most sentences give none. Idea of asking for a
sentence by its form: Heilman and Smith 2010, "Good question! Statistical ranking for question generation". What a
passage does not answer is in `unasked`. Of two passages it asks nothing: a rule that joins what both say of one named
thing gave no pair in 250 chunks of the sample's notes and 4 in 1,750 of real papers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence

from jobs.tuning import unasked
from jobs.tuning.clauses import Clause, Sentence, fronted, parse, standalone_sentences, without_aside
from jobs.tuning.prompts import ONE_PASSAGE, UNANSWERABLE
from jobs.tuning.question_rules import BEST_FIRST, RULES, of_sentence
from jobs.tuning.teacher import TeacherReply, TeacherRequest

REVISION = 3  # grows with every change of a rule
MAX_QUESTION_CHARS = 160


class ExtractiveTeacher:
    """See the module. Deterministic: the same passage gives the same pairs."""

    name = f"extractive@{REVISION}"
    prompt_version = f"rules@{REVISION}"

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
        """A pair of the type asked for, where the passage has a sentence for it."""
        return [_reply(_fields(request)) for request in requests]


def _fields(request: TeacherRequest) -> dict[str, str] | None:
    if request.form == UNANSWERABLE:
        question = unasked.question_of(clauses_of(request.text), request.text)
        return None if question is None else {"question": question}
    return pairs_of(request.text).get(request.question_type) if request.form == ONE_PASSAGE else None


@functools.lru_cache(maxsize=64)
def pairs_of(text: str) -> dict[str, dict[str, str]]:
    """The best pair of each type that a passage gives; no sentence and no question is used twice."""
    found = list(_candidates(text))
    chosen: dict[str, dict[str, str]] = {}
    used: set[str] = set()
    for question_type in BEST_FIRST:
        for kind, question, sentence in found:
            if kind == question_type and not {question, sentence.raw} & used:
                used |= {question, sentence.raw}
                chosen[kind] = {"question": question, "answer": sentence.answer, "evidence": sentence.raw}
                break
    return chosen


def _reply(pair: dict[str, str] | None) -> TeacherReply:
    return TeacherReply(None, "no_pair") if pair is None else TeacherReply(json.dumps(pair, ensure_ascii=False))


def clauses_of(text: str) -> list[Clause]:
    """The main clauses of a passage's sentences that stand alone."""
    return [clause for sentence in standalone_sentences(text) if (clause := _main_clause(sentence, text)[1])]


def _main_clause(sentence: Sentence, text: str) -> tuple[str, Clause | None]:
    """What stands before the main clause, and the clause."""
    front, main = fronted(sentence.clean)
    return front, parse(without_aside(main), text)


def _candidates(text: str) -> Iterator[tuple[str, str, Sentence]]:
    for sentence in standalone_sentences(text):
        for kind, question in of_sentence(sentence.clean, text):
            yield kind, question, sentence
        front, clause = _main_clause(sentence, text)
        if clause is None:
            continue
        for kind, rule in RULES:
            found = rule(clause)
            if found is not None and len(found) <= MAX_QUESTION_CHARS:
                yield kind, f"{front}, {found[0].lower()}{found[1:]}" if front else found, sentence
