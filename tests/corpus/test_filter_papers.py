"""Picking papers: rejects, floor, cap and filters of the whole stage, with Spark's partitions run in this process.

Other stages' tests take from here what makes a stage without a JVM: `stage_lake`, `publish_rows`, `make`.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark import cloudpickle

from jobs.core import runner, tables
from jobs.core.contracts import DATASETS
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.errors import ContractError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.reasons import PAPER_REASONS
from jobs.core.stages import STAGES, load
from jobs.core.windows import windows_between
from jobs.corpus import filter_papers, snapshot
from tests.core import toy
from tests.corpus import kaggle_lines

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

WEEK, NEXT_WEEK = toy.WINDOWS


class LocalContext:
    """A SparkContext without a JVM: partitions run here, one after the other, on pickled copies as in a worker."""

    given: list[Any] = []  # noqa: RUF012  what was last handed out, over all contexts
    n_jobs = 0
    master = "local[2]"
    defaultParallelism = 2  # noqa: N815  Spark's name

    @classmethod
    def getOrCreate(cls) -> Self:  # noqa: N802
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setLogLevel(self, level: str) -> None:  # noqa: N802
        pass

    def parallelize(self, rows: list[Any], n: int) -> LocalRows:
        type(self).given, type(self).n_jobs = rows, self.n_jobs + 1
        return LocalRows([rows[i::n] for i in range(n)])


class LocalRows:
    """What Spark calls an RDD, as far as our stages use it."""

    def __init__(self, partitions: list[list[Any]]) -> None:
        self._partitions = partitions

    def mapPartitions(self, function: Callable[[Iterable[Any]], Iterable[Any]]) -> LocalRows:  # noqa: N802
        return LocalRows([list(_copied(function)(iter(_copied(rows)))) for rows in self._partitions])

    def flatMap(self, function: Callable[[Any], Iterable[Any]]) -> LocalRows:  # noqa: N802
        return self.mapPartitions(lambda rows: (made for row in rows for made in function(row)))

    def foreachPartition(self, function: Callable[[Iterable[Any]], None]) -> None:  # noqa: N802
        for rows in self._partitions:
            _copied(function)(iter(_copied(rows)))

    def collect(self) -> list[Any]:
        return [_copied(row) for rows in self._partitions for row in rows]


def _copied(value: Any) -> Any:
    return cloudpickle.loads(cloudpickle.dumps(value))


class NoContext:
    """Stands where Spark must not be started."""

    @classmethod
    def getOrCreate(cls) -> Self:  # noqa: N802
        raise AssertionError("Spark was started")


def stage_lake(root: Path, source: Source, **about: Any) -> Lake:
    """A new lake of a source, on weekly windows."""
    return Lake.create(root, LakeFile("test", Definition(**about), source, "demo"))


def publish_rows(lake: Lake, dataset: str, rows: list[dict[str, Any]], part: str = WEEK) -> Part:
    """Publish rows as a part of a dataset, as if its stage had made them; columns left out are null."""
    declared = DATASETS[dataset]
    table = tables.make_table(declared, [dict.fromkeys(declared.columns) | row for row in rows])
    digest = tables.digest_of(tables.row_hashes(declared, table))
    key = lake.current_key(dataset, part)
    task = PartTask("by_hand", 1, dataset, part, digest, (), {}, {}, "to do", "", key)
    refused = [row["reason"] for row in rows if row.get("reason")]
    counts = Counts.of(declared, len(rows) - len(refused), {name: refused.count(name) for name in refused})
    with lake.attempt(task) as attempt:
        tables.write_tables(attempt.folder / tables.ROWS_FILE, declared.schema(), [table])
        if "rejects.parquet" in declared.files:
            (attempt.folder / "rejects.parquet").touch()
        attempt.finish(counts, rows=len(rows), digest=digest)
    return current(lake, dataset, part)


def make(
    stage_name: str,
    lake: Lake,
    *,
    windows: tuple[str, ...] = (WEEK,),
    context: type = LocalContext,
    **flags: Any,
) -> list[str]:
    """Make a stage's parts as the command line does; the parts that were to do are returned."""
    stage = STAGES[stage_name]
    module = load(stage)
    asked = toy.request(lake, windows=windows, **flags)
    tasks = runner.survey(stage, asked, module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyspark, "SparkContext", context)
        runner.make_parts(stage, module, asked, tasks)
    return [task.part for task in tasks if task.state == "to do"]


def why(stage_name: str, lake: Lake, **flags: Any) -> str:
    """What the stage says of its one part: `up to date`, or why it has to be made again."""
    (task,) = runner.survey(STAGES[stage_name], toy.request(lake, windows=(WEEK,), **flags))
    return task.why


