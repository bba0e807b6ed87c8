"""A judge in curation: what it refuses, that nothing is asked twice, and what rubbish, kills and people change."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.core import tables
from jobs.core.errors import TryAgainError, UsageError, YieldError
from jobs.core.lake import Lake, Part
from jobs.tuning import chat, judge_file, reviews, teacher, verdicts
from jobs.tuning.openai_chat import OpenAIChat
from jobs.tuning.prompts import VERDICT_NAMES
from jobs.tuning.reviews import Decision
from tests.tuning import chunk_house as house
from tests.tuning import tuning_house
from tests.tuning.fake_openai import Answer, FakeServer, hangs_up, replies, says, send, serving
from tests.tuning.test_curate_qa import build, curate, papers_of, refused, rewrite_drafts, without_answer

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
GOOD = {"supported": 5, "standalone": 4}
UNANSWERED = {"unanswered": 5, "standalone": 5}
LOOSE = {"near_duplicate_cosine": 1.0, "round_trip_k": 0}
SPLITS = ("train", "validation", "test")
PAPERS = [one for split in SPLITS for one in papers_of(split, 2)]


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked three times, without a pause."""
    known = dict(chat.CHATS)
    known["openai"] = lambda settings: OpenAIChat(dataclasses.replace(settings, tries=3), lambda _wait_s: None)
    monkeypatch.setattr(chat, "CHATS", known)


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of six good pairs, two of each split, and nothing curated."""
    teachers = dict(teacher.TEACHERS)
    try:
        return build(tmp_path_factory.mktemp("drafted") / "lake", {f"{one}v1#0": {} for one in PAPERS}).root
    finally:
        teacher.TEACHERS.clear()
        teacher.TEACHERS.update(teachers)


@pytest.fixture
def lake(drafted: Path, tmp_path: Path) -> Lake:
    shutil.copytree(drafted, tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


def judged(lake: Lake, fake: FakeServer, **settings: Any) -> Part:
    known = {"judge": "openai", "judge_url": fake.url, "judge_model": "toy", **LOOSE}
    return curate(lake, **known | settings)


def name_of(paper_id: str) -> str:
    """What the pair of a paper is about, by which a server can tell it."""
    return f"Zor{paper_id[-2:]}a"


def about(**of_paper: Any) -> Callable[[str], Any]:
    """Says `of_paper` of pairs by the paper's name, GOOD of all others."""
    return lambda prompt: next(
        (said for name, said in of_paper.items() if f"about {name}" in prompt or name in prompt), GOOD
    )


def names_asked(fake: FakeServer) -> Counter[str]:
    prompts = [asked["messages"][-1]["content"] for asked in fake.asked]
    return Counter(next(one for one in PAPERS if name_of(one) in prompt) for prompt in prompts)


def scores_of(row: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["value"] for one in row["scores"] if one["name"].startswith("judged_")}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (GOOD | {"supported": 3}, "judged_unsupported"),
        (GOOD | {"standalone": 1}, "judged_not_standalone"),
        ({"supported": 1, "standalone": 1}, "judged_unsupported"),
    ],
)
def test_bad_pair_of_any_split_is_refused_with_its_scores(
    lake: Lake, split: str, said: dict[str, int], reason: str
) -> None:
    (bad, _) = papers_of(split, 2)
    with serving(replies(about(**{name_of(bad): said}))) as fake:
        part = judged(lake, fake)
    assert refused(part) == {f"{bad}v1#0": reason}
    assert part.manifest.counts.dropped == {reason: 1}
    (row,) = tables.read_table(part.file("refused.parquet")).to_pylist()
    assert scores_of(row) == {f"judged_{name}": value for name, value in said.items()}
    assert {row["paper_id"] for row in part.rows()} == set(PAPERS) - {bad}
    assert all(scores_of(row) == {"judged_supported": 5, "judged_standalone": 4} for row in part.rows())


