"""Answers made of quoted sentences, each with its source. No model is needed, and nothing is said that no paper says.

`relevance` says how well a sentence answers; here the best ones are chosen, put in order and given their sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.corpus import arxiv
from jobs.retrieval.follow_ups import thread
from jobs.retrieval.licences import MAX_QUOTE_CHARS, cut, may_show_whole
from jobs.retrieval.relevance import Ask, Candidate, asks_of, sentence_counts, worth
from jobs.retrieval.sentences import content_words, sentences

if TYPE_CHECKING:
    from jobs.retrieval.passages import Passage
    from jobs.retrieval.searcher import Found

UNSUPPORTED = "No passage of these papers answers this."
MAX_SENTENCES = 3
MAX_NEAREST = 3  # passages named when none answers
_PERMISSIVE_BUDGET = 900  # characters quoted of one passage at most
_ENOUGH_01 = 0.9  # a further sentence is worth reading only if it scores this share of the best one
_SAME_01 = 0.8  # a sentence of whose words this share stands in another one says nothing new


@dataclass(frozen=True)
class Citation:
    """One verbatim quote (blanks apart) and where it stands. `url` is None for the bundled notes."""

    n: int
    chunk_id: str
    paper_id: str
    version: int
    title: str
    section: str
    page: int
    quote: str
    url: str | None
    score: float


@dataclass(frozen=True)
class Answer:
    """A text with [n] where it relies on passage n; not `supported`: a refusal, and the nearest passages as citations.

    Not `is_cited`: the text names no passage, the citations are those that its writer has read. `is_cut`: its writer
    had more to say than it was allowed.
    """

    text: str
    supported: bool
    citations: tuple[Citation, ...]
    is_cited: bool = True
    is_cut: bool = False


def answer_quoted(question: str, found: Found, *, min_support_01: float = 0.5, before: Sequence[str] = ()) -> Answer:
    """The one to three sentences of the passages that answer best, or a refusal below `min_support_01`.

    `before`: as in `Searcher.search`, the questions of the conversation so far.
    """
    *earlier, _ = turns = thread(question, before)
    passages = [passage for passage in found.passages if passage.kind != "references"]
    if not passages or found.support_01 < min_support_01:
        return refusal(" ".join(turns), passages)
    candidates = _candidates(passages)
    picked = _pick(asks_of(question, " ".join(earlier)), candidates, passages)
    if not picked:
        return refusal(" ".join(turns), passages)
    return _compose(picked, passages)


def _candidates(passages: Sequence[Passage]) -> list[Candidate]:
    candidates = []
    for rank, passage in enumerate(passages):
        context = frozenset(content_words(f"{passage.title} {passage.section}"))
        for place, text in enumerate(sentences(passage.text)):
            candidates.append(Candidate(rank, place, text, frozenset(content_words(text)), context))
    return candidates


def _pick(asks: Sequence[Ask], candidates: list[Candidate], passages: Sequence[Passage]) -> list[Candidate]:
    """The best sentence for each thing asked; where one thing is asked, others of nearly the same worth too."""
    counts = sentence_counts(candidates)
    short = [one for one in candidates if len(one.text) <= MAX_QUOTE_CHARS]
    short = [one for one in short if _is_whole(one.text)] or short
    ranked = [
        sorted(((worth(ask, one, counts, len(candidates)), one) for one in short), key=_best_first) for ask in asks
    ]
    picked: list[Candidate] = []
    for order in ranked:
        best = next((one for score, one in order if score > 0 and not _is_repeated(one, picked)), None)
        if best is not None:
            _take(best, picked, candidates, passages)
    if len(asks) == 1 and picked:
        best_score = ranked[0][0][0]
        for score, one in ranked[0][1:]:
            if score >= _ENOUGH_01 * best_score and not _is_repeated(one, picked):
                _take(one, picked, candidates, passages)
    return picked


def _best_first(scored: tuple[float, Candidate]) -> tuple[float, int, int]:
    return -scored[0], scored[1].rank, scored[1].place


def _is_whole(sentence: str) -> bool:
    """Whether a sentence has an end: headings, items of lists and what a page cut off have none.

    A comma or colon counts, because a displayed formula parts sentences there.
    """
    return sentence.rstrip('"”’)]')[-1:] in (".", "!", "?", ",", ";", ":")


def _is_repeated(one: Candidate, picked: Sequence[Candidate]) -> bool:
    return any(
        one.text == other.text or len(one.words & other.words) >= _SAME_01 * min(len(one.words), len(other.words))
        for other in picked
    )


_OPENS_WITH_PRONOUN = re.compile(r"(?:It|Its|They|Their|These|Those|This|That|Such|He|She|Both|Here)\b")


def _take(
    one: Candidate, picked: list[Candidate], candidates: Sequence[Candidate], passages: Sequence[Passage]
) -> None:
    """Add a sentence, after the one that its pronoun refers to, if number and length allow."""
    wanted = [one]
    if _OPENS_WITH_PRONOUN.match(one.text) and one.place:
        before = next(other for other in candidates if (other.rank, other.place) == (one.rank, one.place - 1))
        if _is_whole(before.text):
            wanted.insert(0, before)
    for group in (wanted, [one]):
        new = [member for member in group if member not in picked]
        quoted = sum(len(other.text) for other in picked if other.rank == one.rank)
        n_chars = quoted + sum(len(member.text) + 1 for member in new) - 1
        if len(picked) + len(new) <= MAX_SENTENCES and n_chars <= _budget(passages[one.rank]):
            picked.extend(new)
            return


def _budget(passage: Passage) -> int:
    return _PERMISSIVE_BUDGET if may_show_whole(passage.license) else MAX_QUOTE_CHARS


def _compose(picked: Sequence[Candidate], passages: Sequence[Passage]) -> Answer:
    """Passages in the order in which they were needed, sentences in the order of the paper; a citation a quote."""
    ranks = list(dict.fromkeys(one.rank for one in picked))
    ordered = sorted(picked, key=lambda one: (ranks.index(one.rank), one.place))
    quotes: list[list[Candidate]] = []
    for one in ordered:
        last = quotes[-1][-1] if quotes else None
        if last is not None and (last.rank, last.place + 1) == (one.rank, one.place):
            quotes[-1].append(one)
        else:
            quotes.append([one])
    text = " ".join(f"{one.text} [{n}]" for n, quote in enumerate(quotes, start=1) for one in quote)
    citations = tuple(
        cite(n, passages[quote[0].rank], " ".join(one.text for one in quote)) for n, quote in enumerate(quotes, start=1)
    )
    return Answer(text, True, citations)


def refusal(question: str, passages: Sequence[Passage]) -> Answer:
    """The answer where no passage answers: it says so, and names the nearest ones."""
    citations = [
        cite(n, passage, cut(nearest_sentence(passage, question)))
        for n, passage in enumerate(passages[:MAX_NEAREST], start=1)
    ]
    return Answer(UNSUPPORTED, False, tuple(citations))


def nearest_sentence(passage: Passage, text: str) -> str:
    """The sentence of a passage that shares most content words with a text."""
    wanted = frozenset(content_words(text))
    return max(sentences(passage.text) or [""], key=lambda one: len(wanted & frozenset(content_words(one))))


def cite(n: int, passage: Passage, quote: str) -> Citation:
    """A quote of a passage and where it stands."""
    return Citation(
        n=n,
        chunk_id=passage.chunk_id,
        paper_id=passage.paper_id,
        version=passage.version,
        title=passage.title,
        section=passage.section,
        page=passage.page,
        quote=quote,
        url=source_url(passage.paper_id, passage.version),
        score=round(float(passage.score), 4),
    )


def source_url(paper_id: str, version: int) -> str | None:
    """The paper's page at arXiv, built from an id that was parsed anew; None for a note of the sample or a bad id."""
    try:
        arxiv_id = arxiv.parse_id(paper_id)
    except ValueError:
        return None
    return arxiv.abs_url(arxiv_id.paper_id, version)
