"""Questions worth asking of a corpus, found in it: what a paper defines can be asked for."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from jobs.retrieval.sentences import content_words, sentences, word_set

N_QUESTIONS = 12  # the app shows the first three that it can answer
_NAME = r"(?P<name>(?:[A-Z][\w-]+|\d+-bit)(?: (?:[a-z]+-)?[A-Za-z][\w-]+){0,3})(?: \([A-Za-z-]{2,8}\))?"
_STANDS_FOR = re.compile(rf"{_NAME} stands for [\w-]")
_IS_A = re.compile(rf"{_NAME} is an? \w")
# "reciprocal rank fusion (RRF)": a term and its initials, in some order of hyphens and blanks.
_SHORTENED = re.compile(r"(?P<words>(?:[A-Za-z][\w-]* ){1,6})\((?P<short>[A-Z][A-Za-z]{1,6})\)")
_WORD = re.compile(r"[A-Za-z][\w-]*")
# A name that begins with one of these is none.
_NO_NAME = word_set(
    "a an the this that these those it its they there here each every one our we such what which any all some another"
    " figure table section equation algorithm theorem appendix note paper work method approach given for in on if when"
    " since because so thus hence however therefore also both on towards toward how why can does is are"
)
_MAX_WORDS = 4
_TITLE_END = re.compile(r"[:,] | -+ | – | — | and | by | with | via | using | from ")
_MAX_TITLE_WORDS = 6


@dataclass(frozen=True)
class SourceText:
    """What a question is made from."""

    paper_id: str
    title: str
    text: str


@dataclass(frozen=True)
class _Question:
    text: str
    paper_id: str
    worth: int  # 0 is best


def questions_worth_asking(passages: Iterable[SourceText]) -> tuple[str, ...]:
    """Questions, best first, each of another paper; the same passages give the same questions in any order.

    What "stands for" something comes first, then terms that are introduced with their initials or as "is a" something,
    each where a word of the title is near, then what a short title names. Words are written as the paper writes them.
    """
    by_paper = groupby(sorted(passages, key=lambda one: one.paper_id), key=lambda one: one.paper_id)
    best = [_best_of(list(its_passages)) for _, its_passages in by_paper]
    ordered = sorted((one for one in best if one is not None), key=lambda one: (one.worth, _order(one.paper_id)))
    return tuple(dict.fromkeys(one.text for one in ordered))[:N_QUESTIONS]


def _best_of(passages: Sequence[SourceText]) -> _Question | None:
    """The best question of one paper."""
    forms = _forms(passages)
    found = [question for passage in passages for question in _questions_of(passage, forms)]
    return min(found, key=lambda one: (one.worth, one.text), default=None)


def _forms(passages: Iterable[SourceText]) -> Counter[str]:
    """How often each word stands in running text, where a capital is no accident of the sentence's begin."""
    return Counter(
        word for passage in passages for sentence in sentences(passage.text) for word in _WORD.findall(sentence)[1:]
    )


def _questions_of(passage: SourceText, forms: Counter[str]) -> list[_Question]:
    about = frozenset(content_words(passage.title))
    found = [
        (worth, text)
        for sentence in sentences(passage.text)
        for worth, text, near in _defined_in(sentence, forms)
        if about & frozenset(content_words(near))
    ]
    if named := _named_by(passage.title, forms):
        found.append((3, named))
    return [_Question(text, passage.paper_id, worth) for worth, text in found]


def _defined_in(sentence: str, forms: Counter[str]) -> list[tuple[int, str, str]]:
    """For the terms that a sentence defines: worth, question, and the text that a word of the title must be in."""
    found = []
    if (match := _STANDS_FOR.match(sentence)) and _is_name(match["name"], _MAX_WORDS):
        found.append((0, f"What does {match['name']} stand for?", sentence))
    for match in _SHORTENED.finditer(sentence):
        if name := _spelled_out(match["words"].split(), match["short"]):
            found.append((1, f"What is {_as_written(name, forms)} ({match['short']})?", name))
    if (match := _IS_A.match(sentence)) and _is_name(match["name"], _MAX_WORDS):
        found.append((2, f"What is {_as_written(match['name'], forms)}?", sentence))
    return found


def _spelled_out(words: Sequence[str], short: str) -> str | None:
    """The last of the words whose first letters are those of `short`."""
    wanted = [letter.lower() for letter in short if letter.isupper()]
    for first in range(len(words) - 1):
        initials = [part[0].lower() for word in words[first:] for part in word.split("-") if part]
        if initials == wanted:
            return " ".join(words[first:])
    return None


def _named_by(title: str, forms: Counter[str]) -> str | None:
    """The question for what a title begins with: `Paged Optimizers and 8-bit Adam` -> What are paged optimizers?"""
    name, *rest = _TITLE_END.split(title, maxsplit=1)
    name = name.strip(" .")
    is_doing = re.match(r"\w+ing ", name) is not None  # "Evaluating Generated Answers"
    if is_doing or name.endswith("?") or not _is_name(name, _MAX_TITLE_WORDS):
        return None
    head = re.split(r" (?:of|for|in|on|to) ", name, maxsplit=1)[0]
    is_plural = head.endswith("s") and not head.endswith(("ss", "is", "us"))
    is_cut_short = bool(rest) and " " not in name and not is_plural and not _is_spelled_its_own_way(name)
    if is_cut_short:  # "Exact and Approximate Search"
        return None
    return f"What {'are' if is_plural else 'is'} {_as_written(name, forms)}?"


def _as_written(name: str, forms: Counter[str]) -> str:
    """A name without the capitals that only a title or the begin of a sentence gave it."""
    first, *others = name.split()
    if not any(map(str.isupper, first[1:] + "".join(others))) and (others or "-" in first) and not forms[first]:
        first = first.lower()  # "Low-rank adaptation", which this paper has nowhere else
    return " ".join(word.lower() if _is_common(word, forms) else word for word in (first, *others))


def _is_common(word: str, forms: Counter[str]) -> bool:
    """Whether the paper's running text writes the word without capitals, at least as often as with."""
    small = word.lower()
    return not _is_spelled_its_own_way(word) and forms[small] > 0 and forms[small] >= forms[word]


def _is_spelled_its_own_way(word: str) -> bool:
    """`BM25`, `QLoRA`, `ROUGE-L`, but not `Low-Rank`."""
    return any(not part[1:].islower() for part in word.split("-") if len(part) > 1) or any(map(str.isdigit, word))


def _is_name(name: str, max_words: int) -> bool:
    words = name.split()
    return 0 < len(words) <= max_words and words[0].lower() not in _NO_NAME


def _order(paper_id: str) -> bytes:
    """Some order that favours neither old papers nor new ones."""
    return hashlib.sha256(paper_id.encode()).digest()
