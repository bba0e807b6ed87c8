"""The embedding benchmark's arithmetic, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bench_embed

AXIS = np.array([[1.0, 0.0]], dtype=np.float32)


def test_least_costs_of_the_rounds_are_compared() -> None:
    costs = {
        "ours": [{"wall_s": 3.0, "cpu_s": 2.0}, {"wall_s": 1.0, "cpu_s": 4.0}],
        "default": [{"wall_s": 4.0, "cpu_s": 9.0}, {"wall_s": 5.0, "cpu_s": 6.0}],
    }
    found = bench_embed.compared({"ours": AXIS, "default": AXIS}, costs, 12)
    assert found["texts_per_cpu_s"] == {"ours": 6.0, "default": 2.0}
    assert (found["ours_over_default_cpu"], found["ours_over_default_wall"]) == (3.0, 4.0)


def test_other_vectors_are_no_comparison() -> None:
    off = np.array([[0.998, 0.06]], dtype=np.float32)
    with pytest.raises(RuntimeError, match=r"cosine 0\.99800"):
        bench_embed.compared({"ours": off, "default": AXIS}, {"ours": [], "default": []}, 1)


def test_ways_take_turns() -> None:
    seen: list[str] = []
    ways = {name: lambda name=name: (seen.append(name), AXIS)[1] for name in ("a", "b")}
    vectors, costs = bench_embed.in_turns(ways, 2)
    assert seen == ["a", "b", "a", "b"]
    assert {name: len(found) for name, found in costs.items()} == {"a": 2, "b": 2}
    assert vectors["a"] is AXIS


def test_passages_are_taken_evenly() -> None:
    assert bench_embed.evenly(list("abcdefgh"), 4) == list("aceg")
    assert bench_embed.evenly(list("ab"), 4) == ["a", "b"]
