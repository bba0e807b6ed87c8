"""The retrieval benchmark's questions and arithmetic; its searches need the private corpus."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_retrieval
from jobs.retrieval.passages import Passage


def test_questions_hold_nothing_of_the_papers_and_halves_share_no_paper() -> None:
    rows = [json.loads(line) for line in bench_retrieval.QUESTIONS.read_text().splitlines()]
    assert len(rows) == 161
    assert all(set(one) == {"page", "n_words", "sha256"} for row in rows for one in row["evidence"])
    development, held_out = (
        {row["paper_id"] for row in rows if row["half"] == half} for half in ("development", "held out")
    )
    assert (len(development), len(held_out)) == (11, 11)
    assert not development & held_out


def test_evidence_is_known_by_the_hash_of_a_run_of_words() -> None:
    words = ("4", "bit", "normalfloat")
    one = bench_retrieval.Question("2305.14314", "held out", "?", ((3, bench_retrieval.hash_of(words)),))
    passage = Passage("c", "2305.14314", 1, "", "", 1, 0.0, "NF4 is the 4-bit\nNormalFloat.", None, 0, 0, "text")
    assert one.is_evidence(passage)
    assert not one.is_evidence(dataclasses.replace(passage, text="NF4 is the 8-bit NormalFloat."))
    assert not one.is_evidence(dataclasses.replace(passage, paper_id="2305.00001"))


def test_recall_and_reciprocal_rank() -> None:
    ranks = np.array([0.0, 4.0, 9.0, np.inf])
    samples = bench_retrieval.resamples(np.array(["a", "a", "b", "b"]))
    found = bench_retrieval.summary(ranks, samples)
    assert (found["at_1"], found["at_5"]) == (0.25, 0.5)
    assert found["at_10"] == "0.75 [0.50, 1.00]"
    assert found["mrr"] == pytest.approx((1 + 1 / 5 + 1 / 10) / 4)


def test_without_the_corpus_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARK_ARXIV_CORPUS", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["bench_retrieval"])
    assert bench_retrieval.main() == 66
    assert "no corpus" in capsys.readouterr().err
