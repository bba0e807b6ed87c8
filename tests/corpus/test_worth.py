"""Which chunks are marked as worth little: each rule by what it is for, and by what looks like it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.core.reasons import LOW_VALUE_REASONS
from jobs.corpus.chunker import Chunk
from jobs.corpus.worth import low_values

PROSE = (
    "The adapters are trained with half precision, because gradients of the frozen weights are not needed. "
    "Memory falls by a factor of three, which leaves room for longer sequences and for larger batches of them."
)
STORY = "".join(
    f"{who} remembers the {what} that every assistant of the laboratory mentions afterwards. "
    for who, what in (("Ada", "engine"), ("Grace", "compiler"), ("Emmy", "invariant"), ("Alan", "machine"))
)
FORMULA = "\u2225x \u2212 y\u22252 \u2264 2\u03b1t(1 \u2212 \u03b21,t) + \u221avt,i (\u03b8t,i \u2212 \u03b8\u2217,i)2 "
CONTENTS = "1 Introduction . . . . . . . . . 1 2 Method . . . . . . . . . . 4 3 Results and discussion . . . . . 9"
CHECKLIST = (
    "1. For all authors: do the main claims reflect the contributions? [Yes] Did you describe the limitations of your "
    "work? [Yes] See the appendix. Did you discuss negative impacts? [N/A]"
)
NAMES = "Ada Lovelace, Alan Turing, Grace Hopper, Emmy Noether, Kurt G\u00f6del, Claude Shannon, John Backus, " * 2
CHINESE = "\u6211\u4eec\u63d0\u51fa\u4e86\u4e00\u79cd\u65b0\u7684\u8bad\u7ec3\u65b9\u6cd5\u3002" * 20


def chunk(text: str, *path: str, kind: str = "text") -> Chunk:
    return Chunk(0, text, 0, len(text), path or ("3 Method",), kind, 1, 1, 10)


def mark(text: str, *path: str, kind: str = "text") -> str | None:
    (found,) = low_values([chunk(text, *path, kind=kind)])
    return found


MARKED = {
    "thanks": ("boilerplate", PROSE, "7 Acknowledgements"),
    "thanks and funding": ("boilerplate", PROSE, "Acknowledgments and Disclosure of Funding"),
    "interests": ("boilerplate", PROSE, "Declaration of Competing Interest"),
    "who did what": ("boilerplate", PROSE, "Author Contributions"),
    "thanks without a section": ("boilerplate", f"Acknowledgments. {PROSE}", "5 Conclusion"),
    "a checklist's part": ("boilerplate", PROSE, "NeurIPS Paper Checklist", "1. Claims"),
    "a checklist without a head": ("boilerplate", CHECKLIST, "A Appendix"),
    "contents": ("boilerplate", CONTENTS, "Abstract"),
    "asked and said": ("examples", "Q: What is a pumpkin? A: It is a strong magnet. " + PROSE, "4 Results"),
    "samples": ("examples", PROSE, "F Model samples"),
    "formulas": ("mostly_symbols", FORMULA * 5 + "we conclude that", "C Proofs"),
    "numbers": ("mostly_symbols", "BERT 33.66 97.35 9.09 89.63 45.09 4.67 29.78 " * 5, "4 Results"),
    "a remnant": ("too_few_words", "Dataset\n\nPretraining loss coefficient", "E.6 Regressions"),
    "names": ("names", NAMES, "B Labelers"),
}
UNMARKED = {
    "prose": (PROSE, "3 Method"),
    "what a paper contributes": (PROSE, "1.2 Contributions"),
    "an appendix under the thanks": (PROSE, "Acknowledgments", "A Details"),
    "a section on licences": (PROSE, "5 Which licences allow it"),
    "a checklist for readers": (PROSE, "A checklist for your own runs"),
    "one answer in brackets": (f"{PROSE} The model answers [Yes] to each.", "4 Results"),
    "prose with a formula": (f"{PROSE} {FORMULA} {PROSE}", "C Proofs"),
    "capitals": (("Low Rank Adaptation Of Large Language Models Is Trained With Few Weights " * 3), "2 Titles"),
    "a script without blanks": (CHINESE, "3 Method"),
}


@pytest.mark.parametrize("case", MARKED)
def test_chunk_of_little_worth_is_marked(case: str) -> None:
    reason, text, *path = MARKED[case]
    assert mark(text, *path) == reason


@pytest.mark.parametrize("case", UNMARKED)
def test_chunk_that_somebody_may_ask_about_is_not_marked(case: str) -> None:
    text, *path = UNMARKED[case]
    assert mark(text, *path) is None


def test_each_mark_but_repetition_has_a_case_here() -> None:
    assert {reason for reason, *_ in MARKED.values()} == set(LOW_VALUE_REASONS) - {"near_duplicate"}


@pytest.mark.parametrize("kind", ["caption", "table", "footnote", "references", "front_matter"])
def test_other_kinds_than_running_text_are_not_judged(kind: str) -> None:
    assert mark("12.5 13.5", "Acknowledgments", kind=kind) is None
    assert list(low_values([chunk(PROSE, kind=kind)] * 2)) == [None, None]


def test_repetition_is_marked_and_the_first_is_not() -> None:
    texts = (STORY, f"As was said, {STORY}", STORY.replace("laboratory mentions", "laboratory tells", 1))
    assert list(low_values(map(chunk, texts))) == [None, "near_duplicate", "near_duplicate"]


def test_repetition_that_is_cut_elsewhere_is_marked() -> None:
    middle = STORY[100:] + PROSE[:150]
    assert list(low_values(map(chunk, (STORY + PROSE[:60], PROSE, middle)))) == [None, None, "near_duplicate"]


def test_same_words_about_other_numbers_are_not_a_repetition() -> None:
    sentence = "On {} the accuracy is {} and {} after {} hours, while memory peaks at {} gigabytes. "
    one = "".join(sentence.format(f"T{i}", i + 0.5, i + 7.25, i + 3, i + 40) for i in range(4))
    other = "".join(sentence.format(f"U{i}", i + 1.75, i + 9.5, i + 5, i + 60) for i in range(4))
    assert list(low_values([chunk(one), chunk(other)])) == [None, None]


def test_short_repetition_is_not_marked() -> None:
    short = "We fine-tune all models with the same settings as before, on eight devices, for three epochs each time."
    assert list(low_values([chunk(short), chunk(short)])) == [None, None]


@pytest.mark.slow
def test_marks_do_not_depend_on_the_process() -> None:
    program = (
        "from tests.corpus.test_worth import *\n"
        "chunks = [chunk(text, *path) for _, text, *path in MARKED.values()] + [chunk(PROSE), chunk(PROSE)]\n"
        "print(list(low_values(chunks)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
