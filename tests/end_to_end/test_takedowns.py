"""A paper that is taken down leaves the whole lake: planted by every stage, gone after `prune --paper` and one run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.core import pruning, takedowns
from jobs.core.errors import ContractError
from jobs.core.lake import Lake
from jobs.retrieval.searching import search_lake
from jobs.serving.release import SearcherOpener
from jobs.serving.served import Served
from jobs.serving.speaker import SpeakerOpener
from jobs.tuning import export_dataset, gate
from tests.core.parts_by_hand import snapshot_of
from tests.corpus.test_filter_papers import make
from tests.end_to_end import whole_lake
from tests.end_to_end.whole_lake import WINDOWS

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAPER, OTHER = "sample/2401003", "sample/2402001"  # both are train papers
NAMED = re.compile(rb"2401003")  # in whatever form a file may write the id


@pytest.fixture(scope="module")
def released_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a released student that learnt from the paper, twice trained: there is one to go back to."""
    lake = whole_lake.new_lake(tmp_path_factory.mktemp("whole") / "lake")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "decide", lambda *_: gate.Verdict(()))  # a model of random weights would not pass
        whole_lake.run(lake)
        whole_lake.run(lake, learning_rate=2e-3)
    return lake.root


@dataclass(frozen=True)
class Cleaned:
    """The lake after the paper was taken down and one run; what it held before, and which parts the run made."""

    lake: Lake
    before: Path
    sentences: list[str]
    made: dict[str, list[str]]