def current(lake: Lake, dataset: str, part: str = WEEK) -> Part:
    """The published part."""
    found = lake.current(dataset, part)
    assert found is not None, f"{dataset}/{part} was not published"
    return found


def point_to(lake: Lake, **source: str) -> Lake:
    """The same lake whose source lies elsewhere."""
    moved = dataclasses.replace(lake.lake_file.source, **source)
    return Lake(lake.root, dataclasses.replace(lake.lake_file, source=moved))


def lake_of_lines(tmp_path: Path, lines: list[bytes], **about: Any) -> Lake:
    """A lake whose snapshot holds these lines."""
    tmp_path.mkdir(exist_ok=True)
    metadata = kaggle_lines.write(tmp_path / "metadata.jsonl", lines)
    lake = stage_lake(tmp_path / "lake", Source(metadata=str(metadata)), **about)
    make("fetch_snapshot", lake)
    return lake


def line(number: int = 1, **fields: Any) -> bytes:
    return json.dumps(kaggle_lines.row(number, **fields), separators=(",", ":")).encode()


def ids(lake: Lake, part: str = WEEK) -> list[str]:
    return [row["paper_id"] for row in current(lake, "papers", part).rows()]


def rejects(lake: Lake) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(current(lake, "papers").file("rejects.parquet")).to_pylist()
    return rows


@pytest.fixture
def many_lines() -> list[bytes]:
    return [line(number) for number in range(1, 31)]


def test_line_becomes_a_row_of_papers(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(license="http://creativecommons.org/licenses/by/4.0/")])
    make("filter_papers", lake)
    (row,) = current(lake, "papers").rows()
    assert (row["paper_id"], row["version"], row["title"]) == ("2401.00001", 1, "On the spectrum of graphs")
    assert (row["categories"], row["primary_category"]) == (["cs.LG", "stat.ML"], "cs.LG")
    assert (row["submitted_at"].isoformat(), row["submitted_from"]) == ("2024-01-02T10:00:00+00:00", "version")
    assert (row["license"], row["is_withdrawn"]) == ("http://creativecommons.org/licenses/by/4.0/", False)


def test_rows_are_sorted_by_id_whatever_the_order_of_lines(tmp_path: Path, many_lines: list[bytes]) -> None:
    lake = lake_of_lines(tmp_path, random.Random(5).sample(many_lines, 30))
    make("filter_papers", lake)
    assert ids(lake) == [f"2401.{number:05d}" for number in range(1, 31)]


def test_paper_without_dates_takes_the_first_day_of_its_ids_month(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(versions=...)])
    make("filter_papers", lake)
    (row,) = current(lake, "papers").rows()
    assert (row["submitted_at"].isoformat(), row["submitted_from"]) == ("2024-01-01T00:00:00+00:00", "id")


def test_malformed_line_is_kept_as_a_reject_with_its_place(tmp_path: Path) -> None:
    broken = line(2)[:-30]
    lake = lake_of_lines(tmp_path, [line(1), broken, line(3)])
    make("filter_papers", lake)
    assert ids(lake) == ["2401.00001", "2401.00003"]
    assert rejects(lake) == [
        {"source": "file", "offset": len(line(1)) + 1, "reason": "malformed", "line": broken.decode()}
    ]


def test_id_that_is_none_is_kept_as_a_reject(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1, id="hello")])
    make("filter_papers", lake)
    assert [reject["reason"] for reject in rejects(lake)] == ["bad_id"]


def test_well_formed_lines_that_are_not_wanted_are_no_rejects(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1, categories="hep-th cs.LGX")], categories=("cs.LG",))
    make("filter_papers", lake)
    assert rejects(lake) == []
    assert current(lake, "papers").manifest.counts.dropped == {"other_category": 1}


def test_ten_malformed_lines_of_a_small_file_are_allowed(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1), *([b'{"id": "2401.00002", "title": '] * 10)])
    make("filter_papers", lake)
    assert current(lake, "papers").manifest.counts.dropped == {"malformed": 10}


def test_more_malformed_lines_than_allowed_publish_nothing(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1), *([b'{"id": "2401.00002", "title": '] * 11)])
    with pytest.raises(ContractError, match="11 of 12 lines cannot be read, 10 are allowed") as refused:
        make("filter_papers", lake, windows=(WEEK, NEXT_WEEK))
    assert refused.value.exit_code == 65
    assert lake.parts("papers") == []
    assert list((lake.root / "papers").glob("*/_attempts/*")) == []


def test_share_of_malformed_lines_may_be_raised(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1), *([b'{"id": "2401.00002", "title": '] * 11)])
    make("filter_papers", lake, max_malformed_01=0.95)
    assert ids(lake) == ["2401.00001"]


