import gzip
import json
import re
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.contracts import BLOCK_KINDS, CHUNK_KINDS
from jobs.core.errors import UsageError
from jobs.corpus import chunker
from jobs.corpus.chunker import chunk_document, dropped_pieces, page_of, plain_chunks
from jobs.corpus.runs import TEXT_KINDS
from jobs.corpus.token_counter import TokenCounter, load_token_counter

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

MINILM = load_token_counter("all-MiniLM-L6-v2")
LIMITS = {"chunk_chars": 1000, "max_tokens": 256, "min_chunk_chars": 200}
SENTENCE = "The rank of the update is much smaller than that of the weights. "


class Paper:
    """A document put together from parts, with the spans that extraction would give."""

    def __init__(self):
        self.text, self.sections, self.blocks, self._open = "", [], [], []

    def section(self, title, level=1):
        self._close(level)
        self.sections.append({"title": title, "level": level, "start": self._next_start(), "end": -1})
        self._open.append(self.sections[-1])
        return self.block("heading", title)

    def block(self, kind, text):
        start = self._next_start()
        self.text = self.text + "\n\n" + text if self.text else text
        self.blocks.append({"kind": kind, "start": start, "end": len(self.text)})
        return self

    def chunks(self, pages=(0,), counter=MINILM, **limits):
        self._close(0)
        return chunk_document(self.text, self.sections, self.blocks, pages, counter=counter, **{**LIMITS, **limits})

    def _next_start(self):
        return len(self.text) + 2 if self.text else 0

    def _close(self, level):
        while self._open and self._open[-1]["level"] >= level:
            self._open.pop()["end"] = len(self.text)


def texts(chunks):
    return [chunk.text for chunk in chunks]


def test_short_section_is_one_chunk_with_its_heading():
    (chunk,) = Paper().section("2 Method").block("paragraph", SENTENCE * 3 + "End.").chunks()
    assert chunk.text == "2 Method\n\n" + SENTENCE * 3 + "End."
    assert (chunk.ordinal, chunk.start, chunk.kind, chunk.section_path) == (0, 0, "text", ("2 Method",))


def test_heading_stays_with_the_first_sentence_of_a_long_paragraph():
    chunks = Paper().section("1. Why? Because!").block("paragraph", SENTENCE * 30).chunks()
    assert chunks[0].text.startswith("1. Why? Because!\n\nThe rank of the update")


def test_heading_stays_with_a_word_that_fits_no_chunk():
    chunks = Paper().section("Data").block("paragraph", "A" * 2000).chunks(min_chunk_chars=0)
    assert chunks[0].text.startswith("Data\n\nAAAA")
    assert "".join(texts(chunks)).count("A") == 2000


def test_heading_is_not_cut_to_balance_a_tail():
    heading = "A rather long heading that says what the section under it is about"
    chunks = Paper().section(heading).block("formula", "+ - " * 14).chunks(max_tokens=40, min_chunk_chars=20)
    assert [len(chunk.text) > len(heading) for chunk in chunks] == [True, False]


def test_heading_without_text_goes_with_its_first_subsection():
    paper = Paper().section("3 Experiments").section("3.1 Setup", level=2).block("paragraph", SENTENCE * 3)
    (chunk,) = paper.chunks()
    assert chunk.text.startswith("3 Experiments\n\n3.1 Setup\n\nThe rank")
    assert chunk.section_path == ("3 Experiments", "3.1 Setup")


def test_heading_without_text_is_dropped_and_counted():
    paper = Paper().section("Proofs").section("Tables").block("table", "rank 1 2 4 8 16 32 64")
    (table,) = paper.chunks(min_useful_chars=10)
    assert (table.kind, table.section_path) == ("table", ("Tables",))
    assert [paper.text[start:end] for start, end in dropped_pieces(paper.text, [table])] == ["Proofs\n\nTables"]


