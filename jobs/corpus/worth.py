"""Which chunks of a document are worth little, and why: the reasons are `LOW_VALUE_REASONS`.

A mark drops nothing here. Only running text is judged: what captions, tables, footnotes and references are worth, their
kind says. The rules rather miss a chunk than hit one that somebody may ask about. They look at words and no further,
for the stage may take little longer than its tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.corpus.chunker import Chunk

JUDGED_KIND = "text"

# Said before: above 0.85, in 60 papers, only what a supplement says again; at 0.83 a theorem that is stated again, but
# also a loop of a program that looks like another, and at 0.71 the words around another table.
NEAR_SHARE_01 = 0.85
SHINGLE_WORDS = 5
ANCHOR_CHARS = 7
MIN_SHINGLES = 12  # of fewer, a single number may be what the chunk is about
HINT_CHARS = 10
MIN_HINTS = 3
HINTED_SHARE_01 = 0.7

# Of the proofs and tables looked at, those below are formulas with a word between; above, sentences say what is done.
WORDY_SHARE_01 = 0.2
WORD_CHARS = 4  # `sup`, `log` and `max` are no words
MIN_WORDS = 8
SURELY_WORDS_SHARE_01 = 0.6  # of what blanks part; then nothing is counted
UNPARTED_CHARS = 20  # a text with longer words than this, on average, is in a script that does not part them

MIN_NAMES = 20
NAMES_SHARE_01 = 0.8
WORDS_A_COMMA = 5  # names have a comma after every second or third word, prose after every twelfth

_NUMBER = re.compile(r"^(?:appendix )?(?:\d+(?:\.\d+)*|[A-Z](?:\.\d+)*|[IVX]+)[.:]? ", re.IGNORECASE)
_CLOSING_SECTION = re.compile(
    r"acknowledge?ments?(?: and (?:disclosure of )?funding)?|(?:sources of )?funding|credit author.*"
    r"|authors?['’]?s? contributions?(?: statement)?"
    r"|(?:declarations? of )?(?:conflicts? of|competing)(?: financial)? interests?"
    r"|(?:table of )?contents|list of (?:figures|tables)|licen[cs]e|copyright|references|bibliography",
    re.IGNORECASE,
)
_CHECKLIST_SECTION = re.compile(
    r"(?:(?:neurips|icml|iclr|aaai|aistats|acl|paper|reproducibility|submission|responsible|nlp|research|\d{4}) )*"
    r"checklist",
    re.IGNORECASE,
)
_CHECKLIST_ANSWER = re.compile(r"\[(?:yes|no|n/?a)\]", re.IGNORECASE)
MIN_ANSWERS = 2
# A heading that runs into its paragraph; the permission that ACM's first pages carry.
_BOILERPLATE_TEXT = re.compile(r"(?i:acknowledge?ments?)[.:—]|Permission to make digital or hard copies ")
_LEADERS = re.compile(r"(?:\. ?){4,}\d+\b")
MIN_LEADERS = 3

# Appendices that print what was said to a model or by one, such as "A pumpkin is a strong magnet".
_EXAMPLES = r"(?:prompts|samples|generations|completions|transcripts|rationali[sz]ations)"
_EXAMPLES_SECTION = re.compile(
    rf"^(?:appendix )?[A-Z](?:\.\d+)*\.? .*\b{_EXAMPLES}(?: (?:by|for|from|of|on|with) .*)?$"
    r"|^(?:[\dA-Z.]+ )?(?:model|generated|example) (?:samples|outputs|generations|completions|responses)\b",
    re.IGNORECASE,
)
_ASKED = ("Q: ", "Question: ", "Prompt: ", "Answer Choices: ")
_ANSWERED = re.compile(r"(?:^|\s)(?:A|Answer|Completion): ")
_COMPLETION = "completion:"


def low_values(chunks: Iterable[Chunk]) -> Iterator[str | None]:
    """Why each of a document's chunks, in their order, is worth little; None where nothing speaks against it."""
    said = _Said()
    for chunk in chunks:
        if chunk.kind != JUDGED_KIND:
            yield None
            continue
        words = chunk.text.split()
        yield "near_duplicate" if said.before(words) else reason(chunk.text, chunk.section_path)


