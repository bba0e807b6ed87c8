"""How hard a pair is: by the rank of its passage and by what its evidence already says."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.tuning import difficulty, teacher
from tests.tuning.test_curate_qa import build, curate, papers_of

COPIED = "The layers keep their weights."


@pytest.mark.parametrize(
    ("rank", "answer", "expected"),
    [
        (1, COPIED, 0.0),
        (2, COPIED, 0.25),
        (None, COPIED, 0.5),
        (1, "Nothing of that is said anywhere.", 0.5),
        (None, "Nothing of that is said anywhere.", 1.0),
        (1, "The layers keep memory.", 0.167),
        (1, "", 0.0),
    ],
)
def test_difficulty_is_half_rank_and_half_words_beyond_the_evidence(
    rank: int | None, answer: str, expected: float
) -> None:
    assert difficulty.difficulty_01(rank, answer, [COPIED]) == expected


@pytest.mark.slow
def test_every_kept_pair_has_a_difficulty_and_a_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))
    replies = {f"{one}v1#0": {} for one in (*papers_of("train", 3), *papers_of("test", 2))}
    rows = curate(build(tmp_path / "lake", replies)).rows()
    assert len(rows) == 5
    for row in rows:
        assert row["question_type"] == "why"
        (value,) = [score["value"] for score in row["scores"] if score["name"] == difficulty.SCORE]
        assert 0.0 <= value <= 1.0
