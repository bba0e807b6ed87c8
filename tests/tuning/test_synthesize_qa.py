"""Drafts: what is asked, in what order, once; and what a kill, another number of shards or another teacher changes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.core import cli
from jobs.core.errors import TryAgainError, UsageError, YieldError
from jobs.core.lake import Lake
from jobs.core.manifest import Counts
from jobs.core.runner import Request, survey
from jobs.core.stages import STAGES
from jobs.tuning import asking, outcomes, preview, prompt_file, teacher
from jobs.tuning.prompts import REFUSAL
from jobs.tuning.teacher import TeacherReply, TeacherRequest
from tests.tuning import chunk_house as house
from tests.tuning.injected import ORDERS, PASSAGES

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

REPOSITORY = Path(__file__).resolve().parents[2]
PART = f"{house.WINDOW}/0-of-1"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake of 12 chunks of 4 papers, and the scripted teacher."""
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))
    made = house.new_lake(tmp_path / "lake")
    house.publish_chunks(made, house.chunks())
    house.register(made)
    return made


def counts(lake: Lake, part: str = PART) -> Counts:
    found = lake.current("drafts", part)
    assert found is not None
    return found.manifest.counts


def papers_asked(lake: Lake) -> Counter[str]:
    by_text = {row["text"]: row["paper_id"] for row in house.chunks()}
    return Counter(by_text[text] for text, kind in house.asked(lake) if kind == "why")


def test_every_chunk_gives_a_pair_of_each_type(lake: Lake) -> None:
    house.synthesize(lake)
    rows = house.drafts(lake)
    assert len(rows) == 24
    assert {row["question_type"] for row in rows} == set(house.TYPES)
    assert all(row["evidence"][0] in row["answer"] and row["teacher"] == "scripted@1" for row in rows)
    assert counts(lake) == Counts(read=12, kept=12)


def test_second_run_does_nothing(lake: Lake) -> None:
    house.synthesize(lake)
    n_asked = len(house.asked(lake))
    assert house.synthesize(lake) == []
    assert len(house.asked(lake)) == n_asked


def test_chunks_are_asked_round_robin_over_papers(lake: Lake) -> None:
    house.synthesize(lake, chunks_asked_per_window=6)
    assert sorted(papers_asked(lake).values()) == [1, 1, 2, 2]


def test_raising_the_number_of_chunks_only_adds(lake: Lake) -> None:
    house.synthesize(lake, chunks_asked_per_window=5)
    before = house.drafts(lake)
    house.synthesize(lake, chunks_asked_per_window=9)
    after = house.drafts(lake)
    assert len(before) == 10
    assert len(after) == 18
    assert all(row in after for row in before)
    assert max(Counter(house.asked(lake)).values()) == 1


def test_lowering_the_number_keeps_what_was_asked(lake: Lake) -> None:
    house.synthesize(lake)
    before = house.drafts(lake)
    house.synthesize(lake, chunks_asked_per_window=2)
    assert house.drafts(lake) == before
    assert len(house.asked(lake)) == 24


def test_three_shards_give_the_rows_of_one(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, chunks_asked_per_window=8)
    other = house.new_lake(tmp_path / "other")
    house.publish_chunks(other, house.chunks())
    house.register(other)
    for shard in (2, 0, 1):
        assert house.synthesize(other, n_shards=3, shard=shard, chunks_asked_per_window=8) == [
            f"{house.WINDOW}/{shard}-of-3"
        ]
    assert house.drafts(other, 3) == house.drafts(lake)


def test_another_number_of_shards_takes_everything_over(lake: Lake) -> None:
    house.synthesize(lake)
    house.synthesize(lake, n_shards=3)
    assert house.drafts(lake, 3) == house.drafts(lake)
    assert len(house.asked(lake)) == 24


def test_eight_shards_give_the_rows_of_one_for_every_form_of_question(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, question_types=(), pairs_per_chunk=6)
    other = house.new_lake(tmp_path / "other")
    house.publish_chunks(other, house.chunks())
    house.register(other)
    house.synthesize(other, question_types=(), pairs_per_chunk=6, n_shards=8)
    assert house.drafts(other, 8) == house.drafts(lake)
    assert {len(row["chunk_ids"]) for row in house.drafts(lake)} == {1, 2}
    assert {row["is_answerable"] for row in house.drafts(lake)} == {True, False}


def test_pair_of_two_passages_quotes_each_in_the_order_of_the_paper(lake: Lake) -> None:
    house.synthesize(lake, question_types=("multi_chunk",))
    texts = {row["chunk_id"]: row["text"] for row in house.chunks()}
    rows = house.drafts(lake)
    assert rows
    for row in rows:
        assert [quote in texts[one] for one, quote in zip(row["chunk_ids"], row["evidence"], strict=True)] == [True] * 2
        assert row["chunk_ids"] == sorted(row["chunk_ids"])


