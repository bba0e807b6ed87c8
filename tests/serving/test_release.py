"""Releases change places while requests run; one that is broken never serves."""

import shutil
from pathlib import Path

import pytest

from jobs.core import takedowns
from jobs.core.errors import ContractError, InputMissingError, IntegrityError, JobError
from jobs.core.lake import Lake
from jobs.serving.served import Served
from jobs.serving.trial import smoke_answer
from tests.serving import house
from tests.serving.house import BM25, NF4, ToyFound, ToySearcher

FIRST, SECOND = (NF4,), (NF4, BM25)


class OddSearcher(ToySearcher):
    """Opens well, and then answers with nothing, or with scores that are no numbers."""

    def __init__(self, found: ToyFound | None) -> None:
        self.found = found

    def search(self, question: str, k: int = 8, **filters: object) -> ToyFound:
        if self.found is None:
            raise ValueError("toy fault")
        return self.found


def served_over(lake: Lake) -> Served:
    served = Served(lake.root, ToySearcher.open, house.NO_SPEAKER)
    served.follow()
    return served


def id_of(served: Served) -> str | None:
    return served.release.release_id if served.release else None


def test_app_without_a_lake_says_what_to_run(tmp_path: Path) -> None:
    served = Served(tmp_path / "nothing", ToySearcher.open, house.NO_SPEAKER)
    served.follow()
    assert served.release is None
    assert "python -m jobs run --goal index" in served.why_not


def test_lake_that_comes_later_is_served(lake: Lake) -> None:
    served = served_over(lake)
    release_id = house.publish_release(lake)
    served.follow()
    assert id_of(served) == release_id


def test_pointer_that_moves_is_followed(lake: Lake) -> None:
    house.publish_release(lake, FIRST)
    served = served_over(lake)
    second = house.publish_release(lake, SECOND)
    served.follow()
    assert id_of(served) == second


def test_load_runs_ahead_of_the_pointer_and_is_not_undone(lake: Lake) -> None:
    house.publish_release(lake, FIRST)
    served = served_over(lake)
    unseen = house.publish_unseen(lake, SECOND)
    release, answer = served.load(unseen)
    served.follow()
    assert id_of(served) == release.release_id == unseen
    assert answer.citations


def test_pointer_that_catches_up_loads_nothing_again(lake: Lake) -> None:
    house.publish_release(lake, FIRST)
    served = served_over(lake)
    served.load(house.publish_unseen(lake, SECOND))
    house.publish_release(lake, SECOND)
    served.follow()
    assert served.reloads == {"ok": 2, "failed": 0}


def test_request_keeps_its_release_while_another_takes_over(lake: Lake) -> None:
    house.publish_release(lake, FIRST)
    served = served_over(lake)
    mine = served.release
    assert mine is not None
    served.load(house.publish_unseen(lake, [BM25]))
    assert mine.answer("What does NF4 stand for?").citations[0].paper_id == NF4["paper_id"]


def test_paper_that_is_taken_down_is_found_no_more(lake: Lake) -> None:
    release_id = house.publish_release(lake, SECOND)
    served = served_over(lake)
    takedowns.add(lake, {NF4["paper_id"]: []}, None)
    served.follow()
    release = served.release
    assert release is not None
    assert release.release_id == release_id
    assert {passage.paper_id for passage in release.search("What does NF4 stand for?").passages} == {BM25["paper_id"]}
    assert served.reloads == {"ok": 1, "failed": 0}, "nothing is loaded anew for it"


def test_app_that_starts_later_finds_it_no_more_either(lake: Lake) -> None:
    house.publish_release(lake, FIRST)
    takedowns.add(lake, {NF4["paper_id"]: []}, None)
    release = served_over(lake).release
    assert release is not None
    assert release.search("What does NF4 stand for?").passages == ()


def break_index(lake: Lake, release_id: str) -> None:
    shutil.rmtree(lake.current("indexes", "all").folder)


