"""The teacher behind HTTP, against a server that answers with rubbish."""

from __future__ import annotations

import json

import pytest

from jobs.core.errors import UsageError
from jobs.tuning.openai_chat import MAX_BODY_BYTES, OpenAIChat, formats
from jobs.tuning.prompts import FORMS, ONE_PASSAGE, TWO_PASSAGES, UNANSWERABLE, PassageText
from jobs.tuning.teacher import ModelTeacher, Pair, TeacherRequest, TeacherSettings, load_teacher, read_pair
from tests.tuning.fake_openai import PAIR, Answer, FakeServer, drips, hangs_up, says, send, serving

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

GOOD = json.dumps(PAIR)
REQUEST = TeacherRequest("A bucket tips after every 0.2 mm of rain.", "Rain", "Gauges", "method", seed=7)


def teacher_at(fake: FakeServer, waits: list[float] | None = None, **settings: object) -> ModelTeacher:
    known = {"model": "toy", "url": fake.url, "timeout_s": 5.0, "tries": 3, **settings}
    settings_of = TeacherSettings(**known)
    return ModelTeacher(OpenAIChat(settings_of, (waits if waits is not None else []).append), settings_of.prompts)


def outcome(*answers: Answer, **settings: object) -> Pair | str:
    with serving(*answers) as fake:
        (reply,) = teacher_at(fake, **settings).write([REQUEST])
    return read_pair(reply)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(GOOD[: len(GOOD) // 2], finish="length"), "truncated"),
        (says(""), "malformed"),
        (says(None), "malformed"),
        (says("I am sorry, but I cannot help with that."), "malformed"),
        (says(json.dumps({"question": "What?"})), "malformed"),
        (says(json.dumps([PAIR, PAIR])), "malformed"),
        (says(json.dumps(PAIR | {"answer": 42})), "malformed"),
        (says("x" * 30_000), "oversized"),
        (send(b"x" * (MAX_BODY_BYTES + 1)), "oversized"),
        (send(b"<html>502 Bad Gateway</html>"), "malformed"),
        (send(b'{"choices": []}'), "malformed"),
        (send(b"{}", status=422), "malformed"),
        (send(b"busy", status=429), "teacher_failed"),
        (send(b"oops", status=500), "teacher_failed"),
        (hangs_up, "teacher_failed"),
    ],
)
def test_rubbish_ends_as_its_reason(answer: Answer, expected: str) -> None:
    assert outcome(answer) == expected


def test_reply_that_drips_past_the_deadline_fails() -> None:
    assert outcome(drips, timeout_s=0.2, tries=1) == "teacher_failed"


def test_good_reply_is_a_pair() -> None:
    assert outcome(says(GOOD)) == Pair(**PAIR)


@pytest.mark.parametrize("text", [f"```json\n{GOOD}\n```", GOOD[:-1] + ",}", f"Here is the pair: {GOOD}"])
def test_broken_json_is_repaired_and_says_so(text: str) -> None:
    assert outcome(says(text)) == Pair(**PAIR, is_repaired=True)


def test_busy_server_is_asked_again_when_it_says() -> None:
    waits: list[float] = []
    with serving(send(b"", 429, {"retry-after": "7"}), send(b"", 503), says(GOOD)) as fake:
        (reply,) = teacher_at(fake, waits).write([REQUEST])
    assert isinstance(read_pair(reply), Pair)
    assert waits[0] == 7.0
    assert 1.0 <= waits[1] <= 3.0


def test_server_without_schemas_is_asked_for_json_then_in_words() -> None:
    with serving(send(b"", 400), send(b"", 400), says(GOOD)) as fake:
        teacher = teacher_at(fake)
        replies = [*teacher.write([REQUEST]), *teacher.write([REQUEST])]
    strict, json_alone, _ = formats(FORMS[ONE_PASSAGE].schema)
    assert [asked.get("response_format") for asked in fake.asked] == [strict, json_alone, None, None]
    assert [read_pair(reply) for reply in replies] == [Pair(**PAIR)] * 2


@pytest.mark.parametrize(
    ("form", "question_type", "second"),
    [(UNANSWERABLE, "unanswerable", None), (TWO_PASSAGES, "multi_chunk", PassageText("", "", "Snow is light."))],
)
def test_each_form_is_asked_for_with_its_passages_and_its_own_schema(
    form: str, question_type: str, second: PassageText | None
) -> None:
    request = TeacherRequest(REQUEST.text, "", "", question_type, 1, form, second)
    with serving(says(GOOD)) as fake:
        teacher_at(fake).write([request])
    (asked,) = fake.asked
    assert asked["response_format"]["json_schema"]["schema"] == FORMS[form].schema
    assert all(passage.text in asked["messages"][-1]["content"] for passage in request.passages)


def test_wrong_key_or_model_ends_the_job() -> None:
    with serving(send(b"", 401)) as fake, pytest.raises(UsageError, match="SPARK_ARXIV_TEACHER_KEY"):
        teacher_at(fake).write([REQUEST])


def test_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_ARXIV_TEACHER_KEY", "secret")
    with serving(says(GOOD)) as fake:
        teacher_at(fake).write([REQUEST])
    assert fake.keys == ["Bearer secret"]


def test_requests_at_once_are_bounded_and_replies_keep_their_order() -> None:
    with serving(says(GOOD, delay_s=0.05)) as fake:
        replies = teacher_at(fake, concurrency=3).write([REQUEST] * 9)
    assert len(replies) == 9
    assert 1 < fake.most_at_once <= 3


def test_same_request_is_sent_with_the_same_seed_and_no_temperature() -> None:
    with serving(says(GOOD)) as fake:
        teacher_at(fake).write([REQUEST, REQUEST])
    assert [(asked["seed"], asked["temperature"]) for asked in fake.asked] == [(7, 0)] * 2


@pytest.mark.parametrize(
    "settings", [{"model": "toy"}, {"url": "http://127.0.0.1/v1"}, {"model": "a", "url": "ftp://x"}]
)
def test_missing_setting_is_refused_with_a_sentence(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="Expected --teacher"):
        load_teacher("openai", TeacherSettings(**settings))