def test_judge_sees_question_answer_and_passage_with_its_title(lake: Lake) -> None:
    with serving(replies(about())) as fake:
        judged(lake, fake)
    row = next(row for row in house.drafts(lake) if row["paper_id"] == PAPERS[0])
    (prompt,) = [p for one in fake.asked if name_of(PAPERS[0]) in (p := one["messages"][-1]["content"])]
    assert f"<question>{row['question']}</question>" in prompt
    assert f"<answer>{row['answer']}</answer>" in prompt
    assert f"[1] About {PAPERS[0]} — 1 Method\n" in prompt
    assert row["evidence"][0] in prompt.split("<passage 1>")[1]
    assert list(fake.asked[0]["response_format"]["json_schema"]["schema"]["properties"]) == ["supported", "standalone"]


@pytest.mark.parametrize(("unanswered", "kept"), [(4, True), (3, False)])
def test_question_without_answer_is_judged_by_whether_its_passages_answer(
    lake: Lake, unanswered: int, kept: bool
) -> None:
    rows = house.drafts(lake)
    one = without_answer(rows[0]) | {"paper_id": rows[0]["paper_id"]}
    rewrite_drafts(lake, [*rows, one])

    def said(prompt: str) -> dict[str, int]:
        return UNANSWERED | {"unanswered": unanswered} if "awards" in prompt else GOOD

    with serving(replies(said)) as fake:
        part = judged(lake, fake, max_unanswerable_01=0.5)
    assert part.manifest.counts.dropped == ({} if kept else {"judged_answered": 1})
    (prompt,) = [p for asked in fake.asked if "awards" in (p := asked["messages"][-1]["content"])]
    assert "<answer>" not in prompt


def test_without_a_judge_there_is_no_verdict_and_no_file(lake: Lake) -> None:
    part = curate(lake)
    assert verdicts.FILE not in part.manifest.files
    assert not {"judge", "judge_agreement"} & set(part.manifest.extra)
    assert not any(scores_of(row) for row in part.rows())


def test_nothing_is_asked_twice_by_a_later_run(lake: Lake, drafted: Path) -> None:
    rewrite_drafts(lake, house.drafts(lake)[:4])
    with serving(replies(about())) as fake:
        assert judged(lake, fake).manifest.extra["judge"] == {
            "name": "openai:toy",
            "prompt": judge_file.load("judge").version("pairs"),
            "asked": 4,
        }
        shutil.rmtree(lake.root / "drafts")
        shutil.copytree(drafted / "drafts", lake.root / "drafts")
        part = judged(lake, fake)
        assert names_asked(fake) == Counter(PAPERS)
        assert (part.manifest.taken_over, part.manifest.rows) == (4, 6)
        judged(lake, fake, judge_least=5, min_judge_yield_01=0.0)
        judged(lake, fake, judge_least=1, judge_batch=2)
    assert names_asked(fake) == Counter(PAPERS)


def test_verdicts_outlive_a_run_without_a_judge(lake: Lake) -> None:
    with serving(replies(about())) as fake:
        judged(lake, fake)
        curate(lake, **LOOSE)
        judged(lake, fake, judge_least=3)
        assert sum(names_asked(fake).values()) == 6
        judged(lake, fake, judge_model="other")
        assert sum(names_asked(fake).values()) == 12
        judged(lake, fake, judge_least=2)
    assert sum(names_asked(fake).values()) == 12


def test_another_wording_judges_anew_and_a_comment_does_not(lake: Lake, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("# mine\n" + judge_file.path_of("judge").read_text())
    with serving(replies(about())) as fake:
        judged(lake, fake)
        judged(lake, fake, judge_prompts=str(own))
        assert len(fake.asked) == 6
        own.write_text(own.read_text().replace("name: judge", "name: mine"))
        assert judged(lake, fake, judge_prompts=str(own)).manifest.settings["judge_prompt_version"].startswith("mine@")
    assert len(fake.asked) == 12


RUBBISH: list[tuple[Answer, str | None]] = [
    (says(""), "not_judged"),
    (says(None), "not_judged"),
    (says("I am sorry, but I cannot judge that."), "not_judged"),
    (says(json.dumps(GOOD)[:-1], finish="length"), "not_judged"),
    (says(json.dumps({"supported": 5})), "not_judged"),
    (says(json.dumps([5, 5])), "not_judged"),
    (says(json.dumps(GOOD | {"supported": 7})), "not_judged"),
    (says(json.dumps(GOOD | {"supported": True})), "not_judged"),
    (says(json.dumps(GOOD | {"supported": "high"})), "not_judged"),
    (says(json.dumps(GOOD | {"supported": None})), "not_judged"),
    (says("x" * 30_000), "not_judged"),
    (send(b"too long", status=422), "not_judged"),
    (says(f"```json\n{json.dumps(GOOD)}\n```"), None),
    (says(json.dumps({"supported": "5", "standalone": 4.0})), None),
]


def test_each_kind_of_rubbish_ends_kept_or_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))
    ids = papers_of("train", len(RUBBISH))
    assert len(ids) == len(RUBBISH)
    by_name = {name_of(one): answer for one, (answer, _) in zip(ids, RUBBISH, strict=True)}
    lake = build(tmp_path / "lake", {f"{one}v1#0": {} for one in ids})
    with serving(replies(about(**by_name))) as fake:
        part = judged(lake, fake, min_judge_yield_01=0.1)
    expected = {f"{one}v1#0": reason for one, (_, reason) in zip(ids, RUBBISH, strict=True) if reason}
    assert refused(part) == expected
    assert part.manifest.counts.read == len(RUBBISH)


