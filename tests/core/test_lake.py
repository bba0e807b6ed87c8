"""The lake's rules for one part: published whole or not at all, by one writer, verified before it is trusted."""

import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import orjson
import pyarrow.parquet
import pytest

from jobs.core import durable, tables
from jobs.core.contracts import DATASETS
from jobs.core.errors import (
    ContractError,
    InputMissingError,
    IntegrityError,
    JobError,
    LockedError,
    SupersededError,
    UsageError,
)
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, Manifest
from tests.core import toy
from tests.core.test_durable import flip_bit

REPOSITORY = Path(__file__).resolve().parents[2]
TOY = Path(__file__).with_name("toy.py")


@pytest.fixture
def part(made: Lake) -> Part:
    """A published part of three rows."""
    return current(made, "papers")


def current(lake: Lake, dataset: str, part: str = toy.WINDOWS[0]) -> Part:
    found = lake.current(dataset, part)
    assert found is not None
    return found


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_and_fail(lake: Lake, task: PartTask) -> None:
    with lake.attempt(task) as attempt:
        (attempt.work / "batch").write_text("half done")
        toy.write_rows(attempt, [])
        raise ZeroDivisionError


def move_pointer_while_writing(pointer: Path, attempt: Attempt) -> None:
    toy.write_rows(attempt, [])
    pointer.write_text("0" * 64)


class Makers:
    """Processes that make the toy chain in one lake."""

    def __init__(self, lake: Lake, pause_s: float) -> None:
        command = [sys.executable, str(TOY), str(lake.root), str(pause_s)]
        env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def start(self) -> int:
        """Process id of a new maker."""
        return self._ask("start")

    def wait(self) -> int:
        """Exit code of a maker that has ended."""
        return self._ask("wait")

    def _ask(self, word: str) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{word}\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


def test_published_part_lists_its_files_counts_and_inputs(lake: Lake, part: Part) -> None:
    snapshot = current(lake, "snapshots", "toy")
    assert everything_below(part.folder) == {"rows.parquet", "_MANIFEST.json"}
    assert part.manifest.files["rows.parquet"]["sha256"] == durable.sha256_file(part.folder / "rows.parquet")
    assert part.manifest.counts == Counts(read=3, kept=3)
    assert part.manifest.inputs == (snapshot.as_input,)


def test_publishing_leaves_no_attempts_and_no_work(lake: Lake, part: Part) -> None:
    names = {path.name for path in part.folder.parent.iterdir()}
    assert names - {"_attempts"} == {part.folder.name, "CURRENT", ".lock"}
    assert not list(part.folder.parent.glob("_attempts/*"))


def test_exception_in_the_block_leaves_nothing_visible(lake: Lake, part: Part) -> None:
    before = everything_below(part.folder.parent)
    with pytest.raises(ZeroDivisionError):
        write_and_fail(lake, toy.task_of(toy.filter_papers(), lake, suffix="!"))
    assert {name for name in everything_below(part.folder.parent) - before if not name.startswith("_work/")} == set()
    assert current(lake, "papers") == part


def test_block_that_does_not_finish_is_refused(lake: Lake, part: Part) -> None:
    task = toy.task_of(toy.filter_papers(), lake, suffix="!")
    with pytest.raises(ContractError, match="without saying what it wrote"), lake.attempt(task):
        pass
    assert current(lake, "papers") == part


def test_work_outlives_an_attempt_that_failed(lake: Lake, part: Part) -> None:
    task = toy.task_of(toy.filter_papers(), lake, suffix="!")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(lake, task)
    with lake.attempt(task) as attempt:
        found = (attempt.work / "batch").read_text()
        toy.write_rows(attempt, [])
    assert found == "half done"
    assert not list(part.folder.parent.glob("_work/*"))


