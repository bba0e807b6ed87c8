"""SIGKILL while a server is asked: the rows are those of an undisturbed run, and nothing committed is asked again.

The stage is the real command in a process of its own. Each life has a server of its own, which notes every question.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.core.lake import Lake
from jobs.tuning import asking, outcomes
from tests.soaking import IS_SOAK
from tests.tuning import chunk_house as house
from tests.tuning.fake_openai import PAIR, Answer, FakeServer, says, serving

pytestmark = pytest.mark.slow

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]
N_KILLS = 50 if IS_SOAK else 3
N_CHUNKS = 24
PAUSE_S = 0.03  # an answer's
FLAGS = {"teacher": "openai", "teacher_model": "toy", "teacher_batch": 3, "teacher_concurrency": 3}


def answer_of(body: dict[str, Any]) -> Answer:
    """A pair that follows from what is asked alone."""
    name = hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest()[:8]
    return says(json.dumps(PAIR | {"question": f"What does {name} say?"}), delay_s=PAUSE_S)


def new_lake(root: Path) -> Lake:
    lake = house.new_lake(root)
    house.publish_chunks(lake, house.chunks(n_papers=6, n_each=N_CHUNKS // 6))
    return lake


def committed(lake: Lake) -> set[int]:
    """Seeds of the questions whose outcomes are on disk, in batches or parts; a seed names a question."""
    files = [*lake.root.glob("drafts/*/*/_work/*/*.parquet"), *lake.root.glob(f"drafts/*/*/*/{outcomes.ASKED_FILE}")]
    return {asking.seed_of(*outcome.key) for path in files for outcome in outcomes.read(path)}


def asked(fake: FakeServer) -> list[int]:
    return [body["seed"] for body in fake.asked]


@dataclass
class Lives:
    """What became of the processes so far."""

    seeded: random.Random
    n_killed: int = 0
    n_found_work: int = 0
    asked: Counter[int] = field(default_factory=Counter)

    def live(self, lake: Lake, n_shards: int) -> bool:
        """Start the stage, kill it at some moment; whether it had ended by then."""
        known = committed(lake)
        self.n_found_work += bool(known)
        with serving(choose=answer_of) as fake:
            flags = [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()]
            command = [sys.executable, "-m", "jobs", "synthesize_qa", "--lake", str(lake.root), *flags]
            command += ["--window", house.WINDOW, "--question-types", " ".join(house.TYPES)]
            command += ["--teacher-url", fake.url, "--n-shards", str(n_shards)]
            environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
            with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
                self._let_live(process, fake)
                process.kill()
            asked_now = Counter(asked(fake))
        assert not set(asked_now) & known, "asked although it was committed"
        assert max(asked_now.values(), default=0) <= 1, "asked twice in one life"
        assert process.returncode in (0, -9)
        self.asked += asked_now
        self.n_killed += process.returncode == -9
        return process.returncode == 0

    def _let_live(self, process: subprocess.Popen[bytes], fake: FakeServer) -> None:
        """For a while after its first question; every fourth time from its start, before it asks."""
        is_early = self.seeded.random() < 0.25
        ends_at = time.monotonic() + 60.0
        while not is_early and not fake.asked and process.poll() is None and time.monotonic() < ends_at:
            time.sleep(0.005)
        try:
            process.wait(self.seeded.uniform(0.0, 1.0))
        except subprocess.TimeoutExpired:
            return


def finish(lake: Lake, n_shards: int) -> list[dict[str, Any]]:
    """The rows after an undisturbed run."""
    with serving(choose=answer_of) as fake:
        known = committed(lake)
        house.synthesize(lake, **FLAGS, teacher_url=fake.url, n_shards=n_shards)
        assert not set(asked(fake)) & known
    return house.drafts(lake, n_shards)


def test_killed_at_random_gives_the_rows_of_an_undisturbed_run_and_asks_nothing_committed_twice(tmp_path: Path) -> None:
    undisturbed = finish(new_lake(tmp_path / "undisturbed"), 1)
    assert len(undisturbed) == 2 * N_CHUNKS
    lives = Lives(random.Random(int(os.environ.get("SPARK_ARXIV_SEED", "6"))))
    number = 0
    while lives.n_killed < N_KILLS or number < 2:
        number += 1
        n_shards = (8, 1)[number % 2]
        lake = new_lake(tmp_path / str(number))
        while lives.n_killed < N_KILLS and not lives.live(lake, n_shards):
            pass
        assert finish(lake, n_shards) == undisturbed
        assert not list(lake.root.glob("drafts/*/*/_attempts/*"))
    assert lives.n_found_work >= N_KILLS // 4, "else the kills met nothing"
    log.info(
        "%d kills over %d lakes, %d lives found work, %d asked",
        lives.n_killed,
        number,
        lives.n_found_work,
        lives.asked.total(),
    )
