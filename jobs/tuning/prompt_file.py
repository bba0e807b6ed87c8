"""What a teacher is asked: wording, examples and mix of question types, from a YAML file that anyone can copy.

`jobs/prompts/default.yaml` explains the form. What does not fit it is refused with file, key and value, before any
teacher is asked. `prompts.py` builds the messages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.errors import UsageError
from jobs.tuning import qa_checks, yaml_file
from jobs.tuning.prompts import FORMS, ONE_PASSAGE, PASSAGE_CHARS, REFUSAL, UNANSWERABLE, PassageText
from jobs.tuning.qa_checks import QA
from jobs.tuning.yaml_file import NAME, Place

BUILT_IN = "default"
KIND = "{kind}"
MOST_EXAMPLES = 8
MOST_UNANSWERABLE_01 = 0.1  # of all weights
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class QuestionType:
    """A type of question: `kind` says in the prompt what is asked for, `weight` how often, `form` how it is asked."""

    name: str
    kind: str
    weight: float
    form: str = ONE_PASSAGE


@dataclass(frozen=True)
class Example:
    """A question of a type that a teacher is shown; `evidence` has a quote a passage, none if it is unanswerable."""

    question_type: str
    passages: tuple[PassageText, ...]
    question: str
    answer: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Wording:
    """How a form of question is asked for: an instruction with KIND in it, and examples."""

    instruction: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class PromptFile:
    """See the module. `forms` by name of `prompts.FORMS`, `types` by their own names in the file's order."""

    name: str
    forms: dict[str, Wording]
    types: dict[str, QuestionType]

    @property
    def version(self) -> str:
        """Name, and a hash of all that a teacher reads: rows that it made carry it. Weights are not read."""
        told = [
            {name: [form.instruction, [vars(one) for one in form.examples]] for name, form in self.forms.items()},
            {one.name: [one.form, one.kind] for one in self.types.values()},
            {name: form.schema for name, form in FORMS.items()},
        ]
        return f"{self.name}@{durable.sha256_bytes(durable.canonical_json(_plain(told)))[:12]}"

    def mix(self, names: Sequence[str] = ()) -> dict[str, QuestionType]:
        """The types that are asked for, in the file's order: these, or those whose weight is not 0.

        Raises UsageError for a name that is not in the file, or whose weight is 0.
        """
        asked = {name: one for name, one in self.types.items() if one.weight}
        if wrong := sorted(set(names) - asked.keys()):
            raise UsageError(
                f"question_types has {', '.join(wrong)}, which the prompts {self.name!r} lack or never ask for "
                f"(weight 0). Expected some of: {', '.join(asked)}."
            )
        return {name: one for name, one in asked.items() if name in names or not names}


def load(name: str) -> PromptFile:
    """The prompts of a built-in file by its name, or of a YAML file by its path. Raises UsageError."""
    path = path_of(name)
    return _read(path, path.read_bytes())


def path_of(name: str) -> Path:
    """The file that a name or a path means; relative paths begin at the repository. Raises UsageError if none is."""
    return yaml_file.path_of("prompts", name, BUILT_IN)


@functools.cache
def built_in() -> PromptFile:
    """The prompts that the house brings along."""
    return load(BUILT_IN)


@functools.lru_cache(maxsize=8)
def _read(path: Path, content: bytes) -> PromptFile:
    """Read once a content, since every stage of a run resolves its settings."""
    root = yaml_file.read(path, content, BUILT_IN).fields("name", "forms", "types")
    name = root["name"].matching(NAME, "a name of small letters, digits, - and _")
    types = {key: _type_of(key, place) for key, place in root["types"].named().items()}
    forms = {key: _wording_of(key, place, types) for key, place in root["forms"].named(FORMS).items()}
    _check_mix(root["types"], types, forms)
    return PromptFile(name, forms, types)


