"""Cut the text of a document into chunks that fit an embedder and keep their place.

A chunk is `text[start:end]` of its document: about `chunk_chars` characters, never over the embedder's token limit,
inside one section and of one kind. Cuts are made by semantic-text-splitter (paragraph, else sentence, else word).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from semantic_text_splitter import TextSplitter

from jobs.core.errors import UsageError
from jobs.corpus.runs import Run, Span, fields, find_runs, skip_blanks, strip
from jobs.corpus.token_counter import TokenCounter

if TYPE_CHECKING:
    import tokenizers

# What the next cut may depend on behind its window: "Fig. 3 and" is no end of a sentence because of "and".
LOOKAHEAD_CHARS = 64
# Runs are tokenized together up to this many characters, which bounds the memory of their offsets.
BATCH_CHARS = 200_000
# A longer run is cut by windows at once: over text without sentences the splitter's time grows with the square of its
# length (100,000 Chinese characters without a full stop: 1 s; 10,000: 11 ms).
WHOLE_RUN_CHARS = 10_000
# One character can be 18 tokens (U+FDFA after compatibility decomposition): with fewer, nothing surely fits.
MIN_TOKENS = 32

# Words whose period ends no sentence, and initials of names. UAX 29 knows neither.
ABBREVIATION = re.compile(
    r"(?<!\w)(?:(?i:al|approx|cf|chap|cor|def|e\.g|eqn?s?|esp|figs?|i\.e|lem|pp|prop|refs?|resp|secs?|tab|thm|viz|vol|vs"
    r"|w\.l\.o\.g|w\.r\.t)|[A-Z])\.(?=\s|$)"
)
LONGEST_ABBREVIATION = len("w.l.o.g.") + 1
# A heading for the splitter: no end of a sentence or paragraph, so that it sticks to what follows. A comma ends no
# sentence; U+2024, which looks more like a period, does.
UNENDING = dict.fromkeys(map(ord, ".!?\u2024\u203c\u2047\u2048\u2049\u3002\uff01\uff0e\uff1f"), ",") | dict.fromkeys(
    map(ord, "\n\r\v\f\x85\u2028\u2029"), " "
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `ordinal` counts from 0; `start` and `end` are characters of the document's text; pages count from 1;
    `section_path` has the titles around it, outermost first; `n_tokens` includes the special tokens.
    """

    ordinal: int
    text: str
    start: int
    end: int
    section_path: tuple[str, ...]
    kind: str
    page_first: int
    page_last: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class _Limits:
    chunk_chars: int
    max_tokens: int
    min_chunk_chars: int
    min_useful_chars: int


def chunk_document(
    text: str,
    sections: Sequence[Any],
    blocks: Sequence[Any],
    pages: Sequence[int],
    *,
    chunk_chars: int,
    max_tokens: int,
    min_chunk_chars: int,
    counter: TokenCounter,
    min_useful_chars: int = 25,
) -> list[Chunk]:
    """Chunks of a document in order. `sections`, `blocks`, `pages` as in `contracts.py`, rows as dicts or objects.

    A chunk has at most `chunk_chars` characters, or up to `min_chunk_chars` more where a piece shorter than that was
    joined to its neighbour. It stays inside one section, but may begin with headings of the sections around it that
    have no text of their own. What is not blank is in exactly one chunk or dropped (see `dropped_pieces`): a heading
    with no text below it, or a piece under `min_useful_chars` with no neighbour.

    Raises UsageError for limits that are too small.
    """
    limits = _Limits(chunk_chars, max_tokens, min_chunk_chars, min_useful_chars)
    _check_limits(limits)
    titles = [title for title, _ in fields(sections, "title", "start")]
    chunks: list[Chunk] = []
    for cutter in _cutters(text, find_runs(text, sections, blocks), counter, limits):
        path = tuple(titles[number] for number in cutter.run.sections)
        for start, end in cutter.cut():
            first, last = page_of(pages, start), page_of(pages, end - 1)
            n_tokens = cutter.n_tokens(start, end)
            chunk = Chunk(len(chunks), text[start:end], start, end, path, cutter.run.kind, first, last, n_tokens)
            chunks.append(chunk)
    return chunks


