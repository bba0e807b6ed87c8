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
from jobs.tuning.clauses import Clause, parse
from jobs.tuning.introductions import Written, abbreviations, introductions
from jobs.tuning.prompts import ONE_PASSAGE, UNANSWERABLE
from jobs.tuning.question_rules import BEST_FIRST, RULES, of_sentence
from jobs.tuning.standalone import Sentence, fronted, standalone_sentences, without_aside
from jobs.tuning.teacher import TeacherReply, TeacherRequest

REVISION = 4  # grows with every change of a rule
MAX_QUESTION_CHARS = 160
DEFINITION = "definition"


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
    found = [*((DEFINITION, one) for one in introductions(text)), *_candidates(text)]
    chosen: dict[str, Written] = {}
    used: set[str] = set()
    for question_type in BEST_FIRST:
        for kind, pair in found:
            if kind == question_type and not {pair.question, pair.raw} & used:
                used |= {pair.question, pair.raw}
                chosen[kind] = pair
                break
    if not chosen and (spelt := next(abbreviations(text), None)):  # the least that a passage teaches
        chosen[DEFINITION] = spelt
    return {
        kind: {"question": pair.question, "answer": pair.answer, "evidence": pair.raw} for kind, pair in chosen.items()
    }


def _reply(pair: dict[str, str] | None) -> TeacherReply:
    return TeacherReply(None, "no_pair") if pair is None else TeacherReply(json.dumps(pair, ensure_ascii=False))


def clauses_of(text: str) -> list[Clause]:
    """The main clauses of a passage's sentences that stand alone."""
    return [clause for sentence in standalone_sentences(text) if (clause := _main_clause(sentence, text)[1])]


def _main_clause(sentence: Sentence, text: str) -> tuple[str, Clause | None]:
    """What stands before the main clause, and the clause."""
    front, main = fronted(sentence.clean)
    return front, parse(without_aside(main), text)


def _candidates(text: str) -> Iterator[tuple[str, Written]]:
    """Types and pairs of the sentences that are whole answers."""
    for sentence in standalone_sentences(text):
        for kind, question in _asked(sentence, text):
            if len(question) <= MAX_QUESTION_CHARS:
                yield kind, Written(question, sentence.answer, sentence.raw)


def _asked(sentence: Sentence, text: str) -> Iterator[tuple[str, str]]:
    yield from of_sentence(sentence.clean, text)
    front, clause = _main_clause(sentence, text)
    if clause is None:
        return
    for kind, rule in RULES:
        if (question := rule(clause)) is not None:
            yield kind, f"{front}, {question[0].lower()}{question[1:]}" if front else question