def test_unanswerable_pair_has_the_refusal_and_no_evidence(lake: Lake) -> None:
    house.publish_chunks(lake, house.chunks(12, 6))
    house.synthesize(lake, question_types=("unanswerable",))
    rows = house.drafts(lake)
    assert 0 < len(rows) <= 72 * 0.25
    assert {(row["answer"], len(row["evidence"]), row["is_answerable"]) for row in rows} == {(REFUSAL, 0, False)}


def own_prompts(folder: Path, old: str, new: str) -> str:
    text = prompt_file.path_of("default").read_text()
    assert old in text
    (folder / "own.yaml").write_text(text.replace(old, new))
    return str(folder / "own.yaml")


def test_copy_of_the_prompts_changes_no_key(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake)
    assert house.synthesize(lake, prompts=own_prompts(tmp_path, "name: default", "name: default")) == []


def test_changed_prompts_count_for_what_was_not_asked_yet(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, chunks_asked_per_window=4)
    before = house.drafts(lake)
    prompts = own_prompts(tmp_path, "name: default", "name: my_field")
    assert house.synthesize(lake, prompts=prompts) == [PART]
    assert all(row in house.drafts(lake) for row in before)
    part = lake.current("drafts", PART)
    assert part is not None
    assert part.manifest.settings["prompt_version"].startswith("my_field@")
    assert max(Counter(house.asked(lake)).values()) == 1


def test_changed_weight_asks_only_what_it_adds(lake: Lake, tmp_path: Path) -> None:
    house.synthesize(lake, question_types=(), pairs_per_chunk=1)
    n_asked = len(house.asked(lake))
    prompts = own_prompts(tmp_path, "weight: 20", "weight: 90")
    house.synthesize(lake, question_types=(), pairs_per_chunk=1, prompts=prompts)
    new = house.asked(lake)[n_asked:]
    assert new
    assert {kind for _, kind in new} == {"method"}


def test_prompts_that_change_while_the_stage_runs_end_it(lake: Lake, tmp_path: Path) -> None:
    prompts = own_prompts(tmp_path, "name: default", "name: mine")

    class Editor(house.Scripted):
        def write(self, requests: Sequence[TeacherRequest]) -> list[TeacherReply]:
            own_prompts(tmp_path, "name: default", "name: yours")
            return super().write(requests)

    teacher.TEACHERS["editor"] = lambda _settings: Editor(lake.root / house.ASKED_FILE)
    with pytest.raises(UsageError, match=r"yours@\w+ by now, the stage began with mine@"):
        house.synthesize(lake, teacher="editor", prompts=prompts, n_shards=2)


def test_version_of_the_prompts_cannot_be_given(lake: Lake) -> None:
    with pytest.raises(UsageError, match="follows from prompts"):
        house.synthesize(lake, prompt_version="mine@1")


@pytest.mark.parametrize("settings", [{"n_shards": 0}, {"shard": 3, "n_shards": 3}, {"question_types": ("riddle",)}])
def test_impossible_setting_is_refused(lake: Lake, settings: dict) -> None:
    with pytest.raises(UsageError, match=r"[Ee]xpected"):
        house.synthesize(lake, **settings)


def test_teacher_that_is_not_pinned_is_refused_when_the_run_is_planned(lake: Lake) -> None:
    request = Request(lake, {"flag": {"teacher": "transformers", "teacher_model": "someone/some-model"}})
    with pytest.raises(UsageError, match="needs its revision"):
        survey(STAGES["synthesize_qa"], request)


def test_new_version_of_a_paper_asks_what_is_new(lake: Lake) -> None:
    house.synthesize(lake)
    rows = house.chunks()
    rows[0] = house.chunk(rows[0]["paper_id"], 0, text="New layers are wide because memory is cheap today. " * 8)
    house.publish_chunks(lake, rows)
    house.synthesize(lake)
    assert [text for text, _ in house.asked(lake)[24:]] == [rows[0]["text"]] * 2


def test_moved_text_keeps_its_pair_and_names_its_new_chunk(lake: Lake) -> None:
    house.synthesize(lake)
    ids = {row["qa_id"] for row in house.drafts(lake)}
    rows = [row | {"version": 2, "chunk_id": row["chunk_id"].replace("v1", "v2")} for row in house.chunks()]
    house.publish_chunks(lake, rows)
    house.synthesize(lake)
    assert {row["qa_id"] for row in house.drafts(lake)} == ids
    assert all("v2#" in row["chunk_ids"][0] for row in house.drafts(lake))
    assert len(house.asked(lake)) == 24


