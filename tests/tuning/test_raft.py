from pathlib import Path

import pytest

from jobs.core.lake import Lake
from jobs.tuning import prompts, raft
from jobs.tuning.raft import Mix
from jobs.tuning.shelf import Shelf
from tests.tuning import tuning_house as house

MIX = Mix(n_distractors=2, refusal_01=0.2, closed_book_01=0.2, seed=0)
TRAIN = house.papers_of("train")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    lake: Lake = house.build_house(Path(tmp_path_factory.mktemp("raft")) / "lake")
    index = lake.current("indexes", "all")
    assert index is not None
    return Shelf.open(index)


def train_pairs() -> list[dict]:
    pairs = [pair for number in range(house.N_PAPERS) for pair in house.pairs_of(number, 3)]
    return [pair for pair in pairs if pair["split"] == "train"]


def examples(shelf: Shelf, mix: Mix = MIX, pairs: list[dict] | None = None) -> list[raft.Example]:
    return raft.examples_of(train_pairs() if pairs is None else pairs, shelf, shelf.finder(TRAIN.__contains__), mix)


def test_distractors_come_from_train_papers_alone(shelf: Shelf) -> None:
    shown = {shelf.paper_of(chunk_id) for one in examples(shelf) for chunk_id in one.chunk_ids}
    assert shown
    assert shown <= TRAIN


def test_each_kind_of_row_is_there_and_has_what_its_kind_says(shelf: Shelf) -> None:
    made = examples(shelf)
    assert {one.kind for one in made} == set(raft.KINDS)
    for one in made:
        own = set(one.own)
        assert own <= set(one.chunk_ids)
        assert bool(own) == (one.kind == "passages")
        assert (one.answer == prompts.REFUSAL) == (one.kind == "refusal")
        assert bool(one.chunk_ids) == (one.kind != "closed")


def test_refused_row_shows_no_passage_of_its_own_paper(shelf: Shelf) -> None:
    refused = [one for one in examples(shelf) if one.kind == "refusal"]
    assert refused
    assert all(shelf.paper_of(chunk_id) != one.paper_id for one in refused for chunk_id in one.chunk_ids)


def test_unanswerable_pair_is_refused_beside_its_own_passage(shelf: Shelf) -> None:
    unanswerable = house.pair(0, 9, "Who invented it?", "", is_answerable=False)
    (made,) = examples(shelf, pairs=[unanswerable])
    assert made.answer == prompts.REFUSAL
    assert unanswerable["chunk_ids"][0] in made.chunk_ids


def test_pair_of_two_passages_is_shown_both_and_cites_both(shelf: Shelf) -> None:
    chunk_ids = [house.pairs_of(number)[0]["chunk_ids"][0] for number in (0, 1)]
    both = house.pair(0, 8, "What do both say?", "They say this.", chunk_ids=chunk_ids)
    (one,) = examples(shelf, Mix(n_distractors=1, refusal_01=0.0, closed_book_01=0.0, seed=0), [both])
    assert set(one.own) == set(chunk_ids) < set(one.chunk_ids)
    _, answer = raft.messages_of(one, shelf, 200)
    assert answer == "They say this. " + " ".join(f"[{n}]" for n, it in enumerate(one.chunk_ids, 1) if it in one.own)


def test_order_and_content_follow_from_the_seed_alone(shelf: Shelf) -> None:
    backwards = train_pairs()[::-1]
    assert examples(shelf, pairs=backwards) == examples(shelf)
    assert examples(shelf, Mix(2, 0.2, 0.2, seed=1)) != examples(shelf)


def test_answer_cites_its_passage_by_its_number(shelf: Shelf) -> None:
    one = next(one for one in examples(shelf) if one.kind == "passages")
    messages, answer = raft.messages_of(one, shelf, 200)
    number = one.chunk_ids.index(one.own[0]) + 1
    assert answer.endswith(f" [{number}]")
    assert f"[{number}] {shelf.passage(one.own[0]).title}" in messages[0]["content"]


def test_pair_whose_chunk_is_not_indexed_is_left_out(shelf: Shelf) -> None:
    assert examples(shelf, pairs=[house.pair(0, 0, "Q?", "A.", chunk_ids=["2401.99999v1#0"])]) == []


def test_shuffled_answers_are_all_anothers_and_none_is_lost(shelf: Shelf) -> None:
    before = examples(shelf)
    after = raft.shuffle_answers(before, seed=0)
    assert sorted(one.answer for one in after) == sorted(one.answer for one in before)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a.kind != "refusal"]
    assert all(a.qa_id == b.qa_id and a.question == b.question for a, b in changed)
    texts_shared = sum(a.answer == b.answer for a, b in changed)
    assert texts_shared == 0


class ByWords:
    """A tokenizer of words, for lengths that can be counted by hand."""

    def apply_chat_template(self, messages: list[dict], **_: object) -> str:
        return " ".join(message["content"] for message in messages)

    def __call__(self, text: str, **_: object) -> dict:
        return {"input_ids": text.split()}


def test_row_that_is_too_long_loses_distractors_before_it_is_dropped(shelf: Shelf) -> None:
    one = next(one for one in examples(shelf) if one.kind == "passages" and len(one.chunk_ids) == 3)
    whole = raft.fitted(one, shelf, 200, ByWords(), 10_000)
    assert whole is not None
    cut = raft.fitted(one, shelf, 200, ByWords(), whole.n_tokens - 1)
    assert cut is not None
    assert len(cut.example.chunk_ids) == 2
    assert set(cut.example.own) <= set(cut.example.chunk_ids)
    assert raft.fitted(one, shelf, 200, ByWords(), 20) is None


def test_papers_shown_are_those_of_all_passages(shelf: Shelf) -> None:
    one = next(one for one in examples(shelf) if len(one.chunk_ids) == 3)
    row = raft.fitted(one, shelf, 200, ByWords(), 10_000)
    assert row is not None
    assert row.papers_shown == {shelf.paper_of(chunk_id) for chunk_id in one.chunk_ids}