def test_sections_of_one_title_are_not_mixed():
    paper = Paper()
    for _ in range(2):
        paper.section("Proof").block("paragraph", SENTENCE * 2)
    assert [chunk.text.count("Proof") for chunk in paper.chunks()] == [1, 1]


def test_kinds_are_not_mixed():
    paper = Paper()
    for kind in BLOCK_KINDS:
        paper.block(kind, f"This block is of the kind {kind}.")
    chunks = paper.block("paragraph", "The last block is a paragraph.").chunks()
    assert [chunk.kind for chunk in chunks] == [
        "text", "text", "caption", "table", "footnote", "references", "front_matter", "text"
    ]  # fmt: skip
    assert {chunk.kind for chunk in chunks} == set(CHUNK_KINDS)


def test_block_over_a_section_border_is_cut_there():
    text = SENTENCE * 2
    sections = [{"title": "A", "start": 0, "end": len(SENTENCE)}, {"title": "B", "start": len(SENTENCE), "end": 999}]
    chunks = chunk_document(
        text, sections, [{"kind": "paragraph", "start": 0, "end": len(text)}], [0], counter=MINILM, **LIMITS
    )
    assert [(chunk.section_path, chunk.text) for chunk in chunks] == [
        (("A",), SENTENCE.strip()),
        (("B",), SENTENCE.strip()),
    ]


def test_cuts_are_between_sentences():
    chunks = Paper().block("paragraph", SENTENCE * 60).chunks()
    assert len(chunks) > 3
    assert all(chunk.text.endswith("weights.") for chunk in chunks)


@pytest.mark.parametrize("abbreviation", ["et al.", "Fig.", "Eqs.", "i.e.", "w.r.t.", "D."])
def test_no_cut_is_at_an_abbreviation(abbreviation):
    sentence = f"We follow the proof that is given by {abbreviation} Smith for matrices of low rank. "
    chunks = Paper().block("paragraph", sentence * 20).chunks(chunk_chars=120, min_chunk_chars=20)
    assert len(chunks) == 20
    assert set(texts(chunks)) == {sentence.strip()}


def test_short_tail_joins_the_chunk_before():
    paper = Paper().block("paragraph", SENTENCE * 15).block("paragraph", "A short last paragraph of the section.")
    (chunk,) = paper.chunks()
    assert 1000 < len(chunk.text) <= 1200


def test_short_tail_without_room_for_its_tokens_is_balanced():
    paper = Paper().block("paragraph", "a b c d e f g h. " * 29)  # 29 * 9 + 2 = 263 tokens
    first, last = paper.chunks()
    assert len(last.text) > 200
    assert first.n_tokens <= 256


def test_short_first_paragraph_joins_the_one_behind():
    paper = Paper().block("paragraph", SENTENCE * 2).block("paragraph", SENTENCE * 15)
    (chunk,) = paper.chunks()
    assert chunk.text.count("rank") == 17


def test_long_run_is_cut_by_windows_as_a_short_one_is_whole(monkeypatch):
    paper = Paper().section("2 Method").block("paragraph", SENTENCE * 60).block("paragraph", SENTENCE * 20)
    whole = paper.chunks()
    monkeypatch.setattr(chunker, "WHOLE_RUN_CHARS", 0)
    assert len(whole) > 4
    assert paper.chunks() == whole


def test_dense_text_is_cut_by_tokens():
    chunks = Paper().block("formula", "x = y + z; " * 300).chunks()
    assert max(chunk.n_tokens for chunk in chunks) <= 256
    assert max(len(chunk.text) for chunk in chunks) < 500


def test_special_tokens_in_the_text_are_counted():
    chunks = Paper().block("paragraph", "We hide a word by [MASK] and guess it. " * 40).chunks()
    assert [chunk.n_tokens for chunk in chunks] == MINILM.count_batch(texts(chunks))


def test_control_characters_are_no_blanks_to_count_at():
    chunks = Paper().block("paragraph", "\x1c".join(["word"] * 500)).chunks()
    assert len(chunks) > 1
    assert [chunk.n_tokens for chunk in chunks] == MINILM.count_batch(texts(chunks))


