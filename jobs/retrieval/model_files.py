"""The files of a model, and what an embedder's say of it without loading it: no torch, a tenth of a second."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.errors import ContractError, InputMissingError
from jobs.corpus.token_counter import PACKAGED, load_token_counter

# What decides vectors. Exports for other runtimes (onnx, openvino) and pickled weights are neither read nor fetched.
MODEL_FILES = ("*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model")
# Describes what the model was trained on; decides nothing.
PASSED_OVER = ("data_config.json",)


@dataclass(frozen=True)
class Card:
    """What every reader of vectors must agree on. `revision`: sha256 over the model's files."""

    name: str
    revision: str
    dim: int
    pooling: str
    max_tokens: int


def find_model(name: str, commit: str | None = None) -> Path:
    """The folder of a model: a packaged name, a folder, or a name on the Hugging Face Hub (fetched or cached).

    Raises InputMissingError if there is none.
    """
    if name in PACKAGED:
        spec = importlib.util.find_spec(PACKAGED[name])
        if spec is None or not spec.submodule_search_locations:
            raise InputMissingError(
                f"embedder {name!r}: the package {PACKAGED[name]} is not installed. Install it with: make setup"
            )
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _fetch_from_hub(name, commit, is_offline=False)


def read_card(name: str) -> Card:
    """What an embedder's files say of it. Raises InputMissingError, or ContractError for files that say too little."""
    folder = find_model(name)
    dim, pooling = _read_modules(folder)
    return Card(name, revision_of(folder), dim, pooling, load_token_counter(name).max_tokens)


def installed_revision(name: str, commit: str | None = None) -> str | None:
    """The revision of a model that is on this machine already; None if it would have to be fetched."""
    try:
        is_here = name in PACKAGED or Path(name).expanduser().is_dir()
        return revision_of(find_model(name) if is_here else _fetch_from_hub(name, commit, is_offline=True))
    except InputMissingError:
        return None


@functools.cache
def revision_of(folder: Path) -> str:
    """sha256 over names and contents of the model's files; hashed once a process."""
    files = sorted({path for pattern in MODEL_FILES for path in folder.rglob(pattern) if path.is_file()})
    wanted = [path for path in files if path.name not in PASSED_OVER]
    if not any(path.suffix == ".safetensors" for path in wanted):
        raise InputMissingError(f"{folder} has no *.safetensors. Expected the folder of a sentence-transformers model.")
    lines = (f"{path.relative_to(folder).as_posix()} {durable.sha256_file(path)}\n" for path in wanted)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _fetch_from_hub(name: str, commit: str | None, *, is_offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name,
            revision=commit,
            allow_patterns=list(MODEL_FILES),
            ignore_patterns=["onnx/*", "openvino/*"],
            local_files_only=is_offline,
        )
        return Path(str(folder))
    except (OSError, ValueError) as error:  # the Hub's errors are kinds of OSError, a malformed name is a ValueError
        raise InputMissingError(
            f"model {name!r}: no folder of this name, and the Hugging Face Hub did not give it "
            f"({type(error).__name__}: {error}). Expected one of {', '.join(PACKAGED)}, a folder, or a name on the Hub."
        ) from error


def _read_modules(folder: Path) -> tuple[int, str]:
    """Length of a vector and pooling, from the list of modules that a sentence-transformers model is made of."""
    dim, pooling = 0, ""
    for module in _read_json(folder / "modules.json"):
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            config = _read_json(folder / module["path"] / "config.json")
            modes = _pooling_modes(config)
            dim = len(modes) * int(config.get("word_embedding_dimension") or config["embedding_dimension"])
            pooling = "+".join(modes)
        elif kind == "Dense":
            dim = int(_read_json(folder / module["path"] / "config.json")["out_features"])
    if not dim:
        raise ContractError(f"{folder}/modules.json names no pooling. Expected a sentence-transformers text model.")
    return dim, pooling


def _pooling_modes(config: dict[str, Any]) -> list[str]:
    """Pooling in today's form (`pooling_mode: mean`) and in the older one (`pooling_mode_mean_tokens: true`)."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return [mode] if isinstance(mode, str) else list(mode)
    flags = [name for name, is_on in config.items() if name.startswith("pooling_mode_") and is_on]
    return [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in flags]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ContractError(f"{path} cannot be read ({error}). Expected a sentence-transformers model.") from error