def damage_index(lake: Lake, release_id: str) -> None:
    flip(lake.current("indexes", "all").folder / house.PASSAGES_FILE)


def damage_release(lake: Lake, release_id: str) -> None:
    flip(lake.part_folder("releases", "all") / release_id / "release.json")


def lose_manifest(lake: Lake, release_id: str) -> None:
    (lake.part_folder("releases", "all") / release_id / "_MANIFEST.json").unlink()


def cut_questions(lake: Lake, release_id: str) -> None:
    path = lake.part_folder("releases", "all") / release_id / "prompts/questions.txt"
    path.write_text(path.read_text()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [break_index, damage_index, damage_release, lose_manifest, cut_questions])
def test_broken_release_leaves_the_old_one(lake: Lake, harm: object) -> None:
    first = house.publish_release(lake, FIRST)
    served = served_over(lake)
    unseen = house.publish_unseen(lake, SECOND)
    harm(lake, unseen)
    with pytest.raises((IntegrityError, InputMissingError)):
        served.load(unseen)
    assert id_of(served) == first


def test_index_that_raises_when_opened_leaves_the_old_one(lake: Lake) -> None:
    first = house.publish_release(lake, FIRST)
    served = served_over(lake)
    unseen = house.publish_unseen(lake, SECOND, extra_file="refuses")
    with pytest.raises(ContractError, match="does not open"):
        served.load(unseen)
    assert id_of(served) == first


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, "toy fault"),
        (ToyFound(0.0, ()), "finds nothing"),
        (ToyFound(float("nan"), (house.passage_of(NF4),)), "not numbers"),
    ],
)
def test_release_that_gives_no_answer_leaves_the_old_one(lake: Lake, found: ToyFound | None, says: str) -> None:
    first = house.publish_release(lake, FIRST)
    odd = OddSearcher(found)
    served = Served(
        lake.root,
        lambda index: odd if index.manifest.rows == len(SECOND) else ToySearcher.open(index),
        house.NO_SPEAKER,
    )
    served.follow()
    unseen = house.publish_unseen(lake, SECOND)
    with pytest.raises(ContractError, match=says):
        served.load(unseen)
    assert id_of(served) == first


@pytest.mark.parametrize("release_id", ["0" * 12, "../../etc", "", "0" * 64])
def test_release_that_is_not_there_cannot_be_loaded(lake: Lake, release_id: str) -> None:
    house.publish_release(lake, FIRST)
    with pytest.raises(InputMissingError):
        served_over(lake).load(release_id)


def test_current_that_does_not_load_is_logged_once(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    house.publish_release(lake, FIRST)
    served = served_over(lake)
    house.publish_release(lake, SECOND, extra_file="refuses")
    for _ in range(3):
        served.follow()
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert served.reloads == {"ok": 1, "failed": 1}


def test_start_on_a_broken_release_says_why(lake: Lake) -> None:
    house.publish_release(lake, SECOND, extra_file="refuses")
    served = served_over(lake)
    assert served.release is None
    assert "does not open" in served.why_not


def test_smoke_question_of_a_whole_release_is_answered(lake: Lake) -> None:
    house.publish_release(lake)
    release = served_over(lake).release
    assert release is not None
    assert smoke_answer(release).supported


def test_examples_are_questions_that_the_release_answers(lake: Lake) -> None:
    silent = house.row("Nothing here answers anything.", "2401.00007", title="Xylophones: a Survey")
    house.publish_release(lake, [silent, *house.ROWS])
    release = served_over(lake).release
    assert release is not None
    listed = lake.current("releases", "all").file("prompts/questions.txt").read_text()
    assert "Xylophones" in listed
    assert release.questions == ("What does NF4 stand for?", "What is BM25?")


def test_every_refusal_is_an_error_of_ours(lake: Lake) -> None:
    house.publish_release(lake, SECOND, extra_file="refuses")
    with pytest.raises(JobError):
        served_over(lake).load(lake.current_key("releases", "all")[:12])
