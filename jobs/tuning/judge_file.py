"""What a judge is asked: wording from a YAML file that anyone can copy. `jobs/prompts/judge.yaml` explains the form.

What does not fit it is refused with file, key and value, before any judge is asked. `prompts.py` builds the messages.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from jobs.core import durable
from jobs.tuning import yaml_file
from jobs.tuning.prompts import ANSWERABLE, UNANSWERABLE, VERDICT_NAMES
from jobs.tuning.yaml_file import NAME, Place

BUILT_IN = "judge"
PAIRS, ANSWERS = "pairs", "answers"
SPLIT, CHECK = "split", "check"
_TEXTS = {PAIRS: (ANSWERABLE, UNANSWERABLE), ANSWERS: (SPLIT, CHECK)}


@dataclass(frozen=True)
class JudgeFile:
    """See the module. `texts` by section (PAIRS, ANSWERS) and name."""

    name: str
    texts: dict[str, dict[str, str]]

    def version(self, section: str) -> str:
        """Name, and a hash of all that a judge reads of a section: its verdicts carry it."""
        told = [self.texts[section], VERDICT_NAMES if section == PAIRS else None]
        return f"{self.name}@{durable.sha256_bytes(durable.canonical_json(told))[:12]}"


def load(name: str) -> JudgeFile:
    """The texts of the built-in file by its name, or of a YAML file by its path. Raises UsageError."""
    path = path_of(name)
    return _read(path, path.read_bytes())


def path_of(name: str) -> Path:
    """The file that a name or a path means. Raises UsageError if there is none."""
    return yaml_file.path_of("judge_prompts", name, BUILT_IN)


@functools.lru_cache(maxsize=8)
def _read(path: Path, content: bytes) -> JudgeFile:
    """Read once a content, since every stage of a run resolves its settings."""
    root = yaml_file.read(path, content, BUILT_IN).fields("name", *_TEXTS)
    name = root["name"].matching(NAME, "a name of small letters, digits, - and _")
    return JudgeFile(name, {section: _texts(root[section], names) for section, names in _TEXTS.items()})


def _texts(place: Place, names: tuple[str, ...]) -> dict[str, str]:
    return {name: found.text() for name, found in place.fields(*names).items()}
