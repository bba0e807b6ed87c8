"""What an embedder's files say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.core.errors import ContractError, InputMissingError
from jobs.retrieval import model_files

pytestmark = pytest.mark.slow  # lakes and files: together they would double the quick slice

POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
MODULES = [{"type": "sentence_transformers.models.Transformer", "path": ""}]


def model(folder: Path, pooling: dict[str, object] = POOLING, dense: int | None = None) -> Path:
    """The small files of a sentence-transformers model, with weights of a few bytes."""
    modules = [*MODULES, {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    write(folder / "1_Pooling" / "config.json", pooling)
    if dense:
        modules.append({"type": "sentence_transformers.models.Dense", "path": "2_Dense"})
        write(folder / "2_Dense" / "config.json", {"in_features": 32, "out_features": dense})
    write(folder / "modules.json", modules)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 64})
    known = json.loads((model_files.find_model("all-MiniLM-L6-v2") / "tokenizer.json").read_bytes())
    write(folder / "tokenizer.json", known)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def changed_revision(folder: Path) -> str:
    model_files.revision_of.cache_clear()
    return model_files.revision_of(folder)


def test_packaged_model_is_known_without_torch() -> None:
    card = model_files.read_card("all-MiniLM-L6-v2")
    assert (card.dim, card.pooling, card.max_tokens) == (384, "mean", 256)


def test_folder_says_what_it_is(tmp_path: Path) -> None:
    card = model_files.read_card(str(model(tmp_path)))
    assert (card.dim, card.pooling, card.max_tokens) == (32, "mean", 64)


def test_pooling_in_todays_form_is_understood(tmp_path: Path) -> None:
    card = model_files.read_card(str(model(tmp_path, {"embedding_dimension": 32, "pooling_mode": ["cls", "max"]})))
    assert (card.dim, card.pooling) == (64, "cls+max")


def test_dense_layer_decides_the_length(tmp_path: Path) -> None:
    assert model_files.read_card(str(model(tmp_path, dense=8))).dim == 8


def test_model_without_pooling_breaks_the_contract(tmp_path: Path) -> None:
    write(model(tmp_path) / "modules.json", MODULES)
    with pytest.raises(ContractError, match="names no pooling"):
        model_files.read_card(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_revision_changes_with_what_decides_vectors(tmp_path: Path, name: str) -> None:
    before = changed_revision(model(tmp_path))
    with (tmp_path / name).open("ab") as file:
        file.write(b" ")
    assert changed_revision(tmp_path) != before


@pytest.mark.parametrize("name", ["README.md", "data_config.json", "onnx/model.onnx"])
def test_revision_does_not_change_with_what_does_not(tmp_path: Path, name: str) -> None:
    before = changed_revision(model(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"other")
    assert changed_revision(tmp_path) == before


def test_revision_does_not_depend_on_the_place(tmp_path: Path) -> None:
    assert changed_revision(model(tmp_path / "a")) == changed_revision(model(tmp_path / "b"))


def test_folder_without_weights_is_missing_input(tmp_path: Path) -> None:
    (model(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(InputMissingError, match=r"no \*\.safetensors"):
        changed_revision(tmp_path)


def test_name_that_is_nowhere_is_missing_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputMissingError, match=r"nobody/nothing.*no folder of this name"):
        model_files.find_model("nobody/nothing")
    assert model_files.installed_revision("nobody/nothing") is None
