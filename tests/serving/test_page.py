"""The page in Chromium: what a reader sees, and that papers can neither run a script nor cause a request."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jobs.core.lake import Lake
from tests.serving import house
from tests.serving.house import App, ToyStudent
from tests.serving.payloads import PAYLOADS
from tools.chromium import Browser, browser

pytestmark = pytest.mark.browser
# What no answer of ours is made of.
FOREIGN = ("img", "svg", "iframe", "form", "input", "math", "style", "script", "table", "h1", "del", "code", "em")
QUESTION = "What does NF4 stand for and why does QLoRA use it?"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as tab:
        yield tab


def opened(tab: Browser, url: str) -> Browser:
    tab.requests.clear()
    tab.complaints.clear()
    tab.open("about:blank")
    tab.open(url)
    tab.wait_for("document.querySelector('textarea')")
    return tab


def outside_requests(tab: Browser, app: App) -> list[str]:
    here = urlsplit(app.url).netloc
    return [url for url in tab.requests if urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc != here]


def test_question_is_answered_with_its_sources(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.type_and_send(QUESTION)
    page.wait_for_text("2 sources")
    text = page.text()
    for part in ("NF4 stands for 4-bit NormalFloat. [1]", "QLoRA uses NF4 because", "page 1", "sample/2401002"):
        assert part in text


def test_page_says_what_it_is_about(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.wait_for_text("2 papers · 2 passages · newest of 2024-02-06")
    assert app.served.release.release_id in page.text()
    assert "What does NF4 stand for?" in page.text()


def test_example_that_is_clicked_is_answered(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.wait_for_text("What is BM25?")
    page.evaluate("[...document.querySelectorAll('button')].find(b => b.innerText.includes('BM25?')).click()")
    page.wait_for_text("BM25 is a ranking function")
    page.wait_for("document.querySelector('a[href=\"https://arxiv.org/abs/2205.14135v1\"]')")


def test_sources_fold_away(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.type_and_send("Who won the football championship?")
    page.wait_for_text("Nearest passages")
    assert "Integer levels" not in page.text()
    assert "page 1" not in page.text()


def test_page_asks_no_other_host_and_breaks_no_policy(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.type_and_send(QUESTION)
    page.wait_for_text("2 sources")
    assert outside_requests(page, app) == []
    assert page.complaints == []


def test_two_questions_are_one_conversation(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.type_and_send(QUESTION)
    page.wait_for_text("2 sources")
    page.type_and_send("What is BM25?")
    page.wait_for_text("BM25 is a ranking function")
    assert "NF4 stands for" in page.text()


@pytest.fixture
def taught(lake: Lake) -> Iterator[App]:
    """An app whose release has a student; quoted sentences come first."""
    house.publish_release(lake)
    with house.running(lake.root) as app:
        house.give_student(app.served, ToyStudent())
        yield app


def choose(page: Browser, label: str) -> None:
    page.wait_for("document.querySelectorAll('#who label').length == 3")
    page.evaluate(f"[...document.querySelectorAll('#who label')].find(l => l.innerText.trim() == '{label}').click()")


def test_reader_chooses_who_answers(chromium: Browser, taught: App) -> None:
    page = opened(chromium, taught.url)
    page.wait_for_text("Who answers")
    page.wait_for_text("toy-base (1 million parameters)")
    page.type_and_send("What is NF4?")
    page.wait_for_text("NF4 stands for 4-bit NormalFloat. [1]")
    choose(page, "Student")
    page.type_and_send("What is BM25 then?")
    page.wait_for_text("NF4 is a data type. [1]")
    choose(page, "Its base, untrained")
    page.type_and_send("What is NF4 in the end?")
    page.wait_for("document.querySelectorAll('#talk blockquote').length >= 3")
    speaker = taught.served.release.speaker
    assert [with_adapter for _, with_adapter, _ in speaker._student.asked] == [True, False]


def test_who_answers_is_in_the_order_of_the_release(chromium: Browser, taught: App) -> None:
    house.give_student(taught.served, ToyStudent(), serves=["student", "quoted", "base"])
    page = opened(chromium, taught.url)
    page.wait_for("document.querySelectorAll('#who label').length == 3")
    labels = page.evaluate("[...document.querySelectorAll('#who label')].map(label => label.innerText.trim())")
    assert labels == ["Student", "Quoted sentences", "Its base, untrained"]
    assert page.evaluate("document.querySelector('#who input:checked').value") == "student"


def test_release_without_a_student_offers_no_choice(chromium: Browser, app: App) -> None:
    page = opened(chromium, app.url)
    page.wait_for_text("2 papers")
    assert not page.evaluate("Boolean(document.querySelector('#who label'))")


def test_text_grows_and_a_reader_who_leaves_the_page_ends_it(chromium: Browser, taught: App) -> None:
    student = ToyStudent(*["word "] * 45, pause_s=0.2)
    release = house.give_student(taught.served, student)
    page = opened(chromium, taught.url)
    choose(page, "Student")
    page.type_and_send("What is NF4?")
    page.wait_for_text("word word")
    assert student.n_said < 45
    page.open("about:blank")
    house.wait_until(lambda: release.speaker.n_answers == 1)
    assert student.n_said < 45


def test_page_without_a_release_says_what_to_run(chromium: Browser, tmp_path: Path) -> None:
    with house.running(tmp_path / "nothing") as app:
        page = opened(chromium, app.url)
        page.wait_for_text("python -m jobs run --goal index")


def test_page_that_is_opened_again_shows_the_new_release(chromium: Browser, lake: Lake) -> None:
    house.publish_release(lake, [house.NF4])
    with house.running(lake.root) as app:
        opened(chromium, app.url).wait_for_text("1 paper · 1 passage")
        app.served.load(house.publish_unseen(lake, house.ROWS))
        opened(chromium, app.url).wait_for_text("2 papers · 2 passages")


def test_hostile_papers_run_no_script_and_cause_no_request(chromium: Browser, lake: Lake) -> None:
    rows = [
        house.row(
            f"Canary {number} says {' '.join(payload.split())} to every reader of this page.",
            f"2401.{number:05d}",
            title=f"{payload} Canary",
            section_path=[payload],
        )
        for number, payload in enumerate(PAYLOADS, start=1)
    ]
    house.publish_release(lake, rows)
    with house.running(lake.root) as app:
        page = opened(chromium, app.url)
        page.wait_for_text("75 papers")
        for number in range(1, len(rows) + 1, 3):  # every form once
            page.type_and_send(f"What does Canary {number} say to every reader?")
            page.wait_for_text(f"Canary {number} says")
            page.wait_for_text(f"2401.{number:05d}v1")
        assert page.dialogs == 0
        assert page.evaluate("document.title") == "Spark-ArXiv"
        found = set(page.evaluate("[...document.querySelectorAll('#talk .prose *')].map(part => part.localName)"))
        assert "blockquote" in found
        assert found & set(FOREIGN) == set()
        links = page.evaluate("[...document.querySelectorAll('a')].map(link => link.href)")
        assert [link for link in links if not link.startswith(("https://arxiv.org/abs/2401.", app.url))] == []
        assert outside_requests(page, app) == []
        assert page.complaints == []
