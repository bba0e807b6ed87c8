"""A paper that a question names, by id, title, part of a title, or authors: `In the FlashAttention paper, what …`

A name filters, so a wrong one hides the answer, and a missed one only leaves a harder search. Whole titles therefore
count wherever they stand; what could also be the name of a subject ("large language models") counts only in quotes or
beside the word paper; authors only where a question begins with them, for later they are whom a method is compared to.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jobs.corpus import arxiv
from jobs.retrieval.words import STOPWORDS

Words = tuple[str, ...]

MIN_TITLE_WORDS = 3  # a shorter title is more often the name of a thing than of a paper
MIN_PART_WORDS = 5  # of a title's begin, without quotes or the word paper; and
MIN_PART_01 = 0.5  # at least this share of the title: its first words alone are often a subject
MIN_QUOTED_PART_WORDS = 3  # a quoted term of two words is seldom a title
MAX_SPAN_WORDS = 24

_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+")
_EDGE = "\"'`.,:;!?()[]{}<>*“”‘’„«»"
_SUBTITLE = re.compile(r":\s|\s[-–—]\s|\?\s")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|`([^`]+)`|\*([^*]+)\*|(?<!\w)['‘](.+?)['’](?!\w)")
_KIND = r"(?:paper|article|preprint|manuscript)"  # not "work" or "note", which are verbs too
_KIND_WORD = re.compile(rf"\b{_KIND}\b", re.IGNORECASE)
_ET_AL = re.compile(r"^\s+et\s+al\b\.?", re.IGNORECASE)
_YEAR = re.compile(r"^\W{1,3}((?:19|20)\d\d)\b\)?")
# What may stand before authors who are asked about, from the begin of a question; "compared to X et al." is another.
_ASKED = re.compile(
    r"(?:(?:according to|in|from|per|as in)\s+|(?:[\w-]+\s+){1,4}(?:do|does|did)\s+)?"
    r"(?:the\s+)?(?:paper\s+(?:of|by)\s+)?",
    re.IGNORECASE,
)
# What introduces a name or follows it, and says nothing once the name is cut.
_BEFORE = re.compile(
    rf"(?:(?:^|(?<=[\s,;(]))(?:according to|in|from|per|of|by)\s+)?(?:(?:^|(?<=[\s,;(]))(?:the|this|that|their)\s+)?"
    rf"(?:(?:original\s+)?{_KIND}\s+)?(?:(?:called|titled|entitled|named|of|by)\s+)?[\"'“‘«`*(]*$",
    re.IGNORECASE,
)
_AFTER = re.compile(rf"^(?:['’]s\b|[\"'”’»`*)]*)(?:\s+{_KIND}\b(?:['’]s\b)?)?\s*[,:;]?", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """The paper that was named, and the question without its name; (None, the question) if none was."""

    paper_id: str | None
    question: str


@dataclass(frozen=True)
class Titled:
    """What a paper can be called by. `year` of its first version."""

    paper_id: str
    title: str
    authors: Sequence[str] = ()
    year: int | None = None


@dataclass(frozen=True)
class _Match:
    """`n_words` of a name, from `start` to `end` of the question."""

    n_words: int
    paper_id: str
    start: int
    end: int


class NamedPapers:
    """Knows ids, titles and authors. What two papers share names neither."""

    def __init__(self, papers: Iterable[Titled]) -> None:
        self._ids: set[str] = set()
        self._titles: dict[str, Words] = {}
        self._whole: dict[Words, str | None] = {}  # titles and what stands before their colon
        self._begins: dict[Words, list[str]] = {}  # two first words of a title -> papers
        self._holds: dict[str, list[str]] = {}  # word of a title -> papers
        self._by_author: dict[str, list[Titled]] = {}
        for paper in papers:
            self._add(paper)

    def _add(self, paper: Titled) -> None:
        words = _words(paper.title)
        self._ids.add(paper.paper_id)
        self._titles[paper.paper_id] = words
        for name in {words, _words(_SUBTITLE.split(paper.title)[0])} - {()}:
            self._whole[name] = paper.paper_id if self._whole.get(name, paper.paper_id) == paper.paper_id else None
        self._begins.setdefault(words[:2], []).append(paper.paper_id)
        for word in set(words):
            self._holds.setdefault(word, []).append(paper.paper_id)
        if paper.authors:
            self._by_author.setdefault(_surname(paper.authors[0]), []).append(paper)

    def find(self, question: str) -> Named:
        """The paper that the question names: an id before a title, a title before authors, the longest of titles."""
        ids = (_Match(1, paper_id, *token.span()) for token, paper_id in self._ids_in(question))
        found = next(ids, None) or self._by_title(question) or self._by_authors(question)
        return Named(found.paper_id, _without(question, found)) if found else Named(None, question)

    def _ids_in(self, question: str) -> Iterator[tuple[re.Match[str], str]]:
        for token in _TOKEN.finditer(question):
            text = re.sub(r"['’]s$", "", token.group().strip(_EDGE))
            text = re.sub(r"^(?:https?://)?(?:www\.)?arxiv\.org/(?:abs|pdf)/|^arxiv:", "", text, flags=re.IGNORECASE)
            try:
                paper_id = arxiv.parse_id(text).paper_id
            except ValueError:
                continue
            if paper_id in self._ids:
                yield token, paper_id

    def _by_title(self, question: str) -> _Match | None:
        tokens = list(_WORD.finditer(question))
        words = tuple(_fold(token.group()) for token in tokens)
        matches = [
            *self._in_text(tokens, words),
            *self._in_quotes(question),
            *self._beside_kind(question, tokens, words),
        ]
        return max(matches, key=lambda match: (match.n_words, match.paper_id), default=None)

    def _in_text(self, tokens: list[re.Match[str]], words: Words) -> Iterator[_Match]:
        """Whole titles, and long begins of titles."""
        for i in range(len(words)):
            there = self._begins.get(words[i : i + 2], ())
            shared = {paper_id: _common(self._titles[paper_id], words[i:]) for paper_id in there}
            whole = {paper_id: n for paper_id, n in shared.items() if n == len(self._titles[paper_id])}
            longest = max((whole or shared).values(), default=0)
            best = [paper_id for paper_id, n in (whole or shared).items() if n == longest]
            if len(best) == 1 and longest >= (MIN_TITLE_WORDS if whole else self._least_part(best[0])):
                yield _Match(longest, best[0], tokens[i].start(), tokens[i + longest - 1].end())

    def _least_part(self, paper_id: str) -> float:
        return max(MIN_PART_WORDS, MIN_PART_01 * len(self._titles[paper_id]))

    def _in_quotes(self, question: str) -> Iterator[_Match]:
        for quoted in _QUOTED.finditer(question):
            group = quoted.lastindex or 0
            words = _words(quoted.group(group))
            paper_id = self._whole.get(words)
            if paper_id is None and len(words) >= MIN_QUOTED_PART_WORDS:
                paper_id = self._only_with(words, begins=True)
            if paper_id is not None:
                yield _Match(len(words), paper_id, *quoted.span(group))

    def _beside_kind(self, question: str, tokens: list[re.Match[str]], words: Words) -> Iterator[_Match]:
        """Names before the word paper ("the FlashAttention paper") and right behind it ("the paper FlashAttention")."""
        for kind in _KIND_WORD.finditer(question):
            place = next(i for i, token in enumerate(tokens) if token.start() >= kind.start())
            behind = place + 1
            while behind < len(words) and words[behind] in ("called", "titled", "entitled", "named", "on"):
                behind += 1
            spans = [(start, place) for start in range(max(0, place - MAX_SPAN_WORDS), place)]
            spans += [(behind, end) for end in range(min(len(words), behind + MAX_SPAN_WORDS), behind, -1)]
            for start, end in spans:
                if (paper_id := self._called(words[start:end])) is not None:
                    yield _Match(end - start, paper_id, tokens[start].start(), tokens[end - 1].end())

    def _called(self, words: Words) -> str | None:
        """The paper whose title, or what stands before its colon, is this; or the only one whose title has it."""
        if (paper_id := self._whole.get(words)) is not None:
            return paper_id
        is_name = len(words) > 1 and words[0] not in _LINKS and words[-1] not in _LINKS
        return self._only_with(words) if is_name else None

    def _only_with(self, words: Words, *, begins: bool = False) -> str | None:
        """The only paper whose title has these words side by side (`begins`: at its begin)."""
        lists = sorted((self._holds.get(word, []) for word in words), key=len)
        n = len(words)
        found = [
            paper_id
            for paper_id in lists[0]
            for title in [self._titles[paper_id]]
            if any(title[i : i + n] == words for i in range(1 if begins else len(title) - n + 1))
        ]
        return found[0] if len(found) == 1 else None

    def _by_authors(self, question: str) -> _Match | None:
        """`Kingma & Ba` of a paper by two, or `Hinton et al. (2015)`, where the question begins with them."""
        asked = _ASKED.match(question)
        start = asked.end() if asked else 0
        first = re.compile(r"[^\W\d_][\w-]*").match(question, start)
        if first is None or not first.group()[0].isupper():
            return None
        papers = self._by_author.get(_fold(first.group()), [])
        end = first.end()
        if et_al := _ET_AL.match(question[end:]):
            papers = [paper for paper in papers if len(paper.authors) > 1]
            end += et_al.end()
        elif second := re.match(r"\s+(?:&|and)\s+([^\W\d_][\w-]*)", question[end:]):
            name = re.sub(r"['’]s$", "", second.group(1))
            papers = [paper for paper in papers if [_surname(one) for one in paper.authors[1:]] == [_fold(name)]]
            end += second.end()
        else:
            return None
        if year := _YEAR.match(question[end:]):
            papers = [paper for paper in papers if paper.year is None or abs(paper.year - int(year.group(1))) <= 1]
            end += year.end()
        return _Match(2, papers[0].paper_id, start, end) if len(papers) == 1 else None


# At the edge of a run of title words they make it no name: "the new paper", "models of the paper".
_LINKS = STOPWORDS | {"main", "new", "original"}


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _words(text: str) -> Words:
    return tuple(_fold(word) for word in _WORD.findall(text))


def _surname(author: str) -> str:
    """The last word of `First Last`, before a suffix."""
    words = [
        word for word in _fold(author).replace(",", " ").split() if word.strip(".") not in ("jr", "sr", "ii", "iii")
    ]
    return words[-1] if words else ""


def _common(title: Words, words: Words) -> int:
    """How many words of the begin they share."""
    n = 0
    while n < min(len(title), len(words)) and title[n] == words[n]:
        n += 1
    return n


def _without(question: str, match: _Match) -> str:
    before, after = _BEFORE.sub("", question[: match.start]), _AFTER.sub("", question[match.end :])
    return " ".join(f"{before} {after}".split())
