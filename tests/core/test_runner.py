"""The lake's rules over stages: what runs, what stands, and why, with toy stages on real files."""

import dataclasses
import random

import pytest

from jobs.core import runner
from jobs.core.errors import ContractError, InputMissingError, YieldError
from jobs.core.lake import Lake
from jobs.core.manifest import Input, make_key, result_key
from tests.core import toy
from tests.core.test_durable import flip_bit
from tests.core.toy import WINDOWS

NOTHING = {"snapshots": [], "papers": [], "documents": [], "chunks": []}


def why(stage: toy.Toy, lake: Lake, **flags: object) -> str:
    return toy.task_of(stage, lake, **flags).why


def test_first_run_makes_every_part(lake: Lake) -> None:
    toy.write_source(lake, toy.rows_of_two_windows())
    both = list(WINDOWS)
    assert toy.make_chain(lake) == {"snapshots": ["toy"], "papers": both, "documents": both, "chunks": both}


def test_second_run_makes_nothing(made: Lake) -> None:
    assert toy.make_chain(made) == NOTHING


def test_same_input_and_settings_make_the_same_keys_in_two_lakes(made: Lake, another_lake: Lake) -> None:
    toy.write_source(another_lake, toy.rows_of_two_windows())
    toy.make_chain(another_lake)
    assert toy.keys(another_lake) == toy.keys(made)


def test_source_in_another_order_stops_at_papers(made: Lake) -> None:
    before = toy.keys(made)
    toy.write_source(made, random.Random(4).sample(toy.rows_of_two_windows(), 6))
    ran = toy.make_chain(made)
    after = toy.keys(made)
    assert ran == {"snapshots": ["toy"], "papers": list(WINDOWS), "documents": [], "chunks": []}
    assert {name for name in after if after[name] != before[name]} == {
        "snapshots/toy",
        *(f"papers/{part}" for part in WINDOWS),
    }


def test_digest_of_papers_survives_another_order(made: Lake) -> None:
    before = made.input_of("papers", WINDOWS[0])[0]
    toy.write_source(made, list(reversed(toy.rows_of_two_windows())))
    toy.make_chain(made)
    after = made.input_of("papers", WINDOWS[0])[0]
    assert (after.digest, after.key == before.key) == (before.digest, False)


def test_one_changed_row_runs_only_what_depends_on_it(made: Lake) -> None:
    rows = toy.rows_of_two_windows()
    rows[1] = (WINDOWS[1], rows[1][1], "another text")
    toy.write_source(made, rows)
    ran = toy.make_chain(made)
    assert ran == {"snapshots": ["toy"], "papers": list(WINDOWS), "documents": [WINDOWS[1]], "chunks": [WINDOWS[1]]}


def test_empty_window_publishes_zero_rows(lake: Lake) -> None:
    toy.write_source(lake, [(WINDOWS[0], "2401.00001", "text")])
    toy.make_chain(lake)
    part = lake.current("chunks", WINDOWS[1])
    assert part is not None
    assert (part.manifest.rows, part.rows(), part.manifest.counts.read) == (0, [], 0)


def test_changed_setting_makes_the_part_again_and_says_which(made: Lake) -> None:
    assert why(toy.extract(), made, suffix="!") == "suffix '' -> '!'"
    assert toy.make(toy.extract(), made, suffix="!") == list(WINDOWS)


def test_setting_changed_back_repoints_without_running(made: Lake) -> None:
    before = toy.keys(made)
    toy.make(toy.extract(), made, suffix="!")
    changed = toy.keys(made)
    assert toy.make(toy.extract(), made) == []
    assert changed != before
    assert toy.keys(made) == before


def test_setting_that_affects_no_rows_changes_nothing(made: Lake) -> None:
    assert toy.make_chain(made, pause_s=0.001) == NOTHING


def test_definition_is_in_the_keys_of_the_stages_that_name_it(made: Lake) -> None:
    definition = dataclasses.replace(made.definition, categories=("cs.LG",))
    redefined = Lake(made.root, dataclasses.replace(made.lake_file, definition=definition))
    assert why(toy.filter_papers(), redefined) == "lake.categories [] -> ['cs.LG']"
    assert why(toy.extract(), redefined) == "up to date"


def test_newer_stage_version_leaves_old_results_standing(made: Lake) -> None:
    newer = toy.filter_papers(version=2)
    assert toy.make(newer, made) == []
    assert why(newer, made) == "done by older stage version 1; --upgrade makes it anew with 2"


def test_upgrade_makes_old_results_again(made: Lake) -> None:
    assert toy.make(toy.filter_papers(version=2), made, upgrade=True) == list(WINDOWS)
    assert toy.make(toy.filter_papers(version=2), made, upgrade=True) == []


def test_newer_stage_version_counts_for_new_input(made: Lake) -> None:
    toy.write_source(made, [*toy.rows_of_two_windows(), (WINDOWS[0], "2401.00009", "new")])
    toy.make(toy.fetch(), made)
    assert toy.make(toy.filter_papers(version=2), made) == list(WINDOWS)


def test_older_program_does_not_trust_a_newer_part(made: Lake) -> None:
    toy.make(toy.filter_papers(version=2), made, upgrade=True)
    assert "made by stage version 2, this program has 1" in why(toy.filter_papers(), made)