def test_second_writer_is_refused_while_the_first_writes(
    lake: Lake, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.core.lake.LOCK_WAIT_S", 0.2)
    task = toy.task_of(toy.filter_papers(), lake, suffix="!")
    with lake.attempt(task) as attempt:
        toy.write_rows(attempt, [])
        with pytest.raises(LockedError), lake.attempt(task):
            pass


def test_pointer_that_moved_meanwhile_is_superseded(lake: Lake, part: Part) -> None:
    task = toy.task_of(toy.filter_papers(), lake, suffix="!")
    pointer = part.folder.parent / "CURRENT"
    with pytest.raises(SupersededError), lake.attempt(task) as attempt:
        move_pointer_while_writing(pointer, attempt)
    assert pointer.read_text() == "0" * 64
    assert not lake.has("papers", task.part, task.request_key)


def test_check_before_the_pointer_that_fails_leaves_the_old_part(lake: Lake, part: Part) -> None:
    stage = toy.checked_filter()
    task = toy.task_of(stage, lake, suffix="!")
    with pytest.raises(ContractError, match=rf"{task.request_key[:12]} answers wrongly"):
        toy.make(stage, lake, suffix="!")
    assert current(lake, "papers") == part
    assert lake.has("papers", task.part, task.request_key)


def test_damaged_folder_with_the_same_key_is_replaced(lake: Lake, part: Part) -> None:
    flip_bit(part.folder / "rows.parquet", 100)
    with lake.attempt(toy.task_of(toy.filter_papers(), lake)) as attempt:
        toy.write_rows(attempt, [toy.row_of("2401.00000", "text 0")])
    assert current(lake, "papers").rows()[0]["text"] == "text 0"


def test_whole_folder_with_the_same_key_stays_untouched(lake: Lake, part: Part) -> None:
    inode = (part.folder / "rows.parquet").stat().st_ino
    with lake.attempt(toy.task_of(toy.filter_papers(), lake)) as attempt:
        toy.write_rows(attempt, [])
    assert (part.folder / "rows.parquet").stat().st_ino == inode


@pytest.mark.parametrize("at", [4, 100, 400])
def test_flipped_byte_is_found_before_any_row_is_returned(part: Part, at: int) -> None:
    flip_bit(part.folder / "rows.parquet", at)
    with pytest.raises(IntegrityError, match="sha256"):
        part.rows()


def test_flipped_bit_never_changes_rows_in_silence(tmp_path: Path) -> None:
    """The pages' checksums, which also guard what Spark's workers read without hashing a whole file."""
    seeded = random.Random(4)
    path = tmp_path / "rows"
    table = tables.make_table(toy.ROWS, [toy.row_of(f"2401.{n:05}", f"text {n}" * 20) for n in range(50)])
    tables.write_tables(path, toy.ROWS.schema(), [table])
    whole = path.read_bytes()
    n_page_bytes = len(whole) - 8 - pyarrow.parquet.read_metadata(path).serialized_size
    n_found = 0
    for _ in range(100):
        path.write_bytes(whole)
        flip_bit(path, seeded.randrange(n_page_bytes))
        try:
            assert tables.read_table(path).equals(table)
        except (OSError, ValueError):
            n_found += 1
    assert n_found > 50


def test_file_that_the_manifest_does_not_list_is_refused(part: Part) -> None:
    with pytest.raises(IntegrityError, match=r"lists no file other\.parquet"):
        part.file("other.parquet")


def test_pointer_to_a_folder_without_manifest_says_what_to_do(lake: Lake, part: Part) -> None:
    (part.folder / "_MANIFEST.json").unlink()
    with pytest.raises(IntegrityError, match="Remove the part's CURRENT file"):
        lake.current("papers", toy.WINDOWS[0])


def test_part_of_a_retired_contract_version_is_refused(lake: Lake, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    retired = dataclasses.replace(DATASETS["papers"], retired_versions=(part.manifest.contract_version,))
    monkeypatch.setitem(DATASETS, "papers", retired)
    with pytest.raises(ContractError, match="--upgrade"):
        lake.current("papers", toy.WINDOWS[0])


def test_manifest_round_trips(part: Part) -> None:
    assert part.manifest.to_json() == (part.folder / "_MANIFEST.json").read_bytes()
    assert Manifest.read(part.folder) == part.manifest


def test_counts_add_up_and_pass_over_what_does_not_count() -> None:
    counts = Counts.of(toy.ROWS, 5, {"malformed": 2, "not_there": 4})
    assert counts == Counts(read=7, kept=5, dropped={"malformed": 2}, not_counted={"not_there": 4})
    assert Counts.total([counts, counts]) == Counts(14, 10, {"malformed": 4}, {"not_there": 8})


def test_unknown_reason_is_refused() -> None:
    with pytest.raises(ContractError, match="no reason"):
        Counts.of(DATASETS["papers"], 1, {"disliked": 1})


def test_row_with_other_columns_is_refused() -> None:
    with pytest.raises(ContractError, match="columns"):
        tables.make_table(toy.ROWS, [{"paper_id": "2401.00001"}])


def test_row_of_another_type_is_refused() -> None:
    with pytest.raises(ContractError, match="types"):
        tables.make_table(toy.ROWS, [toy.row_of("2401.00001", "text") | {"version": "one"}])


@pytest.mark.parametrize(("second", "said"), [("2401.00001", "occur twice"), (None, "no paper_id")])
def test_key_that_is_double_or_null_is_refused(second: str | None, said: str) -> None:
    table = tables.make_table(
        toy.ROWS, [toy.row_of("2401.00001", "a"), toy.row_of("2401.00001", "b") | {"paper_id": second}]
    )
    with pytest.raises(ContractError, match=said):
        tables.check_keys(toy.ROWS, table)


def test_digest_passes_over_file_name_row_order_and_row_groups(tmp_path: Path) -> None:
    rows = [toy.row_of(f"2401.{n:05}", f"text {n}") for n in range(50)]
    shuffled = random.Random(4).sample(rows, len(rows))
    tables.write_tables(tmp_path / "a", toy.ROWS.schema(), [tables.make_table(toy.ROWS, rows)])
    halves = [tables.make_table(toy.ROWS, shuffled[:20]), tables.make_table(toy.ROWS, shuffled[20:])]
    tables.write_tables(tmp_path / "b", toy.ROWS.schema(), halves)
    digests = {tables.digest_of(tables.row_hashes(toy.ROWS, tables.read_table(tmp_path / name))) for name in "ab"}
    assert len(digests) == 1


def test_digest_passes_over_where_a_row_came_from() -> None:
    here, there = (tables.make_table(toy.ROWS, [toy.row_of("2401.00001", "text", url)]) for url in ("here", "there"))
    assert tables.row_hashes(toy.ROWS, here) == tables.row_hashes(toy.ROWS, there)


def test_digest_tells_one_changed_row(tmp_path: Path) -> None:
    old, new = (tables.make_table(toy.ROWS, [toy.row_of("2401.00001", text)]) for text in ("old", "new"))
    assert tables.row_hashes(toy.ROWS, old) != tables.row_hashes(toy.ROWS, new)


@pytest.mark.parametrize("microsecond", [0, 1, 500_000])
def test_digest_is_of_the_row_as_json_with_times_of_utc(microsecond: int) -> None:
    """A digest that changed would make all that was made before look stale."""
    papers = DATASETS["papers"]
    at = datetime(2024, 1, 2, 10, 0, 5, microsecond, tzinfo=UTC)
    row = dict.fromkeys(papers.columns) | {"paper_id": "2401.00001", "authors": ["A. Example"], "submitted_at": at}
    expected = hashlib.sha256(orjson.dumps(row, option=orjson.OPT_UTC_Z)).digest()
    assert tables.row_hashes(papers, tables.make_table(papers, [row])) == [expected]


def test_read_batches_gives_all_rows_in_small_tables(tmp_path: Path) -> None:
    table = tables.make_table(toy.ROWS, [toy.row_of(f"2401.{n:05}", "text") for n in range(25)])
    tables.write_tables(tmp_path / "rows", toy.ROWS.schema(), [table])
    assert [batch.num_rows for batch in tables.read_batches(tmp_path / "rows", 10)] == [10, 10, 5]


def test_absent_dataset_reads_as_zero_rows(lake: Lake) -> None:
    found, part = lake.input_of("takedowns", "all")
    assert (found.digest, found.key, part) == (tables.EMPTY_DIGEST, None, None)


def test_seen_notes_survive_and_are_in_no_manifest(lake: Lake, part: Part) -> None:
    lake.note_seen("papers", toy.WINDOWS[0], {"etag": "x"})
    assert lake.seen("papers", toy.WINDOWS[0]) == {"etag": "x"}
    assert lake.seen("papers", toy.WINDOWS[1]) == {}
    assert current(lake, "papers") == part


def test_parts_of_shards_are_found(lake: Lake) -> None:
    for part in ("2024-01-01_2024-01-08/1-of-2", "2024-01-01_2024-01-08/0-of-2"):
        durable.make_dirs(lake.part_folder("drafts", part))
        durable.write_atomic(lake.part_folder("drafts", part) / "CURRENT", b"key\n")
    assert lake.parts("drafts") == ["2024-01-01_2024-01-08/0-of-2", "2024-01-01_2024-01-08/1-of-2"]


def test_folder_without_lake_file_is_no_lake(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"no LAKE\.json"):
        Lake.open(tmp_path)


@pytest.mark.parametrize("address", ["ftp://host/lake", "s3://bucket", "gs:/bucket", "s3://id:secret@bucket/lake"])
def test_address_that_is_no_store_of_ours_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="Expected a"):
        Lake.open(address)


@pytest.mark.slow
def test_writer_killed_at_random_leaves_whole_parts_and_a_rerun_ends_as_if_nothing_was(
    made: Lake, another_lake: Lake, soak: int
) -> None:
    seeded = random.Random(4)
    rows = toy.rows_of_two_windows()
    n_hit = 0
    with Makers(made, pause_s=0.01) as makers:
        toy.write_source(made, [*rows, (toy.WINDOWS[0], "2401.00009", "to make the chain once")])
        begun_at = time.monotonic()
        makers.start()
        makers.wait()
        whole_s = time.monotonic() - begun_at
        for n in range(15 * soak):
            rows.append((toy.WINDOWS[n % 2], f"2402.{n:05}", "new"))
            toy.write_source(made, rows)
            pid = makers.start()
            time.sleep(seeded.uniform(0, whole_s))
            os.kill(pid, signal.SIGKILL)
            makers.wait()
            n_hit += bool(list(made.root.glob("*/*/_attempts/*")))
            for name in toy.keys(made):
                part = current(made, *name.split("/"))
                assert all(part.file(file).is_file() for file in part.manifest.files)
    toy.make_chain(made)
    toy.write_source(another_lake, rows)
    toy.make_chain(another_lake)
    assert toy.keys(made) == toy.keys(another_lake)
    assert not list(made.root.glob("*/*/_attempts/*"))
    assert n_hit >= 5  # else the kills met nothing


def test_attempt_of_a_killed_writer_is_swept_by_the_next(lake: Lake, part: Part) -> None:
    left = part.folder.parent / "_attempts" / "dead"
    left.mkdir(parents=True)
    (left / "rows.parquet").write_bytes(b"half")
    with lake.attempt(toy.task_of(toy.filter_papers(), lake, suffix="!")) as attempt:
        assert not left.exists()
        toy.write_rows(attempt, [])


@pytest.mark.slow
def test_two_processes_at_once_write_each_part_once(lake: Lake) -> None:
    toy.write_source(lake, toy.rows_of_two_windows())
    with Makers(lake, pause_s=0.02) as makers:
        for _ in range(2):
            makers.start()
        exit_codes = sorted([makers.wait(), makers.wait()])
    assert exit_codes in ([0, 0], [0, 75])  # the second finds a part done, or is told to try again
    toy.make_chain(lake)
    ran = (lake.root / toy.RAN_FILE).read_text().splitlines()
    assert sorted(ran) == sorted(set(ran))
    assert len(ran) == 7  # a source, and three stages over two windows


def test_error_family_has_one_exit_code_each() -> None:
    codes = {cls.__name__: cls.exit_code for cls in JobError.__subclasses__()}
    assert codes == {
        "UsageError": 64,
        "ContractError": 65,
        "InputMissingError": 66,
        "TryAgainError": 75,
        "NotWantedError": 99,
    }
