"""Search over a small index made by the real stages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from jobs.core.errors import ContractError, InputMissingError, IntegrityError, UsageError
from jobs.core.lake import Lake, Part
from jobs.retrieval.ranking import MODES
from jobs.retrieval.searcher import Searcher
from jobs.retrieval.searching import search_lake
from tests.retrieval import house
from tests.retrieval.house import RecordingEncoder, chunk, embed, index, paper, put

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

LORA, BM25, SPARK = "2401.00001", "2401.00002", "2401.00003"
PAPERS = [
    paper(LORA, title="Low-Rank Adaptation of Language Models", submitted_at=datetime(2024, 1, 2, tzinfo=UTC)),
    paper(BM25, title="Ranking by BM25", categories=["cs.IR"], submitted_at=datetime(2024, 1, 3, tzinfo=UTC)),
    paper(SPARK, title="Shuffles", categories=["cs.DC", "cs.DB"], submitted_at=datetime(2024, 1, 4, tzinfo=UTC)),
]
CHUNKS = [
    *(chunk(LORA, i, f"low rank adapters train thin matrices, part {word}") for i, word in enumerate("abcdef")),
    chunk(BM25, 0, "a ranking function counts shared words and their saturation"),
    chunk(BM25, 1, "document length normalisation of rank functions", start=40, end=90, page_first=3),
    chunk(SPARK, 0, "a shuffle moves rows between partitions of executors"),
]


@pytest.fixture
def part(lake: Lake) -> Part:
    put(lake, CHUNKS, PAPERS)
    embed(lake)
    return index(lake)


@pytest.fixture
def searcher(part: Part) -> Searcher:
    return Searcher.open(part)


def papers_of(found: object) -> list[str]:
    return [passage.paper_id for passage in found.passages]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
def test_best_passage_comes_first(searcher: Searcher, mode: str) -> None:
    found = searcher.search("How does a shuffle move rows between partitions?", 3, mode=mode)
    assert found.passages[0].chunk_id == f"{SPARK}v1#0"


def test_passage_says_where_it_stands(searcher: Searcher) -> None:
    found = searcher.search("document length normalisation", 1).passages[0]
    assert (found.title, found.section, found.page, found.start, found.end) == ("Ranking by BM25", "Method", 3, 40, 90)
    assert found.text == CHUNKS[7]["text"]


def test_scores_fall(searcher: Searcher) -> None:
    for mode in MODES:
        scores = [one.score for one in searcher.search("rank functions", 8, mode=mode).passages]
        assert scores == sorted(scores, reverse=True)


def test_no_more_than_the_cap_of_one_paper(searcher: Searcher) -> None:
    assert papers_of(searcher.search("low rank adapters", 8)).count(LORA) == 6
    assert papers_of(searcher.search("low rank adapters", 8, per_paper=3)).count(LORA) == 3
    assert papers_of(searcher.search("low rank adapters", 8, per_paper=1)).count(LORA) == 1


def test_cap_does_not_hold_inside_one_paper(searcher: Searcher) -> None:
    assert papers_of(searcher.search("low rank adapters", 8, paper_id=LORA)) == [LORA] * 6


@pytest.mark.parametrize("mode", MODES)
def test_filter_by_paper(searcher: Searcher, mode: str) -> None:
    found = searcher.search("a shuffle of ranking functions", 8, mode=mode, paper_id=BM25)
    assert set(papers_of(found)) == {BM25}


@pytest.mark.parametrize("mode", MODES)
def test_filter_by_categories(searcher: Searcher, mode: str) -> None:
    found = searcher.search("low rank shuffle function", 8, mode=mode, categories=["cs.DB", "cs.IR"])
    assert set(papers_of(found)) == {BM25, SPARK}


def test_nothing_submitted_later_is_found(searcher: Searcher) -> None:
    found = searcher.search("low rank shuffle function", 8, submitted_before=datetime(2024, 1, 3, tzinfo=UTC))
    assert set(papers_of(found)) == {LORA}


def test_naive_date_is_utc(searcher: Searcher) -> None:
    found = searcher.search("low rank shuffle function", 8, submitted_before=datetime(2024, 1, 4))
    assert set(papers_of(found)) == {LORA, BM25}


def test_filters_come_before_ranking(searcher: Searcher) -> None:
    found = searcher.search("low rank adapters train thin matrices", 1, categories=["cs.DC"])
    assert papers_of(found) == [SPARK]


def test_filter_that_leaves_nothing_finds_nothing(searcher: Searcher) -> None:
    found = searcher.search("low rank adapters", paper_id="2401.99999")
    assert (found.support_01, found.passages) == (0.0, ())


def test_title_in_the_question_is_a_filter(searcher: Searcher) -> None:
    found = searcher.search("What does 'low-rank adaptation of language models' say of shuffle partitions?", 8)
    assert set(papers_of(found)) == {LORA}


def test_id_in_the_question_is_a_filter(searcher: Searcher) -> None:
    assert set(papers_of(searcher.search(f"In arXiv:{BM25}v1, what about low rank adapters?", 8))) == {BM25}


def test_name_of_the_paper_is_cut_from_the_query(searcher: Searcher) -> None:
    assert searcher.to_query(f"saturation in {BM25}?").words == ("saturation",)


def test_question_of_a_name_alone_is_kept(searcher: Searcher) -> None:
    query = searcher.to_query("What is Low-Rank Adaptation of Language Models?")
    assert (query.paper_id, query.words[0]) == (LORA, "low")


BEFORE = "How do low rank adapters train thin matrices?"


def test_follow_up_is_searched_with_the_question_before_it(searcher: Searcher) -> None:
    alone, together = (searcher.search("And how is it done?", 3, before=before) for before in ((), (BEFORE,)))
    assert papers_of(alone)[0] != LORA
    assert papers_of(together) == [LORA] * 3


@pytest.mark.parametrize("mode", MODES)
def test_question_that_stands_alone_is_not_touched_by_what_was_asked_before(searcher: Searcher, mode: str) -> None:
    question = "How does a shuffle move rows between partitions?"
    assert searcher.search(question, mode=mode, before=[BEFORE]) == searcher.search(question, mode=mode)


def test_paper_named_before_stays_the_filter_of_what_refers_back(searcher: Searcher) -> None:
    before = [f"What does {BM25} say of saturation?"]
    assert set(papers_of(searcher.search("And which adapters does it train?", before=before))) == {BM25}
    assert len(set(papers_of(searcher.search("Which adapters train thin matrices?", before=before)))) > 1


def test_paper_named_in_the_follow_up_counts(searcher: Searcher) -> None:
    query = searcher.to_query(f"And what does {SPARK} say about that?", before=[f"What does {BM25} say of saturation?"])
    assert (query.paper_id, query.words) == (SPARK, ("say", "saturation", "say"))


def test_follow_up_has_a_vector_of_unit_norm(searcher: Searcher) -> None:
    query = searcher.to_query("And how is it done?", before=[BEFORE])
    assert np.linalg.norm(query.vector) == pytest.approx(1, abs=1e-6)


def test_same_paragraph_of_two_papers_is_found_once(lake: Lake) -> None:
    shared = "low rank adapters train thin matrices beside frozen weights, and merge into them after training"
    others = [chunk(BM25, i, f"low rank adapters of kind {word}") for i, word in enumerate("abcdef", start=1)]
    put(lake, [chunk(LORA, 0, shared), chunk(BM25, 0, f"{shared} too"), *others], PAPERS)
    embed(lake)
    found = Searcher.open(index(lake)).search("low rank adapters train thin matrices beside frozen weights", 6)
    ids = [one.chunk_id for one in found.passages]
    assert len(ids) == 6
    assert len({f"{LORA}v1#0", f"{BM25}v1#0"}.intersection(ids)) == 1


def test_support_is_higher_where_a_passage_answers(searcher: Searcher) -> None:
    answered = searcher.search("Which rows does a shuffle move between partitions?")
    unanswered = searcher.search("How is sourdough bread baked?")
    assert answered.support_01 > unanswered.support_01 + 0.3


def test_question_without_words_finds_passages_with_little_support(searcher: Searcher) -> None:
    found = searcher.search("???")
    assert len(found.passages) > 0
    assert 0 <= found.support_01 <= 1


def test_question_of_unknown_words_has_no_bm25_result(searcher: Searcher) -> None:
    assert searcher.search("sourdough", mode="bm25").passages == ()


@pytest.mark.parametrize(("k", "mode"), [(0, "hybrid"), (8, "magic")])
def test_unknown_mode_and_no_passages_are_refused(searcher: Searcher, k: int, mode: str) -> None:
    with pytest.raises(UsageError, match="expected one of hybrid, dense, bm25"):
        searcher.search("rank", k, mode=mode)


def test_threads_share_a_searcher(searcher: Searcher) -> None:
    questions = ["low rank adapters", "shuffle of rows", "document length"] * 20
    alone = [searcher.search(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(searcher.search, questions)) == alone


def test_question_is_encoded_once(part: Part) -> None:
    class Counting(RecordingEncoder):
        def encode_question(self, text: str) -> np.ndarray:
            self.texts.append(text)
            return super().encode_question(text)

    encoder = Counting()
    searcher = Searcher.open(part, encoder)
    for mode in MODES:
        searcher.search("low rank adapters", mode=mode)
    searcher.search("shuffle of rows")
    assert encoder.taken() == ["low rank adapters", "shuffle of rows"]


def test_folder_opens_as_its_part_does(part: Part, searcher: Searcher) -> None:
    assert Searcher.open(part.folder).search("low rank") == searcher.search("low rank")


def test_index_of_nothing_answers_nothing(lake: Lake) -> None:
    put(lake, [])
    embed(lake)
    found = Searcher.open(index(lake)).search("anything")
    assert (found.support_01, found.passages) == (0.0, ())


@pytest.mark.parametrize("name", ["vectors.faiss", "passages.parquet", "bm25/data.csc.index.npy", "view.json"])
def test_flipped_byte_is_refused(part: Part, name: str) -> None:
    house.flip_a_byte(part.folder / name)
    with pytest.raises(IntegrityError, match=Path(name).name):
        Searcher.open(part.folder)


def test_another_encoder_than_the_vectors_is_refused(part: Part) -> None:
    with pytest.raises(ContractError, match=f"was embedded by builtin:recording {'a' * 12}"):
        Searcher.open(part, RecordingEncoder("b" * 64))


def test_command_shows_passages_with_their_place(lake: Lake, part: Part) -> None:
    lines = search_lake(lake, "a shuffle of rows between partitions", 2)
    assert lines[0].startswith("support=")
    assert lines[1].startswith("1. Shuffles · Method · page 1 · ")
    assert f"{SPARK}v1#0  a shuffle moves rows" in lines[2]


def test_command_without_an_index_says_how_to_make_it(lake: Lake) -> None:
    with pytest.raises(InputMissingError, match="--goal index"):
        search_lake(lake, "anything")
