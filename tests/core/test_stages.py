"""The table of stages: arrows, files, goals."""

import pytest

from jobs.core.config import REPOSITORY
from jobs.core.contracts import DATASETS
from jobs.core.errors import NotWantedError, UsageError
from jobs.core.runner import OPTIONAL_INPUTS
from jobs.core.stages import GOALS, STAGES, load, require_wanted, stage_named, wanted

SOURCES = {name for name, dataset in DATASETS.items() if dataset.grain == "source"} - {"snapshots"}


def test_every_dataset_read_is_a_source_or_was_written_before() -> None:
    written: set[str] = set(SOURCES)
    for stage in STAGES.values():
        assert set(stage.reads) <= written, stage.name
        written |= set(stage.writes)


def test_every_dataset_has_one_writer_unless_it_is_a_source() -> None:
    written = [dataset for stage in STAGES.values() for dataset in stage.writes]
    assert sorted(written) == sorted(set(DATASETS) - SOURCES)


def test_inputs_that_may_be_absent_are_the_sources_made_by_commands() -> None:
    assert set(OPTIONAL_INPUTS) == SOURCES


def test_grain_of_a_stage_is_that_of_its_dataset() -> None:
    for stage in STAGES.values():
        assert stage.grain in DATASETS[stage.dataset].grain, stage.name


def test_no_stage_is_wanted_later_than_one_that_reads_it() -> None:
    goal_of = {dataset: GOALS.index(stage.goal) for stage in STAGES.values() for dataset in stage.writes}
    for stage in STAGES.values():
        if stage.name != "merge_and_deploy":  # releases without a student: reads what is there
            for dataset in set(stage.reads) - SOURCES:
                assert goal_of[dataset] <= GOALS.index(stage.goal), f"{stage.name} reads {dataset}"


def test_stage_files_are_those_of_the_table() -> None:
    """A stage file is known by its VERSION, Config and run."""
    found = set()
    for room in {stage.room for stage in STAGES.values()}:
        for path in (REPOSITORY / "jobs" / room).glob("*.py"):
            text = path.read_text()
            if "\nVERSION = " in text and "\ndef run(" in text:
                found.add(f"jobs.{room}.{path.stem}")
    assert found == {stage.module for stage in STAGES.values()}


@pytest.mark.parametrize("name", list(STAGES))
def test_stage_offers_what_the_runner_calls(name: str) -> None:
    module = load(STAGES[name])
    assert isinstance(module.VERSION, int)
    assert callable(module.run)
    assert module.Config() == module.Config()
    assert module.__doc__


@pytest.mark.parametrize(
    ("goal", "last", "n_stages"),
    [("papers", "chunk_documents", 5), ("index", "merge_and_deploy", 8), ("student", "merge_and_deploy", 12)],
)
def test_goal_decides_how_far_a_run_goes(goal: str, last: str, n_stages: int) -> None:
    stages = wanted(goal, None)
    assert (stages[-1].name, len(stages)) == (last, n_stages)


@pytest.mark.parametrize("goal", GOALS)
def test_window_and_all_stages_part_the_run(goal: str) -> None:
    windows, rest = wanted(goal, "window"), wanted(goal, "all")
    assert sorted(stage.name for stage in windows + rest) == sorted(stage.name for stage in wanted(goal, None))
    assert all(stage.grain == "all" for stage in rest)


def test_stage_beyond_the_goal_is_not_wanted() -> None:
    with pytest.raises(NotWantedError, match="--goal papers"):
        require_wanted(STAGES["embed_chunks"], "papers", None)


def test_unknown_stage_is_refused_with_the_table() -> None:
    with pytest.raises(UsageError, match="fetch_snapshot, filter_papers"):
        stage_named("filter_paper")


def test_definition_settings_of_the_table_exist() -> None:
    from jobs.core.definition import Definition

    names = {name for stage in STAGES.values() for name in stage.definition}
    assert names <= set(Definition.__dataclass_fields__)