def test_another_teacher_counts_for_what_was_not_asked_yet(lake: Lake) -> None:
    house.synthesize(lake, chunks_asked_per_window=4)
    house.register(lake, name="scripted@2")
    house.synthesize(lake)
    assert Counter(row["teacher"] for row in house.drafts(lake)) == {"scripted@1": 8, "scripted@2": 16}


def test_reask_replaces_the_pairs_of_another_teacher_once(lake: Lake) -> None:
    house.synthesize(lake)
    house.register(lake, name="scripted@2")
    assert house.synthesize(lake) == []
    assert house.synthesize(lake, reask=True) == [PART]
    assert {row["teacher"] for row in house.drafts(lake)} == {"scripted@2"}
    assert house.synthesize(lake, reask=True) == []
    assert len(house.asked(lake)) == 48


def test_chunk_without_a_pair_is_counted_by_its_worst_reason_and_not_asked_again(lake: Lake) -> None:
    replies = [TeacherReply(None, "no_pair"), TeacherReply("{", is_cut=True), TeacherReply(None, "no_pair")]
    house.register(lake, replies=[*replies, TeacherReply("nonsense")])
    house.synthesize(lake)
    assert counts(lake) == Counts(read=12, kept=10, dropped={"truncated": 1, "malformed": 1})
    assert house.synthesize(lake) == []
    house.synthesize(lake, n_shards=2)
    assert len(house.asked(lake)) == 24


def test_failed_question_is_asked_again_by_the_next_run(lake: Lake) -> None:
    house.register(lake, replies=[TeacherReply(None, "teacher_failed")])
    house.synthesize(lake)
    assert len(house.drafts(lake)) == 23
    assert house.synthesize(lake) == [PART]
    assert len(house.drafts(lake)) == 24
    assert len(house.asked(lake)) == 25


def test_teacher_that_is_away_ends_the_run_and_loses_nothing(lake: Lake) -> None:
    good = TeacherReply('{"question": "What is it?", "answer": "A thing.", "evidence": "A thing."}')
    house.register(lake, replies=[*[good] * 4, *[TeacherReply(None, "teacher_failed")] * 4])
    with pytest.raises(TryAgainError, match="failed on all 4"):
        house.synthesize(lake, teacher_batch=4)
    house.synthesize(lake, teacher_batch=4)
    assert len(house.asked(lake)) == 28
    assert len(house.drafts(lake)) == 24


def test_useless_teacher_fails_below_its_floor(lake: Lake) -> None:
    house.register(lake, replies=[TeacherReply(None, "no_pair")] * 24)
    with pytest.raises(YieldError, match="0 of 12"):
        house.synthesize(lake)


def test_window_without_chunks_is_an_empty_part(lake: Lake) -> None:
    house.publish_chunks(lake, [])
    house.synthesize(lake)
    assert house.drafts(lake) == []
    assert counts(lake) == Counts(read=0, kept=0)


def test_none_of_100_injected_passages_is_shown_to_the_teacher(lake: Lake) -> None:
    (good,) = house.chunks(n_papers=1, n_each=1)
    rows = [
        house.chunk(f"2402.{number:05}", 0, text=f"{good['text']}\n\n{passage}\n\nMore prose follows here.")
        for number, passage in enumerate(PASSAGES)
    ]
    assert len(rows) >= 100
    house.publish_chunks(lake, [good, *rows])
    house.synthesize(lake, question_types=(), min_draft_yield_01=0.0)
    assert {row["paper_id"] for row in house.drafts(lake)} == {good["paper_id"]}
    assert counts(lake).dropped == {"instructions": len(rows)}
    assert {text for text, _ in house.asked(lake)} == {good["text"]}


def test_prose_about_models_is_no_instruction(lake: Lake) -> None:
    house.synthesize(lake)
    assert counts(lake).dropped == {}


def test_same_text_twice_is_asked_once(lake: Lake) -> None:
    rows = house.chunks(n_papers=1, n_each=1)
    house.publish_chunks(lake, [*rows, house.chunk("2401.00009", 0, text=rows[0]["text"])])
    house.synthesize(lake)
    assert len(house.asked(lake)) == 2


