"""What a lake is about: its definition, kept in LAKE.json, and where its papers come from.

The definition decides rows of every stage, so a lake has exactly one. A run that asks for another is refused: it wants
another lake, or `--redefine`. The source and the profile stand beside it so that a later trigger finds them; they
decide no rows, so flags may change them at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core import durable
from jobs.core.config import REPOSITORY, Settings, setting
from jobs.core.errors import ContractError, UsageError
from jobs.core.mirror import disk_of
from jobs.core.windows import GRIDS

LAKE_FILE = "LAKE.json"
# Kinds of source, and which parts of `snapshots` each fills.
SOURCE_PARTS = {"file": ("file",), "folder": ("folder",), "kaggle": ("kaggle", "oai"), "oai": ("oai",)}
SOURCE_KINDS = tuple(SOURCE_PARTS)
REMOTE_KINDS = ("kaggle", "oai")
# arXiv's bucket at Google, which may be asked fast but lags behind; then arXiv's own server for programs.
ARXIV_PDFS = "gs://arxiv-dataset https://export.arxiv.org"
SPLITS = (("train", 0.7), ("validation", 0.1), ("test", 0.2))


@dataclass(frozen=True)
class Definition:
    """What the lake is about. All settings; equal definitions over equal input make equal keys in any lake."""

    categories: tuple[str, ...] = setting((), "arXiv categories, whole; a paper needs one of them; empty: all")
    keywords: tuple[str, ...] = setting((), "words of which title or abstract must have one; empty: no such filter")
    ids: tuple[str, ...] = setting((), "arXiv ids, or the path of a file with one a line; empty: no such filter")
    grid: str = setting("week", "length of a window", choices=GRIDS)
    select_by: str = setting("submitted", "date that puts a paper into a window", choices=("submitted", "updated"))
    chunk_chars: int = setting(1000, "characters that a chunk aims at")
    chunking: str = setting(
        "sections", "sections: never across a section; plain: fixed size", choices=("sections", "plain")
    )
    embedder: str = setting("all-MiniLM-L6-v2", "sentence-transformers model: its tokenizer bounds the chunks")
    split_salt: str = setting("spark-arxiv", "salt of the hash that puts a paper into train, validation or test")


@dataclass(frozen=True)
class Source:
    """Where the papers come from. In no key: the same papers from elsewhere are the same papers."""

    source: str | None = setting(
        None, "kind of source; found from metadata and pdfs if not given", choices=SOURCE_KINDS
    )
    metadata: str | None = setting(None, "JSON-lines file in the form of Kaggle's arXiv file (.json, .json.gz, .zip)")
    pdfs: str | None = setting(
        None, "folder of PDFs, or addresses (https://, gs://) that have them, in the order to ask them"
    )

    @property
    def kind(self) -> str:
        """One of SOURCE_KINDS; a PDF folder without metadata is `folder`. Raises UsageError if nothing is given."""
        if self.source:
            return self.source
        if self.metadata:
            return "file"
        if self.pdfs:
            return "folder"
        raise UsageError(
            "No source of papers. Give --metadata FILE with --pdfs FOLDER, --pdfs FOLDER alone, or --source kaggle|oai."
        )

    def with_pdfs(self) -> Source:
        """The source with a place for its PDFs: what arXiv tells of has its PDFs at arXiv, unless said otherwise."""
        if self.pdfs or self.source not in REMOTE_KINDS:
            return self
        return dataclasses.replace(self, pdfs=ARXIV_PDFS)


@dataclass(frozen=True)
class LakeFile:
    """The content of LAKE.json."""

    name: str
    definition: Definition
    source: Source
    profile: str

    def to_json(self) -> bytes:
        """What LAKE.json holds."""
        return durable.pretty_json(
            {
                "name": self.name,
                "definition": dataclasses.asdict(self.definition),
                "source": dataclasses.asdict(self.source),
                "profile": self.profile,
            }
        )


def read_lake_file(address: Path | str) -> LakeFile | None:
    """LAKE.json of a lake, or None if there is no lake yet. Raises ContractError if it cannot be understood."""
    seen = disk_of(address).look(LAKE_FILE)
    if seen is None:
        return None
    try:
        content: dict[str, Any] = json.loads(seen.content)
        definition = Definition(**_tuples(content["definition"]))
        source = Source(**content["source"])
        return LakeFile(content["name"], definition, source, content["profile"])
    except (ValueError, KeyError, TypeError) as error:
        raise ContractError(
            f"{address}/{LAKE_FILE} cannot be read as a lake's definition ({error!r}). Expected what `python -m jobs` "
            "wrote. Restore it from a copy, or start another lake."
        ) from error


def differences(old: Definition, asked: Settings) -> dict[str, tuple[Any, Any]]:
    """Settings of the definition that the flags ask for and the lake does not have: name -> (lake's, asked)."""
    return {
        name: (getattr(old, name), value)
        for name, value in asked.items()
        if name in {field.name for field in dataclasses.fields(Definition)} and getattr(old, name) != value
    }


def read_ids(words: tuple[str, ...]) -> tuple[str, ...]:
    """The ids of a flag, sorted: given themselves, or one a line in a file, blanks and # comments passed over."""
    ids: set[str] = set()
    for word in words:
        path = Path(word)
        if path.is_file():
            lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
            ids.update(line for line in lines if line)
        elif path.suffix in (".txt", ".csv", ".ids"):
            raise UsageError(f"{word}: no such file. Expected a file with one arXiv id a line, or ids.")
        else:
            ids.add(word)
    return tuple(sorted(ids))


def default_root(definition: Definition, source: Source, name: str | None) -> Path:
    """The lake of a corpus that none was named for: lakes/sample, else lakes/<name or slug of categories or folder>."""
    if (
        name is None
        and source.kind == "file"
        and repository_path(source.metadata or "").parent == REPOSITORY / "sample"
    ):
        name = "sample"
    if name is None:
        name = "-".join(definition.categories) or Path(source.pdfs or source.metadata or source.kind).stem
    return Path("lakes") / slug(name)


def slug(text: str) -> str:
    """A folder name from any text: lower case, letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "lake"


def repository_path(text: str) -> Path:
    """A path of a profile or LAKE.json: relative ones are relative to the repository."""
    path = Path(text)
    return path if path.is_absolute() else REPOSITORY / path


def split_of(salt: str, paper_id: str) -> str:
    """train, validation or test. Depends on the paper without its version and never changes (DESIGN 1)."""
    point = int.from_bytes(hashlib.sha256(f"{salt}\n{paper_id}".encode()).digest()[:8], "big") / 2**64
    total = 0.0
    for name, share in SPLITS:
        total += share
        if point < total:
            return name
    return SPLITS[-1][0]


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
