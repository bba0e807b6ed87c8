"""What a teacher is asked, what it replies and what becomes of the reply: to look at before hours are spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.tuning import prompts, qa_checks
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.qa_checks import QA
from jobs.tuning.teacher import Teacher, TeacherReply, TeacherRequest, read_pair


def preview(teacher: Teacher, requests: Sequence[TeacherRequest], is_prompted: bool) -> Iterator[str]:
    """Text on each request: the prompt (rules have none), the reply, the verdict. Asks the teacher; writes nothing."""
    shown = [one for one in requests if not gives_instructions(one.text)]
    replies = iter(teacher.write(shown))
    for number, request in enumerate(requests, start=1):
        yield f"--- {number} of {len(requests)}: {request.question_type}, by {teacher.name}, {teacher.prompt_version}"
        if request not in shown:
            yield f"passage: {request.text}\nverdict: instructions (the passage speaks to models, so none is shown it)"
            continue
        yield _prompt(request) if is_prompted else f"passage: {request.text}"
        reply = next(replies)
        yield f"reply: {reply.text if reply.text is not None else '(none)'}"
        yield f"verdict: {verdict(reply, request.text)}"


def verdict(reply: TeacherReply, chunk_text: str) -> str:
    """What curation's checks of a single pair say; it refuses more, such as what it has already."""
    read = read_pair(reply)
    if isinstance(read, str):
        return read
    reason = qa_checks.first_reason(QA(read.question, read.answer, read.evidence, chunk_text))
    repaired = ", after its JSON was repaired" if read.is_repaired else ""
    return f"{reason or 'kept'}{repaired}"


def _prompt(request: TeacherRequest) -> str:
    messages = prompts.teacher_messages(request.text, request.title, request.section, request.question_type)
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