def test_offsets_are_characters_beyond_the_basic_plane():
    paper = Paper().block("paragraph", "\U0001d44b ≤ Größe 😀. " * 40)
    for chunk in paper.chunks(chunk_chars=100, min_chunk_chars=20):
        assert chunk.text == paper.text[chunk.start : chunk.end]
        assert chunk.text.endswith("😀.")


def test_pages_are_those_of_the_first_and_last_character():
    paper = Paper().block("paragraph", SENTENCE * 3)
    (chunk,) = paper.chunks(pages=[0, 50, 50, 100, 500])
    assert (chunk.page_first, chunk.page_last) == (1, 4)


def test_page_of_an_empty_page_is_the_next_that_has_text():
    assert [page_of([0, 10, 10, 20], position) for position in (0, 9, 10, 19, 20)] == [1, 1, 3, 3, 4]


def test_text_outside_of_blocks_is_kept_as_text():
    text = "Lost words are kept here. " + SENTENCE
    (chunk,) = chunk_document(text, [], [], [0], counter=MINILM, **LIMITS)
    assert (chunk.text, chunk.kind) == (text.strip(), "text")


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_blank_document_has_no_chunks(text):
    assert chunk_document(text, [], [], [0], counter=MINILM, **LIMITS) == []


def test_lonely_short_piece_is_dropped_and_counted():
    paper = Paper().block("caption", "Figure 1: Loss.").block("paragraph", SENTENCE)
    chunks = paper.chunks()
    assert texts(chunks) == [SENTENCE.strip()]
    assert dropped_pieces(paper.text, chunks) == [(0, len("Figure 1: Loss."))]


def test_rows_may_be_objects():
    paper = Paper().section("1 Introduction").block("paragraph", SENTENCE * 40)
    expected = paper.chunks()
    rows = [[SimpleNamespace(**row) for row in part] for part in (paper.sections, paper.blocks)]
    assert chunk_document(paper.text, *rows, [0], counter=MINILM, **LIMITS) == expected


@pytest.mark.parametrize("limits", [{"max_tokens": 31}, {"min_chunk_chars": 1000}, {"min_chunk_chars": -1}])
def test_limits_that_cannot_hold_are_refused(limits):
    with pytest.raises(UsageError, match="expected"):
        Paper().block("paragraph", SENTENCE).chunks(**limits)


def test_plain_chunks_have_a_fixed_size():
    chunks = plain_chunks("word " * 500, [0, 1500], 1000, MINILM)
    assert [(chunk.start, chunk.end) for chunk in chunks] == [(0, 999), (1000, 1999), (2000, 2499)]
    assert [(chunk.page_first, chunk.page_last, chunk.n_tokens) for chunk in chunks] == [
        (1, 1, 202),
        (1, 2, 202),
        (2, 2, 102),
    ]


# Properties


def words():
    sane = ["rank", "Fig.", "et al.", "(2020)", "Größe", "the", "We", "ends.", "why?", "\U0001d465", "[MASK]", "3.1"]
    odd = ["x" * 130, "\ufb03", "e\u0301\u0323", "漢字。", "😀" * 9, "=+-/*", "a\x1cb", "a\u00a0b", "\u200bz", "\ufdfa"]
    return st.lists(st.sampled_from(sane * 3 + odd), min_size=1, max_size=60).map(" ".join)


@st.composite
def papers(draw):
    paper = Paper()
    for _ in range(draw(st.integers(1, 6))):
        if level := draw(st.integers(0, 3)):
            paper.section(draw(st.sampled_from(["1. Intro", "2 What?", "A.1 Proof!", "Ünïcode"])), level)
        for kind in draw(st.lists(st.sampled_from(["paragraph", "paragraph", *BLOCK_KINDS[2:]]), max_size=4)):
            paper.block(kind, draw(words()))
    return paper


def check_text(text, chunks):
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != "" for chunk in chunks)
    assert all(one.end <= other.start for one, other in pairwise(chunks))