def plain_chunks(text: str, pages: Sequence[int], chunk_chars: int, counter: TokenCounter) -> list[Chunk]:
    """Chunks of exactly `chunk_chars` characters, less blanks at their ends: the baseline to compare with.

    They know no sections and no kinds, and their tokens are counted but not limited.
    """
    cuts = range(0, len(text), chunk_chars)
    spans = [strip(text, start, min(start + chunk_chars, len(text))) for start in cuts]
    spans = [(start, end) for start, end in spans if start < end]
    counts = counter.count_batch([text[start:end] for start, end in spans])
    return [
        Chunk(
            ordinal, text[start:end], start, end, (), "text", page_of(pages, start), page_of(pages, end - 1), n_tokens
        )
        for ordinal, ((start, end), n_tokens) in enumerate(zip(spans, counts, strict=True))
    ]


def dropped_pieces(text: str, chunks: Sequence[Chunk]) -> list[Span]:
    """Spans of what is not blank and in no chunk."""
    starts = [0, *(chunk.end for chunk in chunks)]
    ends = [*(chunk.start for chunk in chunks), len(text)]
    spans = (strip(text, start, end) for start, end in zip(starts, ends, strict=True))
    return [(start, end) for start, end in spans if start < end]


def page_of(pages: Sequence[int], position: int) -> int:
    """Page, from 1, that holds the character at `position`; `pages` are the characters where pages begin."""
    return max(1, bisect_right(pages, position))


def _check_limits(limits: _Limits) -> None:
    if limits.max_tokens < MIN_TOKENS:
        raise UsageError(f"max_tokens is {limits.max_tokens}: expected at least {MIN_TOKENS}. Raise it.")
    if not 0 <= limits.min_chunk_chars < limits.chunk_chars:
        raise UsageError(
            f"min_chunk_chars is {limits.min_chunk_chars}: expected 0 to less than chunk_chars, which is "
            f"{limits.chunk_chars}. Change one of them."
        )


def _cutters(text: str, runs: Sequence[Run], counter: TokenCounter, limits: _Limits) -> Iterator[_Cutter]:
    """A cutter for every run, tokenized in batches."""
    for batch in _batches(runs):
        encodings = counter.encode_batch([text[run.start : run.end] for run in batch])
        for run, encoding in zip(batch, encodings, strict=True):
            yield _Cutter(text, run, encoding, counter, limits)


def _batches(runs: Sequence[Run]) -> Iterator[list[Run]]:
    batch: list[Run] = []
    for run in runs:
        if batch and run.end - batch[0].start > BATCH_CHARS:
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch


class _Cutter:
    """Cuts one run. It is tokenized once; the tokens of a piece are counted by their offsets where that is exact."""

    def __init__(
        self, text: str, run: Run, encoding: tokenizers.Encoding, counter: TokenCounter, limits: _Limits
    ) -> None:
        self.run = run
        self._text = text
        self._n_run_tokens = len(encoding)
        self._token_span = cast("Callable[[int], Span]", encoding.token_to_chars)  # None only for special tokens
        self._counter = counter
        self._limits = limits
        self._counts = {(run.start, run.end): len(encoding) + counter.n_special}

    def cut(self) -> list[Span]:
        """Spans of the chunks; none if the run is a heading alone or too short to be of use."""
        floor = self._limits.min_useful_chars if self.run.has_body else self._limits.min_chunk_chars
        if self.run.end - self.run.start < floor:
            return []
        return self._balance_tail(self._join_small(self._fill()))

    def n_tokens(self, start: int, end: int) -> int:
        """Tokens of the span as a text of its own, special tokens included."""
        if (start, end) not in self._counts:
            if self._counter.is_additive and self._is_edge(start, start - 1) and self._is_edge(end, end):
                n_tokens = self._token_at(end) - self._token_at(start) + self._counter.n_special
            else:
                n_tokens = self._counter.count(self._text[start:end])
            self._counts[start, end] = n_tokens
        return self._counts[start, end]

    def _is_edge(self, position: int, neighbour: int) -> bool:
        # Only these two blanks are surely blanks for a tokenizer too: BERT deletes most control characters.
        return position in (self.run.start, self.run.end) or self._text[neighbour] in " \n"

    def _token_at(self, position: int) -> int:
        """Number of the first token that ends behind `position`."""
        return bisect_right(range(self._n_run_tokens), position - self.run.start, key=self._token_end)

    def _token_end(self, number: int) -> int:
        return self._token_span(number)[1]

    def _fill(self) -> Iterator[Span]:
        """Spans, each as long as both limits and the splitter allow.

        The splitter takes the whole run at once, which is twice as fast as a window a chunk; behind the first chunk
        that will not do, on it goes by windows.
        """
        start = self.run.start
        for end in self._proposed_ends():
            yield start, end
            start = skip_blanks(self._text, end)
        while start < self.run.end:
            end = self._longest_end(start)
            yield start, end
            start = skip_blanks(self._text, end)

    def _proposed_ends(self) -> Iterator[int]:
        """Ends of the splitter's chunks of the whole run, up to the first that will not do."""
        start = self.run.start
        if self.run.end - start > WHOLE_RUN_CHARS:
            return
        for offset, piece in TextSplitter(self._limits.chunk_chars).chunk_indices(self._window(start, self.run.end)):
            end = self.run.start + offset + len(piece.rstrip())
            if not self._will_do(start, end) or _ends_with_abbreviation(piece):
                return
            yield end
            start = skip_blanks(self._text, end)

    def _will_do(self, start: int, end: int) -> bool:
        is_bare_heading = end <= self.run.body_start < self.run.end
        return start < end and not is_bare_heading and self.n_tokens(start, end) <= self._limits.max_tokens

    def _longest_end(self, start: int) -> int:
        room = self._limits.max_tokens - self._counter.n_special
        while True:
            end = self._end_within(start, self._reach(start, room))
            excess = self.n_tokens(start, end) - self._limits.max_tokens
            if excess <= 0 or end - start == 1:
                return end
            room -= excess  # a cut inside a word, or a tokenizer that is not additive: more tokens than foreseen

    def _reach(self, start: int, room: int) -> int:
        """How far a chunk of at most `room` tokens and `chunk_chars` characters may go."""
        reach = min(start + self._limits.chunk_chars, self.run.end)
        beyond = self._token_at(start) + max(room, 0)
        if beyond < self._n_run_tokens:
            reach = min(reach, self.run.start + self._token_span(beyond)[0])
        return max(start + 1, reach)

    def _end_within(self, start: int, reach: int) -> int:
        """Where the splitter ends a chunk that begins at `start` and goes no further than `reach`."""
        if reach >= self.run.end:
            return self.run.end
        end = self._split(start, min(reach + LOOKAHEAD_CHARS, self.run.end), reach - start)
        if end <= self.run.body_start < reach:
            return strip(self._text, start, reach)[1]  # rather cut a long word than leave a heading alone
        return end

    def _split(self, start: int, stop: int, capacity: int | Span) -> int:
        """End of the splitter's first chunk of `text[start:stop]`."""
        window = self._window(start, stop)
        splitter = TextSplitter(capacity)
        piece = splitter.chunk_indices(window)[0][1]
        if _ends_with_abbreviation(piece):  # protecting them changes nothing elsewhere, so it is done only here
            piece = splitter.chunk_indices(ABBREVIATION.sub(_unending, window))[0][1]
        return start + len(piece.rstrip())

    def _window(self, start: int, stop: int) -> str:
        """`text[start:stop]` for the splitter: headings stick to what follows."""
        n_heading = max(0, self.run.body_start - start)
        return self._text[start : start + n_heading].translate(UNENDING) + self._text[start + n_heading : stop]

    def _join_small(self, spans: Iterable[Span]) -> list[Span]:
        """Pieces shorter than `min_chunk_chars` joined to the one before or, where that is full, behind."""
        joined: list[Span] = []
        for span in spans:
            is_joined = joined and (self._is_small(joined[-1]) or self._is_small(span))
            if is_joined and self._fits(joined[-1][0], span[1]):
                joined[-1] = (joined[-1][0], span[1])
            else:
                joined.append(span)
        return joined

    def _balance_tail(self, spans: list[Span]) -> list[Span]:
        """The last two pieces cut anew near their middle if the last is small: it had no room in the one before."""
        if len(spans) < 2 or not self._is_small(spans[-1]):
            return spans
        (start, _), (_, end) = spans[-2:]
        middle = self._split(start, end, ((end - start) // 2, end - start - 1))
        halves = [(start, middle), (skip_blanks(self._text, middle), end)]
        is_better = middle > self.run.body_start and not self._is_small(halves[1])
        return [*spans[:-2], *halves] if is_better and all(self._fits(*half) for half in halves) else spans

    def _is_small(self, span: Span) -> bool:
        return span[1] - span[0] < self._limits.min_chunk_chars

    def _fits(self, start: int, end: int) -> bool:
        longest = self._limits.chunk_chars + self._limits.min_chunk_chars
        return end - start <= longest and self.n_tokens(start, end) <= self._limits.max_tokens


def _ends_with_abbreviation(piece: str) -> bool:
    return piece.endswith(".") and ABBREVIATION.search(piece, max(0, len(piece) - LONGEST_ABBREVIATION)) is not None


def _unending(match: re.Match[str]) -> str:
    return match.group().replace(".", ",")
