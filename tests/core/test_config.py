"""Settings: who wins, where each value came from, and what is refused."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.core import config
from jobs.core.config import load_profile, parse_text, refuse_unknown, resolve, setting
from jobs.core.errors import UsageError
from jobs.core.pruning import PruneConfig
from jobs.core.request import setting_classes
from jobs.core.stages import STAGES, load


@dataclass(frozen=True)
class Config:
    n_rows: int = setting(1, "a number", affects_rows=True)
    share_01: float = setting(0.5, "a share")
    is_on: bool = setting(False, "a switch")
    words: tuple[str, ...] = setting((), "words", affects_rows=True)
    folder: str | None = setting(None, "a folder")
    mode: str = setting("fast", "a choice", choices=("fast", "slow"))


def profiles() -> list[str]:
    return sorted(path.stem for path in config.PROFILES.glob("*.yaml"))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({}, (1, "default")),
        ({"profile demo": {"n_rows": 2}}, (2, "profile demo")),
        ({"profile demo": {"n_rows": 2}, "lake": {"n_rows": 3}}, (3, "lake")),
        ({"profile demo": {"n_rows": 2}, "lake": {"n_rows": 3}, "flag": {"n_rows": 4}}, (4, "flag")),
        ({"profile demo": {"n_rows": 2}, "lake": {}, "flag": {"share_01": 0.1}}, (2, "profile demo")),
    ],
)
def test_last_layer_wins_and_is_named(layers: dict, expected: tuple[int, str]) -> None:
    resolved = resolve(Config, layers)
    assert (resolved.values.n_rows, resolved.origins["n_rows"]) == expected


def test_names_of_other_classes_are_passed_over() -> None:
    assert resolve(Config, {"flag": {"spark_master": "local[2]"}}).values == Config()


def test_only_settings_that_affect_rows_are_in_the_key() -> None:
    assert resolve(Config, {"flag": {"is_on": True}}).affecting_rows() == {"n_rows": 1, "words": ()}


@dataclass(frozen=True)
class Grown:
    """A class whose second setting came later."""

    n_rows: int = setting(1, "a number", affects_rows=True)
    helper: str | None = setting(None, "a name", affects_rows=True, is_keyed_at_default=False)


def test_setting_that_came_later_is_in_the_key_only_where_it_is_set() -> None:
    assert resolve(Grown, {}).affecting_rows() == {"n_rows": 1}
    assert resolve(Grown, {"flag": {"helper": "x"}}).affecting_rows() == {"n_rows": 1, "helper": "x"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("n_rows", "7", 7),
        ("share_01", "0.25", 0.25),
        ("is_on", "Yes", True),
        ("is_on", "0", False),
        ("words", "cs.LG  cs.CL", ("cs.LG", "cs.CL")),
        ("words", "", ()),
        ("folder", "none", None),
        ("folder", "there", "there"),
        ("mode", "slow", "slow"),
    ],
)
def test_text_of_a_flag_becomes_its_type(name: str, text: str, expected: object) -> None:
    parsed = parse_text(Config, name, text)
    assert (parsed, type(parsed)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("n_rows", "seven", "expected a number"),
        ("n_rows", "0.5", "expected a number"),
        ("is_on", "perhaps", "true or false"),
        ("mode", "fastest", "one of fast, slow"),
    ],
)
def test_text_of_the_wrong_type_is_refused(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_text(Config, name, text)


@pytest.mark.parametrize(
    "layer",
    [
        {"n_rows": "7"},
        {"n_rows": True},
        {"n_rows": 0.5},
        {"is_on": 1},
        {"words": "cs.LG"},
        {"folder": 1},
        {"mode": "x"},
    ],
)
def test_profile_value_of_the_wrong_type_is_refused_with_its_origin(layer: dict) -> None:
    with pytest.raises(UsageError, match=r"\(profile demo\): expected"):
        resolve(Config, {"profile demo": layer})


def test_list_of_a_profile_becomes_a_tuple_and_a_whole_number_a_float() -> None:
    values = resolve(Config, {"profile demo": {"words": ["a", "b"], "share_01": 1, "folder": None}}).values
    assert (values.words, values.share_01, type(values.share_01), values.folder) == (("a", "b"), 1.0, float, None)


@dataclass(frozen=True)
class Derived:
    """A class with a setting that follows from another."""

    width: int = setting(2, "a number")
    area: int = setting(0, "its square", affects_rows=True)

    @staticmethod
    def derive(values: dict) -> dict:
        return {"area": (values["width"] ** 2, "width")}


def test_setting_that_follows_from_another_says_from_which() -> None:
    resolved = resolve(Derived, {"flag": {"width": 3}})
    assert (resolved.values.area, resolved.origins["area"]) == (9, "width")
    assert resolved.affecting_rows() == {"area": 9}


def test_setting_that_follows_from_another_cannot_be_given() -> None:
    with pytest.raises(UsageError, match=r"area=7 \(flag\): expected none, it follows from width"):
        resolve(Derived, {"flag": {"area": 7}})


def test_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown setting .chunk_char.\. Did you mean chunk_chars\?"):
        refuse_unknown(["chunk_char"], {"chunk_chars", "embedder"}, "profile demo")


def test_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="demo, multi_gpu, t4"):
        load_profile("laptop")


@pytest.mark.parametrize(("text", "said"), [("a: [", "is no YAML"), ("- a", "holds a list")])
def test_profile_that_is_no_mapping_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.setattr(config, "PROFILES", tmp_path)
    with pytest.raises(UsageError, match=said):
        load_profile("own")


def test_every_profile_fits_every_stage() -> None:
    known = {field.name for cls in [*setting_classes(), PruneConfig] for field in dataclasses.fields(cls)}
    n_pairs = 0
    for profile in profiles():
        settings = load_profile(profile)
        refuse_unknown(settings, known, profile)
        for name in STAGES:
            resolve(load(STAGES[name]).Config, {f"profile {profile}": settings})
            n_pairs += 1
    assert profiles() == ["demo", "multi_gpu", "t4"]
    assert n_pairs == 3 * len(STAGES) > 0


def test_every_common_setting_fits_every_profile() -> None:
    for profile in profiles():
        for cls in setting_classes():
            resolve(cls, {f"profile {profile}": load_profile(profile)})


def test_settings_of_one_name_have_one_type_default_and_meaning() -> None:
    seen: dict[str, tuple] = {}
    for cls in [*setting_classes(), PruneConfig]:
        for field in dataclasses.fields(cls):
            found = (field.type, field.default)
            assert seen.setdefault(field.name, found) == found, f"{field.name} differs in {cls.__module__}"
    assert len(seen) > 10


def test_every_setting_has_a_meaning() -> None:
    fields = [field for cls in [*setting_classes(), PruneConfig] for field in dataclasses.fields(cls)]
    assert all(field.metadata["meaning"] for field in fields)


def test_every_settings_class_is_frozen() -> None:
    assert all(cls.__dataclass_params__.frozen for cls in [*setting_classes(), PruneConfig])