def check_limits(chunks, counter, limits):
    assert [chunk.n_tokens for chunk in chunks] == counter.count_batch(texts(chunks))
    assert all(chunk.n_tokens <= limits["max_tokens"] for chunk in chunks)
    assert all(len(chunk.text) <= limits["chunk_chars"] + limits["min_chunk_chars"] for chunk in chunks)


def check_place(paper, chunk):
    """A chunk has blocks of one kind; headings come first, and their sections are around that of the rest."""
    inside = [block for block in paper.blocks if block["start"] < chunk.end and chunk.start < block["end"]]
    assert {"text" if block["kind"] in TEXT_KINDS else block["kind"] for block in inside} == {chunk.kind}
    assert inside[-1]["kind"] != "heading"
    for block in inside:
        path = tuple(s["title"] for s in paper.sections if s["start"] <= block["start"] < s["end"])
        assert path == chunk.section_path[: len(path) if block["kind"] == "heading" else None]


def check_dropped(paper, chunks, limits):
    for start, end in dropped_pieces(paper.text, chunks):
        gone = [block for block in paper.blocks if block["start"] < end and start < block["end"]]
        assert all(start <= block["start"] and block["end"] <= end for block in gone)
        assert all(block["kind"] == "heading" or block["end"] - block["start"] < 25 for block in gone)


def check(paper, counter, limits):
    chunks = paper.chunks(counter=counter, **limits)
    check_text(paper.text, chunks)
    check_limits(chunks, counter, limits)
    check_dropped(paper, chunks, limits)
    for chunk in chunks:
        check_place(paper, chunk)
    assert chunks == paper.chunks(counter=counter, **limits)


LIMIT_SETS = st.fixed_dictionaries(
    {"chunk_chars": st.integers(150, 400), "max_tokens": st.integers(40, 256), "min_chunk_chars": st.integers(60, 149)}
)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=200)
@given(papers(), LIMIT_SETS)
def test_every_rule_holds_for_any_paper(paper, limits):
    check(paper, MINILM, limits)


@pytest.fixture(scope="module")
def byte_level():
    """A byte-level tokenizer, whose counts do not add up over blanks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([" " + SENTENCE], trainer)
    return TokenCounter("byte-level", tokenizer.to_str().encode(), max_tokens=256)


def test_tokens_are_counted_anew_where_they_do_not_add_up(byte_level):
    chunks = Paper().block("paragraph", SENTENCE * 60).chunks(counter=byte_level)
    assert len(chunks) > 1
    assert [chunk.n_tokens for chunk in chunks] == byte_level.count_batch(texts(chunks))


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(paper=papers(), limits=LIMIT_SETS)
def test_every_rule_holds_for_a_tokenizer_that_is_not_additive(byte_level, paper, limits):
    check(paper, byte_level, limits)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.text(max_size=600), st.integers(1, 80))
def test_plain_chunks_hold_all_that_is_not_blank(text, chunk_chars):
    chunks = plain_chunks(text, [0], chunk_chars, MINILM)
    check_text(text, chunks)
    assert dropped_pieces(text, chunks) == []
    assert all(len(chunk.text) <= chunk_chars for chunk in chunks)


def real_papers(corpus):
    """The papers of the private corpus, parsed from their TeX, as blocks below sections."""
    for line in gzip.decompress((corpus / "fulltext.jsonl.gz").read_bytes()).splitlines():
        paper, last = Paper(), None
        for part in json.loads(line)["body_text"]:
            text = " ".join(re.sub(r"\{\{\w+:[^}]*\}\}", "x", part["text"]).split())
            if part["section"] != last and part["section"]:
                paper.section(part["section"])
            last = part["section"]
            if text:
                paper.block("paragraph", text)
        yield paper


def test_every_rule_holds_for_real_papers(corpus):
    n_chunks = 0
    for paper in real_papers(corpus):
        check(paper, MINILM, LIMITS)
        n_chunks += len(paper.chunks())
    assert n_chunks > 1500
