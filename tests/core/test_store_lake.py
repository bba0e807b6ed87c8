"""A lake on a store: the rules of a lake on a disk, held by conditional puts, whatever the line does."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.core import runner, store
from jobs.core.definition import Definition, LakeFile, Source
from jobs.core.errors import InputMissingError, IntegrityError, SupersededError, TryAgainError, UsageError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.mirror import disk_at, disk_of, here
from jobs.core.store import Store
from tests.core import toy
from tests.core.fake_s3 import FAR, PAGE, FakeS3, Fault, Machine

WINDOW = toy.WINDOWS[0]
LONG_AGO = dt.timedelta(days=9)
KEYS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("one", "two", "three")}


def task_of(lake: Lake, name: str, dataset: str = "indexes", part: str = "all") -> PartTask:
    key, seen = KEYS[name], lake.current_key(dataset, part)
    return PartTask("toy", 1, dataset, part, key, (), {}, {}, "to do", "", seen)


def publish(
    lake: Lake, name: str, content: str = "", *, meanwhile: Callable[[Attempt], object] = lambda _attempt: None
) -> None:
    with lake.attempt(task_of(lake, name)) as attempt:
        (attempt.folder / "words").mkdir()
        (attempt.folder / "words" / "index").write_text(content or name)
        (attempt.folder / "vectors").write_text(f"vectors of {name}")
        attempt.finish(Counts(1, 1), rows=1)
        meanwhile(attempt)


def current(lake: Lake) -> Part:
    part = lake.current("indexes", "all")
    assert part is not None
    part.verify()
    return part


def read(lake: Lake) -> str:
    return current(lake).file("words/index").read_text()


def objects(s3: FakeS3, below: str = "") -> list[str]:
    return [name.removeprefix("lakes/toy/") for name in s3.names(f"lakes/toy/{below}")]


def test_keys_are_those_of_a_lake_on_a_disk(made_far: Lake, made: Lake) -> None:
    assert toy.keys(made_far) == toy.keys(made)
    assert len(toy.keys(made_far)) == 7


def test_second_run_makes_nothing(made_far: Lake, s3: FakeS3) -> None:
    n_puts = sum(line.startswith("PUT") for line in s3.requests)
    assert not any(toy.make_chain(made_far).values())
    assert sum(line.startswith("PUT") for line in s3.requests) == n_puts


def test_pointers_of_all_windows_are_asked_for_at_one_time(made_far: Lake, s3: FakeS3) -> None:
    s3.faults.append(Fault("GET .*/CURRENT$", "slow", times=99))
    tasks = runner.survey(toy.chunk().stage, toy.request(made_far), toy.chunk())
    assert [task.state for task in tasks] == ["done", "done"]
    assert s3.most_slow == 4


def test_pointer_is_the_last_object_of_a_part_and_the_manifest_the_one_before(far: Lake, s3: FakeS3) -> None:
    s3.requests.clear()
    publish(far, "one")
    puts = [line.rsplit("/", 1)[1] for line in s3.requests if line.startswith("PUT")]
    assert puts == ["vectors", "index", "_MANIFEST.json", "CURRENT"]


def test_another_machine_reads_and_goes_on(made_far: Lake, machine: Machine) -> None:
    rows = toy.rows_of_two_windows()
    before = toy.keys(made_far)
    machine("second")
    lake = Lake.open(FAR)
    assert lake.root != made_far.root
    toy.write_source(lake, rows)
    assert not any(toy.make_chain(lake).values())
    part = lake.current("chunks", WINDOW)
    assert part is not None
    assert [row["text"] for row in part.rows()] == ["text 0", "text 2", "text 4"]
    toy.write_source(lake, [*rows, (WINDOW, "2401.00009", "more")])
    assert toy.make_chain(lake)["chunks"] == [WINDOW]
    assert toy.keys(made_far) == toy.keys(lake) != before


def test_file_that_is_in_the_mirror_is_not_fetched_again(made_far: Lake, s3: FakeS3) -> None:
    s3.requests.clear()
    for part in filter(None, (made_far.current("papers", name) for name in toy.WINDOWS)):
        part.rows()
    assert [line for line in s3.requests if not line.endswith("CURRENT")] == []


def test_file_that_is_damaged_in_the_mirror_is_fetched_again(far: Lake) -> None:
    publish(far, "one")
    path = current(far).folder / "words" / "index"
    path.write_text("eno")
    assert read(far) == "one"


def test_damaged_object_is_never_trusted(far: Lake, s3: FakeS3, machine: Machine) -> None:
    publish(far, "one")
    (name,) = [name for name in s3.names() if name.endswith("/index")]
    s3.put(name, b"eno")
    machine("second")
    with pytest.raises(IntegrityError, match=r"words/index has sha256"):
        current(Lake.open(FAR))
    assert list(Lake.open(FAR).root.rglob("index")) == []


def test_missing_object_is_damage(far: Lake, s3: FakeS3, machine: Machine) -> None:
    publish(far, "one")
    del s3.objects[next(name for name in s3.names() if name.endswith("/index"))]
    machine("second")
    with pytest.raises(IntegrityError, match=r"words/index is missing"):
        current(Lake.open(FAR))


def test_damaged_part_is_made_again_under_its_key(far: Lake, s3: FakeS3, machine: Machine) -> None:
    publish(far, "one")
    s3.put(next(name for name in s3.names() if name.endswith("/index")), b"eno")
    del s3.objects["lakes/toy/indexes/all/CURRENT"]
    publish(far, "one")
    machine("second")
    assert read(Lake.open(FAR)) == "one"


def test_part_made_anew_elsewhere_is_told_apart_from_damage(far: Lake, s3: FakeS3, machine: Machine) -> None:
    publish(far, "one", "first bytes")
    machine("second")
    second = Lake.open(FAR)
    assert second.current("indexes", "all") is not None  # its manifest is in this mirror now
    machine("first")
    s3.put(next(name for name in s3.names() if name.endswith("/index")), b"damage")
    del s3.objects["lakes/toy/indexes/all/CURRENT"]
    publish(far, "one", "other bytes")
    with pytest.raises(TryAgainError, match="made anew"):
        current(second)
    assert read(second) == "other bytes"


def test_writer_who_looked_before_another_published_is_superseded(far: Lake) -> None:
    task = task_of(far, "one")
    publish(far, "two")
    with pytest.raises(SupersededError), far.attempt(task):
        pytest.fail("the block was entered")
    assert read(far) == "two"


def test_of_two_machines_at_once_one_wins_and_the_other_is_75(far: Lake, machine: Machine) -> None:
    def overtake(_attempt: Attempt) -> None:
        machine("second")
        publish(Lake.open(FAR), "two")
        machine("first")

    with pytest.raises(SupersededError) as caught:
        publish(far, "one", meanwhile=overtake)
    assert caught.value.exit_code == 75
    assert read(far) == "two"


def test_pointer_that_moves_during_the_upload_stays_the_winners(far: Lake, machine: Machine) -> None:
    def overtake(_folder: Path, _key: str) -> None:  # everything is uploaded, only the pointer is missing
        machine("second")
        publish(Lake.open(FAR), "two")
        machine("first")

    with pytest.raises(SupersededError):
        publish(far, "one", meanwhile=lambda attempt: setattr(attempt, "before_pointer", overtake))
    assert read(far) == "two"


def test_two_machines_that_make_one_key_leave_one_whole_part(far: Lake, machine: Machine) -> None:
    """Floats and times differ between machines, so the bytes do."""

    def overtake(_attempt: Attempt) -> None:
        machine("second")
        publish(Lake.open(FAR), "one", "theirs")
        machine("first")

    with pytest.raises(SupersededError):
        publish(far, "one", "ours", meanwhile=overtake)
    machine("third")
    assert read(Lake.open(FAR)) == "theirs"


@pytest.mark.parametrize("name", ["vectors", "index", "_MANIFEST.json", "CURRENT"])
@pytest.mark.parametrize("kind", [500, "cut"])
def test_upload_that_fails_at_any_object_leaves_the_old_part(far: Lake, s3: FakeS3, name: str, kind: int | str) -> None:
    publish(far, "one")
    s3.faults.append(Fault(f"PUT .*/{name}$", kind, times=9))
    with pytest.raises(TryAgainError, match="Run this again"):
        publish(far, "two")
    assert read(far) == "one"
    s3.faults.clear()
    publish(far, "two")
    assert read(far) == "two"
    assert list(far.root.glob("*/*/_attempts/*")) == []


@pytest.mark.parametrize("kind", [500, 503, "cut", "lost"])
def test_fault_that_passes_is_not_noticed(far: Lake, s3: FakeS3, machine: Machine, kind: int | str) -> None:
    """`lost`: the put was done, its answer never came, and the repeated put meets its own success."""
    s3.faults += [Fault(f"PUT .*/{name}$", kind) for name in ("vectors", "index", "_MANIFEST.json", "CURRENT")]
    publish(far, "one")
    machine("second")
    s3.faults += [Fault(f"GET .*/{name}$", kind) for name in ("vectors", "index", "_MANIFEST.json", "CURRENT")]
    assert read(Lake.open(FAR)) == "one"
    assert [fault for fault in s3.faults if fault.times] == []


def test_two_conditional_puts_at_one_moment_are_sorted_out_by_the_client(far: Lake, s3: FakeS3) -> None:
    """S3 answers 409 to both and means: again."""
    s3.faults += [Fault(f"PUT .*/{name}$", 409) for name in ("_MANIFEST.json", "CURRENT")]
    publish(far, "one")
    assert read(far) == "one"


def test_store_that_never_swaps_is_told(far: Lake, s3: FakeS3) -> None:
    s3.faults.append(Fault("PUT .*/CURRENT$", 412, times=99))
    with pytest.raises(TryAgainError, match="does not know conditional puts"):
        publish(far, "one")


def test_killed_writer_leaves_nothing_visible_and_the_next_goes_on(far: Lake, s3: FakeS3) -> None:
    publish(far, "one")
    code = (
        "from tests.core.test_store_lake import *\n"
        f"lake = Lake.open({FAR!r})\n"
        "with lake.attempt(task_of(lake, 'two')) as attempt:\n"
        "    (attempt.folder / 'vectors').write_text('two')\n"
        "    attempt.before_pointer = lambda *_: os._exit(9)\n"
        "    attempt.finish(Counts(1, 1), rows=1)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], env=os.environ)
    assert killed.returncode == 9
    assert any(KEYS["two"][:12] in name for name in objects(s3, "indexes"))
    assert read(far) == "one"
    publish(far, "two")
    assert current(far).file("vectors").read_text() == "two"  # what it had uploaded whole is taken, not made again


def test_large_file_goes_up_in_parts_and_is_seen_whole(far: Lake, s3: FakeS3, machine: Machine) -> None:
    content = os.urandom(11 << 20)
    with far.attempt(task_of(far, "one")) as attempt:
        (attempt.folder / "weights").write_bytes(content)
        attempt.finish(Counts(1, 1), rows=1)
    assert sum(line.startswith("PUT") and line.endswith("weights") for line in s3.requests) == 3
    machine("second")
    s3.faults.append(Fault("GET .*/weights$", "cut"))
    assert current(Lake.open(FAR)).file("weights").read_bytes() == content


def test_batches_of_a_killed_machine_are_taken_over_by_another(far: Lake, machine: Machine) -> None:
    task = task_of(far, "one")
    with contextlib.suppress(KeyboardInterrupt), far.attempt(task) as attempt:
        batch = attempt.work / "batch"
        batch.write_text("half done")
        disk_at(batch).push(batch)
        raise KeyboardInterrupt
    machine("second")
    lake = Lake.open(FAR)
    with lake.attempt(task) as attempt:
        assert (attempt.work / "batch").read_text() == "half done"
        attempt.finish(Counts(1, 1), rows=1)
    assert not list(lake.root.glob("indexes/all/_work/*"))


def test_published_work_is_removed_from_the_store(far: Lake, s3: FakeS3) -> None:
    with far.attempt(task_of(far, "one")) as attempt:
        batch = attempt.work / "batch"
        batch.write_text("done")
        disk_at(batch).push(batch)
        attempt.finish(Counts(1, 1), rows=1)
    assert [name for name in objects(s3) if "_work" in name] == []


def test_setting_changed_back_points_to_what_is_there(far: Lake) -> None:
    publish(far, "one")
    publish(far, "two")
    far.point("indexes", "all", KEYS["one"])
    assert read(far) == "one"


def test_part_that_only_the_mirror_still_has_is_not_there(far: Lake, s3: FakeS3) -> None:
    publish(far, "one")
    publish(far, "two")
    for name in s3.names(f"lakes/toy/indexes/all/{KEYS['one'][:12]}"):
        del s3.objects[name]
    assert (far.root / "indexes" / "all" / KEYS["one"][:12]).is_dir()
    assert not far.has("indexes", "all", KEYS["one"])


def test_what_a_source_looked_like_is_seen_by_other_machines(far: Lake, machine: Machine) -> None:
    far.note_seen("snapshots", "file", {"size": 3})
    machine("second")
    assert Lake.open(FAR).seen("snapshots", "file") == {"size": 3}


def test_no_lake_and_no_bucket_are_told(s3: FakeS3, machine: Machine) -> None:
    with pytest.raises(InputMissingError, match="s3://bucket/lakes/toy is no lake"):
        Lake.open(FAR)
    with pytest.raises(UsageError, match="no such bucket"):
        Lake.create("s3://another/lake", LakeFile("toy", Definition(), Source(), "demo"))


def test_refused_credentials_are_64_and_a_server_that_fails_is_75(far: Lake, s3: FakeS3) -> None:
    s3.faults.append(Fault(".*", 403))
    with pytest.raises(UsageError, match="credentials"):
        Lake.open(FAR)
    s3.faults[:] = [Fault(".*", 503, times=99)]
    with pytest.raises(TryAgainError, match=r"could not read LAKE\.json"):
        Lake.open(FAR)


def test_pdfs_between_the_parts_are_not_listed(far: Lake, s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", PAGE)
    for number in range(10 * PAGE):
        s3.put(f"lakes/toy/pdfs/_files/2401/{number:02d}.pdf", b"")
    for part in (WINDOW, "all"):
        s3.put(f"lakes/toy/pdfs/{part}/CURRENT", b"0" * 64)
    s3.requests.clear()
    assert far.parts("pdfs") == [WINDOW, "all"]
    assert len(s3.requests) < 4


def test_mirror_is_known_for_what_it_is_by_its_folder_alone(far: Lake) -> None:
    """A child process that is given the folder must not take it for a lake of its own."""
    assert Lake.open(far.root).address == FAR
    assert Lake.open(Path(FAR)).root == far.root  # a path has one slash fewer


def test_place_that_a_task_of_spark_names_is_found_on_a_machine_that_never_saw_the_lake(
    far: Lake, machine: Machine
) -> None:
    publish(far, "one")
    spelled = far.disk.spelled(current(far).folder / "vectors")
    machine("executor")
    path = here(spelled)
    assert (path.exists(), path.is_relative_to(disk_of(FAR).root)) == (False, True)


@pytest.mark.parametrize("content", [b"", b"../../papers/all", b"0" * 63])
def test_pointer_that_holds_no_key_is_damage(far: Lake, s3: FakeS3, content: bytes) -> None:
    s3.put("lakes/toy/indexes/all/CURRENT", content)
    with pytest.raises(IntegrityError, match="Remove"):
        far.current("indexes", "all")


def test_line_without_encryption_must_be_asked_for(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(UsageError, match="AWS_ALLOW_HTTP=true"):
        Lake.open(FAR)


def test_secrets_stand_in_no_message(s3: FakeS3) -> None:
    s3.faults.append(Fault(".*", 403))
    with pytest.raises(UsageError) as caught:
        Store(FAR).read("LAKE.json")
    assert "test-secret" not in str(caught.value) + repr(caught.value.__cause__)
