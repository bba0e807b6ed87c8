"""What `list` and `config` print: lines that a person reads and a script can cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.core import cli, planning
from jobs.core.lake import Lake
from jobs.core.stages import STAGES
from tests.core.conftest import Say
from tests.corpus.test_filter_papers import WEEK


def test_list_begins_with_what_the_lake_is_about(looked_at: Lake, say: Say) -> None:
    assert say("list")[0].startswith(f"test ({looked_at.root}) profile=demo categories=cs.LG grid=week")


def test_list_has_a_line_a_dataset_in_the_pipelines_order(say: Say) -> None:
    assert [one.split()[0] for one in say("list")[1:]] == ["snapshots", "papers", "pdfs", "documents", "chunks"]


def test_list_tells_parts_rows_bytes_and_counters(looked_at: Lake, say: Say) -> None:
    (told,) = [one for one in say("list") if one.startswith("papers")]
    made = looked_at.current("papers", WEEK)
    assert made is not None
    size = sum(file["bytes"] for file in made.manifest.files.values())
    assert f"papers      parts=1 rows=2 bytes={size} seconds=" in told
    assert told.endswith("read=2 kept=2 dropped=0")


def test_list_tells_what_was_forecast_beside_what_it_took(looked_at: Lake, say: Say) -> None:
    rates = json.loads(planning.RATES_FILE.read_text())["filter_papers"]
    (told,) = [one for one in say("list") if one.startswith("papers")]
    assert f" forecast={2 * rates['seconds_per_paper'] + rates['fixed_seconds']:.1f} " in told


def test_list_has_no_forecast_where_no_rate_is_known(say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(planning, "RATES_FILE", tmp_path / "none.json")
    assert not any("forecast=" in one for one in say("list"))


def test_list_counts_the_pdfs_themselves(looked_at: Lake, say: Say) -> None:
    (before,) = [one for one in say("list") if one.startswith("pdfs")]
    looked_at.pdf_files.mkdir(parents=True)
    (looked_at.pdf_files / "a.pdf").write_bytes(b"123456789")
    (after,) = [one for one in say("list") if one.startswith("pdfs")]
    assert bytes_of(after) == bytes_of(before) + 9


def bytes_of(told: str) -> int:
    return int(told.split(" bytes=")[1].split()[0])


def test_config_tells_value_origin_and_meaning(say: Say) -> None:
    lines = say("config", "filter_papers", "--profile", "t4", "--max-malformed-01", "0.5")
    assert "max_papers_per_window = 20  (profile t4)  papers of a window at most, in order of id hash; 0: all" in lines
    assert any(one.startswith("max_malformed_01 = 0.5  (flag)  ") for one in lines)
    assert any(one.startswith("categories = cs.LG  (lake)  ") for one in lines)
    assert any(one.startswith("spark_master = local[*]  (default)  ") for one in lines)


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage.room == "corpus"])
def test_config_of_every_stage_has_a_meaning_a_line(say: Say, stage: str) -> None:
    lines = say("config", stage)
    assert lines
    assert all(len(one.split("  ", maxsplit=2)[2]) > 10 for one in lines)


def test_config_says_which_prompts_decide(say: Say) -> None:
    told = next(line for line in say("config", "synthesize_qa") if line.startswith("prompt_version"))
    assert "prompt_version = default@" in told
    assert "jobs/prompts/default.yaml)" in told


def test_config_needs_no_lake(capsys: pytest.CaptureFixture[str], say: Say) -> None:
    assert cli.main(["config", "chunk_documents"]) == 0
    assert "chunk_chars = 1000  (default)" in capsys.readouterr().out


def test_config_of_no_stage_is_64(say: Say) -> None:
    assert "'chunk' is no stage" in say("config", "chunk", code=64)[-1]
