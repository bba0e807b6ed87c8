"""What a lake is about, and how a request finds it: LAKE.json, sources, ids, splits, windows."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from jobs.core.cli import stage_parser
from jobs.core.config import REPOSITORY
from jobs.core.definition import (
    SPLITS,
    Definition,
    LakeFile,
    Source,
    default_root,
    differences,
    read_ids,
    read_lake_file,
    slug,
    split_of,
)
from jobs.core.errors import ContractError, UsageError
from jobs.core.lake import Lake
from jobs.core.request import make_request, parse_settings
from jobs.core.runner import Request

WEEK = "2024-01-01_2024-01-08"


def ask(root: Path, *words: str) -> Request:
    """What a stage's command line asks for, over one week unless it says otherwise."""
    given = ["--lake", str(root), *([] if {"--from", "--window"} & set(words) else ["--window", WEEK]), *words]
    options, rest = stage_parser("run").parse_known_args(given)
    return make_request(options, rest, may_create=True)


def test_lake_file_round_trips(tmp_path: Path) -> None:
    definition = Definition(categories=("cs.LG", "cs.CL"), ids=("2401.00001",), grid="month")
    lake_file = LakeFile("mine", definition, Source(metadata="a.jsonl", pdfs="pdfs"), "t4")
    Lake.create(tmp_path, lake_file)
    assert read_lake_file(tmp_path) == lake_file


def test_folder_without_lake_file_has_no_definition(tmp_path: Path) -> None:
    assert read_lake_file(tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("definition"),
        lambda content: content["definition"].update(colour="red"),
        lambda content: content["source"].update(colour="red"),
        lambda content: content.pop("profile"),
    ],
)
def test_lake_file_of_another_form_is_refused(lake: Lake, change) -> None:
    path = lake.root / "LAKE.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ContractError, match="Restore it from a copy"):
        read_lake_file(lake.root)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (Source(metadata="a.jsonl"), "file"),
        (Source(metadata="a.jsonl", pdfs="pdfs"), "file"),
        (Source(pdfs="pdfs"), "folder"),
        (Source(source="oai", pdfs="pdfs"), "oai"),
    ],
)
def test_kind_of_a_source_follows_from_what_is_given(source: Source, kind: str) -> None:
    assert source.kind == kind


@pytest.mark.parametrize(
    ("source", "pdfs"),
    [
        (Source(source="oai"), "gs://arxiv-dataset https://export.arxiv.org"),
        (Source(source="kaggle"), "gs://arxiv-dataset https://export.arxiv.org"),
        (Source(source="kaggle", pdfs="own"), "own"),
        (Source(metadata="a.jsonl"), None),
    ],
)
def test_pdfs_of_what_arxiv_tells_of_are_at_arxiv(source: Source, pdfs: str | None) -> None:
    assert source.with_pdfs().pdfs == pdfs


def test_no_source_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="--metadata FILE"):
        _ = Source().kind


def test_ids_come_from_words_and_files_sorted_and_once(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("2401.00003  # the best\n\n# all of it\n2401.00001\n")
    assert read_ids(("2401.00002", str(tmp_path / "own.txt"), "2401.00001")) == (
        "2401.00001",
        "2401.00002",
        "2401.00003",
    )


def test_file_of_ids_that_is_missing_is_refused() -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_ids(("missing.txt",))


@pytest.mark.parametrize(
    ("paper_id", "expected"),
    [
        ("2401.00001", "validation"),
        ("2401.00002", "train"),
        ("1706.03762", "test"),
        ("hep-th/9109009", "train"),
        ("sample/2401002", "test"),
    ],
)
def test_split_of_a_paper_never_changes(paper_id: str, expected: str) -> None:
    assert split_of("spark-arxiv", paper_id) == expected


def test_splits_have_their_shares_of_many_papers() -> None:
    counted = Counter(split_of("salt", f"2401.{n:05}") for n in range(10_000))
    for name, share in SPLITS:
        assert abs(counted[name] / 10_000 - share) < 0.02, counted


def test_split_depends_on_the_salt() -> None:
    ids = [f"2401.{n:05}" for n in range(200)]
    assert [split_of("a", one) for one in ids] != [split_of("b", one) for one in ids]


def test_differences_name_what_was_asked_and_differs() -> None:
    lake = Definition(categories=("cs.LG",))
    asked = {"categories": ("cs.CL",), "grid": "week", "max_pdf_mb": 7}
    assert differences(lake, asked) == {"categories": (("cs.LG",), ("cs.CL",))}


@pytest.mark.parametrize(
    ("text", "expected"), [("cs.LG cs.CL", "cs-lg-cs-cl"), ("  Meine Papiere! ", "meine-papiere"), ("…", "lake")]
)
def test_slug_is_a_folder_name(text: str, expected: str) -> None:
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("definition", "source", "name", "expected"),
    [
        (Definition(), Source(metadata="sample/metadata.jsonl"), None, "sample"),
        (Definition(categories=("cs.LG",)), Source(metadata="own.jsonl"), None, "cs-lg"),
        (Definition(), Source(pdfs="/home/me/My Papers"), None, "my-papers"),
        (Definition(), Source(metadata="/data/own.jsonl"), None, "own"),
        (Definition(categories=("cs.LG",)), Source(metadata="sample/metadata.jsonl"), "Mine", "mine"),
        (Definition(), Source(source="oai"), None, "oai"),
    ],
)
def test_lake_that_none_was_named_for_has_a_folder_of_its_own(
    definition: Definition, source: Source, name: str | None, expected: str
) -> None:
    assert default_root(definition, source, name) == Path("lakes") / expected