@pytest.fixture(scope="module")
def cleaned(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    lake = Lake.open(shutil.copytree(released_once, tmp_path_factory.mktemp("cleaned") / "lake"))
    sentences = sentences_of(lake)
    take_down(lake)
    return Cleaned(lake, released_once, sentences, whole_lake.run(lake))


@pytest.fixture
def lake(released_once: Path, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(released_once, tmp_path / "lake"))


def take_down(lake: Lake, *flags: str) -> None:
    assert pruning.prune_command(["prune", "--lake", str(lake.root), "--paper", PAPER, *flags]) == 0


def holders(root: Path, sentences: list[str]) -> list[str]:
    """Files of the lake that name the paper or hold one of its sentences, beside the list of what is taken down."""
    texts = [text for sentence in sentences if len(text := squeezed(sentence)) > 40]
    assert len(texts) > 5
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        inside = path.relative_to(root).as_posix()
        if not inside.startswith(("snapshots/", "takedowns/")):
            said = (
                repr(pq.read_table(path, partitioning=None).to_pydict()).encode() if path.suffix == ".parquet" else b""
            )
            content = inside.encode() + said + path.read_bytes()
            if NAMED.search(content) or any(text in squeezed(content.decode(errors="replace")) for text in texts):
                found.append(inside)
    return found


def squeezed(text: str) -> str:
    return "".join(text.split())


def sentences_of(lake: Lake) -> list[str]:
    """The middle of each chunk of the paper and every answer about it."""
    chunks = lake.current("chunks", WINDOWS[0])
    qa = lake.current("qa", "all")
    assert chunks is not None
    assert qa is not None
    texts = [row["text"][60:140] for row in chunks.rows() if row["paper_id"] == PAPER]
    return texts + [row["answer"] for row in qa.rows() if row["paper_id"] == PAPER]


def facts_of(lake: Lake) -> dict[str, Any]:
    release = lake.current("releases", "all")
    assert release is not None
    facts: dict[str, Any] = json.loads(release.file("release.json").read_bytes())
    return facts


def keys_of(lake: Lake, window: str) -> dict[str, str | None]:
    datasets = ("papers", "pdfs", "documents", "chunks", "embeddings")
    return {dataset: lake.current_key(dataset, window) for dataset in datasets}


def test_paper_is_everywhere_and_after_prune_and_a_run_nowhere(cleaned: Cleaned) -> None:
    before = {inside.split("/")[0] for inside in holders(cleaned.before, cleaned.sentences)}
    assert before >= {"papers", "pdfs", "documents", "chunks", "embeddings", "drafts", "indexes", "qa", "adapters"}
    assert holders(cleaned.lake.root, cleaned.sentences) == []


def test_next_run_makes_anew_what_held_the_paper_and_nothing_else(cleaned: Cleaned) -> None:
    before, after = Lake.open(cleaned.before), cleaned.lake
    assert {part.partition("/")[0] for parts in cleaned.made.values() for part in parts} == {WINDOWS[0], "all"}
    changed = [window for window in WINDOWS if keys_of(before, window) != keys_of(after, window)]
    assert changed == [WINDOWS[0]]


def test_run_after_that_finds_nothing_to_do(cleaned: Cleaned) -> None:
    assert whole_lake.run(cleaned.lake) == {}


def test_run_over_other_windows_takes_it_out_of_index_pairs_and_student(lake: Lake) -> None:
    take_down(lake)
    whole_lake.run(lake, windows=WINDOWS[1:])
    index, qa = lake.current("indexes", "all"), lake.current("qa", "all")
    adapter = lake.current("adapters", "all")
    assert index is not None
    assert qa is not None
    assert adapter is not None
    assert index.manifest.counts.dropped["taken_down"] > 0
    assert PAPER not in pq.read_table(index.file("passages.parquet"))["paper_id"].to_pylist()
    assert PAPER not in {row["paper_id"] for row in qa.rows()}
    assert PAPER not in json.loads(adapter.file("papers.json").read_bytes())["papers"]


def test_release_serves_on_without_showing_the_paper(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    served = Served(lake.root, SearcherOpener(), SpeakerOpener("cpu"))
    served.follow()
    question = "How are the weights of a model quantized?"
    release = served.release
    assert release is not None
    assert PAPER in {passage.paper_id for passage in release.search(question, 150).passages}
    release_id = release.release_id
    take_down(lake)
    served.follow()
    release = served.release
    assert release is not None
    assert release.release_id == release_id
    found = release.search(question, 150).passages
    assert found
    assert PAPER not in {passage.paper_id for passage in found}
    assert not any(PAPER in one for one in search_lake(lake, question, 150))
    told = capsys.readouterr().out
    assert f"finish with: python -m jobs run --lake {lake.root} --window {WINDOWS[0]}" in told
    assert "weights cannot forget" in told


def test_release_before_cannot_be_gone_back_to(lake: Lake) -> None:
    now = facts_of(lake)["release_id"]
    folder = lake.part_folder("releases", "all")
    (before,) = {path.parent.name for path in folder.glob("*/release.json")} - {now}
    (folder / before / pruning.PINNED_FILE).touch()
    take_down(lake)
    assert [path.parent.name for path in folder.glob("*/release.json")] == [now]


def test_student_that_learnt_from_it_is_neither_kept_nor_begun_from(lake: Lake) -> None:
    adapter = facts_of(lake)["adapter"]
    take_down(lake)
    assert lake.current_key("adapters", "all") is None
    assert lake.has("adapters", "all", adapter), "the release that serves needs it"
    whole_lake.run(lake, warm_start=True)
    made = lake.current("adapters", "all")
    assert made is not None
    assert made.manifest.taken_over == 0
    assert not lake.has("adapters", "all", adapter)
    assert facts_of(lake)["adapter"] is None, "the gate refuses the new one, and the old one is not offered again"


def test_release_whose_student_learnt_from_it_is_not_loaded_on_request(lake: Lake) -> None:
    now = facts_of(lake)["release_id"]
    (before,) = {path.parent.name for path in lake.part_folder("releases", "all").glob("*/release.json")} - {now}
    takedowns.add(lake, {PAPER: [WINDOWS[0]]}, None)  # and no prune yet, so both are there
    served = Served(lake.root, SearcherOpener(), SpeakerOpener("cpu"))
    served.load(now)
    with pytest.raises(ContractError, match=f"learnt from {PAPER}"):
        served.load(before)


def test_paper_stays_away_under_other_settings(cleaned: Cleaned, tmp_path: Path) -> None:
    lake = Lake.open(shutil.copytree(cleaned.lake.root, tmp_path / "lake"))
    make("filter_papers", lake, windows=WINDOWS, max_papers_per_window=10)
    papers = lake.current("papers", WINDOWS[0])
    assert papers is not None
    assert papers.manifest.counts.dropped == {"taken_down": 1}


def test_taking_down_again_changes_nothing(cleaned: Cleaned) -> None:
    before = snapshot_of(cleaned.lake.root)
    take_down(cleaned.lake, "--why", "asked again")
    assert snapshot_of(cleaned.lake.root) == before


def test_export_before_the_next_run_has_no_pair_of_it(lake: Lake, tmp_path: Path) -> None:
    take_down(lake)
    export_dataset.export(lake, tmp_path / "out")
    tables = [pq.read_table(path, columns=["paper_id"]) for path in (tmp_path / "out/data").glob("*.parquet")]
    papers = {paper_id for table in tables for paper_id in table["paper_id"].to_pylist()}
    assert OTHER in papers
    assert PAPER not in papers


def test_pdf_goes_at_once(lake: Lake) -> None:
    take_down(lake)
    assert list(lake.pdf_files.rglob("*2401003*")) == []
    assert list(lake.pdf_files.rglob("*2401001*")) != []
