"""Who writes question-answer pairs: one protocol, three kinds, chosen by name.

`extractive` are rules, `transformers` and `openai` chat models (`chat.py`). Each gives raw JSON text; what a reply is
worth is decided here, in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobs.core.errors import UsageError
from jobs.tuning import chat, prompt_file, prompts
from jobs.tuning.chat import Chat, ChatPrompt, ChatReply, ChatSettings
from jobs.tuning.prompt_file import PromptFile
from jobs.tuning.prompts import FORMS, ONE_PASSAGE, REFUSAL, UNANSWERABLE, PassageText

# A JSON escape that TeX never meant: "\beta" is a backspace and "eta" to a JSON parser.
_EATEN = {"\x07": r"\a", "\x08": r"\b", "\x0b": r"\v", "\x0c": r"\f", "\r": r"\r", "\t": r"\t", "\n": r"\n"}
_EATEN_ESCAPE = re.compile("[\x07\x08\x0b\x0c\r\t\n](?=[A-Za-z])")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")  # no file holds the halves of a pair, and C ends at a NUL
_TEX_WORD = re.compile(
    r"a(?:lpha|pprox)|b(?:eta|ar|f|egin|ig|m|ot|reve)|t(?:ext|extbf|extit|au|an|anh|heta|ilde|imes|o|op)"
    r"|n(?:abla|e|eg|eq|u|ot|otin)|f(?:rac|orall|lat)|r(?:ho|ight|ightarrow|m)|v(?:arepsilon|arphi|ec|ee)"
)


@dataclass(frozen=True)
class TeacherRequest:
    """One pair that a teacher is asked for. `seed` depends on what is asked alone; `second` is a second passage."""

    text: str
    title: str
    section: str
    question_type: str
    seed: int
    form: str = ONE_PASSAGE
    second: PassageText | None = None

    @property
    def passages(self) -> tuple[PassageText, ...]:
        """What the prompt shows, in the order of their numbers."""
        first = PassageText(self.title, self.section, self.text)
        return (first,) if self.second is None else (first, self.second)


@dataclass(frozen=True)
class TeacherReply(ChatReply):
    """A reply whose `reason`, if there is no text, is one of `drafts`."""


@dataclass(frozen=True)
class Pair:
    """What a reply says, blanks at the ends removed. `is_repaired`: its JSON had to be mended.

    `second_evidence` quotes the second of two passages. A question that no passage answers has no evidence, and REFUSAL
    for its answer.
    """

    question: str
    answer: str
    evidence: str
    is_repaired: bool = False
    second_evidence: str = ""


@dataclass(frozen=True)
class TeacherSettings(ChatSettings):
    """What a teacher needs to know; each kind reads its own."""

    prompts: PromptFile = field(default_factory=prompt_file.built_in)


class Teacher(Protocol):
    """Anything that writes pairs. `name` carries its revision; `prompt_version` names what it is asked with."""

    name: str
    prompt_version: str

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
        """One reply a request, in order. Deterministic for equal requests as far as the kind can be."""


class ModelTeacher:
    """A teacher that is a chat model, asked with the prompts of a file."""

    def __init__(self, model: Chat, file: PromptFile) -> None:
        self.name = model.name
        self.prompt_version = file.version
        self._model = model
        self._file = file

    def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
        """One reply a request, in order. Raises UsageError where a server refuses key, model or address."""
        return [_of_chat(reply) for reply in self._model.reply([self._prompt(request) for request in requests])]

    def _prompt(self, request: TeacherRequest) -> ChatPrompt:
        messages = prompts.teacher_messages(self._file, request.question_type, request.passages)
        return ChatPrompt(messages, FORMS[request.form].schema, request.seed)


def _of_chat(reply: ChatReply) -> TeacherReply:
    reason = "teacher_failed" if reply.reason == chat.FAILED else reply.reason
    return TeacherReply(**vars(reply) | {"reason": reason})


def load_teacher(kind: str, settings: TeacherSettings) -> Teacher:
    """The teacher of that kind. Raises UsageError for an unknown kind or a setting that it lacks."""
    if kind not in TEACHERS:
        raise UsageError(f"teacher {kind!r} is unknown. Expected one of: {', '.join(sorted(TEACHERS))}.")
    return TEACHERS[kind](settings)


def read_pair(reply: TeacherReply, form: str = ONE_PASSAGE) -> Pair | str:
    """The pair of a reply of that form, or the reason why it is none."""
    read = chat.read_json(reply)
    if isinstance(read, str):
        return read
    content, is_repaired = read
    names = tuple(FORMS[form].schema["properties"])
    fields = [content.get(name) for name in names] if isinstance(content, dict) else []
    words = [restore_tex(field).strip() for field in fields if isinstance(field, str)]
    if len(words) != len(names) or not all(words) or any(map(_NO_TEXT.search, words)):
        return "malformed"
    if form == UNANSWERABLE:
        return Pair(words[0], REFUSAL, "", is_repaired)
    question, answer, evidence, *others = words
    return Pair(question, answer, evidence, is_repaired, *others)


def restore_tex(text: str) -> str:
    """Give back the backslashes that JSON took from TeX commands; a newline or tab before another word is a blank."""

    def restore(match: re.Match[str]) -> str:
        letter = _EATEN[match[0]]
        word = re.match(r"[A-Za-z]+", text[match.end() :])
        is_tex = word is not None and _TEX_WORD.fullmatch(letter[1] + word[0]) is not None
        return letter if is_tex or match[0] in "\x07\x08\x0b\x0c" else " "

    return _EATEN_ESCAPE.sub(restore, text)


def _extractive(_settings: TeacherSettings) -> Teacher:
    from jobs.tuning.extractive import ExtractiveTeacher

    return ExtractiveTeacher()


def _of_kind(kind: str) -> Callable[[TeacherSettings], Teacher]:
    return lambda settings: ModelTeacher(chat.load_chat(kind, settings), settings.prompts)


TEACHERS: dict[str, Callable[[TeacherSettings], Teacher]] = {
    "extractive": _extractive,
    "transformers": _of_kind("transformers"),
    "openai": _of_kind("openai"),
}
