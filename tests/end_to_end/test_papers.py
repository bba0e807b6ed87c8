"""The first five stages as a user runs them: from metadata and PDFs to chunks, Spark by spark-submit."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import time
import zipfile
from pathlib import Path

import pytest

from tests.core.fake_s3 import BUCKET, FakeS3
from tests.end_to_end.stages_by_shell import (
    CORPUS,
    REPOSITORY,
    jobs,
    keys,
    leftovers,
    manifests,
    rows,
    start_jobs,
)
from tests.soaking import only_soaked

pytestmark = [pytest.mark.spark, pytest.mark.e2e, pytest.mark.slow]

SAMPLE_ROWS = [json.loads(line) for line in (REPOSITORY / "sample" / "metadata.jsonl").read_text().splitlines()]
N_SAMPLE = len(SAMPLE_ROWS)
needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason=f"{CORPUS} is absent: real papers are not in this repository"
)


@pytest.fixture(scope="session")
def sample_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = tmp_path_factory.mktemp("sample") / "lake"
    done = jobs("run", "--goal", "papers", "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "a run's log goes to stderr, that of its Spark stages too"
    return lake


def test_sample_becomes_chunks_in_every_window(sample_lake: Path) -> None:
    papers = manifests(sample_lake, "papers")
    assert sum(made["rows"] for made in papers.values()) == N_SAMPLE
    assert any(made["rows"] == 0 for made in papers.values()), "an empty week is a result"
    assert set(papers) == set(manifests(sample_lake, "chunks"))
    assert {row["paper_id"] for row in rows(sample_lake, "chunks")} == {row["id"] for row in SAMPLE_ROWS}


@only_soaked("the stages on a store, without a JVM, are in tests/corpus/test_store_stages.py")
def test_sample_on_a_store_makes_equal_keys(sample_lake: Path, s3: FakeS3, tmp_path: Path) -> None:
    address = f"s3://{BUCKET}/lakes/sample"
    for mirror in ("first", "second"):
        done = jobs("run", "--goal", "papers", "--lake", address, **s3.environment, LAKE_MIRROR=str(tmp_path / mirror))
        assert done.returncode == 0, done.stderr
    assert "made=0" in done.stderr
    assert "made=1" not in done.stderr
    pointers = {name.removeprefix("lakes/sample/"): one.content for name, one in s3.objects.items()}
    on_disk = {path.relative_to(sample_lake).as_posix(): path.read_bytes() for path in sample_lake.rglob("CURRENT")}
    assert {name: pointers.get(name) for name in on_disk} == on_disk


def test_counters_of_every_part_add_up(sample_lake: Path) -> None:
    for dataset in ("snapshots", "papers", "pdfs", "documents", "chunks"):
        for made in manifests(sample_lake, dataset).values():
            counts = made["counts"]
            assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())


def test_chunks_are_exact_pieces_of_their_documents(sample_lake: Path) -> None:
    texts = {(row["paper_id"], row["version"]): row["text"] for row in rows(sample_lake, "documents")}
    chunks = rows(sample_lake, "chunks")
    assert len(chunks) > 10 * N_SAMPLE
    for chunk in chunks:
        assert texts[chunk["paper_id"], chunk["version"]][chunk["start"] : chunk["end"]] == chunk["text"]
        assert chunk["n_tokens"] <= 256
        assert 1 <= chunk["page_first"] <= chunk["page_last"]


def test_note_with_two_versions_is_read_in_its_newest(sample_lake: Path) -> None:
    (row,) = [row for row in rows(sample_lake, "documents") if row["paper_id"] == "sample/2401008"]
    assert (row["version"], row["pdf_version"]) == (2, 2)


def test_second_run_makes_nothing_and_starts_no_jvm(sample_lake: Path) -> None:
    before = keys(sample_lake)
    begun_at = time.monotonic()
    done = jobs("run", "--goal", "papers", "--lake", sample_lake, JAVA_HOME="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert "made=0" in done.stderr
    assert "made=1" not in done.stderr
    assert keys(sample_lake) == before
    assert time.monotonic() - begun_at < 60
    assert leftovers(sample_lake) == []


@pytest.mark.parametrize(("args", "code"), [((), 0), (("--chunk-chars", "700", "--redefine"), 10)])
def test_check_says_by_its_exit_code_whether_there_is_work(
    sample_lake: Path, args: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    lake = shutil.copytree(sample_lake, tmp_path / "lake")
    assert jobs("chunk_documents", "--lake", lake, "--check", *args).returncode == code


def test_other_definition_is_refused(sample_lake: Path) -> None:
    done = jobs("run", "--goal", "papers", "--lake", sample_lake, "--categories", "hep-th")
    assert done.returncode == 64
    assert "about something else" in done.stderr
    assert "--redefine" in done.stderr


def test_rewritten_input_in_another_place_makes_equal_keys(sample_lake: Path, tmp_path: Path) -> None:
    """Other file names, order of lines, spacing and packing: the same papers, so the same keys behind the snapshot."""
    shuffled = random.Random(7).sample(SAMPLE_ROWS, N_SAMPLE)
    with gzip.open(tmp_path / "other.json.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in shuffled)
    pdfs = shutil.copytree(REPOSITORY / "sample" / "pdf", tmp_path / "elsewhere" / "deep")
    args = ("--metadata", tmp_path / "other.json.gz", "--pdfs", pdfs.parent, "--lake", tmp_path / "lake")
    done = jobs("run", "--goal", "papers", *args)
    assert done.returncode == 0, done.stderr
    mine, theirs = manifests(tmp_path / "lake", "papers"), manifests(sample_lake, "papers")
    assert {part: made["digest"] for part, made in mine.items()} == {
        part: made["digest"] for part, made in theirs.items()
    }
    for dataset in ("documents", "chunks"):
        assert keys_of(tmp_path / "lake", dataset) == keys_of(sample_lake, dataset)


def keys_of(lake: Path, dataset: str) -> dict[str, str]:
    return {part: made["key"] for part, made in manifests(lake, dataset).items()}


def test_zip_of_one_week_makes_the_same_papers_as_the_bulk_run(sample_lake: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "arxiv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(REPOSITORY / "sample" / "metadata.jsonl", "arxiv-metadata-oai-snapshot.json")
    lake, window = tmp_path / "lake", "2024-01-08_2024-01-15"
    for stage in ("fetch_snapshot", "filter_papers"):
        done = jobs(stage, "--metadata", tmp_path / "arxiv.zip", "--lake", lake, "--window", window)
        assert done.returncode == 0, done.stderr
    alone, bulk = manifests(lake, "papers")[window], manifests(sample_lake, "papers")[window]
    assert (alone["rows"], alone["key"], alone["digest"]) == (bulk["rows"], bulk["key"], bulk["digest"])


def test_one_new_paper_costs_one_paper(sample_lake: Path, tmp_path: Path) -> None:
    """The week of the new paper is made again, and in it only the new PDF is read; other weeks stand."""
    lake = shutil.copytree(sample_lake, tmp_path / "lake")
    new = SAMPLE_ROWS[0] | {"id": "sample/2401099", "title": "One more note"}
    (tmp_path / "more.jsonl").write_text("\n".join(json.dumps(row) for row in [*SAMPLE_ROWS, new]))
    pdfs = shutil.copytree(REPOSITORY / "sample" / "pdf", tmp_path / "pdf")
    shutil.copy(pdfs / "sample_2402001v1.pdf", pdfs / "sample_2401099v1.pdf")
    args = ("--metadata", tmp_path / "more.jsonl", "--pdfs", pdfs, "--lake", lake)
    done = jobs("run", "--goal", "papers", *args)
    assert done.returncode == 0, done.stderr
    before, after = manifests(sample_lake, "documents"), manifests(lake, "documents")
    changed = [part for part in after if after[part]["key"] != before[part]["key"]]
    assert len(changed) == 1
    made = after[changed[0]]
    assert (made["rows"], made["taken_over"]) == (before[changed[0]]["rows"] + 1, before[changed[0]]["rows"])
    assert manifests(lake, "chunks")[changed[0]]["taken_over"] > 0


@pytest.mark.parametrize("stage", ["extract_text", "chunk_documents"])
def test_killed_spark_stage_ends_with_the_same_keys(sample_lake: Path, stage: str, tmp_path: Path) -> None:
    lake = shutil.copytree(sample_lake, tmp_path / "lake")
    for dataset in ("documents", "chunks")[("extract_text", "chunk_documents").index(stage) :]:
        shutil.rmtree(lake / dataset)
    process = start_jobs("run", "--goal", "papers", "--lake", lake)
    dataset = "documents" if stage == "extract_text" else "chunks"
    wait_for_work(lake / dataset, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until_unlocked()
    done = jobs("run", "--goal", "papers", "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert keys(lake) == keys(sample_lake)
    assert leftovers(lake) == []


def wait_for_work(folder: Path, process) -> None:  # type: ignore[no-untyped-def]
    """Until the stage has begun to write, so that the kill falls into its middle."""
    deadline = time.monotonic() + 120
    while not any(folder.glob("*/_attempts/*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "the stage never began"
        time.sleep(0.05)
    time.sleep(random.Random(3).random())


def wait_until_unlocked() -> None:
    """The workers of a killed driver see its end within moments."""
    time.sleep(2)


@needs_corpus
def test_real_papers_of_four_categories_become_chunks(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    categories = "cs.LG cs.CL stat.ML cs.CV"
    args = ("--metadata", CORPUS / "metadata.jsonl", "--pdfs", CORPUS / "pdf", "--categories", categories)
    done = jobs("run", "--goal", "papers", *args, "--lake", lake)
    assert done.returncode == 0, done.stderr
    assert "grid=year" in done.stderr
    pdfs = rows(lake, "pdfs")
    assert sum(row["status"] == "ok" for row in pdfs) == 21
    assert {row["reason"] for row in pdfs} == {None, "not_there"}
    documents = rows(lake, "documents")
    assert [row["reason"] for row in documents] == [None] * 21
    for row in documents:
        titles = [section["title"] for section in row["sections"]]
        assert any("introduction" in title.lower() for title in titles), (row["paper_id"], titles)
        assert "arXiv:" + row["paper_id"] not in row["text"][:3000]


@needs_corpus
def test_every_damaged_pdf_ends_as_text_or_with_a_reason(tmp_path: Path) -> None:
    pdfs = tmp_path / "pdf"
    pdfs.mkdir()
    names = {}
    metadata = []
    for number, path in enumerate(sorted((CORPUS / "bad").glob("*.pdf")), start=1):
        paper_id = f"2401.{number:05d}"
        names[paper_id] = path.name
        shutil.copy(path, pdfs / f"{paper_id}v1.pdf")
        created = "Mon, 1 Jan 2024 00:00:00 GMT"
        metadata.append(
            {
                "id": paper_id,
                "title": path.stem,
                "categories": "cs.LG",
                "abstract": "",
                "versions": [{"version": "v1", "created": created}],
            }
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, metadata)))
    args = ("--metadata", tmp_path / "rows.jsonl", "--pdfs", pdfs, "--lake", tmp_path / "lake", "--min-yield-01", "0")
    done = jobs("run", "--goal", "papers", *args)
    assert done.returncode == 0, done.stderr
    outcome = {names[row["paper_id"]]: row["reason"] for row in rows(tmp_path / "lake", "pdfs")}
    documents = rows(tmp_path / "lake", "documents")
    outcome |= {names[row["paper_id"]]: row["reason"] for row in documents}
    assert len(outcome) == 18
    assert all(row["text"].strip() for row in documents if row["status"] == "ok")
    assert outcome["empty-0-bytes.pdf"] == outcome["not-a-pdf.pdf"] == "not_pdf"
    assert outcome["encrypted-aes256-user-password.pdf"] == outcome["encrypted-libreoffice-password.pdf"] == "encrypted"
    assert outcome["huge-619-pages.pdf"] == "too_many_pages"
    assert outcome["scanned-page-no-text.pdf"] == outcome["scanned-form-no-text.pdf"] == "no_text"
    assert outcome["arxiv-2103.15348v2-copy-protected.pdf"] is None
    assert outcome["korean-with-tables.pdf"] is None


@needs_corpus
def test_folder_of_pdfs_alone_needs_no_metadata(tmp_path: Path) -> None:
    pdfs = tmp_path / "pdf"
    pdfs.mkdir()
    shutil.copy(CORPUS / "pdf" / "2005.11401.pdf", pdfs / "rag.pdf")  # its id stands on its first page alone
    shutil.copy(CORPUS / "pdf" / "hep-th_9108004.pdf", pdfs)
    shutil.copy(CORPUS / "bad" / "korean-with-tables.pdf", pdfs / "no id anywhere.pdf")
    done = jobs("run", "--goal", "papers", "--pdfs", pdfs, "--lake", tmp_path / "lake")
    assert done.returncode == 0, done.stderr
    assert {row["paper_id"] for row in rows(tmp_path / "lake", "chunks")} == {"2005.11401", "hep-th/9108004"}
    (snapshot,) = manifests(tmp_path / "lake", "snapshots").values()
    assert snapshot["counts"]["dropped"] == {"no_arxiv_id": 1}
    titles = {row["paper_id"]: row["title"] for row in rows(tmp_path / "lake", "papers")}
    assert "Retrieval-Augmented Generation" in titles["2005.11401"]