def test_reply_that_was_no_verdict_is_asked_for_again_by_the_next_making(lake: Lake) -> None:
    answers = {"reply": "No."}
    with serving(replies(lambda prompt: answers["reply"] if name_of(PAPERS[0]) in prompt else GOOD)) as fake:
        assert refused(judged(lake, fake)) == {f"{PAPERS[0]}v1#0": "not_judged"}
        answers["reply"] = GOOD  # type: ignore[assignment]
        assert refused(judged(lake, fake, judge_least=3)) == {}
    assert names_asked(fake) == Counter(PAPERS) + Counter([PAPERS[0]])


def test_busy_server_is_asked_until_it_answers(lake: Lake) -> None:
    with serving(send(b"", 429, {"retry-after": "7"}), hangs_up, replies(about())) as fake:
        part = judged(lake, fake, judge_concurrency=1, judge_batch=1, judge_timeout_s=5.0)
    assert part.manifest.rows == 6
    assert len(fake.asked) == 8


@pytest.mark.parametrize("broken", [send(b"oops", 500), send(b"<html>Down</html>"), send(b'{"choices": []}')])
def test_pair_that_the_judge_fails_on_is_never_kept_and_the_others_are_not_asked_again(
    lake: Lake, broken: Answer
) -> None:
    answers: dict[str, Any] = {"broken": broken}
    with serving(replies(lambda prompt: answers["broken"] if name_of(PAPERS[3]) in prompt else GOOD)) as fake:
        with pytest.raises(TryAgainError, match="failed on 1 of 6 pairs"):
            judged(lake, fake, judge_batch=2)
        assert lake.current("qa", "all") is None
        n_asked = len(fake.asked)
        answers["broken"] = GOOD
        assert judged(lake, fake, judge_batch=2).manifest.rows == 6
    assert len(fake.asked) == n_asked + 1


def test_server_that_is_away_ends_the_stage_with_its_first_batch(lake: Lake) -> None:
    with serving(send(b"", 503)) as fake, pytest.raises(TryAgainError, match="failed on 2 of 2 pairs"):
        judged(lake, fake, judge_batch=2)
    assert len(fake.asked) == 6, "two pairs, three times each"