class _Said:
    """What the chunks before say: all of it, and of every one some hints, so that few chunks are compared in full."""

    def __init__(self) -> None:
        self._hints: set[tuple[str, ...]] = set()
        self._shingles: set[tuple[str, ...]] = set()
        self._unread: list[Sequence[str]] = []

    def before(self, words: Sequence[str]) -> bool:
        """Whether the chunks before say nearly all of a chunk, which is remembered."""
        hints = _hints(words)
        is_suspect = len(hints) >= MIN_HINTS and len(hints & self._hints) >= HINTED_SHARE_01 * len(hints)
        is_repeated = is_suspect and self._has_shingles_of(words)
        self._hints |= hints
        self._unread.append(words)
        return is_repeated

    def _has_shingles_of(self, words: Sequence[str]) -> bool:
        for earlier in self._unread:
            self._shingles |= _shingles(earlier)
        self._unread.clear()
        shingles = _shingles(words)
        return len(shingles) >= MIN_SHINGLES and len(shingles & self._shingles) >= NEAR_SHARE_01 * len(shingles)


def _hints(words: Sequence[str]) -> set[tuple[str, ...]]:
    triples = zip(words, words[1:], words[2:], strict=False)
    return {triple for triple in triples if len(triple[0]) >= HINT_CHARS}


def _shingles(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Some of the runs of five words, in any text the same ones: those that begin with a long word or with a sign or
    number, for where a text is repeated about something else, these differ.
    """
    starts = range(len(words) - SHINGLE_WORDS + 1)
    anchors = (start for start in starts if len(words[start]) >= ANCHOR_CHARS or not words[start].isalpha())
    return {tuple(words[start : start + SHINGLE_WORDS]) for start in anchors}


def reason(text: str, section_path: tuple[str, ...]) -> str | None:
    """Why a chunk of running text is worth little, by itself; None where nothing speaks against it."""
    words = text.split()
    if _is_boilerplate_section(section_path) or _is_boilerplate(text):
        return "boilerplate"
    if _is_examples_section(section_path) or _is_examples(text):
        return "examples"
    if len(text) > UNPARTED_CHARS * len(words):
        return None
    if sum(map(str.isalpha, words)) < SURELY_WORDS_SHARE_01 * len(words) or len(words) < 4 * MIN_WORDS:
        plain = [len(word) for word in words if len(word) >= WORD_CHARS and word.strip(".,;:()").isalpha()]
        if sum(plain) < WORDY_SHARE_01 * sum(map(len, words)):
            return "mostly_symbols"
        if len(plain) < MIN_WORDS:
            return "too_few_words"
    return "names" if _is_list_of_names(text, words) else None


@lru_cache(maxsize=1024)
def _is_boilerplate_section(path: tuple[str, ...]) -> bool:
    """Thanks have no sections below them: what stands there is an appendix under a wrong head. Checklists have."""
    titles = [_NUMBER.sub("", title.strip()).rstrip(".: ") for title in path]
    return any(map(_CHECKLIST_SECTION.fullmatch, titles)) or any(map(_CLOSING_SECTION.fullmatch, titles[-1:]))


def _is_boilerplate(text: str) -> bool:
    if _BOILERPLATE_TEXT.match(text):
        return True
    if "[" in text and len(_CHECKLIST_ANSWER.findall(text)) >= MIN_ANSWERS:
        return True
    return (". . . ." in text or "...." in text) and len(_LEADERS.findall(text)) >= MIN_LEADERS


@lru_cache(maxsize=1024)
def _is_examples_section(path: tuple[str, ...]) -> bool:
    return any(_EXAMPLES_SECTION.match(title.strip()) for title in path[-1:])


def _is_examples(text: str) -> bool:
    return text.count(_COMPLETION) > 1 or (any(mark in text for mark in _ASKED) and bool(_ANSWERED.search(text)))


def _is_list_of_names(text: str, words: Sequence[str]) -> bool:
    if len(words) < MIN_NAMES or WORDS_A_COMMA * (text.count(",") + text.count(";")) < len(words):
        return False
    return sum(word[0].isupper() for word in words) >= NAMES_SHARE_01 * len(words)
