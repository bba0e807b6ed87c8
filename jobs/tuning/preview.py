"""What a teacher is asked, what it replies and what becomes of the reply: to look at before hours are spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.tuning import prompts, qa_checks
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.prompt_file import PromptFile
from jobs.tuning.prompts import UNANSWERABLE
from jobs.tuning.qa_checks import QA
from jobs.tuning.teacher import Teacher, TeacherReply, TeacherRequest, read_pair


def preview(teacher: Teacher, requests: Sequence[TeacherRequest], file: PromptFile | None) -> Iterator[str]:
    """Text on each request: the prompt (rules have none), the reply, the verdict. Asks the teacher; writes nothing."""
    shown = [one for one in requests if not any(gives_instructions(passage.text) for passage in one.passages)]
    replies = iter(teacher.write(shown))
    for number, request in enumerate(requests, start=1):
        yield f"--- {number} of {len(requests)}: {request.question_type}, by {teacher.name}, {teacher.prompt_version}"
        if request not in shown:
            yield f"{_passages(request)}\nverdict: instructions (the passage speaks to models, so none is shown it)"
            continue
        yield _passages(request) if file is None else _prompt(request, file)
        reply = next(replies)
        yield f"reply: {_shown(reply.text)}"
        yield f"verdict: {verdict(reply, request)}"


def verdict(reply: TeacherReply, request: TeacherRequest) -> str:
    """What curation's checks of a single pair say; it refuses more, such as what it has already."""
    read = read_pair(reply, request.form)
    if isinstance(read, str):
        return read
    quotes = (read.evidence, read.second_evidence)
    pairs = [
        QA(read.question, read.answer, quote, passage.text, request.form != UNANSWERABLE)
        for quote, passage in zip(quotes, request.passages, strict=False)
    ]
    reason = next((reason for pair in pairs if (reason := qa_checks.first_reason(pair))), None)
    repaired = ", after its JSON was repaired" if read.is_repaired else ""
    return f"{reason or 'kept'}{repaired}"


def _shown(text: str | None) -> str:
    """A reply as a terminal can show it: half a pair of surrogates has no UTF-8."""
    return "(none)" if text is None else text.encode("utf-8", "backslashreplace").decode()


def _passages(request: TeacherRequest) -> str:
    return "\n".join(f"passage: {passage.text}" for passage in request.passages)


def _prompt(request: TeacherRequest, file: PromptFile) -> str:
    messages = prompts.teacher_messages(file, request.question_type, request.passages)
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
