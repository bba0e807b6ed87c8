"""The stage that releases: what a release holds, and that CURRENT moves only after the release has answered."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import ContractError, InputMissingError, TryAgainError, UsageError
from jobs.core.lake import Lake
from jobs.serving import deploying, merge_and_deploy
from tests.serving import house
from tests.serving.house import BM25, NF4
from tests.serving.real_index import build_real_index

TOKEN = "toy-token"


@pytest.fixture(autouse=True)
def _no_app(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APP_URL", "APP_TOKEN", "LAKE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def with_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_TOKEN", TOKEN)


def current(lake: Lake) -> str | None:
    key = lake.current_key("releases", "all")
    return key and key[:12]


def facts_of(lake: Lake) -> dict[str, Any]:
    return json.loads(lake.current("releases", "all").file("release.json").read_bytes())


def closed_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_release_names_its_index_and_nothing_that_is_not_there(lake: Lake) -> None:
    release_id = house.publish_release(lake)
    facts = facts_of(lake)
    assert facts["release_id"] == release_id
    assert facts["index"] == lake.current_key("indexes", "all")
    assert facts["serves"] == ["quoted"]
    assert [facts[name] for name in ("model", "adapter", "report")] == [None, None, None]


def test_release_counts_papers_passages_and_the_newest(lake: Lake) -> None:
    house.publish_release(lake, [NF4, BM25, house.row("More.", ordinal=1)])
    facts = facts_of(lake)
    assert (facts["papers"], facts["passages"], facts["newest_paper"]) == (2, 3, "2024-02-06")


def test_release_brings_questions_that_its_papers_answer(lake: Lake) -> None:
    house.publish_release(lake)
    questions = lake.current("releases", "all").file("prompts/questions.txt").read_text().splitlines()
    assert questions == ["What does NF4 stand for?", "What is BM25?"]
    assert facts_of(lake)["smoke_question"] == questions[0]


def test_same_index_makes_the_same_release_in_two_lakes(lake: Lake, another_lake: Lake) -> None:
    assert house.publish_release(lake) == house.publish_release(another_lake)


def test_release_id_is_the_begin_of_its_key(lake: Lake) -> None:
    release_id = house.publish_release(lake)
    assert lake.current("releases", "all").manifest.key.startswith(release_id)


def test_release_without_a_changed_index_is_done(lake: Lake) -> None:
    house.publish_release(lake)
    assert house.task_of_release(lake).state == "done"


def test_new_index_and_new_threshold_are_to_do(lake: Lake) -> None:
    house.publish_release(lake)
    assert "min_support_01" in house.task_of_release(lake, min_support_01=0.7).why
    house.publish_index(lake, [NF4])
    assert house.task_of_release(lake).why == "indexes/all changed"


def test_address_of_the_app_is_in_no_key(lake: Lake) -> None:
    house.publish_release(lake)
    assert house.task_of_release(lake, app_url="http://127.0.0.1:1").state == "done"


def test_no_index_is_a_missing_input(lake: Lake) -> None:
    with pytest.raises(InputMissingError, match="python -m jobs build_index"):
        house.deploy(lake)


@pytest.mark.slow
def test_running_app_loads_the_release_before_current_moves(lake: Lake, with_token: None) -> None:
    first = house.publish_release(lake, [NF4])
    with house.running(lake.root) as app:
        house.publish_index(lake, [NF4, BM25])
        second = house.deploy(lake, app_url=app.url)
        assert first != second == current(lake) == app.ready_id()


@pytest.mark.slow
def test_app_that_refuses_leaves_current_and_what_serves(lake: Lake, with_token: None) -> None:
    first = house.publish_release(lake, [NF4])
    with house.running(lake.root) as app:
        house.publish_index(lake, [NF4, BM25], extra_file="refuses")
        with pytest.raises(ContractError, match="refuses to open"):
            house.deploy(lake, app_url=app.url)
        assert first == current(lake) == app.ready_id()


@pytest.mark.slow
def test_release_that_was_refused_is_asked_again_when_run_again(lake: Lake, with_token: None) -> None:
    house.publish_release(lake, [NF4])
    with house.running(lake.root) as app:
        index = house.publish_index(lake, [NF4, BM25], extra_file="refuses")
        for _ in range(2):
            with pytest.raises(ContractError):
                house.deploy(lake, app_url=app.url)
        (index.folder / "refuses").unlink()
        assert house.deploy(lake, app_url=app.url) == app.ready_id()


@pytest.mark.slow
def test_token_that_is_not_the_apps_is_a_setting_to_change(
    lake: Lake, with_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish_index(lake)
    with house.running(lake.root) as app, pytest.raises(UsageError, match="APP_TOKEN"):
        deploying.ask_app(app.url, "another", "0" * 12, 10)
    assert current(lake) is None


def test_app_that_cannot_be_reached_is_tried_again(lake: Lake, with_token: None) -> None:
    house.publish_index(lake)
    with pytest.raises(TryAgainError, match="cannot be reached"):
        house.deploy(lake, app_url=f"http://127.0.0.1:{closed_port()}")
    assert current(lake) is None


@pytest.mark.parametrize("url", ["127.0.0.1:7860", "ftp://x", "http://"])
def test_address_that_is_none_is_refused_before_anything_is_written(lake: Lake, with_token: None, url: str) -> None:
    house.publish_index(lake)
    with pytest.raises(UsageError, match="APP_URL"):
        house.deploy(lake, app_url=url)
    assert not lake.part_folder("releases", "all").exists()


def test_address_without_a_token_is_refused(lake: Lake) -> None:
    house.publish_index(lake)
    with pytest.raises(UsageError, match="APP_TOKEN"):
        house.deploy(lake, app_url="http://127.0.0.1:7860")


def test_address_from_the_environment_is_used(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_URL", "nonsense")
    house.publish_index(lake)
    with pytest.raises(UsageError, match="nonsense"):
        house.deploy(lake)


def test_app_over_another_lake_is_not_asked(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("APP_URL", "nonsense")
    monkeypatch.setenv("LAKE", str(tmp_path / "of-the-app"))
    monkeypatch.setattr(deploying, "try_in_child", lambda *_: "an answer")
    house.publish_index(lake)
    assert house.deploy(lake) == current(lake)


@pytest.mark.slow
def test_without_an_app_the_release_is_tried_in_a_child(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    real = build_real_index(lake.root.parent / "real")
    with caplog.at_level(logging.INFO):
        release_id = house.deploy(real)
    assert release_id == current(real)
    assert "no app address is set" in caplog.text


@pytest.mark.slow
def test_without_an_app_a_damaged_index_releases_nothing(lake: Lake) -> None:
    real = build_real_index(lake.root.parent / "real")
    vectors = real.current("indexes", "all").folder / "vectors.faiss"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    with pytest.raises(ContractError, match=r"vectors\.faiss"):
        house.deploy(real)
    assert current(real) is None


@pytest.mark.slow
def test_child_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="did not answer within"):
        deploying.try_in_child(tmp_path, "0" * 64, "cpu", timeout_s=0.01)


def test_adapters_become_an_input_once_there_are_any(lake: Lake) -> None:
    house.publish_index(lake)
    assert [one.dataset for one, _ in merge_and_deploy.inputs(lake, "all")] == ["indexes"]
    house.publish_dataset(lake, "adapters")
    assert [one.dataset for one, _ in merge_and_deploy.inputs(lake, "all")] == ["indexes", "adapters"]


def test_folder_that_failed_its_check_is_checked_again(lake: Lake, with_token: None) -> None:
    unseen = house.publish_unseen(lake, [NF4])
    with pytest.raises(TryAgainError):
        house.deploy(lake, app_url=f"http://127.0.0.1:{closed_port()}")
    assert lake.has("releases", "all", unseen)
    assert current(lake) is None
