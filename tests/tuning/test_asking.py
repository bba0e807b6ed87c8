"""The mix of question types, and which two passages are asked about together: pure functions of the chunks."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter

import pytest

from jobs.tuning import asking, partners, prompt_file
from jobs.tuning.asking import Chunk
from jobs.tuning.instructions import gives_instructions
from jobs.tuning.prompt_file import QuestionType
from jobs.tuning.prompts import TWO_PASSAGES, UNANSWERABLE
from jobs.tuning.window_asks import WindowAsks
from tests.tuning import chunk_house as house
from tests.tuning.injected import PASSAGES

MIX = prompt_file.built_in().mix()
HASHES = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000)]


@pytest.mark.parametrize("text_hash", HASHES[:20])
def test_more_types_a_chunk_only_add(text_hash: str) -> None:
    asked = [asking.types_of(text_hash, MIX, n, has_partner=True) for n in (1, 2, 3, 5, 7, 0)]
    assert [len(one) for one in asked[:-1]] == [1, 2, 3, 5, 7]
    assert all(less == more[: len(less)] for less, more in itertools.pairwise(asked))
    assert all(len(set(one)) == len(one) for one in asked)


def test_types_come_as_often_as_their_weights_say() -> None:
    found = Counter(asking.types_of(one, MIX, 1, has_partner=True)[0] for one in HASHES)
    for name, one in MIX.items():
        assert found[name] / len(HASHES) == pytest.approx(one.weight / 100, abs=0.02), name


@pytest.mark.parametrize("pairs_per_chunk", [1, 2, 4, 0])
def test_unanswerable_questions_stay_below_their_share_of_all(pairs_per_chunk: int) -> None:
    found = Counter(kind for one in HASHES for kind in asking.types_of(one, MIX, pairs_per_chunk, has_partner=True))
    assert 0 < found["unanswerable"] / found.total() <= 0.06


def test_choice_of_types_raises_no_share_of_unanswerable_ones_above_a_tenth() -> None:
    mix = {name: MIX[name] for name in ("unanswerable", "why")}
    found = Counter(kind for one in HASHES for kind in asking.types_of(one, mix, 1))
    assert found["unanswerable"] / found.total() == pytest.approx(0.1, abs=0.02)


def test_chunk_without_a_partner_is_asked_for_no_two_passages() -> None:
    assert all("multi_chunk" not in asking.types_of(one, MIX, 0) for one in HASHES[:100])


def test_weight_changes_the_draw_of_its_type_alone() -> None:
    """So a changed mix asks for little that was not asked before."""
    mix = {name: one for name, one in MIX.items() if one.form != UNANSWERABLE}
    heavier = mix | {"why": QuestionType("why", "", 20.0)}
    moved = [(asking.types_of(one, mix, 1), asking.types_of(one, heavier, 1)) for one in HASHES[:500]]
    assert {after[0] for before, after in moved if before != after} == {"why"}


def chunk(ordinal: int, text: str, paper: str = "2401.00001") -> Chunk:
    return Chunk.of(house.chunk(paper, ordinal, text=text))


def test_partner_is_the_later_passage_that_shares_rare_words() -> None:
    texts = ["gauges tip buckets slowly", "nothing here at all", "buckets of gauges freeze", "wholly unlike others"]
    found = partners.partners(chunk(i, text) for i, text in enumerate(texts))
    assert {chunk_id: one.chunk_id for chunk_id, one in found.items()} == {"2401.00001v1#0": "2401.00001v1#2"}


def test_nearer_passage_is_preferred_if_both_share_the_same() -> None:
    texts = ["gauges tip buckets slowly", "buckets of gauges freeze", "buckets of gauges leak"]
    assert partners.partners(chunk(i, text) for i, text in enumerate(texts))["2401.00001v1#0"].ordinal == 1


def test_words_of_many_passages_tie_none() -> None:
    assert partners.partners(chunk(i, f"models train layers {'abcdefghij'[i] * 4}") for i in range(10)) == {}


def test_words_of_every_paper_tie_none() -> None:
    assert partners.partners(chunk(i, "therefore several different results improve") for i in range(2)) == {}


def test_names_with_digits_tie_and_letters_of_formulas_do_not() -> None:
    names = partners.partners(chunk(i, f"NF4 and BM25 {'abcdefghij'[i] * 5}") for i in range(2))
    letters = partners.partners(chunk(i, f"x1 y2 abc def {'abcdefghij'[i] * 5}") for i in range(2))
    assert (len(names), letters) == (1, {})


def test_passages_of_two_papers_are_no_partners() -> None:
    assert partners.partners(chunk(0, "gauges tip buckets", f"2401.0000{i}") for i in range(2)) == {}


def test_order_of_the_chunks_does_not_matter() -> None:
    words = ["gauge", "bucket", "drizzle", "wind", "fence", "slat"]
    chunks = [chunk(i, " ".join(random.Random(i).sample(words, 4))) for i in range(9)]
    assert partners.partners(chunks[::-1]) == partners.partners(chunks)


def window(rows: list[dict], pairs_per_chunk: int = 0, n_chunks: int = 0) -> WindowAsks:
    return WindowAsks(rows, MIX, pairs_per_chunk, n_chunks)


@pytest.mark.parametrize("n_shards", [1, 3, 8])
def test_shards_ask_together_what_one_asks(n_shards: int) -> None:
    there = window(house.chunks())
    parted = [ask.key for shard in range(n_shards) for ask in there.wanted(there.of_shard(shard, n_shards))]
    assert sorted(parted) == sorted(ask.key for ask in there.wanted(there.chunks))
    assert any(ask.form == TWO_PASSAGES for ask in there.wanted(there.chunks))


def test_raising_either_number_only_adds() -> None:
    rows = house.chunks(8, 6)
    asked = [
        {ask.key for ask in one.wanted(one.chunks)}
        for one in (window(rows, 1, 10), window(rows, 2, 10), window(rows, 2, 30), window(rows, 5, 30), window(rows))
    ]
    assert all(less < more for less, more in itertools.pairwise(asked))


def test_two_passages_are_one_row_key_that_no_single_text_has() -> None:
    there = window(house.chunks())
    both = [ask for ask in there.wanted(there.chunks) if ask.form == TWO_PASSAGES]
    assert all(len(ask.chunks) == 2 and ask.chunks[0].paper_id == ask.chunks[1].paper_id for ask in both)
    assert not {ask.key[0] for ask in both} & {one.text_hash for one in there.chunks}
    assert len({ask.key for ask in both}) == len(both)


def test_passage_that_speaks_to_models_is_nobodys_partner() -> None:
    rows = house.chunks(1, 2)
    rows[1] = house.chunk(rows[0]["paper_id"], 1, text=f"{rows[0]['text']}\n\n{PASSAGES[0]}")
    there = window(rows)
    assert not [ask for ask in there.wanted(there.chunks) if ask.form == TWO_PASSAGES]
    assert sum(gives_instructions(one.text) for one in there.chunks) == 1


def test_unanswerable_type_is_asked_about_one_chunk() -> None:
    there = window(house.chunks(20, 3))
    found = [ask for ask in there.wanted(there.chunks) if ask.form == UNANSWERABLE]
    assert found
    assert all(len(ask.chunks) == 1 for ask in found)