def _type_of(name: str, place: Place) -> QuestionType:
    found = place.fields("weight", "kind", may=("form",))
    weight = found["weight"].value
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e9:
        raise found["weight"].refuse("a number from 0, as large as the type is often asked for")
    form = found["form"].value if "form" in found else ONE_PASSAGE
    if form not in FORMS:
        raise found["form"].refuse(f"one of {', '.join(FORMS)}")
    return QuestionType(name, found["kind"].text(), float(weight), form)


def _wording_of(form: str, place: Place, types: dict[str, QuestionType]) -> Wording:
    found = place.fields("instruction", "examples")
    instruction = found["instruction"].text()
    if others := sorted(set(_PLACEHOLDER.findall(instruction)) - {KIND}):
        raise UsageError(f"{place.path}: {found['instruction'].key} has {', '.join(others)}. Expected {KIND} alone.")
    if instruction.count(KIND) != 1:
        raise found["instruction"].refuse(f"a text with {KIND} once, where the type's own words go")
    examples = found["examples"].items(1, MOST_EXAMPLES)
    return Wording(instruction, tuple(_example_of(form, one, types) for one in examples))


def _example_of(form: str, place: Place, types: dict[str, QuestionType]) -> Example:
    answered = () if form == UNANSWERABLE else ("answer", "evidence")
    found = place.fields("type", "passages", "question", *answered)
    question_type = found["type"].value
    if question_type not in types or types[question_type].form != form:
        fitting = [name for name, one in types.items() if one.form == form]
        raise found["type"].refuse(f"a type of the form {form}: {', '.join(fitting) or 'there is none'}")
    n = FORMS[form].n_passages
    passages = tuple(_passage_of(one) for one in found["passages"].items(n, n))
    answer = found["answer"].text() if answered else REFUSAL
    quotes = tuple(one.text() for one in found["evidence"].items(n, n)) if answered else ()
    made = Example(question_type, passages, found["question"].text(), answer, quotes)
    _check_example(place, made)
    return made


def _passage_of(place: Place) -> PassageText:
    found = place.fields("text", may=("title", "section"))
    title, section = (found[name].text() if name in found else "" for name in ("title", "section"))
    text = found["text"].text()
    if len(text) > PASSAGE_CHARS:
        raise found["text"].refuse(f"at most {PASSAGE_CHARS:,} characters, it has {len(text):,}")
    return PassageText(title, section, text)


def _check_example(place: Place, example: Example) -> None:
    """An example that our own checks refuse would teach to be refused."""
    for passage, quote in zip(example.passages, example.evidence or ("",), strict=True):
        pair = QA(example.question, example.answer, quote, passage.text, bool(example.evidence))
        if reason := qa_checks.first_reason(pair):
            meaning = qa_checks.meaning_of(reason)
            raise UsageError(
                f"{place.path}: {place.key} would be refused as a pair, {reason}: {meaning}. Question "
                f"{example.question!r}, evidence {quote!r}. Expected an example that passes every check."
            )


def _check_mix(place: Place, types: dict[str, QuestionType], forms: dict[str, Wording]) -> None:
    total = sum(one.weight for one in types.values())
    if not total:
        raise UsageError(f"{place.path}: all weights of {place.key} are 0. Expected one above 0 at least.")
    for one in types.values():
        if one.form not in forms:
            raise UsageError(
                f"{place.path}: {place.key}.{one.name} has the form {one.form}. Expected forms.{one.form}."
            )
    share_01 = sum(one.weight for one in types.values() if one.form == UNANSWERABLE) / total
    if share_01 > MOST_UNANSWERABLE_01 + 1e-9:
        raise UsageError(
            f"{place.path}: the types of the form {UNANSWERABLE} have {share_01:.1%} of all weights. Expected at most "
            f"{MOST_UNANSWERABLE_01:.0%}: lower their weight."
        )


def _plain(value: Any) -> Any:
    """Dataclasses as mappings, for the hash."""
    if isinstance(value, PassageText):
        return vars(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
