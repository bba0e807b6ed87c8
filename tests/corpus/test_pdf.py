"""What becomes of a PDF: every reason by a real file, real damaged PDFs, and bombs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.core.reasons import DOCUMENT_REASONS
from jobs.corpus.pdf import Extraction, FirstPage, Limits, PdfReader
from tests.corpus import make_pdfs

pytestmark = pytest.mark.slow  # children and files: a second here and there

READERS = "tests.corpus.hostile_readers"

Maker = Callable[[], bytes]

# Reason -> the bytes that lead to it, the limits and the reading function.
BY_REASON: dict[str, tuple[Maker, Limits, str | None]] = {
    "not_pdf": (lambda: b"<html><body>Rate exceeded.</body></html>", Limits(), None),
    "truncated": (lambda: make_pdfs.paper()[:40], Limits(), None),
    "encrypted": (lambda: make_pdfs.paper(encryption=5, user_pw="secret", owner_pw="other"), Limits(), None),
    "no_text": (make_pdfs.image_only, Limits(), None),
    "garbled": (make_pdfs.nameless_vowels, Limits(), None),
    "hidden_text": (make_pdfs.invisible_text, Limits(), None),
    "too_large": (lambda: make_pdfs.paper() + b"\0" * 2**20, Limits(max_pdf_mb=1), None),
    "too_many_pages": (lambda: make_pdfs.paper(3), Limits(max_pages=2), None),
    "text_too_long": (make_pdfs.paper, Limits(max_text_chars=500), None),
    "timeout": (make_pdfs.paper, Limits(timeout_s=0.3), "hang"),
    "memory": (make_pdfs.text_bomb, Limits(memory_mb=64), None),
    "crashed": (lambda: make_pdfs.one_page(b"BT /F1 9 Tf (crash) Tj ET"), Limits(), "segfault"),
    "parse_error": (make_pdfs.nested_arrays, Limits(), None),
}

# What ../shared/corpus/README.md says of each, in our words.
BAD_FILES = {
    "arabic.pdf": "garbled",  # a quarter of its 24 characters have no Unicode
    "arxiv-2103.15348v2-copy-protected.pdf": "ok",
    "corrupt-zero-pages-after-repair.pdf": "parse_error",
    "cyclic-page-tree.pdf": "no_text",  # one page raises, the other has 23 characters
    "deep-page-tree.pdf": "parse_error",
    "empty-0-bytes.pdf": "not_pdf",
    "encrypted-aes256-user-password.pdf": "encrypted",
    "encrypted-libreoffice-password.pdf": "encrypted",
    "encrypted-owner-only-rc4.pdf": "ok",
    "fuzzed-content.pdf": "parse_error",
    "fuzzed-zero-pages.pdf": "parse_error",
    "huge-619-pages.pdf": "too_many_pages",
    "korean-with-tables.pdf": "ok",
    "malformed-issue-932.pdf": "no_text",
    "not-a-pdf.pdf": "not_pdf",
    "scanned-form-no-text.pdf": "no_text",
    "scanned-page-no-text.pdf": "no_text",
    "tiny-damaged-191-bytes.pdf": "parse_error",
}

BOMBS: dict[str, tuple[Maker, set[str]]] = {
    "blanks that deflate a million times": (make_pdfs.blank_bomb, {"no_text", "timeout"}),
    "text that fills any memory": (make_pdfs.text_bomb, {"memory"}),
    "a deep page tree": (make_pdfs.deep_page_tree, {"no_text", "parse_error"}),
    "an xref table before itself": (make_pdfs.looping_xref, {"ok"}),
    "a form that draws itself": (make_pdfs.looping_form, {"no_text"}),
    "forms that double": (make_pdfs.doubling_forms, {"timeout", "memory"}),
    "arrays in arrays": (make_pdfs.nested_arrays, {"parse_error"}),
    "a page count of two thousand million": (make_pdfs.lying_page_count, {"parse_error", "too_many_pages", "ok"}),
}


def corpus(folder: str) -> Path:
    root = Path(os.environ.get("SPARK_ARXIV_CORPUS", Path(__file__).parents[2] / ".." / "shared" / "corpus"))
    if not (root / folder).is_dir():
        pytest.skip(f"{root / folder} is not there: set SPARK_ARXIV_CORPUS to the folder of test papers")
    return root / folder


def reader(limits: Limits | None = None, function: str | None = None) -> PdfReader:
    return PdfReader(limits, f"{READERS}:{function}") if function else PdfReader(limits)


def outcome(extraction: Extraction) -> str:
    """`ok`, or the reason; everything that must hold of any result is checked on the way."""
    if extraction.status == "ok":
        assert extraction.reason is None
        assert extraction.text
        assert extraction.text.strip()
        assert extraction.n_pages
        assert len(extraction.pages or []) == extraction.n_pages
        return "ok"
    assert extraction.status == "rejected"
    assert extraction.reason in DOCUMENT_REASONS
    assert extraction.detail
    assert extraction.text is None
    return extraction.reason


@pytest.fixture(scope="module")
def shared_reader() -> Iterator[PdfReader]:
    with PdfReader() as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "paper.pdf"
        path.write_bytes(content)
        return path

    return write


def test_each_reason_of_the_contract_has_a_file_here() -> None:
    assert set(BY_REASON) == set(DOCUMENT_REASONS)


@pytest.mark.parametrize("reason", BY_REASON)
def test_file_ends_with_its_reason(reason: str, file: Callable[[bytes], Path]) -> None:
    make, limits, function = BY_REASON[reason]
    with reader(limits, function) as one:
        assert outcome(one.read(file(make()))) == reason


def test_paper_is_read_with_its_structure(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    extraction = shared_reader.read(file(make_pdfs.paper()))

    assert outcome(extraction) == "ok"
    assert "Sentence 7 of page 2 says that a careful reader finds every word of it." in (extraction.text or "")
    assert extraction.n_pages == 2
    assert extraction.pages is not None
    assert len(extraction.pages) == 2
    assert "2401.00001v1" in (extraction.stamp or "")
    assert extraction.blocks
    assert set(extraction.blocks[0]) == {"kind", "start", "end"}


def test_empty_file_is_not_pdf(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    assert outcome(shared_reader.read(file(b""))) == "not_pdf"


def test_web_page_that_mentions_a_pdf_header_is_not_pdf(
    shared_reader: PdfReader, file: Callable[[bytes], Path]
) -> None:
    assert outcome(shared_reader.read(file(b"\n<!DOCTYPE html><p>%PDF-1.4 was asked for</p>"))) == "not_pdf"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_named_pipe_is_not_pdf_and_does_not_block(shared_reader: PdfReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pdf")
    assert outcome(shared_reader.read(tmp_path / "pipe.pdf")) == "not_pdf"


def test_missing_file_raises(shared_reader: PdfReader, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shared_reader.read(tmp_path / "missing.pdf")


def test_junk_before_the_header_is_tolerated(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    assert outcome(shared_reader.read(file(b"\0" * 100 + make_pdfs.paper()))) == "ok"


def test_owner_password_alone_does_not_stop_reading(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    content = make_pdfs.paper(encryption=5, owner_pw="secret", permissions=0)
    assert outcome(shared_reader.read(file(content))) == "ok"


def test_unknown_encryption_is_encrypted(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    assert outcome(shared_reader.read(file(make_pdfs.foreign_encryption()))) == "encrypted"


def test_file_name_that_is_no_utf8_is_read(shared_reader: PdfReader, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.pdf")
    path.write_bytes(make_pdfs.paper())
    assert outcome(shared_reader.read(path)) == "ok"


def test_relative_path_is_found_after_the_parent_moved(
    shared_reader: PdfReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near.pdf").write_bytes(make_pdfs.paper())
    shared_reader.read(tmp_path / "near.pdf")
    monkeypatch.chdir(tmp_path)
    assert outcome(shared_reader.read(Path("near.pdf"))) == "ok"


def test_repaired_file_says_so(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    extraction = shared_reader.read(file(make_pdfs.paper().replace(b"startxref", b"startxxxx")))
    assert outcome(extraction) == "ok"
    assert (extraction.cleaned or {})["repaired"] == 1


@pytest.mark.parametrize(("n_pages", "expected"), [(5, ("ok", 3)), (1, ("parse_error", 1))])
def test_file_that_changes_while_it_is_read_is_read_again(
    n_pages: int, expected: tuple[str, int], file: Callable[[bytes], Path]
) -> None:
    with reader(function="repaired_on_the_way") as one:
        extraction = one.read(file(make_pdfs.paper(n_pages)))
    assert (outcome(extraction), extraction.n_pages) == expected


def test_scan_without_its_end_is_truncated(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    extraction = shared_reader.read(file(make_pdfs.image_only().replace(b"%%EOF", b"")))
    assert outcome(extraction) == "truncated"
    assert "%%EOF" in (extraction.detail or "")


def test_blank_result_is_no_text(file: Callable[[bytes], Path]) -> None:
    with reader(function="nothing") as one:
        assert outcome(one.read(file(make_pdfs.paper()))) == "no_text"


def test_text_over_the_limit_is_refused_even_if_the_function_does_not_look(file: Callable[[bytes], Path]) -> None:
    with reader(Limits(max_text_chars=100), "plain") as one:
        assert outcome(one.read(file(make_pdfs.paper()))) == "text_too_long"


@pytest.mark.parametrize("function", ["surrogate", "invent_reason"])
def test_what_no_answer_can_hold_is_parse_error(function: str, file: Callable[[bytes], Path]) -> None:
    with reader(function=function) as one:
        assert outcome(one.read(file(make_pdfs.paper()))) == "parse_error"


def test_first_page_has_text_stamp_and_title(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    page = shared_reader.first_page(file(make_pdfs.paper()))
    assert page.title_guess == "A Paper about Reading"
    assert "arXiv:2401.00001v1 [cs.CL]" in page.text
    assert "of page 2" not in page.text
    assert page.reason is None


def test_first_page_of_a_bad_file_has_a_reason(shared_reader: PdfReader, file: Callable[[bytes], Path]) -> None:
    page = shared_reader.first_page(file(make_pdfs.foreign_encryption()))
    assert (page.text, page.title_guess, page.reason) == ("", "", "encrypted")


def test_first_page_of_real_papers_shows_their_titles(shared_reader: PdfReader) -> None:
    titles = {path.stem: shared_reader.first_page(path).title_guess for path in sorted(corpus("pdf").glob("*.pdf"))}
    assert titles["1412.6980"] == "ADAM: A METHOD FOR STOCHASTIC OPTIMIZATION"
    assert titles["1212.5701"] == "ADADELTA: AN ADAPTIVE LEARNING RATE METHOD"
    assert titles["math_0501170"] == "Tilings"
    assert all(len(title.split()) > 1 or title == "Tilings" for title in titles.values())


@pytest.mark.parametrize("name", BAD_FILES)
def test_real_damaged_file_ends_as_expected(name: str, shared_reader: PdfReader) -> None:
    assert outcome(shared_reader.read(corpus("bad") / name)) == BAD_FILES[name]


def test_every_real_damaged_file_is_expected_here() -> None:
    assert {path.name for path in corpus("bad").iterdir()} == set(BAD_FILES)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_ends_with_a_reason_and_the_next_paper_is_read(name: str, file: Callable[[bytes], Path]) -> None:
    make, expected = BOMBS[name]
    with reader(Limits(timeout_s=10, cpu_s=3, memory_mb=128)) as one:
        assert outcome(one.read(file(make()))) in expected
        assert outcome(one.read(file(make_pdfs.paper()))) == "ok"


def test_unreadable_first_page_has_no_text() -> None:
    assert FirstPage(reason="not_pdf", detail="0 bytes").text == ""