def test_malformed_line_of_no_known_day_counts_once_for_the_floor(tmp_path: Path) -> None:
    """It is a reject of every window; over two windows ten such lines are still ten."""
    lake = lake_of_lines(tmp_path, [line(1), *([b"{nothing}"] * 10)])
    make("filter_papers", lake, windows=(WEEK, NEXT_WEEK))
    assert [current(lake, "papers", part).manifest.counts.dropped for part in toy.WINDOWS] == [{"malformed": 10}] * 2


def test_cap_takes_the_same_papers_whatever_the_order_of_lines(tmp_path: Path, many_lines: list[bytes]) -> None:
    taken = []
    for seed in (1, 2):
        lake = lake_of_lines(tmp_path / str(seed), random.Random(seed).sample(many_lines, 30))
        make("filter_papers", lake, max_papers_per_window=7)
        taken.append(ids(lake))
    assert taken[0] == taken[1]
    assert len(taken[0]) == 7


def test_raised_cap_only_adds(tmp_path: Path, many_lines: list[bytes]) -> None:
    lake = lake_of_lines(tmp_path, many_lines)
    make("filter_papers", lake, max_papers_per_window=7)
    seven = set(ids(lake))
    make("filter_papers", lake, max_papers_per_window=12)
    assert seven < set(ids(lake))


def test_cap_counts_what_it_refused(tmp_path: Path, many_lines: list[bytes]) -> None:
    lake = lake_of_lines(tmp_path, many_lines)
    make("filter_papers", lake, max_papers_per_window=7)
    assert current(lake, "papers").manifest.counts == Counts(30, 7, {"over_cap": 23})


@pytest.mark.parametrize(
    ("about", "kept", "dropped"),
    [
        ({"categories": ("cs.CL",)}, ["2401.00002"], {"other_category": 1}),
        ({"categories": ("cs.CL", "hep-th")}, ["2401.00002", "2401.00003"], {"other_category": 1}),
        ({"keywords": ("graph",)}, ["2401.00002"], {"no_keyword": 2}),
        ({"ids": ("2401.00003v1",)}, ["2401.00003"], {"not_listed": 2}),
        ({"categories": ("hep-th",), "ids": ("2401.00002",)}, [], {"not_listed": 1}),
    ],
)
def test_filter_keeps_what_the_lake_is_about(
    tmp_path: Path, about: dict[str, Any], kept: list[str], dropped: dict[str, int]
) -> None:
    """A line whose categories do not hold the letters of a wanted one is not read, so it is not counted."""
    lines = [
        line(1, title="Graphs", categories="cs.CLX"),
        line(2, title="A graph", categories="cs.CL cs.LG"),
        line(3, title="A photograph", categories="hep-th"),
    ]
    lake = lake_of_lines(tmp_path, lines, **about)
    make("filter_papers", lake)
    assert ids(lake) == kept
    assert current(lake, "papers").manifest.counts.dropped == dropped


def test_other_definition_is_another_key(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1)])
    make("filter_papers", lake)
    about = dataclasses.replace(lake.lake_file, definition=Definition(categories=("cs.CL",)))
    redefined = Lake.create(lake.root, about)
    assert why("filter_papers", redefined) == "lake.categories [] -> ['cs.CL']"


def test_window_without_papers_is_published_empty(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1)])
    make("filter_papers", lake, windows=(NEXT_WEEK,))
    assert (ids(lake, NEXT_WEEK), current(lake, "papers", NEXT_WEEK).manifest.counts) == ([], Counts(0, 0))


def test_empty_snapshot_starts_no_spark(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [])
    make("filter_papers", lake, context=NoContext)
    assert ids(lake) == []


def test_all_windows_are_found_in_one_scan(tmp_path: Path) -> None:
    later = kaggle_lines.versions("Tue, 9 Jan 2024 10:00:00 GMT")
    lake = lake_of_lines(tmp_path, [line(1), line(2, versions=later)])
    before = LocalContext.n_jobs
    make("filter_papers", lake, windows=(WEEK, NEXT_WEEK))
    assert LocalContext.n_jobs == before + 1
    assert (ids(lake), ids(lake, NEXT_WEEK)) == (["2401.00001"], ["2401.00002"])


def test_window_made_alone_has_the_key_of_the_bulk_run(tmp_path: Path, many_lines: list[bytes]) -> None:
    bulk, alone = (lake_of_lines(tmp_path / name, many_lines) for name in ("bulk", "alone"))
    make("filter_papers", bulk, windows=(WEEK, NEXT_WEEK))
    make("filter_papers", alone)
    assert current(alone, "papers").as_input == current(bulk, "papers").as_input


def test_large_snapshot_is_cut_into_a_few_ranges_a_core(
    tmp_path: Path, many_lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "RANGE_BYTES", 1)
    lake = lake_of_lines(tmp_path, many_lines)
    make("filter_papers", lake)
    assert len(LocalContext.given) == filter_papers.TASKS_PER_CORE * LocalContext.defaultParallelism
    assert len(ids(lake)) == 30