def test_setting_that_a_newer_version_brought_does_not_redo_at_its_default(made: Lake) -> None:
    assert toy.make(toy.filter_papers(2, toy.NewerConfig), made) == []


def test_setting_that_a_newer_version_brought_redoes_when_it_is_set(made: Lake) -> None:
    assert toy.make(toy.filter_papers(2, toy.NewerConfig), made, case="upper") == list(WINDOWS)


def test_missing_input_is_66_and_names_the_command(lake: Lake) -> None:
    with pytest.raises(InputMissingError) as caught:
        toy.make(toy.extract(), lake)
    assert f"python -m jobs filter_papers --lake {lake.root} --window {WINDOWS[0]}" in str(caught.value)
    assert caught.value.exit_code == 66


def test_stage_below_its_floor_is_refused_after_it_published(lake: Lake) -> None:
    toy.write_source(lake, [(WINDOWS[0], "2401.00001", "bad"), (WINDOWS[1], "2401.00002", "good")])
    toy.make(toy.fetch(), lake)
    with pytest.raises(YieldError, match="kept 1 of 2"):
        toy.make(toy.filter_papers(), lake, min_yield_01=0.6)
    assert lake.parts("papers") == list(WINDOWS)


def test_floor_counts_over_all_windows_and_passes_at_its_value(lake: Lake) -> None:
    toy.write_source(lake, [(WINDOWS[0], "2401.00001", "bad"), (WINDOWS[1], "2401.00002", "good")])
    toy.make(toy.fetch(), lake)
    assert toy.make(toy.filter_papers(), lake, min_yield_01=0.5) == list(WINDOWS)


def test_nothing_of_nothing_passes_the_floor(lake: Lake) -> None:
    toy.write_source(lake, [])
    toy.make(toy.fetch(), lake)
    assert toy.make(toy.filter_papers(), lake, min_yield_01=1.0) == list(WINDOWS)


def test_fetch_stage_has_a_request_key_and_a_result_key(made: Lake) -> None:
    part = made.current("snapshots", "toy")
    assert part is not None
    assert part.manifest.key == result_key(part.manifest.request_key, part.manifest.extra["source"])
    assert part.manifest.key != part.manifest.request_key


def test_fetch_stage_asks_again_only_when_its_source_changed(made: Lake) -> None:
    assert toy.make(toy.fetch(), made) == []
    toy.write_source(made, [])
    assert toy.task_of(toy.fetch(), made, "toy").why == "the source changed"
    assert toy.make(toy.fetch(), made) == ["toy"]


def test_what_came_back_meets_the_key_that_it_had(made: Lake) -> None:
    before = toy.keys(made)
    toy.write_source(made, [])
    toy.make_chain(made)
    toy.write_source(made, toy.rows_of_two_windows())
    toy.make_chain(made)
    assert toy.keys(made) == before


def test_damaged_part_whose_pointer_was_removed_is_made_again(made: Lake) -> None:
    """What the message of IntegrityError advises must help."""
    part = made.current("documents", WINDOWS[0])
    assert part is not None
    flip_bit(part.folder / "rows.parquet", 100)
    (part.folder.parent / "CURRENT").unlink()
    assert toy.make(toy.extract(), made) == [WINDOWS[0]]
    remade = made.current("documents", WINDOWS[0])
    assert remade is not None
    assert len(remade.rows()) == 3


def test_part_whose_check_failed_is_checked_again_by_the_next_run(made: Lake) -> None:
    """A release that the app refused must not become current by running the stage once more."""
    before = made.current_key("papers", WINDOWS[0])
    for _ in range(2):
        with pytest.raises(ContractError, match="answers wrongly"):
            toy.make(toy.checked_filter(), made, suffix="!")
        assert made.current_key("papers", WINDOWS[0]) == before


def test_manifest_that_does_not_follow_from_itself_is_refused(made: Lake) -> None:
    part = made.current("documents", WINDOWS[0])
    assert part is not None
    wrong = dataclasses.replace(part.manifest, request_key="0" * 64)
    (part.folder / "_MANIFEST.json").write_bytes(wrong.to_json())
    with pytest.raises(ContractError, match="does not follow"):
        runner.survey(toy.extract().stage, toy.request(made), toy.extract())


def test_key_passes_over_the_order_and_the_keys_of_inputs() -> None:
    inputs = [Input("papers", "a", "digest a", "key 1"), Input("pdfs", "a", "digest b")]
    again = [Input("pdfs", "a", "digest b", "key 2"), Input("papers", "a", "digest a")]
    assert make_key("stage", 1, {"x": 1, "y": 2}, inputs) == make_key("stage", 1, {"y": 2, "x": 1}, again)


@pytest.mark.parametrize(
    ("stage", "version", "settings", "digest"),
    [
        ("other", 1, {"x": 1}, "d"),
        ("stage", 2, {"x": 1}, "d"),
        ("stage", 1, {"x": 2}, "d"),
        ("stage", 1, {"x": 1}, "e"),
    ],
)
def test_key_tells_stage_version_settings_and_digest(stage: str, version: int, settings: dict, digest: str) -> None:
    key = make_key("stage", 1, {"x": 1}, [Input("papers", "a", "d")])
    assert make_key(stage, version, settings, [Input("papers", "a", digest)]) != key