def test_only_prose_outside_of_references_is_worth_asking() -> None:
    good = house.chunk("2401.00001", 0)
    assert asking.is_worth_asking(good)
    assert not asking.is_worth_asking(good | {"kind": "table"})
    assert not asking.is_worth_asking(good | {"low_value": "boilerplate"})
    assert not asking.is_worth_asking(good | {"section_path": ["References"]})
    assert not asking.is_worth_asking(good | {"text": "Too short."})
    assert not asking.is_worth_asking(good | {"text": "x1 = 3 + 4 * 5; " * 60})


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("F Model samples", ""),
        ("C Human-evaluated Test Prompts", ""),
        ("D Example Rationalizations on CQA", ""),
        ("4.3 Generated samples", ""),
        ("4 Results", "(e) demonstration A: The answer must be a place. Q: Where do you find cups?\n"),
        ("4 Results", "GPT-3 175B completion: InstructGPT 175B completion:\n\nA pumpkin is a strong magnet.\n"),
    ],
)
def test_examples_of_what_a_model_says_are_not_asked_about(section: str, text: str) -> None:
    good = house.chunk("2401.00001", 0)
    assert not asking.is_worth_asking(good | {"section_path": [section], "text": text + good["text"]})


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("4.2 Examples", ""),
        ("3.2 Prompts", ""),
        ("A Samples and their sizes", "Sampling. "),
        ("4 Results", "We answer the question: A: or B. "),
        ("B Proof of completion", ""),
    ],
)
def test_sections_about_examples_are_asked_about(section: str, text: str) -> None:
    good = house.chunk("2401.00001", 0)
    assert asking.is_worth_asking(good | {"section_path": [section], "text": text + good["text"]})


def committed(lake: Lake) -> set[tuple[str, str]]:
    """Row keys in batches and parts."""
    files = [*lake.root.glob("drafts/*/*/_work/*/*.parquet"), *lake.root.glob(f"drafts/*/*/*/{outcomes.ASKED_FILE}")]
    return {outcome.key for path in files for outcome in outcomes.read(path)}


def kill_in_the_middle(lake: Lake, delay_s: float) -> None:
    """Start the stage in a process of its own and kill it some time after its first question."""
    n_before = len(house.asked(lake))
    command = [sys.executable, house.__file__, str(lake.root), "0.1", "2"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment) as process:
        while len(house.asked(lake)) == n_before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_killed_at_random_ends_with_the_same_rows_and_asks_nothing_committed_twice(
    lake: Lake, tmp_path: Path, soak: int
) -> None:
    seeded = random.Random(19)
    by_text = {row["text"]: row["text_hash"] for row in house.chunks()}
    n_left = 0
    for _ in range(10 * soak):
        known, n_before = committed(lake), len(house.asked(lake))
        kill_in_the_middle(lake, seeded.uniform(0.0, 0.2))
        asked_now = {(by_text[text], kind) for text, kind in house.asked(lake)[n_before:]}
        assert not asked_now & known
        n_left += bool(list(lake.root.glob("drafts/*/*/_work/*/*.parquet")))
    house.synthesize(lake, n_shards=2)
    undisturbed = house.new_lake(tmp_path / "undisturbed")
    house.publish_chunks(undisturbed, house.chunks())
    house.register(undisturbed)
    house.synthesize(undisturbed, n_shards=2)
    assert house.drafts(lake, 2) == house.drafts(undisturbed, 2)
    assert len(house.drafts(lake, 2)) == 24
    assert n_left >= 2  # else the kills met nothing
    assert not list(lake.root.glob("drafts/*/*/_attempts/*"))


def test_outcomes_of_the_part_say_what_became_of_everything(lake: Lake) -> None:
    house.register(lake, replies=[TeacherReply(None, "no_pair")])
    house.synthesize(lake)
    part = lake.current("drafts", PART)
    assert part is not None
    found = outcomes.read(part.file(outcomes.ASKED_FILE))
    assert Counter(outcome.reason for outcome in found) == {None: 23, "no_pair": 1}
    assert part.manifest.extra["asked"] == {"pair": 23, "no_pair": 1}


def test_preview_shows_prompt_reply_and_verdict_and_writes_nothing(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    house.register(
        lake, replies=[TeacherReply('{"question": "Why?", "answer": "So.", "evidence": "It is."}', None, True)]
    )
    argv = ["synthesize_qa", "--lake", str(lake.root), "--window", house.WINDOW, "--teacher", "scripted"]
    assert cli.main([*argv, "--question-types", "why", "--preview", "3"]) == 0
    shown = capsys.readouterr().out
    assert [line.split(",")[0] for line in shown.splitlines() if line.startswith("---")] == [
        f"--- {number} of 3: why" for number in (1, 2, 3)
    ]
    assert shown.count("assistant: ") == 3, "the prompts, with their examples"
    verdicts = [line for line in shown.splitlines() if line.startswith("verdict: ")]
    assert verdicts[0] == "verdict: truncated"
    assert len(verdicts) == 3
    assert len(house.asked(lake)) == 3
    assert lake.parts("drafts") == []
    assert not (lake.root / "drafts").exists()


def test_preview_shows_no_passage_that_gives_orders_to_the_teacher(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [TeacherRequest(ORDERS[0], "", "", "why", 1)]
    for text in preview.preview(house.register(lake), requests, file=prompt_file.built_in()):
        assert "verdict: instructions" in text or text.startswith("---")
    assert [text for text, _ in house.asked(lake) if text == ORDERS[0]] == []
