import hashlib

import pytest

from jobs.core.errors import InputMissingError, TryAgainError
from jobs.corpus.arxiv import ArxivId
from jobs.corpus.downloader import Fetched, FolderSource, Found, Refused, store
from jobs.corpus.folder import Identified

PDF = b"%PDF-1.5\n%%EOF\n"
PAPER = "2205.14135"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    return folder


def put(root, *names, content=PDF):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def found_name(root, version, paper_id=PAPER):
    found = FolderSource(root, 100).find(paper_id, version)
    return found and found.path.relative_to(root).as_posix()


@pytest.mark.parametrize(
    ("name", "paper_id"),
    [
        ("2205.14135v2.pdf", PAPER),
        ("a/b/c/2205.14135v2.PDF", PAPER),
        ("hep-th_9108004v2.pdf", "hep-th/9108004"),
        ("hep-th/9108004v2.pdf", "hep-th/9108004"),
    ],
)
def test_pdf_is_found_by_its_name_at_any_depth(root, name, paper_id):
    put(root, name)
    assert FolderSource(root, 100).find(paper_id, 2) == Found(root / name, 2)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ("v1 v2 v3 v5", "v3"),  # the wanted one
        ("v1 v2 v5", "v2"),  # the highest below
        ("v4 v5 -", ""),  # one without a version
        ("v5 v4", "v4"),  # the lowest above
        ("v10 v4", "v4"),  # numbers, not letters
    ],
)
def test_nearest_version_is_found(root, there, expected):
    put(root, *(f"{PAPER}{version.strip('-')}.pdf" for version in there.split()))
    assert found_name(root, 3) == f"{PAPER}{expected}.pdf"


def test_version_of_a_name_without_one_is_unknown(root):
    put(root, f"{PAPER}.pdf")
    assert FolderSource(root, 100).find(PAPER, 1) == Found(root / f"{PAPER}.pdf", None)


def test_other_files_and_papers_are_not_found(root):
    put(root, f"{PAPER}.txt", "notes.pdf", "2205.14136.pdf")
    assert FolderSource(root, 100).find(PAPER, 1) is None


def test_file_that_its_page_identifies_is_found(root):
    put(root, "attention.pdf")
    source = FolderSource(root, 100, [Identified(root / "attention.pdf", ArxivId(PAPER, 2))])
    assert source.find(PAPER, 2) == Found(root / "attention.pdf", 2)


def test_link_that_leaves_the_folder_is_not_found(root, tmp_path):
    put(tmp_path, "secret.pdf")
    (root / f"{PAPER}v1.pdf").symlink_to(tmp_path / "secret.pdf")
    assert found_name(root, 1) is None


def test_link_inside_the_folder_is_found(root):
    put(root, "store/one.pdf")
    (root / f"{PAPER}v1.pdf").symlink_to(root / "store" / "one.pdf")
    assert found_name(root, 1) == f"{PAPER}v1.pdf"


def test_absent_folder_is_missing_input(tmp_path):
    with pytest.raises(InputMissingError, match="--pdfs"):
        FolderSource(tmp_path / "absent", 100)


def test_fetch_gives_the_file_in_its_place(root, tmp_path):
    put(root, f"{PAPER}v1.pdf")
    path = root / f"{PAPER}v1.pdf"
    assert FolderSource(root, 100).fetch(PAPER, 2, tmp_path) == Fetched(
        PAPER, 1, path, hashlib.sha256(PDF).hexdigest(), len(PDF), path.as_uri(), is_temporary=False
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not_pdf"), (b"<html>%PDF</html>", "not_pdf"), (b"%PDF-" + b"x" * (1 << 20), "too_large")],
)
def test_file_that_is_no_readable_pdf_is_refused(root, tmp_path, content, reason):
    put(root, f"{PAPER}v1.pdf", content=content)
    assert FolderSource(root, 1).fetch(PAPER, 1, tmp_path).reason == reason


def test_paper_without_file_is_not_there(root, tmp_path):
    assert FolderSource(root, 100).fetch(PAPER, 1, tmp_path).reason == "not_there"


def test_reason_must_be_of_the_closed_list():
    with pytest.raises(AssertionError, match="bad_luck"):
        Refused("bad_luck", "")


# Storing


def fetched(path, *, is_temporary, paper_id=PAPER, version=2, content=PDF):
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Fetched(paper_id, version, path, sha256, len(content), "", is_temporary)


def test_temporary_file_is_moved_to_its_final_name(tmp_path):
    one = fetched(tmp_path / "x.part", is_temporary=True)
    name = store(one, tmp_path / "files")
    assert name == f"2205/{PAPER}v2.{one.sha256[:12]}.pdf"
    assert (tmp_path / "files" / name).read_bytes() == PDF
    assert not one.path.exists()


def test_file_of_a_folder_is_copied(tmp_path):
    one = fetched(tmp_path / "x.pdf", is_temporary=False, paper_id="hep-th/9108004", version=None)
    name = store(one, tmp_path / "files")
    assert name == f"9108/hep-th%2F9108004.{one.sha256[:12]}.pdf"
    assert (tmp_path / "files" / name).read_bytes() == one.path.read_bytes() == PDF


@pytest.mark.parametrize("is_temporary", [True, False])
def test_file_that_is_there_is_never_replaced(tmp_path, is_temporary):
    target = tmp_path / "files" / store(fetched(tmp_path / "x.pdf", is_temporary=False), tmp_path / "files")
    before = target.stat()
    again = fetched(tmp_path / "y.pdf", is_temporary=is_temporary)
    store(again, tmp_path / "files")
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert again.path.exists() is not is_temporary


def test_damaged_file_is_replaced(tmp_path):
    one = fetched(tmp_path / "x.pdf", is_temporary=False)
    target = tmp_path / "files" / store(one, tmp_path / "files")
    target.write_bytes(b"\0" * len(PDF))
    store(one, tmp_path / "files")
    assert target.read_bytes() == PDF


def test_file_that_changes_between_hash_and_copy_is_not_kept(tmp_path):
    one = fetched(tmp_path / "x.pdf", is_temporary=False)
    one.path.write_bytes(PDF + b"more")
    with pytest.raises(TryAgainError, match="changed"):
        store(one, tmp_path / "files")
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
