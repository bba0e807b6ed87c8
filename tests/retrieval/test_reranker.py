"""A cross-encoder by name: what the index says of it, and what it does to the order of what is found."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.retrieval import model_files, ranking
from jobs.retrieval.index_view import View
from jobs.retrieval.reranker import RerankerCard, load_reranker, read_card
from jobs.retrieval.searcher import Searcher
from jobs.serving.release import SearcherOpener
from tests.retrieval import house
from tests.retrieval.house import chunk, embed, make, put, survey
from tests.retrieval.tiny_reranker import gold_reranker, random_reranker

pytestmark = pytest.mark.slow  # torch and lakes

QUESTION = "which adapters train thin matrices"
CHUNKS = [
    chunk("2401.00001", 0, "adapters train thin matrices"),
    chunk("2401.00001", 1, "adapters train thin matrices with gold"),
    chunk("2401.00002", 0, "thin matrices gold gold gold"),
    chunk("2401.00002", 1, "matrices of lead"),
]
BY_GOLD = ["2401.00002v1#0", "2401.00001v1#1"]


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gold_reranker(tmp_path_factory.mktemp("gold"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_reranker(tmp_path_factory.mktemp("random"))


@pytest.fixture
def embedded(lake: Lake) -> Lake:
    put(lake, CHUNKS)
    embed(lake)
    return lake


def searcher_of(lake: Lake, **flags: str) -> Searcher:
    make(lake, "build_index", **flags)
    return Searcher.open(house.current(lake, "indexes", "all"))


def ids_of(searcher: Searcher, **how: object) -> list[str]:
    return [one.chunk_id for one in searcher.search(QUESTION, 4, **how).passages]  # type: ignore[arg-type]


def test_scores_of_a_model_set_by_hand_are_in_the_order_that_it_was_set_to(gold: Path) -> None:
    reranker = load_reranker(read_card(str(gold)))
    scores = reranker.scores("a b", ["c d e f", "c gold e f", "gold gold e f", "gold gold gold gold"])
    assert scores.dtype == np.float32
    assert list(scores) == sorted(scores)
    assert len(set(scores.tolist())) == 4
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("mode", ranking.MODES)
def test_reranker_that_the_index_names_decides_the_order(embedded: Lake, gold: Path, mode: str) -> None:
    searcher = searcher_of(embedded, reranker=str(gold))
    found = searcher.search(QUESTION, 4, mode=mode)
    assert [one.chunk_id for one in found.passages][:2] == BY_GOLD
    assert [one.score for one in found.passages] == sorted((one.score for one in found.passages), reverse=True)
    assert 0 < found.support_01 < 1


def test_index_that_names_none_is_what_it_was(embedded: Lake, gold: Path) -> None:
    plain = searcher_of(embedded)
    part = house.current(embedded, "indexes", "all")
    assert plain.reranker is None
    assert ids_of(plain)[0] == "2401.00001v1#0"
    assert "reranker" not in part.manifest.settings
    assert "reranker" not in part.manifest.extra
    assert b"reranker" not in part.file("view.json").read_bytes()
    searcher_of(embedded, reranker=str(gold))
    searcher_of(embedded)
    assert house.current(embedded, "indexes", "all").manifest.key == part.manifest.key


def test_index_says_which_reranker_and_which_files(embedded: Lake, gold: Path) -> None:
    searcher_of(embedded, reranker=str(gold))
    part = house.current(embedded, "indexes", "all")
    card = RerankerCard(str(gold), model_files.revision_of(gold))
    assert View.read(part).reranker == card
    assert part.manifest.extra["reranker"] == card.to_dict()


def test_questions_asked_together_are_not_reranked(embedded: Lake, gold: Path) -> None:
    searcher = searcher_of(embedded, reranker=str(gold))
    (query,) = searcher.to_queries([QUESTION])
    assert searcher.find(query, 4).passages[0].chunk_id == "2401.00001v1#0"


def test_reranker_reads_the_question_before_a_follow_up_too(embedded: Lake, gold: Path) -> None:
    heard: list[str] = []

    class Listening:
        card = read_card(str(gold))

        def scores(self, question: str, texts: Sequence[str]) -> np.ndarray:
            heard.append(question)
            return np.linspace(1, 0, len(texts), dtype=np.float32)

    make(embedded, "build_index", reranker=str(gold))
    searcher = Searcher.open(house.current(embedded, "indexes", "all"), reranker=Listening())
    searcher.search("And why?", before=["What are adapters?"])
    assert heard == ["What are adapters? And why?"]


def test_threads_share_a_reranker(embedded: Lake, weights: Path) -> None:
    searcher = searcher_of(embedded, reranker=str(weights))
    alone = searcher.search(QUESTION)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(searcher.search, [QUESTION] * 8)) == [alone] * 8


def test_two_releases_share_one_reranker(embedded: Lake, weights: Path) -> None:
    make(embedded, "build_index", reranker=str(weights))
    part = house.current(embedded, "indexes", "all")
    opener = SearcherOpener()
    assert opener(part).reranker is opener(part).reranker is not None


def test_reranker_of_other_files_is_refused_and_makes_the_index_stale(embedded: Lake, tmp_path: Path) -> None:
    folder = random_reranker(tmp_path / "model")
    searcher_of(embedded, reranker=str(folder))
    assert survey(embedded, "build_index", reranker=str(folder))[1][0].state == "done"
    house.flip_a_byte(folder / "model.safetensors")
    model_files.revision_of.cache_clear()
    (task,) = survey(embedded, "build_index", reranker=str(folder))[1]
    assert (task.state, task.why[:8]) == ("to do", "reranker")
    with pytest.raises(ContractError, match="the index names"):
        Searcher.open(house.current(embedded, "indexes", "all"))


def test_model_of_two_labels_is_refused(tmp_path: Path) -> None:
    folder = random_reranker(tmp_path / "model", num_labels=2)
    with pytest.raises(ContractError, match="2 scores a pair"):
        load_reranker(read_card(str(folder)))


def test_name_on_the_hub_needs_its_commit(embedded: Lake) -> None:
    with pytest.raises(UsageError, match="nobody/reranker@COMMIT"):
        make(embedded, "build_index", reranker="nobody/reranker")


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError, match=r"no \*\.safetensors"):
        read_card(str(tmp_path))
