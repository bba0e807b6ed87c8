"""The stage on a lake: what it reads, when it waits, what it writes of itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.core import takedowns
from jobs.core.config import load_profile
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Lake, Part
from jobs.core.runner import resolve
from jobs.tuning import learnt, train_student
from tests.conftest import new_lake
from tests.tuning import tuning_house as house

pytestmark = pytest.mark.slow
QUICK = house.QUICK | {"max_steps": 2, "max_length": 512}


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = house.build_house(tmp_path_factory.mktemp("trained") / "lake")
    house.make(lake, "train_student", **QUICK)
    return lake.root


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Lake:
    shutil.copytree(trained_once, tmp_path / "copy")
    return Lake.open(tmp_path / "copy")


@pytest.fixture
def house_lake(trained: Lake) -> Lake:
    """Everything that training reads, and the base; no adapter yet."""
    shutil.rmtree(trained.root / "adapters")
    return trained


def adapter_of(lake: Lake, part: str = "all") -> Part:
    found = lake.current("adapters", part)
    assert found is not None
    return found


def told_by(part: Part) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(part.file(learnt.TRAINING_FILE).read_bytes())
    return told


def publish_pairs(lake: Lake, *more: dict[str, Any], n_papers: int = house.N_PAPERS) -> None:
    house.publish(lake, "qa", "all", [*(pair for i in range(n_papers) for pair in house.pairs_of(i)), *more])


def new_pairs(n: int) -> list[dict[str, Any]]:
    number = next(i for i in range(house.N_PAPERS) if house.paper_id(i) in house.papers_of("train"))
    return [house.pair(number, 10 + i, f"What is new thing {i}?", f"It is thing {i}.") for i in range(n)]


def test_adapter_says_what_it_is_made_of(trained: Lake) -> None:
    part = adapter_of(trained)
    assert set(part.manifest.files) >= {"adapter_model.safetensors", "adapter_config.json", "base.json"}
    told = told_by(part)
    assert (told["n_steps"], len(told["losses"]), told["dtype"]) == (2, 2, "float32")
    assert told["n_rows"] == sum(told["kinds"].values()) == part.manifest.counts.kept
    assert told["validation"]["n_rows"] == QUICK["validation_rows"]


def test_adapter_learnt_from_train_papers_alone(trained: Lake) -> None:
    papers = learnt.Learnt.read(adapter_of(trained)).papers
    assert papers
    assert papers <= house.papers_of("train")


def test_adapter_names_no_folder_of_this_machine(trained: Lake) -> None:
    part = adapter_of(trained)
    texts = [part.file(name).read_text() for name in part.manifest.files if name.endswith(".json")]
    assert not [text for text in texts if str(trained.root) in text or "/tmp/" in text]
    assert json.loads(part.file("adapter_config.json").read_bytes())["base_model_name_or_path"] == "builtin:tiny"


def test_second_run_finds_it_done(trained: Lake) -> None:
    key = adapter_of(trained).manifest.key
    assert "to do" not in house.states(trained, "train_student", **QUICK)
    house.make(trained, "train_student", **QUICK)
    assert adapter_of(trained).manifest.key == key


def test_same_pairs_and_settings_make_the_same_bytes_in_another_lake(trained: Lake, tmp_path: Path) -> None:
    other = house.build_house(tmp_path / "other")
    house.make(other, "train_student", **QUICK)
    ours, theirs = adapter_of(trained).manifest, adapter_of(other).manifest
    assert ours.key == theirs.key
    assert ours.files["adapter_model.safetensors"] == theirs.files["adapter_model.safetensors"]


def test_too_few_new_pairs_are_waited_for(trained: Lake, caplog: pytest.LogCaptureFixture) -> None:
    publish_pairs(trained, *new_pairs(2))
    with caplog.at_level("INFO"):
        assert house.states(trained, "train_student", **QUICK, retrain_after_new_pairs=3) == []
    assert "waiting: 2 of 3 new pairs" in caplog.text


def test_enough_new_pairs_train_again(trained: Lake) -> None:
    publish_pairs(trained, *new_pairs(3))
    assert house.states(trained, "train_student", **QUICK, retrain_after_new_pairs=3) == ["to do"]


def test_other_settings_train_again_without_new_pairs(trained: Lake) -> None:
    changed = QUICK | {"learning_rate": 0.01}
    assert house.states(trained, "train_student", **changed, retrain_after_new_pairs=100) == ["to do"]


@pytest.mark.parametrize("profile", ["t4", "multi_gpu"])
def test_profile_whose_base_has_no_commit_is_refused_before_any_work(tmp_path: Path, profile: str) -> None:
    with pytest.raises(UsageError, match="--base-revision, the 40 digits"):
        house.states(new_lake(tmp_path / "empty"), "train_student", **load_profile(profile))


def test_profile_with_a_commit_only_waits_for_its_pairs(tmp_path: Path) -> None:
    settings = load_profile("t4") | {"base_revision": "0" * 40}
    assert house.states(new_lake(tmp_path / "empty"), "train_student", **settings) == ["blocked"]


def test_missing_pairs_are_missing_input(tmp_path: Path) -> None:
    assert house.states(new_lake(tmp_path / "empty"), "train_student", **QUICK) == ["blocked"]


def test_no_train_pairs_are_nothing_to_do(house_lake: Lake) -> None:
    pairs = [pair for i in range(house.N_PAPERS) for pair in house.pairs_of(i) if pair["split"] != "train"]
    house.publish(house_lake, "qa", "all", pairs)
    assert house.states(house_lake, "train_student", **QUICK) == []
    assert house.states(house_lake, "evaluate_student", **QUICK) == []


def test_too_many_long_rows_fail_with_what_to_change(house_lake: Lake) -> None:
    with pytest.raises(ContractError, match="--max-length"):
        house.make(house_lake, "train_student", **(QUICK | {"max_length": 100}))
    assert house_lake.current("adapters", "all") is None


def test_rows_beyond_the_token_budget_are_counted(house_lake: Lake) -> None:
    house.make(house_lake, "train_student", **QUICK, max_train_tokens=2000)
    counts = adapter_of(house_lake).manifest.counts
    assert told_by(adapter_of(house_lake))["n_tokens"] <= 2000
    assert counts.dropped["over_tokens"] == counts.read - counts.kept > 0


def test_control_makes_its_student_wait_for_nothing(trained: Lake) -> None:
    publish_pairs(trained, *new_pairs(2))
    waiting = QUICK | {"retrain_after_new_pairs": 3}
    assert house.states(trained, "train_student", **waiting, controls=True) == ["to do", "to do"]


def test_control_is_a_part_of_its_own_and_another_adapter(trained: Lake) -> None:
    before = adapter_of(trained).manifest
    house.make(trained, "train_student", **QUICK, controls=True)
    control = adapter_of(trained, train_student.CONTROL_PART).manifest
    assert adapter_of(trained).manifest == before
    weights = "adapter_model.safetensors"
    assert control.files[weights]["sha256"] != before.files[weights]["sha256"]
    assert control.key != before.key
    assert control.rows == before.rows


def test_warm_start_carries_the_papers_of_the_adapter_before(trained: Lake) -> None:
    before = adapter_of(trained)
    rest = [pair for i in range(4) for pair in house.pairs_of(i)]
    house.publish(trained, "qa", "all", [*rest, *new_pairs(1)])
    house.make(trained, "train_student", **QUICK, warm_start=True)
    after = adapter_of(trained)
    assert after.manifest.previous == before.manifest.key
    assert learnt.Learnt.read(after).papers >= learnt.Learnt.read(before).papers


def test_nothing_is_learnt_from_a_paper_that_was_taken_down_nor_begun_from_what_learnt(trained: Lake) -> None:
    before = learnt.Learnt.read(adapter_of(trained)).papers
    gone = sorted(before)[0]
    takedowns.add(trained, {gone: [house.WINDOW]}, None)  # index and pairs hold it still, as between two runs
    house.make(trained, "train_student", **QUICK, warm_start=True, retrain_after_new_pairs=0)
    after = adapter_of(trained)
    assert after.manifest.taken_over == 0
    assert gone not in learnt.Learnt.read(after).papers
    assert after.manifest.counts.dropped["taken_down"] == 2


def test_length_of_training_is_no_time() -> None:
    config = resolve(train_student.Config, {}).values
    assert not [name for name in vars(config) if name.endswith(("_s", "_minutes", "_hours"))]