@pytest.mark.parametrize("select_by", ["submitted", "updated"])
def test_bulk_run_makes_the_parts_that_its_windows_make_one_by_one(tmp_path: Path, select_by: str) -> None:
    rng = random.Random(17)
    rows = [kaggle_lines.random_row(rng, number) for number in range(1, 400)]
    again = [row | {"title": "Another record", "update_date": "2024-06-01"} for row in rows[:40]]
    lines = [kaggle_lines.spell(rng, row) for row in rows + again] + [b"{broken", line(500)[:-40]]
    names = [window.name for window in windows_between(date(2023, 12, 11), date(2024, 3, 3), "week")]
    made = []
    for runs in ([names], [[name] for name in names], [[name] for name in rng.sample(names, len(names))]):
        lake = lake_of_lines(tmp_path / str(len(made)), lines, categories=("cs.LG",), select_by=select_by)
        for windows in runs:
            make("filter_papers", lake, windows=tuple(windows), max_papers_per_window=9)
        parts = [current(lake, "papers", name) for name in names]
        made.append([(part.as_input, part.manifest.counts, list(part.rows())) for part in parts])
    assert made[0] == made[1] == made[2]
    assert sum(counts.kept for _, counts, _ in made[0]) > len(names)


def test_newest_record_of_a_paper_wins_and_the_older_is_counted(tmp_path: Path) -> None:
    two = kaggle_lines.versions("Tue, 2 Jan 2024 10:00:00 GMT", "Tue, 6 Feb 2024 10:00:00 GMT")
    lake = lake_of_lines(tmp_path, [line(1, versions=two, title="New"), line(1, title="Old")])
    make("filter_papers", lake)
    made = current(lake, "papers")
    assert [(row["version"], row["title"]) for row in made.rows()] == [(2, "New")]
    assert made.manifest.counts == Counts(2, 1, {"superseded": 1})


def test_select_by_updated_puts_a_paper_into_the_week_of_its_newest_version(tmp_path: Path) -> None:
    two = kaggle_lines.versions("Tue, 2 Jan 2024 10:00:00 GMT", "Tue, 9 Jan 2024 10:00:00 GMT")
    lake = lake_of_lines(tmp_path, [line(1, versions=two)], select_by="updated")
    make("filter_papers", lake, windows=(WEEK, NEXT_WEEK))
    assert (ids(lake), ids(lake, NEXT_WEEK)) == ([], ["2401.00001"])


def test_paper_taken_down_is_refused_and_leaves_its_place_under_the_cap(
    tmp_path: Path, many_lines: list[bytes]
) -> None:
    lake = lake_of_lines(tmp_path, many_lines)
    make("filter_papers", lake, max_papers_per_window=7)
    first, *others = ids(lake)
    publish_rows(lake, "takedowns", [{"paper_id": first, "windows": [WEEK]}], part="owner")
    assert why("filter_papers", lake, max_papers_per_window=7) == "takedowns/owner changed"
    make("filter_papers", lake, max_papers_per_window=7)
    assert set(others) < set(ids(lake)) - {first}
    assert current(lake, "papers").manifest.counts == Counts(30, 7, {"taken_down": 1, "over_cap": 22})


def test_takedowns_of_nobody_change_nothing(tmp_path: Path) -> None:
    lake = lake_of_lines(tmp_path, [line(1)])
    make("filter_papers", lake)
    publish_rows(lake, "takedowns", [], part="owner")
    assert why("filter_papers", lake) == "up to date"


def test_manifest_tells_all_lines_of_the_snapshot(tmp_path: Path) -> None:
    later = kaggle_lines.versions("Tue, 9 Jan 2024 10:00:00 GMT")
    lake = lake_of_lines(tmp_path, [line(1), line(2, versions=later), line(3)])
    make("filter_papers", lake)
    manifest = current(lake, "papers").manifest
    assert (manifest.extra, manifest.counts.read) == ({"snapshot_lines": 3}, 2)


@pytest.mark.parametrize("seed", range(3))
def test_counters_add_up_over_random_lines(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = [kaggle_lines.random_row(rng, number) for number in range(1, 200)]
    lake = lake_of_lines(tmp_path, [kaggle_lines.spell(rng, row) for row in rows], categories=("cs.LG",))
    make("filter_papers", lake, windows=toy.WINDOWS, max_papers_per_window=5)
    for part in toy.WINDOWS:
        counts = current(lake, "papers", part).manifest.counts
        assert counts.read == counts.kept + sum(counts.dropped.values())
        assert counts.kept == 5
        assert set(counts.dropped) <= set(PAPER_REASONS)
