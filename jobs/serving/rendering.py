"""What a browser gets to see of papers: plain text, escaped, with links that our code builds.

Titles and passages come from strangers. Every punctuation mark is escaped, so that nothing of theirs is Markdown,
HTML, a formula or an address that the page would turn into a link or a request.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from jobs.retrieval.quoting import Answer, Citation
from jobs.serving.release import Release

MAX_TITLE_CHARS = 200
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_URL = re.compile(r"https://arxiv\.org/abs/[A-Za-z0-9./-]+")


def plain(text: str) -> str:
    """Text without control characters and those that turn the direction of reading; blanks collapsed."""
    kept = (" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return " ".join("".join(kept).split())


def escaped(text: str) -> str:
    """Text as Markdown that shows exactly that text."""
    return _PUNCTUATION.sub(lambda mark: _HTML.get(mark[1], "\\" + mark[1]), plain(text))


def link(url: str | None) -> str:
    """A Markdown link to a paper at arXiv; empty for anything else."""
    return f"[{escaped(url.removeprefix('https://'))}]({url})" if url and _URL.fullmatch(url) else ""


def sources_title(answer: Answer) -> str:
    """Heading of the sources: how many, and of what."""
    n = len(answer.citations)
    if not answer.supported:
        return "Nearest passages"
    if not answer.is_cited:
        return "Passages it was shown; the answer names none"
    return "1 source" if n == 1 else f"{n} sources"


def sources(citations: Sequence[Citation]) -> str:
    """The sources as Markdown: number, title, section, page, link, and the quote."""
    return "\n\n".join(_source(citation) for citation in citations)


def _source(citation: Citation) -> str:
    title = escaped(citation.title[:MAX_TITLE_CHARS]) or escaped(citation.paper_id)
    place = [escaped(citation.section), f"page {citation.page}", link(citation.url) or escaped(citation.paper_id)]
    where = " · ".join(part for part in place if part)
    return f"**\\[{citation.n}\\] {title}**  \n{where}\n\n> {escaped(citation.quote)}"


def footer(release: Release) -> str:
    """What answers: release, papers, passages, date of the newest paper."""
    facts = release.facts
    newest = f" · newest of {escaped(facts['newest_paper'])}" if facts["newest_paper"] else ""
    return (
        f"{_counted(facts['papers'], 'paper')} · {_counted(facts['passages'], 'passage')}{newest} · "
        f"release `{release.release_id}`"
    )


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