def test_new_lake_takes_its_definition_from_profile_and_flags(tmp_path: Path) -> None:
    lake = ask(tmp_path / "new", "--categories", "cs.LG", "--chunk-chars=500").lake
    assert (lake.definition.categories, lake.definition.chunk_chars) == (("cs.LG",), 500)
    assert read_lake_file(tmp_path / "new") == lake.lake_file
    assert lake.lake_file.profile == "demo"


def test_own_source_replaces_the_profiles_whole(tmp_path: Path) -> None:
    source = ask(tmp_path / "new", "--pdfs", str(tmp_path), "--grid", "week").lake.lake_file.source
    assert source == Source(pdfs=str(tmp_path))


def test_without_a_source_the_profiles_is_used(tmp_path: Path) -> None:
    source = ask(tmp_path / "new", "--grid", "week").lake.lake_file.source
    assert (source.metadata, source.pdfs) == ("sample/metadata.jsonl", "sample/pdf")


def test_paths_of_flags_are_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_settings(["--metadata", "own.jsonl"])["metadata"] == str(tmp_path / "own.jsonl")
    assert parse_settings(["--pdfs", "https://example.org/a"])["pdfs"] == "https://example.org/a"


def test_another_definition_is_refused_with_the_advice(lake: Lake) -> None:
    with pytest.raises(UsageError, match=r"categories is \(\), asked \('cs.LG',\).*--redefine"):
        ask(lake.root, "--categories", "cs.LG")
    assert read_lake_file(lake.root) == lake.lake_file


def test_same_definition_by_flags_is_accepted(lake: Lake) -> None:
    assert ask(lake.root, "--chunk-chars", "1000").lake.definition == lake.definition


def test_redefine_changes_the_lake(lake: Lake) -> None:
    ask(lake.root, "--categories", "cs.LG", "--redefine")
    changed = read_lake_file(lake.root)
    assert changed == dataclasses.replace(
        lake.lake_file, definition=dataclasses.replace(lake.definition, categories=("cs.LG",))
    )


def test_redefine_in_a_plan_changes_nothing(lake: Lake) -> None:
    options, words = stage_parser("plan").parse_known_args(
        ["--lake", str(lake.root), "--window", WEEK, "--redefine", "--categories", "cs.LG"]
    )
    options.is_dry = True
    asked = make_request(options, words, may_create=True)
    assert asked.lake.definition.categories == ("cs.LG",)
    assert read_lake_file(lake.root) == lake.lake_file


def test_source_given_once_overrides_without_staying(lake: Lake) -> None:
    asked = ask(lake.root, "--pdfs", str(lake.root))
    assert asked.lake.lake_file.source == Source(metadata="toy.jsonl", pdfs=str(lake.root))
    assert read_lake_file(lake.root) == lake.lake_file


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--window", WEEK, "--window", "2023-12-25_2024-01-01", "--window", WEEK], ["2023-12-25_2024-01-01", WEEK]),
        (["--from", "2024-01-03", "--to", "2024-01-08"], [WEEK, "2024-01-08_2024-01-15"]),
    ],
)
def test_windows_are_sorted_once_each_and_rounded_out(lake: Lake, words: list[str], names: list[str]) -> None:
    assert [window.name for window in ask(lake.root, *words).windows] == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "2024-01-03"], "Only one of --from and --to"),
        (["--from", "2024-01-03", "--to", "2024-01-09", "--window", WEEK], "one or the other"),
        (["--window", "2024-01-02_2024-01-09"], "--from and --to"),
        (["--chunk-char", "7"], "Did you mean chunk_chars"),
        (["--chunk-chars"], "has no value"),
        (["chunks"], "is not understood"),
        (["--profile", "laptop"], "demo, multi_gpu, t4"),
    ],
)
def test_request_that_cannot_be_meant_is_refused(lake: Lake, words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ask(lake.root, *words)


def test_lake_remembers_its_profile(tmp_path: Path) -> None:
    ask(tmp_path / "new", "--profile", "t4")
    assert list(ask(tmp_path / "new").layers) == ["profile t4", "flag"]


def test_repository_has_the_profiles_sample() -> None:
    assert (REPOSITORY / "sample" / "pdf").is_dir()
