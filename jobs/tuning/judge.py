"""A judge: a chat model that gives pairs scores, and says which statements of an answer its passages support.

It reads what strangers and models wrote, between delimiters, and replies in JSON of a fixed form. Source of the scores:
the critics of Hugging Face's cookbook on RAG evaluation; of the statements: Es et al. 2023, arXiv:2309.15217.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.core.config import Settings, setting
from jobs.core.errors import UsageError
from jobs.tuning import chat, judge_file, openai_chat, prompts, transformers_chat
from jobs.tuning.chat import CHATS, ChatPrompt, ChatReply, ChatSettings
from jobs.tuning.judge_file import ANSWERS, CHECK, PAIRS, SPLIT
from jobs.tuning.prompts import ANSWERABLE, MOST_STATEMENTS, SCORES, STATEMENT_CHARS, UNANSWERABLE, VERDICT_NAMES
from jobs.tuning.verdicts import Case, Verdict

NONE, ROLE = "none", "judge"
# Of the verdict on an answer.
N_STATEMENTS, N_SUPPORTED = "statements", "supported"


@dataclass(frozen=True)
class JudgeConfig:
    """Settings of a stage that may ask a judge. What the prompts file says is part of the key, its path is not."""

    judge: str = setting(
        NONE, "a model that checks pairs and answers: none, transformers, or openai (a server)", affects_rows=True
    )
    judge_model: str | None = setting(
        None,
        "the judge's model: a folder, or a name on the Hub or the server; NAME@REVISION pins it",
        affects_rows=True,
    )
    judge_url: str | None = setting(None, "address of the judge's server: http://127.0.0.1:8000/v1")
    judge_prompts: str = setting(
        judge_file.BUILT_IN, "what a judge is asked: judge, or your own YAML file (a copy of judge.yaml)"
    )
    judge_prompt_version: str = setting(
        "", "name and hash of what the judge is asked here; follows from `judge_prompts`", affects_rows=True
    )
    judge_batch: int = setting(8, "what a judge is asked at once; what a kill may cost")
    judge_concurrency: int = setting(8, "requests to the judge's server at the same time")
    judge_max_tokens: int = setting(700, "most tokens of a judge's reply", affects_rows=True)
    judge_timeout_s: float = setting(120.0, "seconds that the judge's server may take for one reply")
    judge_4bit: bool = setting(False, "load the judge's weights as NF4 (needs a GPU)", affects_rows=True)
    device: str = setting("auto", "where models run: auto (a GPU if there is one), cpu, or cuda:N")

    @property
    def has_judge(self) -> bool:
        """Whether a judge is asked at all."""
        return self.judge != NONE


def derive(values: Settings, section: str) -> dict[str, tuple[Any, str]]:
    """The version of a section of the prompts. Raises UsageError now, not later, for a judge that lacks something."""
    kind, model = values["judge"], values["judge_model"]
    if kind == NONE:
        return {"judge_prompt_version": ("", "judge none")}
    if kind not in CHATS:
        raise UsageError(f"judge {kind!r} is unknown. Expected one of: {NONE}, {', '.join(sorted(CHATS))}.")
    if kind == "transformers":
        transformers_chat.source_of(model, ROLE)
    if kind == "openai":
        openai_chat.address_of(values["judge_url"], model, ROLE)
    path = judge_file.path_of(values["judge_prompts"])
    return {"judge_prompt_version": (judge_file.load(values["judge_prompts"]).version(section), f"prompts {path}")}


class Judge:
    """See the module. `name` carries the model's revision."""

    def __init__(self, config: JudgeConfig) -> None:
        """The model is loaded when it is first asked. Raises UsageError for a setting that it lacks."""
        self._model = chat.load_chat(config.judge, _settings(config))
        self._file = judge_file.load(config.judge_prompts)
        self._version = config.judge_prompt_version
        self._path = judge_file.path_of(config.judge_prompts)
        self.name = self._model.name

    def version(self, section: str) -> str:
        """Of the prompts. Raises UsageError if their file was changed since the stage began."""
        if (version := self._file.version(section)) != self._version:
            raise UsageError(
                f"{self._path} is {version} by now, the stage began with {self._version}. Expected no change while it "
                "runs: start it again, verdicts are kept."
            )
        return version

    def on_pairs(self, cases: Sequence[Case]) -> list[Verdict]:
        """Scores of 1 to 5: supported or unanswered, and standalone."""
        replies = self._model.reply([self._about_pair(case) for case in cases])
        return [
            self._verdict(PAIRS, case, _scores(reply, VERDICT_NAMES[_kind(case)]))
            for case, reply in zip(cases, replies, strict=True)
        ]

    def on_answers(self, cases: Sequence[Case]) -> list[Verdict]:
        """How many statements each answer makes, and how many of them its passages support."""
        listed = [_statements(reply) for reply in self._model.reply([self._about_answer(case) for case in cases])]
        asked = [(case, found) for case, found in zip(cases, listed, strict=True) if isinstance(found, list) and found]
        checked = iter(self._model.reply([self._about_statements(*one) for one in asked]))
        read = [_support(found, checked) for found in listed]
        return [self._verdict(ANSWERS, case, scores) for case, scores in zip(cases, read, strict=True)]

    def _verdict(self, section: str, case: Case, found: dict[str, float] | str) -> Verdict:
        known = (case.qa_id, case.asked_hash, self.name, self._file.version(section))
        return Verdict(*known, found, {}) if isinstance(found, str) else Verdict(*known, None, found)

    def _about_pair(self, case: Case) -> ChatPrompt:
        names = VERDICT_NAMES[_kind(case)]
        shape = ", ".join(f'"{name}": 1 to {SCORES[-1]}' for name in names)
        answer = case.answer if case.is_answerable else ""
        instruction = self._file.texts[PAIRS][_kind(case)]
        messages = prompts.judge_messages(
            instruction, f"{{{shape}}}", case.passages, question=case.question, answer=answer
        )
        return ChatPrompt(messages, prompts.verdict_schema(names), _seed(case))

    def _about_answer(self, case: Case) -> ChatPrompt:
        messages = prompts.judge_messages(
            self._file.texts[ANSWERS][SPLIT], '{"statements": ["...", ...]}', question=case.question, answer=case.answer
        )
        return ChatPrompt(messages, prompts.statements_schema(), _seed(case))

    def _about_statements(self, case: Case, statements: Sequence[str]) -> ChatPrompt:
        names = prompts.check_names(len(statements))
        shape = ", ".join(f'"{name}": true or false' for name in names)
        messages = prompts.judge_messages(
            self._file.texts[ANSWERS][CHECK], f"{{{shape}}}", case.passages, statements=statements
        )
        return ChatPrompt(messages, prompts.checks_schema(len(statements)), _seed(case))


