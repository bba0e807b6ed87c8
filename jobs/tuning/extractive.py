"""A teacher made of rules: it finds a sentence that says something by itself, and asks for it.

The baseline that a model must beat. Better no pair than a bad one: most sentences give none. Idea of asking for a
sentence by its form: Heilman and Smith 2010, "Good question! Statistical ranking for question generation".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence

from jobs.tuning.clauses import Sentence, fronted, parse, standalone_sentences, without_aside
from jobs.tuning.question_rules import BEST_FIRST, RULES, of_sentence
from jobs.tuning.teacher import TeacherReply, TeacherRequest

REVISION = 2  # grows with every change of a rule
MAX_QUESTION_CHARS = 160


class ExtractiveTeacher:
    """See the module. Deterministic: the same passage gives the same pairs."""

    name = f"extractive@{REVISION}"
    prompt_version = f"rules@{REVISION}"

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
        """A pair of the type asked for, where the passage has a sentence for it."""
        return [_reply(pairs_of(request.text).get(request.question_type)) for request in requests]


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


def _candidates(text: str) -> Iterator[tuple[str, str, Sentence]]:
    for sentence in standalone_sentences(text):
        for kind, question in of_sentence(sentence.clean, text):
            yield kind, question, sentence
        front, main = fronted(sentence.clean)
        clause = parse(without_aside(main), text)
        if clause is None:
            continue
        for kind, rule in RULES:
            found = rule(clause)
            if found is not None and len(found) <= MAX_QUESTION_CHARS:
                yield kind, f"{front}, {found[0].lower()}{found[1:]}" if front else found, sentence