def test_wrong_key_ends_the_stage_with_the_judges_own_settings(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_ARXIV_TEACHER_KEY", "of the teacher")
    monkeypatch.setenv("SPARK_ARXIV_JUDGE_KEY", "of the judge")
    with serving(send(b"", 401)) as fake, pytest.raises(UsageError, match=r"--judge-url.*SPARK_ARXIV_JUDGE_KEY"):
        judged(lake, fake)
    assert set(fake.keys) == {"Bearer of the judge"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [("Hm.", "not_judged"), (json.dumps({"supported": 1, "standalone": 1}), "judged_unsupported")],
)
def test_judge_that_keeps_nothing_fails_below_its_floor_and_publishes_nothing(
    lake: Lake, said: str, reason: str
) -> None:
    with serving(says(said)) as fake:
        with pytest.raises(YieldError, match=rf"keeps 0 of 6 pairs.*{reason}': 6"):
            judged(lake, fake)
        assert lake.current("qa", "all") is None


def test_judge_whose_replies_were_no_verdicts_is_asked_again(lake: Lake) -> None:
    with serving(says("Hm.")) as fake:
        with pytest.raises(YieldError, match="floor"):
            judged(lake, fake)
        fake.answers[:] = [replies(about())]
        assert judged(lake, fake).manifest.rows == 6


def decide(lake: Lake, rows: list[dict[str, Any]], **verdict_of: str) -> None:
    by_name = {name_of(row["paper_id"]): row for row in rows}
    reviews.merge(
        lake, [Decision(by_name[name]["qa_id"], by_name[name]["paper_id"], one) for name, one in verdict_of.items()]
    )


def test_what_a_person_decided_stands_and_the_judge_is_measured_by_it(lake: Lake) -> None:
    first, second, third, fourth = (name_of(one) for one in PAPERS[:4])
    decide(lake, house.drafts(lake), **{first: "keep", second: "drop", third: "keep", fourth: "drop"})
    bad = GOOD | {"supported": 1}
    with serving(replies(about(**{first: bad, second: bad}))) as fake:
        part = judged(lake, fake)
    assert part.manifest.extra["judge_agreement"] == {"n": 4, "agreed": 2}
    assert refused(part) == {f"{one}v1#0": "reviewed_out" for one in (PAPERS[1], PAPERS[3])}
    assert PAPERS[0] in {row["paper_id"] for row in part.rows()}


def test_reviewed_pairs_that_a_judge_is_asked_about_are_bounded(lake: Lake) -> None:
    decide(lake, house.drafts(lake), **{name_of(one): "keep" for one in PAPERS})
    with serving(replies(about())) as fake:
        part = judged(lake, fake, judge_reviewed_rows=2)
    assert part.manifest.extra["judge_agreement"] == {"n": 2, "agreed": 2}
    assert len(fake.asked) == 2


def test_pair_in_a_persons_words_is_not_judged(lake: Lake) -> None:
    row = house.drafts(lake)[0]
    reviews.merge(lake, [Decision(row["qa_id"], row["paper_id"], "keep", question="Why is it so, in my own words?")])
    with serving(replies(about())) as fake:
        assert judged(lake, fake).manifest.extra["judge_agreement"] == {"n": 0, "agreed": 0}
    assert row["paper_id"] not in names_asked(fake)


def test_pair_that_a_rule_refuses_costs_no_question(lake: Lake) -> None:
    rows = house.drafts(lake)
    rows[0] |= {"question": "Why matrices?"}
    rewrite_drafts(lake, rows)
    with serving(replies(about())) as fake:
        assert judged(lake, fake).manifest.counts.dropped == {"question_too_short": 1}
    assert len(fake.asked) == 5


def test_passage_that_speaks_to_models_is_not_shown_to_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "TEACHERS", dict(teacher.TEACHERS))
    lake = build(tmp_path / "lake", {f"{one}v1#0": {} for one in PAPERS})
    monkeypatch.setattr("jobs.tuning.judging.gives_instructions", lambda text: name_of(PAPERS[0]) in text)
    with serving(replies(about())) as fake:
        assert refused(judged(lake, fake)) == {f"{PAPERS[0]}v1#0": "instructions"}
    assert PAPERS[0] not in names_asked(fake)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"judge": "oracle"}, "judge 'oracle' is unknown. Expected one of: none, openai, transformers"),
        ({"judge": "openai", "judge_model": "toy"}, "Expected --judge-url"),
        ({"judge": "openai", "judge_url": "http://127.0.0.1/v1"}, "Expected --judge-model"),
        ({"judge": "transformers"}, "Expected --judge-model FOLDER"),
        ({"judge": "transformers", "judge_model": "someone/some"}, "needs its revision"),
        ({"judge_least": 6}, "judge_least 6"),
        ({"judge_prompt_version": "mine@1"}, "follows from judge none"),
    ],
)
def test_judge_that_cannot_be_asked_is_refused_when_the_run_is_planned(
    lake: Lake, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tuning_house.states(lake, "curate_qa", **settings)


class Gate:
    """Answers like `about()`, but the request after `n` waits for ever: who asked can be killed then."""

    def __init__(self, n: int) -> None:
        self._left = n
        self._lock = threading.Lock()
        self.is_reached, self.is_open = threading.Event(), threading.Event()

    def __call__(self, _prompt: str) -> dict[str, int]:
        with self._lock:
            self._left -= 1
            must_wait = self._left < 0
        if must_wait:
            self.is_reached.set()
            self.is_open.wait(60)
        return GOOD


@pytest.fixture
def gates() -> Iterator[Callable[[int], Gate]]:
    """Gates that are open at the end, so that no thread of a server waits for them."""
    made: list[Gate] = []

    def gate(n: int) -> Gate:
        made.append(Gate(n))
        return made[-1]

    yield gate
    for one in made:
        one.is_open.set()


def committed(lake: Lake) -> set[str]:
    """Ids of the pairs whose verdicts are on disk in _work."""
    files = lake.root.glob("qa/all/_work/*/*.parquet")
    return {row["qa_id"] for path in files for row in tables.read_table(path).to_pylist()}


def test_killed_judging_asks_nothing_committed_twice_and_keeps_the_same_pairs(
    lake: Lake, drafted: Path, tmp_path: Path, gates: Callable[[int], Gate], soak: int
) -> None:
    paper_of = {row["qa_id"]: row["paper_id"] for row in house.drafts(lake)}
    for n_answered in (3,) if soak == 1 else tuple(range(6)) * 2:
        shutil.rmtree(lake.root)
        shutil.copytree(drafted, lake.root)
        gate = gates(n_answered)
        with serving(replies(gate)) as fake:
            flags = ["--judge", "openai", "--judge-url", fake.url, "--judge-model", "toy", "--judge-batch", "1"]
            command = [
                sys.executable,
                "-m",
                "jobs",
                "curate_qa",
                "--lake",
                str(lake.root),
                "--window",
                house.WINDOW,
                *flags,
            ]
            command += ["--judge-concurrency", "1", "--round-trip-k", "0", "--near-duplicate-cosine", "1.0"]
            with subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
                try:
                    assert gate.is_reached.wait(60)
                finally:
                    process.kill()
            gate.is_open.set()
            assert lake.current("qa", "all") is None
            done = {paper_of[qa_id] for qa_id in committed(lake)}
            assert len(done) == n_answered
            n_before = len(fake.asked)
            part = judged(lake, fake, judge_batch=1)
            asked_again = Counter(
                next(one for one in PAPERS if name_of(one) in asked["messages"][-1]["content"])
                for asked in fake.asked[n_before:]
            )
        assert asked_again == Counter(set(PAPERS) - done)
        assert part.manifest.rows == len(PAPERS)
    undisturbed = Lake.open(shutil.copytree(drafted, tmp_path / "undisturbed"))
    with serving(replies(about())) as fake:
        assert judged(undisturbed, fake, judge_batch=1).rows() == part.rows()


def test_judge_in_this_process_gives_scores_of_the_form_by_construction(lake: Lake, tmp_path: Path) -> None:
    """Of a model of random weights nothing else can be asked."""
    from jobs.tuning.tiny_base import make_tiny

    rows = house.drafts(lake)
    rewrite_drafts(lake, [*rows[:2], without_answer(rows[2])])
    folder = make_tiny(tmp_path / "tiny")
    settings = {"judge": "transformers", "judge_model": str(folder), "device": "cpu", "min_judge_yield_01": 0.0}
    part = curate(lake, max_unanswerable_01=0.5, **settings, **LOOSE)
    found = verdicts._from_table(tables.read_table(part.file(verdicts.FILE)))
    assert [one.reason for one in found] == [None] * 3
    assert {tuple(one.scores) for one in found} == set(VERDICT_NAMES.values())
    assert all(score in (1, 2, 3, 4, 5) for one in found for score in one.scores.values())
    bad = {one.qa_id for one in found if min(one.scores.values()) < 4}
    assert not bad & {row["qa_id"] for row in part.rows()}
    reasons = {row["qa_id"]: row["reason"] for row in tables.read_table(part.file("refused.parquet")).to_pylist()}
    assert all(reasons[qa_id].startswith("judged_") for qa_id in bad)
