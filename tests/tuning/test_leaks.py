"""Leaks planted across the split are all refused: the same question, nearly its words, a paraphrase, a text twice."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from jobs.core.definition import split_of
from jobs.core.lake import Lake
from jobs.tuning import duplicates, teacher
from jobs.tuning.duplicates import Asked
from jobs.tuning.minhash import NearTexts, Sketch
from jobs.tuning.qa_checks import normalised
from tests.core.parts_by_hand import publish
from tests.tuning import chunk_house as house
from tests.tuning import tuning_house
from tests.tuning.test_curate_qa import SALT, build, curate, good, paper, papers_of, refused

QUESTION = "Why do the thin layers of a model with small matrices need more memory than the wide ones?"
ANSWER = (
    "They need more memory because each of them keeps the gradients of all its neighbours until the step has ended."
)
(TRAIN,), (TEST,) = papers_of("train", 1), papers_of("test", 1)


@pytest.fixture(autouse=True)
def own_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))


def pair(split: str, question: str = QUESTION, answer: str = ANSWER, **others: bool) -> Asked:
    return Asked(f"{split} {question}", question, split, answer=answer, **others)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (QUESTION.replace("thin", "narrow"), ANSWER),
        (QUESTION, ANSWER.replace("neighbours", "siblings")),
        (QUESTION.upper(), ANSWER.replace("because", "since")),
        (QUESTION.replace("?", " in training?"), ANSWER),
    ],
)
def test_pair_of_nearly_the_same_words_in_another_split_is_a_leak(question: str, answer: str) -> None:
    asked = [pair("train", question, answer), pair("test")]
    assert duplicates.nearly_worded(asked) == {0: "leak"}


def test_other_question_in_the_same_form_is_none() -> None:
    asked = [
        pair("train", "How many bits does Zorel use for each weight?", "Zorel uses 4 bits for each of its weights."),
        pair("test", "How many bits does Toran use for each weight?", "Toran uses 16 bits for each of its weights."),
    ]
    assert duplicates.nearly_worded(asked) == {}


def test_nearly_the_same_pair_of_one_split_is_a_near_duplicate_unless_it_is_wanted() -> None:
    other = QUESTION.replace("thin", "narrow")
    assert list(duplicates.nearly_worded([pair("train"), pair("train", other)]).values()) == ["near_duplicate"]
    both = [pair("train", is_wanted=True), pair("train", other, is_wanted=True)]
    assert duplicates.nearly_worded(both) == {}


def test_wanted_pair_is_still_a_leak_whichever_similar_one_is_nearest() -> None:
    vectors = np.array([[1, 0], [0.99, 0.14107], [0.999, 0.0447]], np.float32)
    asked = [pair("test"), pair("train", "a", is_wanted=True), pair("train", "b", is_wanted=True)]
    assert set(duplicates.near(asked, vectors, 0.97).values()) == {"leak"}


def test_every_close_pair_is_found_among_many(soak: int) -> None:
    """Against comparing each with each."""
    rng = random.Random(5)
    words = [f"w{n}" for n in range(40)]
    texts = [" ".join(rng.choices(words, k=30)) for _ in range(60 * soak)]
    texts += [text.replace(text.split()[rng.randrange(30)], "other", 1) for text in texts]
    sketches = [Sketch.of(text) for text in texts]
    near = NearTexts(0.7)
    for number, sketch in enumerate(sketches):
        wanted = [n for n in range(number) if sketches[n].jaccard(sketch) >= 0.7]
        assert near.close_to(sketch) == wanted
        near.add(number, sketch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many bits does NF4 use for each weight?", "How many bits are used by NF4 for each weight?"),
        (
            "Why does QLoRA need less memory than full training?",
            "Why is less memory needed by QLoRA than by full training?",
        ),
    ],
)
def test_paraphrase_in_another_split_is_a_leak_to_the_real_embedder(one: str, other: str) -> None:
    from jobs.retrieval.encoder import load_encoder

    asked = [pair("train", one, "Four."), pair("test", other, "It uses four bits for each.")]
    assert duplicates.nearly_worded(asked) == {}, "words alone do not tell"
    vectors = load_encoder("all-MiniLM-L6-v2", device="cpu").encode([one, other])
    assert duplicates.near(asked, vectors) == {0: "leak"}


@pytest.mark.slow
def test_same_text_under_two_paper_ids_is_kept_for_the_test_split_alone(tmp_path: Path) -> None:
    lake = build(tmp_path / "lake", {f"{TRAIN}v1#0": {}})
    plant_twin(lake)
    part = curate(lake)
    assert [row["paper_id"] for row in part.rows()] == [TEST]
    assert refused(part) == {f"{TRAIN}v1#0": "leak"}
    assert part.manifest.counts.read == 2


def plant_twin(lake: Lake) -> None:
    """The train paper's text once more under a test paper's id, in a shard of its own, with the same pair about it."""
    text = house.chunk(TRAIN, 0)["text"]
    chunks = [house.chunk(one, 0, text) for one in (TRAIN, TEST)]
    tuning_house.publish(lake, "papers", house.WINDOW, [paper(one) for one in (TRAIN, TEST)])
    house.publish_chunks(lake, chunks)
    for stage in ("embed_chunks", "build_index"):
        tuning_house.make(lake, stage)
    told = {"qa_id": "ab" * 12, "question_type": "why", "is_answerable": True, "teacher": "t", "prompt_version": "p"}
    for shard, chunk in enumerate(chunks):
        said = good(chunk)
        place = {"paper_id": chunk["paper_id"], "chunk_ids": [chunk["chunk_id"]]}
        row = told | said | place | {"evidence": [said["evidence"]]}
        made_of = (lake.input_of("chunks", house.WINDOW)[0],)
        publish(lake, "drafts", f"{shard}", [row], part=f"{house.WINDOW}/{shard}-of-2", inputs=made_of)


@pytest.mark.slow
def test_no_question_text_or_paper_is_in_two_splits_whatever_is_planted(tmp_path: Path) -> None:
    rng = random.Random(11)
    papers = [*papers_of("train", 6), *papers_of("test", 4), *papers_of("validation", 2)]
    forms = ["Why do layers need {}?", "why do layers need {} ?", "Why do the layers need {}?", "Why do all need {}?"]
    things = ["matrices of their own", "matrices of their own too", "memory", "some memory of their own"]
    replies: dict[str, dict[str, str]] = {f"{one}v1#1": {} for one in papers}
    replies |= {f"{one}v1#0": {"question": rng.choice(forms).format(rng.choice(things))} for one in papers}
    part = curate(build(tmp_path / "lake", replies), round_trip_k=0)
    rows = part.rows()
    assert part.manifest.counts.dropped.get("leak", 0) > 0
    assert len({row["split"] for row in rows}) > 1
    seen: dict[str, str] = {}
    for row in rows:
        assert row["split"] == split_of(SALT, row["paper_id"])
        assert seen.setdefault(normalised(row["question"]), row["split"]) == row["split"]
