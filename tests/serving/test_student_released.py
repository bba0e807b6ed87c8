"""A trained student becomes a release: merged once, offered where its report lets it, kept where a newer one fails."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.core import pruning, takedowns
from jobs.core.config import REPOSITORY
from jobs.core.errors import ContractError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.serving import deploying, merge, merge_and_deploy
from jobs.serving.release import SearcherOpener
from jobs.serving.speaker import SpeakerOpener
from jobs.tuning.learnt import Learnt
from tests.serving import house as serving_house
from tests.tuning import tuning_house as house

pytestmark = pytest.mark.slow
TRY_IN_CHILD = deploying.try_in_child
DEPLOYS = """
import pathlib, sys
from jobs.core.lake import Lake
from tests.tuning import tuning_house
tuning_house.make(Lake.open(pathlib.Path(sys.argv[1])), "merge_and_deploy", device="cpu")
"""
QUICK = house.QUICK | {"max_steps": 1, "max_length": 512, "load_timeout_s": 120.0}


@pytest.fixture(scope="module")
def taught_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with an index and a trained student, not yet evaluated."""
    lake = house.build_house(tmp_path_factory.mktemp("taught") / "lake")
    house.make(lake, "train_student", **QUICK)
    return lake.root


@pytest.fixture
def lake(taught_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Releases are not tried in a process of their own, but where a test asks for it: that takes ten seconds."""
    monkeypatch.delenv("APP_URL", raising=False)
    monkeypatch.setattr(deploying, "try_in_child", lambda *_: "toy answer")
    shutil.copytree(taught_once, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def adapter_of(lake: Lake) -> Part:
    found = lake.current("adapters", "all")
    assert found is not None
    return found


def report(lake: Lake, *reasons: str, **others: Any) -> None:
    """A report on the newest student, as evaluate_student leaves it."""
    told = {
        "adapter": adapter_of(lake).manifest.key,
        "gate": {"passed": not reasons, "reasons": list(reasons)},
        "answers_by": "quoted",
    } | others
    seen = lake.current_key("reports", "all")
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    task = PartTask("evaluate_student", 1, "reports", "all", key, (), {}, {}, "to do", "never made", seen)
    with lake.attempt(task) as attempt:
        (attempt.folder / "report.json").write_text(json.dumps(told))
        (attempt.folder / "report.html").write_text("<!doctype html>")
        (attempt.folder / "report.md").write_text("# Report\n\n- The gate lets this student answer.\n")
        attempt.finish(Counts(1, 1), rows=1)


def deploy(lake: Lake) -> dict[str, Any]:
    house.make(lake, "merge_and_deploy", **QUICK)
    return facts_of(lake)


def facts_of(lake: Lake) -> dict[str, Any]:
    release = lake.current("releases", "all")
    assert release is not None
    facts: dict[str, Any] = json.loads(release.file("release.json").read_bytes())
    return facts


def train_another(lake: Lake) -> None:
    house.make(lake, "train_student", **(QUICK | {"max_steps": 2}))


def test_accepted_student_is_merged_and_offered_beside_quotes(lake: Lake) -> None:
    report(lake)
    facts = deploy(lake)
    assert facts["serves"] == ["quoted", "student", "base"]
    assert facts["adapter"] == adapter_of(lake).manifest.key
    assert facts["model"] == lake.current_key("models", "all")
    assert facts["report"] == lake.current_key("reports", "all")
    assert facts["base"] == "builtin:tiny"
    assert "builtin:tiny" in facts["student"]
    assert "very small" in facts["student"]
    release = lake.current("releases", "all")
    assert release is not None
    assert {"report.json", "report.html"} <= set(release.manifest.files)


def test_student_that_learnt_from_a_paper_taken_down_is_released_no_more(lake: Lake) -> None:
    report(lake)
    assert deploy(lake)["adapter"]
    takedowns.add(lake, {min(Learnt.read(adapter_of(lake)).papers): [house.WINDOW]}, None)
    facts = deploy(lake)
    assert (facts["serves"], facts["adapter"], facts["model"]) == (["quoted"], None, None)


def test_model_is_whole_with_its_card(lake: Lake) -> None:
    report(lake)
    deploy(lake)
    model = lake.current("models", "all")
    assert model is not None
    assert {"config.json", "tokenizer.json", "README.md"} <= set(model.manifest.files)
    assert model.manifest.extra["kl_nats"] <= merge.MAX_KL
    card = model.file("README.md").read_text()
    assert "The gate lets this student answer." in card
    assert "none named (" in card


def test_report_that_says_so_puts_the_student_first(lake: Lake) -> None:
    report(lake, answers_by="student")
    assert deploy(lake)["serves"] == ["student", "quoted", "base"]


def test_student_is_tried_in_a_process_of_its_own(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "try_in_child", TRY_IN_CHILD)
    report(lake)
    assert "student" in deploy(lake)["serves"]


def test_released_student_answers_over_http(lake: Lake) -> None:
    report(lake)
    release_id = deploy(lake)["release_id"]
    with serving_house.running(lake.root, open_index=SearcherOpener(), open_speaker=SpeakerOpener("cpu")) as app:
        app.served.follow()
        assert app.ready_id() == release_id
        response: httpx.Response = app.ask("How many bits does Zovan use?", model="student", max_tokens=4)
        assert response.status_code == 200
        assert response.headers["x-release-id"] == release_id


def test_new_index_shares_the_loaded_student_and_merges_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    report(lake)
    first = deploy(lake)
    monkeypatch.setattr(merge, "merge", lambda *_, **__: pytest.fail("the adapter is the same"))
    index_three_papers(lake)
    second = deploy(lake)
    assert (second["index"] != first["index"], second["model"]) == (True, first["model"])
    opener = SpeakerOpener("cpu")
    assert opener(lake, adapter_of(lake)) is opener(lake, adapter_of(lake))


def test_student_answers_on_while_releases_are_swapped(lake: Lake) -> None:
    """Zovix's paper is in the first release alone, so an answer from it that names the second was mixed."""
    report(lake)
    first = deploy(lake)["release_id"]
    index_three_papers(lake)
    second = deploy(lake)["release_id"]
    opener = SpeakerOpener("cpu")
    with serving_house.running(lake.root, open_index=SearcherOpener(), open_speaker=opener) as app:
        app.served.load(first)
        speaker = app.served.release.speaker
        with ThreadPoolExecutor(2) as clients:
            asked = [clients.submit(said_of_zovix, app, is_streamed=bool(n % 2)) for n in range(20)]
            n_swaps = 0
            while not all(one.done() for one in asked):
                app.served.load((second, first)[n_swaps % 2])
                n_swaps += 1
        assert app.served.release.speaker is speaker
    answers = [one.result() for one in asked]
    assert {status for status, *_ in answers} == {200}
    assert all(named == {header} for _, header, named, _ in answers)
    assert all(is_cited == (header == first) for _, header, _, is_cited in answers)
    assert n_swaps > 10


def said_of_zovix(app: serving_house.App, *, is_streamed: bool) -> tuple[int, str, set[str], bool]:
    """Status, release of the header, releases that the answer names, and whether Zovix's paper is a source."""
    said = app.ask("How many bits does Zovix use?", model="student", max_tokens=3, stream=is_streamed)
    named = set(re.findall(r'"system_fingerprint": ?"(\w+)"', said.text))
    return said.status_code, said.headers["x-release-id"], named, house.paper_id(3) in said.text


def index_three_papers(lake: Lake) -> None:
    """An index without Zovix, the fourth."""
    for dataset, row_of in (("papers", house._paper), ("chunks", house._chunk)):
        house.publish(lake, dataset, house.WINDOW, [row_of(number) for number in range(3)])
    for stage in ("embed_chunks", "build_index"):
        house.make(lake, stage)


def test_student_of_an_older_prompt_is_served_with_a_warning(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report(lake)
    monkeypatch.setattr(merge_and_deploy, "ANSWER_PROMPT", "answer@newer")
    with caplog.at_level(logging.WARNING):
        deploy(lake)
    assert "the app asks with answer@newer" in caplog.text


def test_student_that_was_not_evaluated_is_not_served(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert deploy(lake)["serves"] == ["quoted"]
    assert "not evaluated yet" in caplog.text


def test_refused_student_leaves_quotes_and_says_why(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    report(lake, "ignores_question")
    with caplog.at_level(logging.INFO):
        assert deploy(lake)["serves"] == ["quoted"]
    assert "the wrong question costs it nothing" in caplog.text
    assert lake.current("models", "all") is None


def test_refused_student_leaves_the_released_one_and_prune_keeps_it(lake: Lake) -> None:
    report(lake)
    first = deploy(lake)
    train_another(lake)
    report(lake, "not_better_than_base")
    second = deploy(lake)
    assert second["release_id"] != first["release_id"]
    assert [second[name] for name in ("adapter", "model", "report")] == [
        first[name] for name in ("adapter", "model", "report")
    ]
    assert adapter_of(lake).manifest.key != first["adapter"]
    kept = pruning.kept_folders(lake)
    assert lake.part_folder("adapters", "all") / first["adapter"][:12] in kept
    assert lake.part_folder("models", "all") / first["model"][:12] in kept


def test_release_with_the_student_of_another_names_it_as_previous(lake: Lake) -> None:
    report(lake)
    deploy(lake)
    first = lake.current_key("releases", "all")
    train_another(lake)
    report(lake, "not_better_than_base")
    deploy(lake)
    second = lake.current("releases", "all")
    assert second is not None
    assert second.manifest.previous == first
    assert first not in {one.key for one in second.manifest.inputs}


@pytest.mark.parametrize("harm", [shutil.rmtree, lambda folder: (folder / "base.json").write_text("{}")])
def test_released_student_that_is_lost_leaves_quotes(lake: Lake, caplog: pytest.LogCaptureFixture, harm: Any) -> None:
    report(lake)
    first = deploy(lake)
    train_another(lake)
    report(lake, "not_better_than_base")
    harm(lake.part_folder("adapters", "all") / first["adapter"][:12])
    with caplog.at_level(logging.INFO):
        facts = deploy(lake)
    assert (facts["serves"], facts["adapter"]) == (["quoted"], None)
    assert "the one released before is lost" in caplog.text


def test_kill_in_the_middle_of_a_merge_leaves_the_old_release(lake: Lake, tmp_path: Path) -> None:
    old = deploy(lake)
    report(lake)
    shutil.copytree(lake.root, tmp_path / "undisturbed")
    attempts = lake.part_folder("models", "all") / "_attempts"
    with subprocess.Popen([sys.executable, "-c", DEPLOYS, str(lake.root)], cwd=REPOSITORY) as process:
        serving_house.wait_until(lambda: list(attempts.glob("*/*.safetensors")), wait_s=120.0)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert facts_of(lake) == old
    assert lake.current("models", "all") is None
    assert deploy(lake) == deploy(Lake.open(tmp_path / "undisturbed"))
    assert list(attempts.iterdir()) == []


def test_merged_weights_that_are_not_the_student_release_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    report(lake)
    before = merge.merge

    def spoiled(base: Path, adapter: Path, target: Path, **options: Any) -> None:
        before(base, adapter, target, **(options | {"trained_in": "bfloat16"}))
        weights = next(target.glob("*.safetensors"))
        content = bytearray(weights.read_bytes())
        content[-40000:] = bytes(40000)
        weights.write_bytes(content)

    monkeypatch.setattr(merge, "merge", spoiled)
    with pytest.raises(ContractError, match="nothing was released"):
        deploy(lake)
    assert lake.current("models", "all") is None
    assert lake.current("releases", "all") is None


def test_damaged_adapter_is_not_loaded(lake: Lake) -> None:
    report(lake)
    deploy(lake)
    part = adapter_of(lake)
    weights = part.folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    fresh = dataclasses.replace(part, _verified=set())
    with pytest.raises(Exception, match=r"adapter_model\.safetensors"):
        SpeakerOpener("cpu")(lake, fresh)
