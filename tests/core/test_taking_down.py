"""`prune --paper`: what is noted, what goes at once, what is told; and how a takedown enters the keys of windows."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from jobs.core import pruning, tables, takedowns
from jobs.core.errors import InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.core.manifest import MANIFEST_FILE, Input, Manifest
from tests.core.parts_by_hand import key_folders, pdfs_of, publish, publish_pdfs, snapshot_of
from tests.core.toy import WINDOWS

pytestmark = pytest.mark.slow

PAPER, OTHER = "2401.00000", "2401.00001"


def prune(lake: Lake, *flags: str) -> None:
    assert pruning.prune_command(["prune", "--lake", str(lake.root), *flags]) == 0


def named(lake: Lake, dataset: str, part: str = "all") -> Input:
    return lake.input_of(dataset, part)[0]


def row_about(paper_id: str) -> dict:
    return {"paper_id": paper_id, "version": 1}


@pytest.fixture
def two(lake: Lake) -> Lake:
    """A lake with one paper in each of two windows."""
    publish(lake, "papers", "first", [row_about(PAPER)], part=WINDOWS[0])
    publish(lake, "papers", "second", [row_about(OTHER)], part=WINDOWS[1])
    return lake


def publish_adapter(lake: Lake, key: str, *papers: str) -> Path:
    """An adapter that learnt from these papers."""
    folder = publish(lake, "adapters", key)
    content = f'{{"papers": {list(papers)}, "qa_ids": []}}'.replace("'", '"').encode()
    (folder / "papers.json").write_bytes(content)
    made = Manifest.read(folder)
    listed = {"papers.json": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    (folder / MANIFEST_FILE).write_bytes(dataclasses.replace(made, files=listed).to_json())
    return folder


@pytest.mark.parametrize("written", [PAPER, f"{PAPER}v3", f"arXiv:{PAPER}v1"])
def test_paper_is_noted_with_its_windows_and_why_however_it_is_written(two: Lake, written: str) -> None:
    prune(two, "--paper", written, "--why", "its author asked")
    noted = two.current("takedowns", takedowns.PART)
    assert noted is not None
    (row,) = noted.rows()
    assert (row["paper_id"], row["why"], row["windows"]) == (PAPER, "its author asked", [WINDOWS[0]])
    assert row["taken_down_at"].utcoffset().total_seconds() == 0


def test_papers_of_a_file_are_taken_down_together(two: Lake, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text(f"# asked for\n{PAPER}v1\n\n{OTHER}\n")
    prune(two, "--paper", str(tmp_path / "out.txt"))
    assert takedowns.taken_down(two) == {PAPER, OTHER}


def test_unknown_paper_is_66_and_changes_nothing(two: Lake) -> None:
    before = snapshot_of(two.root)
    with pytest.raises(InputMissingError, match=r"2401\.99999: no current part of .* `python -m jobs show ID`"):
        prune(two, "--paper", PAPER, "--paper", "2401.99999")
    assert snapshot_of(two.root) == before


def test_why_alone_is_refused(two: Lake) -> None:
    with pytest.raises(UsageError, match="--why without --paper"):
        prune(two, "--why", "because")


def test_dry_run_tells_what_would_go_and_changes_nothing(two: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    publish_adapter(two, "learnt", PAPER)
    before = snapshot_of(two.root)
    prune(two, "--paper", PAPER, "--dry-run")
    assert snapshot_of(two.root) == before
    told = capsys.readouterr().out
    assert "would remove adapters/all/CURRENT" in told
    assert f"still in papers: {WINDOWS[0]}" in told


def test_takedown_counts_in_the_key_of_the_window_that_held_it_alone(two: Lake) -> None:
    prune(two, "--paper", PAPER)
    (first, part), (second, none) = (takedowns.input_of_window(two, window) for window in WINDOWS)
    assert part is not None
    assert first.digest != tables.EMPTY_DIGEST
    assert (second.digest, none) == (tables.EMPTY_DIGEST, None)


def test_digest_is_of_who_is_out_not_of_when_or_why(two: Lake, another_lake: Lake) -> None:
    publish(another_lake, "papers", "first", [row_about(PAPER)], part=WINDOWS[0])
    prune(two, "--paper", PAPER, "--why", "one")
    prune(another_lake, "--paper", PAPER, "--why", "another")
    digests = {takedowns.input_of_window(one, WINDOWS[0])[0].digest for one in (two, another_lake)}
    assert len(digests) == 1


def test_pdf_of_the_paper_goes_though_its_part_names_it(lake: Lake) -> None:
    publish_pdfs(lake, "key", 0, 1)
    prune(lake, "--paper", PAPER)
    assert pdfs_of(lake) == [1]


def test_release_goes_that_rests_on_the_paper_pinned_or_not(lake: Lake) -> None:
    for key, paper_id in (("with", PAPER), ("without", OTHER)):
        publish(lake, "qa", key, [{"paper_id": paper_id}])
        release = publish(lake, "releases", key, inputs=(named(lake, "qa"),))
        (release / "PINNED").touch()
    old = publish(lake, "releases", "newest", inputs=())
    publish(lake, "papers", "first", [row_about(PAPER)], part=WINDOWS[0])
    prune(lake, "--paper", PAPER)
    left = key_folders(lake, "releases", "all")
    assert hashlib.sha256(b"with").hexdigest()[:12] not in left
    assert {hashlib.sha256(b"without").hexdigest()[:12], old.name} <= left


def test_adapter_that_learnt_from_it_is_current_no_longer_and_another_is(lake: Lake) -> None:
    publish(lake, "papers", "first", [row_about(PAPER), row_about(OTHER)], part=WINDOWS[0])
    publish_adapter(lake, "learnt", PAPER, OTHER)
    prune(lake, "--paper", PAPER)
    assert lake.current_key("adapters", "all") is None
    kept = publish_adapter(lake, "clean", OTHER)
    prune(lake)
    assert kept.is_dir()
    assert lake.current_key("adapters", "all") is not None


def test_adapter_does_not_keep_pairs_of_the_paper_as_its_inputs(lake: Lake) -> None:
    pairs = publish(lake, "qa", "old", [{"paper_id": PAPER}])
    publish(lake, "adapters", "clean", inputs=(named(lake, "qa"),))
    publish(lake, "qa", "new", [{"paper_id": OTHER}])
    publish(lake, "papers", "first", [row_about(PAPER)], part=WINDOWS[0])
    prune(lake)
    assert pairs.is_dir(), "without a takedown an adapter keeps what it was made of"
    prune(lake, "--paper", PAPER)
    assert not pairs.exists()


def test_shards_of_another_number_go_once_their_window_is_made_without_it(lake: Lake) -> None:
    publish(lake, "chunks", "old", [row_about(PAPER), row_about(OTHER)], part=WINDOWS[0])
    publish(lake, "drafts", "one", [{"paper_id": PAPER}], part=f"{WINDOWS[0]}/0-of-1", inputs=(chunks_of(lake),))
    prune(lake, "--paper", PAPER)
    assert lake.current_key("drafts", f"{WINDOWS[0]}/0-of-1") is not None, "its rows are taken over by the next run"
    publish(lake, "chunks", "new", [row_about(OTHER)], part=WINDOWS[0])
    for shard in range(2):
        rows = [{"paper_id": OTHER}] if shard else []
        publish(lake, "drafts", f"s{shard}", rows, part=f"{WINDOWS[0]}/{shard}-of-2", inputs=(chunks_of(lake),))
    prune(lake)
    assert lake.parts("drafts") == [f"{WINDOWS[0]}/0-of-2", f"{WINDOWS[0]}/1-of-2"]


def chunks_of(lake: Lake) -> Input:
    return named(lake, "chunks", WINDOWS[0])


def test_without_takedowns_no_part_is_opened(two: Lake) -> None:
    for path in two.root.rglob("rows.parquet"):
        path.unlink()
    prune(two)


@pytest.mark.parametrize(("has_drafts", "end"), [(False, " --goal index"), (True, "")])
def test_command_that_finishes_asks_for_no_more_than_the_lake_has(
    two: Lake, capsys: pytest.CaptureFixture[str], has_drafts: bool, end: str
) -> None:
    if has_drafts:
        publish(two, "drafts", "pairs", [], part=f"{WINDOWS[0]}/0-of-1")
    prune(two, "--paper", PAPER)
    line = f"finish with: python -m jobs run --lake {two.root} --window {WINDOWS[0]}{end}"
    assert line in capsys.readouterr().out.splitlines()
