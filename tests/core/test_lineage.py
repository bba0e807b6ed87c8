"""From a pair back to page, paper version, PDF and prompt; from a paper on to all that came of it."""

from __future__ import annotations

import pytest

from jobs.core import pruning
from jobs.core.definition import split_of
from jobs.core.lake import Lake
from tests.core.conftest import TEXT, Say
from tests.core.parts_by_hand import publish
from tests.core.test_taking_down import named, publish_adapter
from tests.corpus.test_filter_papers import WEEK, publish_rows

pytestmark = pytest.mark.slow

PAPER = "2401.00001"
PAIR = {
    "qa_id": "ab" * 12,
    "chunk_ids": [f"{PAPER}v1#1"],
    "paper_id": PAPER,
    "question": "What is it about?",
    "answer": "Graphs.",
    "evidence": ["A passage about graphs."],
    "question_type": "definition",
    "teacher": "toy@1",
    "prompt_version": "teacher@0123abcd",
}


@pytest.fixture
def paired(looked_at: Lake) -> Lake:
    """The lake of two papers with pairs, an index, an adapter and two releases over one of them."""
    place = {"section_path": ["3 Method", "3.1 Graphs"], "page_first": 4, "page_last": 5}
    row = {"chunk_id": f"{PAPER}v1#1", "paper_id": PAPER, "version": 1, "text": TEXT[:90]} | place
    publish_rows(looked_at, "chunks", [row])
    publish_rows(looked_at, "drafts", [PAIR], part=f"{WEEK}/0-of-1")
    publish_rows(looked_at, "qa", [PAIR | {"split": "train"}, PAIR | {"qa_id": "cd" * 12, "split": "train"}], "all")
    publish_adapter(looked_at, "adapter", PAPER)
    for key in ("first", "second"):
        publish(looked_at, "releases", key, inputs=(named(looked_at, "adapters"),))
    return looked_at


def test_pair_leads_back_to_page_paper_version_pdf_and_prompt(paired: Lake, say: Say) -> None:
    told = say("show", PAIR["qa_id"])
    assert told[:7] == [
        f"pair {PAIR['qa_id']} in qa/all split=train",
        "  written by toy@1, prompt teacher@0123abcd, type definition",
        '  evidence "A passage about graphs."',
        f"  chunk {PAPER}v1#1 section 3 Method › 3.1 Graphs, pages 4 to 5",
        f'  paper {PAPER} version 1 "On the spectrum of graphs" (arXiv\'s own licence assumed)',
        f"  PDF sha256={'0' * 64} a.pdf from None",
        told[6],
    ]
    assert told[6].startswith(f"drafts/{WEEK}/0-of-1 {{")


def test_pair_whose_chunk_left_the_lake_says_so(paired: Lake, say: Say) -> None:
    publish_rows(paired, "chunks", [])
    assert f"  chunk {PAPER}v1#1 is in no current part of chunks" in "\n".join(say("show", PAIR["qa_id"]))


def test_chunk_tells_the_pairs_that_rest_on_it(paired: Lake, say: Say) -> None:
    pairs = [one for one in say("show", f"{PAPER}v1#1") if one.startswith(("drafts", "qa"))]
    assert [one.split("/")[0] for one in pairs] == ["drafts", "qa", "qa"]


def test_paper_tells_all_that_came_of_it(paired: Lake, say: Say) -> None:
    told = say("show", PAPER)
    start = next(i for i, one in enumerate(told) if one.startswith("came of"))
    split = split_of(paired.definition.split_salt, PAPER)
    lines = told[start:]
    assert lines[:3] == [
        f"came of {PAPER} (split={split})",
        f"  window {WEEK}: papers=1 pdfs=1 documents=1 chunks=1 drafts 0-of-1=1",
        "  pairs: train=2",
    ]
    assert [one.split(" key=")[0] for one in lines[3:]] == ["  adapters/all", "  releases/all", "  releases/all"]
    assert lines[3].endswith("(current) learnt from it")
    assert sorted(one.partition("(")[2] for one in lines[4:]) == ["current)", "not current)"]


def test_paper_that_was_taken_down_is_told_with_its_reason(paired: Lake, say: Say) -> None:
    pruning.prune_command(["prune", "--lake", str(paired.root), "--paper", PAPER, "--why", "its author asked"])
    say("list")  # what prune printed
    assert say("show", PAPER)[-1].endswith(": its author asked")


def test_paper_of_which_nothing_came_is_shown_by_its_row_alone(paired: Lake, say: Say) -> None:
    assert say("show", "2401.00002")[-1] == f"  window {WEEK}: papers=1"
