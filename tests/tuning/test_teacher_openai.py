"""The teacher behind HTTP, against a server that answers with rubbish."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from jobs.core.errors import UsageError
from jobs.tuning.openai_chat import MAX_BODY_BYTES, OpenAIChat, formats
from jobs.tuning.prompts import FORMS, ONE_PASSAGE, TWO_PASSAGES, UNANSWERABLE, PassageText
from jobs.tuning.teacher import ModelTeacher, Pair, TeacherRequest, TeacherSettings, load_teacher, read_pair
from tests.tuning.fake_openai import PAIR, Answer, FakeServer, completion, says, send, serving
from tests.tuning.rubbish import GOOD, KINDS, LLAMA_CPP, OLLAMA, VLLM

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

REQUEST = TeacherRequest("A bucket tips after every 0.2 mm of rain.", "Rain", "Gauges", "method", seed=7)


def teacher_at(fake: FakeServer, waits: list[float] | None = None, **settings: object) -> ModelTeacher:
    known = {"model": "toy", "url": fake.url, "timeout_s": 5.0, "tries": 3, **settings}
    settings_of = TeacherSettings(**known)
    return ModelTeacher(OpenAIChat(settings_of, (waits if waits is not None else []).append), settings_of.prompts)


def outcome(*answers: Answer, **settings: object) -> Pair | str:
    with serving(*answers) as fake:
        (reply,) = teacher_at(fake, **settings).write([REQUEST])
    return read_pair(reply)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.hangs])
def test_each_kind_of_rubbish_ends_as_a_pair_or_its_reason(name: str) -> None:
    found = outcome(KINDS[name].answer)
    assert (found if isinstance(found, str) else "pair") == KINDS[name].ends_as
    if isinstance(found, Pair):
        assert (found.question, found.is_repaired) == (PAIR["question"], KINDS[name].is_repaired)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.hangs])
def test_server_that_never_ends_is_left_at_the_deadline(name: str) -> None:
    begun_at = time.monotonic()
    assert outcome(KINDS[name].answer, timeout_s=0.2, tries=1) == "teacher_failed"
    assert time.monotonic() - begun_at < 10.0, "600 bytes at 0.05 s each, or half a minute of silence"


def test_good_reply_is_a_pair() -> None:
    assert outcome(says(GOOD)) == Pair(**PAIR)


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


def test_question_that_is_refused_in_every_form_weakens_no_other() -> None:
    too_long = [send(b"too long", 400)] * len(formats(FORMS[ONE_PASSAGE].schema))
    with serving(*too_long, says(GOOD)) as fake:
        teacher = teacher_at(fake)
        replies = [*teacher.write([REQUEST]), *teacher.write([REQUEST])]
    assert [read_pair(reply) for reply in replies] == ["malformed", Pair(**PAIR)]
    assert fake.asked[-1].get("response_format") == formats(FORMS[ONE_PASSAGE].schema)[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_and_its_target_never_sees_the_key(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_ARXIV_TEACHER_KEY", "secret")
    with serving(says(GOOD)) as other:
        there = f"{other.url}/chat/completions"
        with serving(send(b"", status, {"location": there})) as fake:
            (reply,) = teacher_at(fake).write([REQUEST])
    assert read_pair(reply) == "teacher_failed"
    assert (len(fake.asked), len(other.asked)) == (1, 0)


@pytest.mark.parametrize("name", ["10 MB", "without end", "headers without end", "a bomb of gzip"])
def test_no_answer_takes_more_than_some_megabytes(name: str) -> None:
    with serving(KINDS[name].answer) as fake:
        teacher = teacher_at(fake, tries=1)
        tracemalloc.start()
        try:
            teacher.write([REQUEST])
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < 4 * MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("body", "n_tokens"),
    [
        (VLLM, (412, 97)),
        (LLAMA_CPP, (398, 90)),
        (OLLAMA, (405, 88)),
        (completion(GOOD), (0, 0)),
        (completion(GOOD, usage=None), (0, 0)),
        (completion(GOOD, usage={"prompt_tokens": "412", "completion_tokens": -1}), (0, 0)),
        (completion(GOOD, usage={"prompt_tokens": 1e3, "completion_tokens": True}), (0, 0)),
        (completion(GOOD, usage={"prompt_tokens": 10**18, "completion_tokens": float("nan")}), (0, 0)),
    ],
)
def test_reply_in_a_servers_form_is_a_pair_with_its_tokens(body: bytes, n_tokens: tuple[int, int]) -> None:
    with serving(send(body)) as fake:
        (reply,) = teacher_at(fake).write([REQUEST])
    assert read_pair(reply) == Pair(**PAIR)
    assert (reply.n_prompt_tokens, reply.n_reply_tokens) == n_tokens


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
