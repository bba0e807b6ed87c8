"""A running app changes its release: under load, in flight, by the pointer and by request."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.core.lake import Lake, Part
from tests.serving import house
from tests.serving.house import BM25, NF4, ToyFound, ToySearcher
from tests.serving.test_release import FIRST, SECOND, flip

pytestmark = pytest.mark.slow


class SlowSearcher(ToySearcher):
    """Once it is slow, it answers when it is told to."""

    is_slow = False

    def __init__(self, passages: object) -> None:
        super().__init__(passages)
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def search(self, question: str, k: int = 8, **filters: object) -> ToyFound:
        if self.is_slow:
            self.has_begun.set()
            assert self.may_end.wait(30)
        return super().search(question, k, **filters)


def test_fifty_swaps_under_load_fail_no_request_and_mix_no_answer(lake: Lake, soak: int) -> None:
    """Each release holds one paper, so an answer that cites another one than its release's was mixed."""
    papers = {house.publish_unseen(lake, [NF4]): NF4["paper_id"]}
    papers[house.publish_unseen(lake, [BM25])] = BM25["paper_id"]
    first, second = papers
    with house.running(lake.root) as app:
        app.served.load(first)
        wrong: list[object] = []
        asked = [0] * 4
        is_over = threading.Event()

        def ask_on(number: int) -> None:
            while not is_over.is_set():
                reply = app.ask("What does NF4 stand for, what is BM25?", stream=bool(number % 2))
                cited = {paper_id for paper_id in papers.values() if f'"paper_id":"{paper_id}"' in squeezed(reply.text)}
                named = {name for name in papers if name in reply.text} | {reply.headers.get("x-release-id")}
                if reply.status_code != 200 or len(named) != 1 or cited != {papers.get(*named)}:
                    wrong.append((reply.status_code, named, cited))
                asked[number] += 1

        clients = [threading.Thread(target=ask_on, args=(number,)) for number in range(4)]
        for client in clients:
            client.start()
        for swap in range(50 * soak):
            app.served.load(second if swap % 2 == 0 else first)
        is_over.set()
        for client in clients:
            client.join()
    assert wrong == []
    assert min(asked) > 5
    assert app.served.reloads == {"ok": 50 * soak + 1, "failed": 0}


def test_request_in_flight_ends_on_the_release_it_began_with(lake: Lake) -> None:
    first = house.publish_release(lake, [NF4])
    opened: list[SlowSearcher] = []

    def open_slow(index: Part) -> SlowSearcher:
        opened.append(SlowSearcher.open(index))
        return opened[-1]

    with house.running(lake.root, open_index=open_slow) as app, ThreadPoolExecutor(1) as client:
        house.wait_until(lambda: app.ready_id() == first)
        opened[0].is_slow = True
        asked = client.submit(app.ask, "What does NF4 stand for?")
        assert opened[0].has_begun.wait(30)
        second = house.publish_unseen(lake, [BM25])
        app.served.load(second)
        opened[0].may_end.set()
        reply = asked.result(30)
        assert app.ready_id() == second
    assert reply.headers["x-release-id"] == reply.json()["system_fingerprint"] == first
    assert reply.json()["citations"][0]["paper_id"] == NF4["paper_id"]


def squeezed(text: str) -> str:
    return text.replace('": ', '":')


def test_app_follows_the_pointer_while_it_runs(lake: Lake) -> None:
    first = house.publish_release(lake, FIRST)
    with house.running(lake.root, follow_s=0.05) as app:
        assert app.ready_id() == first
        second = house.publish_release(lake, SECOND)
        house.wait_until(lambda: app.ready_id() == second)


def test_app_is_alive_while_its_first_release_is_loading(lake: Lake) -> None:
    release_id = house.publish_release(lake)
    may_open = threading.Event()

    def open_later(index: Part) -> ToySearcher:
        assert may_open.wait(30)
        return ToySearcher.open(index)

    with house.running(lake.root, open_index=open_later) as app:
        try:
            assert app.client.get("/healthz").status_code == 200
            house.wait_until(lambda: "being loaded" in app.client.get("/readyz").text)
        finally:
            may_open.set()
        house.wait_until(lambda: app.ready_id() == release_id)


def test_app_without_a_release_is_alive_but_not_ready(lake: Lake) -> None:
    with house.running(lake.root) as app:
        assert app.client.get("/healthz").status_code == 200
        replies = [app.client.get("/readyz"), app.client.post("/search", json={"question": "x"}), app.ask("x")]
        assert [reply.status_code for reply in replies] == [503, 503, 503]
        assert "--goal index" in replies[0].json()["detail"]


class TestAdmin:
    """`POST /admin/load`."""

    TOKEN = "toy-token"

    @pytest.fixture(autouse=True)
    def _token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("APP_TOKEN", self.TOKEN)

    def load(self, app: house.App, release_id: str, token: str = TOKEN) -> object:
        headers = {"Authorization": f"Bearer {token}"}
        return app.client.post("/admin/load", json={"release_id": release_id}, headers=headers)

    def test_release_is_loaded_and_answers(self, lake: Lake) -> None:
        house.publish_release(lake, FIRST)
        unseen = house.publish_unseen(lake, SECOND)
        with house.running(lake.root) as app:
            reply = self.load(app, unseen)
            assert (reply.status_code, reply.json()["release_id"]) == (200, unseen)
            assert reply.json()["answer"]
            assert app.ready_id() == unseen

    def test_broken_release_is_409_and_the_old_one_serves(self, lake: Lake) -> None:
        first = house.publish_release(lake, FIRST)
        unseen = house.publish_unseen(lake, SECOND)
        flip(lake.current("indexes", "all").folder / house.PASSAGES_FILE)
        with house.running(lake.root) as app:
            reply = self.load(app, unseen)
            assert reply.status_code == 409
            assert "passages.parquet" in reply.json()["detail"]
            assert app.ready_id() == first

    def test_another_token_is_401(self, app: house.App) -> None:
        assert self.load(app, "0" * 12, token="guess").status_code == 401

    def test_no_token_at_all_is_401(self, app: house.App) -> None:
        assert app.client.post("/admin/load", json={"release_id": "0" * 12}).status_code == 401

    def test_id_that_is_none_is_422(self, app: house.App) -> None:
        assert self.load(app, "../../etc/passwd").status_code == 422

    def test_app_without_a_token_is_403(self, app: house.App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("APP_TOKEN")
        assert self.load(app, "0" * 12).status_code == 403
