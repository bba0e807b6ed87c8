"""The dataset that leaves the house: whole, split as the lake splits, and no text that a licence does not let go."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.core import cli
from jobs.core.errors import InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.retrieval import passages
from jobs.tuning import export_dataset
from tests.tuning import tuning_house as house

FREE = "http://creativecommons.org/licenses/by/4.0/"
ARXIV = "http://arxiv.org/licenses/nonexclusive-distrib/1.0/"
N_PAPERS = 8


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return house.build_house(tmp_path_factory.mktemp("export") / "lake", N_PAPERS)


@pytest.fixture
def licensed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Papers with even numbers are free, the others arXiv's own."""
    read = export_dataset._passages_of

    def with_licences(index: Any) -> dict[str, Any]:
        known = read(index)
        return {
            chunk_id: row | {"license": FREE if int(chunk_id[5:10]) % 2 == 0 else ARXIV}
            for chunk_id, row in known.items()
        }

    monkeypatch.setattr(export_dataset, "_passages_of", with_licences)


def rows(folder: Path) -> list[dict[str, Any]]:
    found = [pq.read_table(folder / "data" / f"{name}.parquet").to_pylist() for name in export_dataset.SPLITS]
    return [row for part in found for row in part]


def test_every_pair_leaves_with_its_source_and_split(lake: Lake, tmp_path: Path) -> None:
    assert export_dataset.export(lake, tmp_path / "out") == 2 * N_PAPERS
    found = rows(tmp_path / "out")
    qa = lake.current("qa", "all")
    assert qa
    assert {(row["qa_id"], row["split"]) for row in found} == {(row["qa_id"], row["split"]) for row in qa.rows()}
    urls = {row["paper_id"]: row["url"] for row in found}
    assert urls[house.paper_id(3)] == f"https://arxiv.org/abs/{house.paper_id(3)}v1"
    assert urls[house.paper_id(0)] is None, "no id that arXiv gives out"


@pytest.mark.usefixtures("licensed")
def test_passage_leaves_only_under_a_licence_that_permits_it(lake: Lake, tmp_path: Path) -> None:
    export_dataset.export(lake, tmp_path / "out")
    free = {number for number in range(N_PAPERS) if number % 2 == 0}
    assert {int(row["paper_id"][5:]) for row in rows(tmp_path / "out") if row["context"]} == free
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*") if path.suffix in (".md", ".json", ".jsonl")]
    written = json.dumps(rows(tmp_path / "out")) + "".join(texts)
    assert {number for number in range(N_PAPERS) if house.text_of(number) in written} == free


def test_long_quote_is_cut(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_dataset, "cut", lambda text: text[:20])
    export_dataset.export(lake, tmp_path / "out")
    assert {len(quote) for row in rows(tmp_path / "out") for quote in row["evidence"]} == {20}


@pytest.mark.usefixtures("licensed")
def test_long_answer_leaves_only_from_a_free_paper(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export_dataset, "MAX_QUOTE_CHARS", 20)
    with caplog.at_level("WARNING", "jobs"):
        assert export_dataset.export(lake, tmp_path / "out") == N_PAPERS
    assert {int(row["paper_id"][5:]) % 2 for row in rows(tmp_path / "out")} == {0}
    assert f"{N_PAPERS} pairs are left out: long answers" in caplog.text


def test_plain_list_is_of_the_train_split_alone(lake: Lake, tmp_path: Path) -> None:
    export_dataset.export(lake, tmp_path / "out")
    plain = json.loads((tmp_path / "out" / export_dataset.PLAIN_FILE).read_text())
    train = [row for row in rows(tmp_path / "out") if row["split"] == "train"]
    assert plain == [{"question": row["question"], "answer": row["answer"]} for row in train]
    assert 0 < len(plain) < 2 * N_PAPERS


def test_chats_have_a_turn_each(lake: Lake, tmp_path: Path) -> None:
    export_dataset.export(lake, tmp_path / "out")
    lines = (tmp_path / "out" / "chat" / "train.jsonl").read_text().splitlines()
    assert [one["role"] for one in json.loads(lines[0])["messages"]] == ["user", "assistant"]


def test_refusal_leaves_with_its_passage_alone(tmp_path: Path) -> None:
    lake = house.build_house(tmp_path / "lake", N_PAPERS)
    train = next(n for n in range(N_PAPERS) if house.paper_id(n) in house.papers_of("train"))
    impossible = house.pair(train, 9, "Which awards has it won?", "No.", is_answerable=False, evidence=[])
    house.publish(lake, "qa", "all", [*house.pairs_of(train), impossible])
    export_dataset.export(lake, tmp_path / "out")
    assert [row["question"] for row in rows(tmp_path / "out") if not row["is_answerable"]] == [impossible["question"]]
    written = [path.read_text() for path in (tmp_path / "out").rglob("*.json*")]
    assert not any(impossible["question"] in text for text in written)
    assert "1 have\nno answer in the papers" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("licensed")
def test_card_counts_what_is_there(lake: Lake, tmp_path: Path) -> None:
    export_dataset.export(lake, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{2 * N_PAPERS} pairs of {N_PAPERS} papers" in card
    assert f"| {FREE} | {N_PAPERS} | yes |" in card
    assert f"| {ARXIV} | {N_PAPERS} | no |" in card
    qa = lake.current("qa", "all")
    assert qa
    assert qa.folder.name in card
    assert "judged by no model." in card


def test_card_names_the_judge(lake: Lake) -> None:
    qa = lake.current("qa", "all")
    assert qa
    manifest = dataclasses.replace(qa.manifest, extra={"judge": {"name": "openai:toy", "prompt": "judge@1"}})
    card = export_dataset.card([], lake, dataclasses.replace(qa, manifest=manifest))
    assert "judged by openai:toy, prompt judge@1." in card


def test_pair_of_an_older_version_is_left_out_and_said(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = export_dataset._passages_of
    gone = f"{house.paper_id(3)}v1#0"
    monkeypatch.setattr(
        export_dataset, "_passages_of", lambda index: {k: v for k, v in read(index).items() if k != gone}
    )
    with caplog.at_level("WARNING", "jobs"):
        assert export_dataset.export(lake, tmp_path / "out") == 2 * (N_PAPERS - 1)
    assert "2 pairs are left out" in caplog.text


def test_folder_with_something_in_it_is_refused(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds something"):
        export_dataset.export(lake, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_killed_export_is_in_no_way_of_the_next(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / ".out.partial" / "data").mkdir(parents=True)
    export_dataset.export(lake, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_lake_without_pairs_says_what_to_run(tmp_path: Path) -> None:
    bare = house.build_house(tmp_path / "lake", 1)
    (bare.root / "qa" / "all" / "CURRENT").unlink()
    with pytest.raises(InputMissingError, match="python -m jobs curate_qa"):
        export_dataset.export(bare, tmp_path / "out")


def test_command_exports(lake: Lake, tmp_path: Path) -> None:
    assert cli.main(["export_dataset", "--lake", str(lake.root), "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "README.md").is_file()
    assert passages.FILE not in {path.name for path in (tmp_path / "out").rglob("*")}