def _settings(config: JudgeConfig) -> ChatSettings:
    return ChatSettings(
        model=config.judge_model,
        url=config.judge_url,
        batch_size=config.judge_batch,
        concurrency=config.judge_concurrency,
        max_new_tokens=config.judge_max_tokens,
        timeout_s=config.judge_timeout_s,
        quantize=config.judge_4bit,
        device=config.device,
        role=ROLE,
    )


def _kind(case: Case) -> str:
    return ANSWERABLE if case.is_answerable else UNANSWERABLE


def _seed(case: Case) -> int:
    return int(case.asked_hash[:8], 16) >> 1  # servers take 31 bits


def _scores(reply: ChatReply, names: Sequence[str]) -> dict[str, float] | str:
    """The scores of a reply, or the reason why it is no verdict."""
    read = chat.read_object(reply, names)
    if isinstance(read, str):
        return read
    found = {name: score for name in names if (score := _score(read[name])) is not None}
    return found if len(found) == len(names) else chat.MALFORMED


def _score(value: Any) -> float | None:
    """A score that is one of 1 to 5; a server that knows no schema may write it as text."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    return float(value) if value in SCORES and not isinstance(value, bool) else None


def _statements(reply: ChatReply) -> list[str] | str:
    read = chat.read_object(reply, ["statements"])
    if isinstance(read, str):
        return read
    found = read["statements"]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        return chat.MALFORMED
    return [one.strip()[:STATEMENT_CHARS] for one in found if one.strip()][:MOST_STATEMENTS]


def _support(statements: list[str] | str, checked: Iterator[ChatReply]) -> dict[str, float] | str:
    """What the next reply says of these statements; of none nothing was asked, and nothing is supported or not."""
    if isinstance(statements, str):
        return statements
    if not statements:
        return {N_STATEMENTS: 0.0, N_SUPPORTED: 0.0}
    names = prompts.check_names(len(statements))
    read = chat.read_object(next(checked), names)
    if isinstance(read, str):
        return read
    found = [read[name] for name in names]
    if not all(isinstance(one, bool) for one in found):
        return chat.MALFORMED
    return {N_STATEMENTS: float(len(found)), N_SUPPORTED: float(sum(found))}
