"""The student in the app: what it is asked, what becomes of its words, and who waits."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jobs.serving import chat
from jobs.serving.rendering import escaped
from jobs.serving.replies import Ask, reply, whole
from jobs.serving.speaker import MAX_WAITING, Speaker
from jobs.serving.trial import smoke_answer
from jobs.tuning import prompts
from tests.conftest import new_lake
from tests.serving import house
from tests.serving.house import App, ToyStudent

pytestmark = pytest.mark.slow  # a toy student generates in most of them: a CPU second each

QUESTION = "What is NF4?"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    lake = new_lake(tmp_path_factory.mktemp("replies") / "lake")
    house.publish_release(lake)
    with house.running(lake.root) as running:
        yield running


@pytest.fixture
def app(running: App) -> Iterator[App]:
    """The app without a student; each test brings its own."""
    before = running.served.release
    yield running
    running.served._release = before


def said(app: App, student: ToyStudent, **fields: Any) -> dict[str, Any]:
    house.give_student(app.served, student)
    response = app.ask(QUESTION, **({"model": "student"} | fields))
    assert response.status_code == 200, response.text
    return response.json()


def text_of(body: dict[str, Any]) -> str:
    return body["choices"][0]["message"]["content"]


def test_student_answers_with_the_passage_that_it_names(app: App) -> None:
    body = said(app, ToyStudent())
    assert text_of(body) == "NF4 is a data type. [1]"
    assert body["supported"]
    assert [(one["n"], one["paper_id"]) for one in body["citations"]] == [(1, house.NF4["paper_id"])]
    assert body["citations"][0]["quote"] in " ".join(house.NF4["text"].split())


def test_student_reads_as_many_passages_as_in_training_in_its_own_prompt(app: App) -> None:
    student = ToyStudent()
    said(app, student)
    shown = [
        prompts.PassageText(one.title, one.section, one.text) for one in app.served.release.search(QUESTION).passages
    ]
    assert student.asked[0][0] == prompts.answer_messages(QUESTION, shown[:2], passage_chars=300)[0]["content"]


@pytest.mark.parametrize(("model", "with_adapter"), [("student", True), ("base", False)])
def test_base_is_the_student_without_its_adapter(app: App, model: str, with_adapter: bool) -> None:
    student = ToyStudent()
    said(app, student, model=model, temperature=0.7)
    assert student.asked[0][1:] == (with_adapter, 0.7)


def test_closed_book_answer_has_no_source_and_claims_none(app: App) -> None:
    student = ToyStudent()
    body = said(app, student, retrieval=False)
    assert (body["supported"], body["citations"]) == (False, [])
    assert "<passage" not in student.asked[0][0]


def test_student_is_asked_a_follow_up_with_the_question_that_it_goes_on_from(app: App) -> None:
    student = ToyStudent()
    conversation = [
        {"role": "user", "content": "What is BM25?"},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "A data type."},
        {"role": "user", "content": "And why is it used?"},
    ]
    said(app, student, messages=conversation)
    assert f"{QUESTION} And why is it used?" in student.asked[0][0]
    assert "What is BM25?" not in student.asked[0][0]


def test_page_answers_a_follow_up_as_the_api_does(app: App) -> None:
    conversation = [
        {"role": "user", "content": "What is BM25?"},
        {"role": "assistant", "content": "A ranking function. [1]"},
        {"role": "user", "content": "And who was it made by?"},
    ]
    *history, last = conversation
    by_api = text_of(app.ask("", messages=conversation).json())
    shown, _ = list(chat._replies(app.served, last["content"], history, "quoted"))[-1]
    assert "It was made by Robertson" in by_api
    assert shown.content == escaped(by_api)


def test_answer_that_names_no_passage_lists_those_it_was_shown(app: App) -> None:
    house.give_student(app.served, ToyStudent("It is a type."))
    answer = whole(reply(app.served.release, Ask(QUESTION, "student")))
    assert (answer.is_cited, [one.n for one in answer.citations]) == (False, [1, 2])


def test_mark_of_a_passage_that_was_not_shown_is_taken_out(app: App) -> None:
    assert text_of(said(app, ToyStudent("It is a type [7]", " of four bits [2]."))) == "It is a type of four bits [2]."


def test_students_refusal_is_not_supported(app: App) -> None:
    assert not said(app, ToyStudent(prompts.REFUSAL))["supported"]


def test_question_that_no_passage_answers_never_reaches_the_model(app: App) -> None:
    student = ToyStudent()
    house.give_student(app.served, student, min_support_01=1.1)
    body = app.ask(QUESTION, model="student").json()
    assert (body["supported"], student.asked) == (False, [])
    assert body["citations"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_length_asked_for_is_kept_within_the_releases(app: App, field: str) -> None:
    student = ToyStudent(*["word "] * 80)
    assert text_of(said(app, student, **{field: 3})) == "word word word"
    assert len(text_of(said(app, student, **{field: 70})).split()) == house.student_facts()["max_answer_tokens"]


@pytest.mark.parametrize(("max_tokens", "reason"), [(2, "length"), (3, "stop")])
def test_reply_says_whether_its_length_cut_it(app: App, max_tokens: int, reason: str) -> None:
    student = ToyStudent("one ", "two ", "three")
    assert said(app, student, max_tokens=max_tokens)["choices"][0]["finish_reason"] == reason
    streamed = app.ask(QUESTION, model="student", stream=True, max_tokens=max_tokens).text
    assert f'"finish_reason": "{reason}"' in streamed


def test_who_is_first_answers_where_no_model_is_named(app: App) -> None:
    house.give_student(app.served, ToyStudent(), serves=["student", "quoted", "base"])
    body = app.client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": QUESTION}]}).json()
    assert (body["model"], text_of(body)) == ("student", "NF4 is a data type. [1]")


def test_all_who_answer_are_listed(app: App) -> None:
    house.give_student(app.served, ToyStudent())
    assert [one["id"] for one in app.client.get("/v1/models").json()["data"]] == ["quoted", "student", "base"]


def test_stream_brings_the_pieces_as_they_come_and_then_the_sources(app: App) -> None:
    house.give_student(app.served, ToyStudent())
    response = app.ask(QUESTION, model="student", stream=True)
    *events, done = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert [delta.get("content") for delta in deltas] == ["NF4 ", "is a data type", ". [1]", None]
    assert [one["n"] for one in json.loads(events[-1])["citations"]] == [1]
    assert done == "[DONE]"


def test_reader_who_leaves_ends_the_generation(app: App) -> None:
    student = ToyStudent(*["word "] * 50, pause_s=0.05)
    house.give_student(app.served, student)
    body = {"model": "student", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    with httpx.stream("POST", f"{app.url}/v1/chat/completions", json=body, trust_env=False) as response:
        next(response.iter_text())
    house.wait_until(lambda: app.served.release.speaker.n_answers == 1)
    assert student.n_said < 25


def test_reader_who_leaves_before_the_whole_answer_ends_the_generation(app: App) -> None:
    student = ToyStudent(*["word "] * 50, pause_s=0.05)
    house.give_student(app.served, student)
    body = {"model": "student", "messages": [{"role": "user", "content": QUESTION}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{app.url}/v1/chat/completions", json=body, timeout=0.3, trust_env=False)
    house.wait_until(lambda: app.served.release.speaker.n_answers == 1)
    assert student.n_said < 25


def test_page_has_room_for_quotes_beside_all_who_wait_for_the_student() -> None:
    assert chat.AT_ONCE > MAX_WAITING + 1


def test_more_than_may_wait_are_told_to_come_back(app: App) -> None:
    release = house.give_student(app.served, ToyStudent(pause_s=0.05))
    asked = [reply(release, Ask(QUESTION, "student")) for _ in range(MAX_WAITING + 1)]
    refused = app.ask(QUESTION, model="student")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert refused.json()["error"]["code"] == "busy"
    assert app.ask(QUESTION, model="quoted").status_code == 200
    asked.clear()  # nobody ever asked these for a first piece
    assert app.ask(QUESTION, model="student").status_code == 200


def test_quoted_sentences_do_not_wait_for_the_student(app: App) -> None:
    house.give_student(app.served, ToyStudent(*["word "] * 40, pause_s=0.05))
    slow = threading.Thread(target=app.ask, args=(QUESTION,), kwargs={"model": "student"})
    slow.start()
    begun_at = time.monotonic()
    assert app.ask(QUESTION, model="quoted").status_code == 200
    assert time.monotonic() - begun_at < 1.5
    slow.join()


def test_memory_is_freed_after_the_last_reader() -> None:
    student = ToyStudent()
    speaker: Speaker | None = Speaker(student)  # type: ignore[arg-type]
    reading = speaker.say([{"role": "user", "content": "?"}], 5, threading.Event())
    next(reading)
    gone = weakref.ref(speaker)
    speaker = None
    gc.collect()
    assert (gone() is None, student.is_closed) == (False, False)
    reading.close()
    del reading
    gc.collect()
    assert (gone(), student.is_closed) == (None, True)


def test_answers_of_the_student_are_counted(app: App) -> None:
    said(app, ToyStudent())
    counted = app.client.get("/metrics").text
    for line in ("generation_seconds_count 1", "generated_tokens_total 3", "generations_waiting 0"):
        assert f"spark_arxiv_{line}\n" in counted


def test_student_that_answers_already_is_not_tried_again(app: App) -> None:
    """Readers may have taken all places: a new index must not be refused for that."""
    student = ToyStudent(pause_s=0.05)
    release = house.give_student(app.served, student)
    smoke_answer(release)
    assert len(student.asked) == 1
    asked = [reply(release, Ask(QUESTION, "student")) for _ in range(MAX_WAITING + 1)]
    assert smoke_answer(release).supported
    assert len(asked) == release.speaker.n_waiting + 1
