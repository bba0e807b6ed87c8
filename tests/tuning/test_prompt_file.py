"""The prompts file: what a user may change, and what is refused with its key."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.core.errors import UsageError
from jobs.tuning import prompt_file
from jobs.tuning.prompts import PASSAGE_CHARS, UNANSWERABLE

BUILT_IN = prompt_file.path_of("default")


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(BUILT_IN.read_text())
    return loaded


def version_of(folder: Path, changed: dict[str, Any], name: str = "own.yaml") -> str:
    (folder / name).write_text(yaml.safe_dump(changed, sort_keys=False))
    return prompt_file.load(str(folder / name)).version


def example(loaded: dict[str, Any], form: str = "one_passage") -> dict[str, Any]:
    found: dict[str, Any] = loaded["forms"][form]["examples"][0]
    return found


def without(mapping: dict[str, Any], key: str) -> None:
    del mapping[key]


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c.update(colour="red"), "the file has colour"),
    (lambda c: without(c, "types"), "the file lacks types"),
    (lambda c: c.update(name="My Field"), "name is 'My Field'"),
    (lambda c: c["forms"].update(riddle={}), "forms has 'riddle'"),
    (lambda c: c["forms"]["one_passage"].update(instruction="Ask something."), r"one_passage.instruction .*\{kind\}"),
    (lambda c: c["forms"]["one_passage"].update(instruction="{kind} {kind}"), r"one_passage.instruction .*once"),
    (lambda c: c["forms"]["one_passage"].update(instruction="{kind} {text}"), r"one_passage.instruction has \{text\}"),
    (lambda c: c["forms"]["one_passage"].update(instruction=7), "one_passage.instruction is 7"),
    (lambda c: c["forms"]["one_passage"].update(examples=[]), r"one_passage.examples is \[\]. Expected a list of 1 to"),
    (lambda c: example(c).update(type="riddle"), r"examples\[0\].type is 'riddle'"),
    (lambda c: example(c).update(type="unanswerable"), r"examples\[0\].type is 'unanswerable'"),
    (lambda c: without(example(c), "answer"), r"examples\[0\] lacks answer"),
    (lambda c: example(c).update(evidence=["The moon is made of cheese."]), r"examples\[0\] .*evidence_not_found"),
    (lambda c: example(c).update(evidence=[]), r"examples\[0\].evidence .*list of 1"),
    (lambda c: example(c).update(question="What does this paper say?"), r"examples\[0\] .*points_elsewhere"),
    (lambda c: example(c, "two_passages")["passages"].pop(), r"two_passages.examples\[0\].passages .*list of 2"),
    (lambda c: example(c, "two_passages")["evidence"].reverse(), r"two_passages.examples\[0\] .*evidence_not_found"),
    (lambda c: example(c, UNANSWERABLE).update(answer="Weekly."), r"unanswerable.examples\[0\] has answer"),
    (lambda c: example(c)["passages"][0].update(text="x " * PASSAGE_CHARS), r"passages\[0\].text .*at most 1,200"),
    (lambda c: c["types"]["why"].update(weight="often"), "types.why.weight is 'often'"),
    (lambda c: c["types"]["why"].update(weight=-1), "types.why.weight is -1"),
    (lambda c: c["types"]["why"].update(weight=True), "types.why.weight is True"),
    (lambda c: c["types"]["why"].update(form="riddle"), "types.why.form is 'riddle'"),
    (lambda c: c["types"]["why"].update(kind=""), "types.why.kind is ''"),
    (lambda c: c["types"].update({"Why Not": {"weight": 1, "kind": "x"}}), "types has the name 'Why Not'"),
    (lambda c: c["types"]["unanswerable"].update(weight=20), "17.4% of all weights. Expected at most 10%"),
    (lambda c: [one.update(weight=0) for one in c["types"].values()], "all weights of types are 0"),
    (lambda c: without(c["forms"], "two_passages"), "types.multi_chunk has the form two_passages"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_file_is_refused_with_its_name_and_key(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    changed = content()
    change(changed)
    with pytest.raises(UsageError, match=message) as refused:
        version_of(tmp_path, changed)
    assert str(tmp_path / "own.yaml") in str(refused.value)
    assert "Expected" in str(refused.value)


@pytest.mark.parametrize("text", ["{", "- a list", "", "name: \x00"])
def test_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match="Expected"):
        prompt_file.load(str(tmp_path / "own.yaml"))


def test_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    text = BUILT_IN.read_text().replace("  result:\n", "  method:\n")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"line \d+ has the key 'method' again"):
        prompt_file.load(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize("name", ["no_such_name", "no/such/file.yaml"])
def test_missing_file_is_refused_with_what_to_copy(name: str) -> None:
    with pytest.raises(UsageError, match=r"default\.yaml"):
        prompt_file.load(name)


def test_version_follows_from_the_content_not_from_the_path_or_its_layout(tmp_path: Path) -> None:
    assert version_of(tmp_path, content()) == prompt_file.built_in().version
    assert version_of(tmp_path, content(), "other.yaml") == prompt_file.built_in().version


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda c: c.update(name="my_field"),
    lambda c: c["forms"]["one_passage"].update(instruction="Ask about {kind}."),
    lambda c: c["types"]["why"].update(kind="the reason for something"),
    lambda c: example(c).update(question="Why may a tipping-bucket rain gauge miss light drizzle?"),
    lambda c: c["forms"]["one_passage"]["examples"].append(copy.deepcopy(example(c))),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_teacher_reads_is_in_the_version(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    changed = content()
    change(changed)
    assert version_of(tmp_path, changed) != prompt_file.built_in().version


def test_weights_are_not_in_the_version(tmp_path: Path) -> None:
    changed = content()
    changed["types"]["why"]["weight"] = 30
    assert version_of(tmp_path, changed) == prompt_file.built_in().version


def test_type_of_weight_0_is_not_asked_for(tmp_path: Path) -> None:
    changed = content()
    changed["types"]["why"]["weight"] = 0
    version_of(tmp_path, changed)
    made = prompt_file.load(str(tmp_path / "own.yaml"))
    assert "why" not in made.mix()
    with pytest.raises(UsageError, match="weight 0"):
        made.mix(["why", "method"])


def test_own_type_is_asked_for_by_its_own_words(tmp_path: Path) -> None:
    changed = content()
    changed["types"]["reagent"] = {"weight": 5, "kind": "a reagent and what it is for"}
    version_of(tmp_path, changed)
    assert prompt_file.load(str(tmp_path / "own.yaml")).mix(["reagent"])["reagent"].kind.startswith("a reagent")
