"""The whole stage against a server that answers with every kind of rubbish: each question ends kept or with a reason.

Chunks are those of the sample's notes, so passages hold what real ones do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.core.contracts import DATASETS
from jobs.core.errors import TryAgainError
from jobs.core.lake import Lake, Part
from jobs.corpus.pdf import PdfReader
from jobs.corpus.token_counter import load_token_counter
from jobs.tuning import asking, outcomes, teacher
from jobs.tuning.openai_chat import OpenAIChat
from jobs.tuning.teacher import ModelTeacher, TeacherSettings
from tests.retrieval.sample_index import SAMPLE, chunks_of
from tests.soaking import IS_SOAK
from tests.tuning import chunk_house as house
from tests.tuning.fake_openai import says, send, serving
from tests.tuning.rubbish import GOOD, KINDS, VLLM, Scattered

pytestmark = pytest.mark.slow

PART = f"{house.WINDOW}/0-of-1"
N_NOTES = None if IS_SOAK else 8  # of 24; enough for each kind at least once
SETTINGS = {"teacher": "openai", "teacher_model": "toy", "teacher_timeout_s": 2.0, "teacher_concurrency": 16}
ONE_TYPE = {"question_types": ("method",)}


def patient_only_in_words(settings: TeacherSettings) -> ModelTeacher:
    """The stage's teacher, whose waits between two tries cost nothing."""
    return ModelTeacher(OpenAIChat(replace(settings, tries=2), sleep=lambda _seconds: None), settings.prompts)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    counter = load_token_counter("all-MiniLM-L6-v2")
    with PdfReader() as reader:
        notes = sorted(SAMPLE.glob("pdf/*.pdf"))[:N_NOTES]
        return [row for path in notes for row in chunks_of(reader, path, counter)]


@pytest.fixture
def lake(tmp_path: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setitem(teacher.TEACHERS, "openai", patient_only_in_words)
    made = house.new_lake(tmp_path / "lake")
    house.publish_chunks(made, rows)
    return made


def part_of(lake: Lake) -> Part:
    found = lake.current("drafts", PART)
    assert found is not None
    return found


def test_every_question_over_the_sample_ends_kept_or_with_the_reason_of_its_rubbish(lake: Lake) -> None:
    scattered = Scattered(list(KINDS))
    with serving(choose=scattered) as fake:
        house.synthesize(lake, **SETTINGS, **ONE_TYPE, teacher_url=fake.url, teacher_batch=10_000)
    found = outcomes.read(part_of(lake).file(outcomes.ASKED_FILE))
    asked = [one for one in found if one.reason != "instructions"]  # a note quotes some, and is shown to no model
    kinds = [scattered.kinds[asking.seed_of(*one.key)] for one in asked]
    assert set(kinds) == set(KINDS)
    assert [one.reason or "pair" for one in asked] == [KINDS[kind].ends_as for kind in kinds]
    assert [one.is_repaired for one in asked] == [KINDS[kind].is_repaired for kind in kinds]
    counts = part_of(lake).manifest.counts
    assert counts.read == len(found) == counts.kept + sum(counts.dropped.values())
    assert counts.dropped == Counter(one.reason for one in found if one.reason)
    assert set(counts.dropped) < set(DATASETS["drafts"].reasons)
    assert len(house.drafts(lake)) == counts.kept


def test_what_failed_is_asked_again_and_nothing_else(lake: Lake) -> None:
    quick = [name for name, kind in KINDS.items() if not kind.hangs]
    with serving(choose=Scattered(quick)) as fake:
        house.synthesize(lake, **SETTINGS, **ONE_TYPE, teacher_url=fake.url, teacher_batch=10_000)
    before = Counter(part_of(lake).manifest.extra["asked"])
    n_failed = before.pop("teacher_failed")
    with serving(says(GOOD)) as mended:
        house.synthesize(lake, **SETTINGS, **ONE_TYPE, teacher_url=mended.url)
    assert len(mended.asked) == n_failed
    assert part_of(lake).manifest.extra["asked"] == before + Counter(pair=n_failed)


@pytest.mark.parametrize("name", ["a page of HTML", "elsewhere (301)", "no choices", "no gzip"])
def test_server_that_is_none_ends_the_run_and_spoils_no_question(lake: Lake, name: str) -> None:
    with serving(KINDS[name].answer) as fake, pytest.raises(TryAgainError, match="failed on all"):
        house.synthesize(lake, **SETTINGS, **ONE_TYPE, teacher_url=fake.url)
    assert lake.current("drafts", PART) is None
    assert not list(lake.root.glob("drafts/*/*/_work/*/*.parquet"))


def test_tokens_and_costs_are_those_of_all_that_was_asked_whenever_it_was(lake: Lake) -> None:
    prices = {"teacher_prompt_price": 0.5, "teacher_reply_price": 2.0}
    with serving(send(VLLM)) as fake:
        known = SETTINGS | ONE_TYPE | prices | {"teacher_url": fake.url}
        house.synthesize(lake, **known, chunks_asked_per_window=3)
        house.synthesize(lake, **known, chunks_asked_per_window=5)
    assert len(fake.asked) == 5
    extra = part_of(lake).manifest.extra
    assert (extra["n_prompt_tokens"], extra["n_reply_tokens"]) == (5 * 412, 5 * 97)
    assert extra["cost"] == pytest.approx((5 * 412 * 0.5 + 5 * 97 * 2.0) / 1e6)


def test_part_of_a_program_that_counted_no_tokens_is_read() -> None:
    made = outcomes.Outcome("hash", "why", "toy", "toy@1", reason="no_pair")
    table = outcomes.to_table([made]).drop_columns(["n_prompt_tokens", "n_reply_tokens"])
    assert outcomes.from_table(table) == [made]
    assert outcomes.costs([], 1.0, 1.0) == {"n_prompt_tokens": 0, "n_reply_tokens": 0, "cost": 0.0}
