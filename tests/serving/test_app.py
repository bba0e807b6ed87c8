"""The app over HTTP, on a real port: what programs may ask, and what they get."""

import json

import pytest

from jobs.core.lake import Lake
from tests.serving import house
from tests.serving.house import App

pytestmark = pytest.mark.slow  # Gradio takes seconds to import
QUESTION = "What does NF4 stand for?"
CITATION = {"n", "chunk_id", "paper_id", "version", "title", "section", "page", "quote", "url", "score"}
RESULT = {"chunk_id", "paper_id", "version", "title", "section", "page", "score", "text"}


def events_of(text: str) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_healthz_answers(app: App) -> None:
    assert app.client.get("/healthz").status_code == 200


def test_readyz_names_the_release(app: App) -> None:
    reply = app.client.get("/readyz")
    assert (reply.status_code, reply.json()) == (200, {"release_id": app.served.release.release_id})


def test_search_finds_passages_with_their_place(app: App) -> None:
    reply = app.client.post("/search", json={"question": "What is BM25?", "k": 1})
    content = reply.json()
    assert set(content) == {"support_01", "results"}
    assert [result["chunk_id"] for result in content["results"]] == ["2205.14135v1#0"]
    assert set(content["results"][0]) == RESULT
    assert reply.headers["x-release-id"] == app.served.release.release_id


def test_search_takes_every_filter(app: App) -> None:
    asked = {"question": "x", "k": 3, "mode": "bm25", "paper_id": "2205.14135v3", "categories": ["cs.IR"]}
    reply = app.client.post("/search", json=asked | {"submitted_before": "2024-03-01"})
    assert [result["paper_id"] for result in reply.json()["results"]] == ["2205.14135"]


def test_search_reads_a_follow_up_with_what_was_asked_before(app: App) -> None:
    asked = {"question": "And what about its saturation?", "k": 1}
    alone, together = (
        app.client.post("/search", json=asked | more).json() for more in ({}, {"before": ["What is BM25?"]})
    )
    assert alone["support_01"] < together["support_01"]
    assert [result["paper_id"] for result in together["results"]] == ["2205.14135"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "question"),
        ({"question": "   "}, "question"),
        ({"question": "x" * 2001}, "question"),
        ({"question": "x", "k": 0}, "k"),
        ({"question": "x", "k": "many"}, "k"),
        ({"question": "x", "mode": "magic"}, "mode"),
        ({"question": "x", "paper_id": "../../etc/passwd"}, "paper_id"),
        ({"question": "x", "submitted_before": "yesterday"}, "submitted_before"),
        ({"question": "x", "limit": 3}, "limit"),
        ({"question": "x", "before": ["y" * 2001]}, "before.0"),
    ],
)
def test_bad_search_is_refused_with_a_sentence(app: App, body: dict, names: str) -> None:
    reply = app.client.post("/search", json=body)
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith(f"{names}: ")


def test_chat_answers_in_openai_form_with_citations(app: App) -> None:
    content = app.ask(QUESTION).json()
    (choice,) = content["choices"]
    assert (content["object"], content["model"], choice["finish_reason"]) == ("chat.completion", "quoted", "stop")
    assert choice["message"]["content"].startswith("NF4 stands for 4-bit NormalFloat. [1]")
    assert content["supported"] is True
    assert set(content["citations"][0]) == CITATION
    assert content["system_fingerprint"] == app.served.release.release_id


def test_streamed_chat_says_the_same_as_the_whole(app: App) -> None:
    events = events_of(app.ask(QUESTION, stream=True).text)
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    whole = app.ask(QUESTION).json()
    assert text == whole["choices"][0]["message"]["content"]
    assert len(events) == len(text.split()) + 1
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["citations"] == whole["citations"]


def test_question_that_no_paper_answers_is_not_supported(app: App) -> None:
    content = app.ask("Who won the football championship?").json()
    assert content["supported"] is False
    assert content["choices"][0]["message"]["content"] == "No passage of these papers answers this."


def test_message_in_parts_is_read(app: App) -> None:
    parts = [{"type": "text", "text": QUESTION}]
    reply = app.client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})
    assert reply.json()["supported"] is True


def test_newest_question_is_answered_and_unknown_fields_are_passed_over(app: App) -> None:
    turns = [("system", "Be brief."), ("user", QUESTION), ("assistant", "…"), ("user", "What is BM25?")]
    messages = [{"role": role, "content": content} for role, content in turns]
    reply = app.client.post("/v1/chat/completions", json={"messages": messages, "temperature": 0.2, "max_tokens": 9})
    assert reply.json()["choices"][0]["message"]["content"].startswith("BM25 is a ranking function")


@pytest.mark.parametrize("model", ["student", "base", "gpt-4"])
def test_model_that_is_not_released_is_404_in_openai_form(app: App, model: str) -> None:
    reply = app.ask(QUESTION, model=model)
    assert reply.status_code == 404
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert reply.json()["error"]["code"] == "model_not_found"


def test_student_that_is_missing_is_told_in_a_sentence(app: App) -> None:
    assert "no student" in app.ask(QUESTION, model="student").json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x" * 2001}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://evil.example"}]}]},
        {"messages": [{"role": "user", "content": "x"}], "retrieval": False},
    ],
)
def test_bad_chat_is_refused_in_openai_form(app: App, body: dict) -> None:
    reply = app.client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 422
    assert reply.json()["error"]["message"]


def test_models_lists_who_answers(app: App) -> None:
    assert [model["id"] for model in app.client.get("/v1/models").json()["data"]] == ["quoted"]


def test_metrics_count_requests_by_route_and_status(app: App) -> None:
    def value(line_start: str) -> float:
        lines = app.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(line_start))

    counted = 'spark_arxiv_requests_total{route="/search",status="422"}'
    before = value(counted), value('spark_arxiv_request_seconds_count{route="/search"}')
    app.client.post("/search", json={})
    assert (value(counted), value('spark_arxiv_request_seconds_count{route="/search"}')) == (
        before[0] + 1,
        before[1] + 1,
    )
    assert value(f'spark_arxiv_release_info{{release_id="{app.served.release.release_id}"}}') == 1


def test_public_app_cuts_passages_without_permission(lake: Lake) -> None:
    rows = [house.row("NF4 is long. " * 60, license=None), house.row("NF4 is free. " * 60, "2401.00009")]
    house.publish_release(lake, rows)
    with house.running(lake.root, is_public=True) as public:
        results = public.client.post("/search", json={"question": "NF4"}).json()["results"]
    lengths = {result["paper_id"]: len(result["text"]) for result in results}
    assert lengths["sample/2401002"] <= 300
    assert lengths["2401.00009"] == 780


def test_empty_index_answers_that_nothing_is_there(lake: Lake) -> None:
    house.publish_release(lake, [])
    with house.running(lake.root) as empty:
        assert empty.ask(QUESTION).json()["supported"] is False
        assert empty.client.post("/search", json={"question": "x"}).json() == {"support_01": 0.0, "results": []}
