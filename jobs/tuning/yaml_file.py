"""YAML files that users write: read with the keys that lead to each value, so that an error names file, key and value.

Every error is a UsageError that says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.config import REPOSITORY
from jobs.core.definition import repository_path
from jobs.core.errors import UsageError

FOLDER = REPOSITORY / "jobs" / "prompts"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def path_of(setting: str, name: str, built_in: str) -> Path:
    """The file that a built-in name or a path means; relative paths begin at the repository.

    Raises UsageError if there is none. `setting` is what it is given by.
    """
    path = FOLDER / f"{name}.yaml" if re.fullmatch(r"[\w-]+", name) else repository_path(name)
    if not path.is_file():
        raise UsageError(
            f"{setting} {name!r}: there is no file {path}. Expected the path of a YAML file, or {built_in}. "
            f"Begin with a copy of {FOLDER / f'{built_in}.yaml'}."
        )
    return path


def read(path: Path, content: bytes, built_in: str) -> Place:
    """The file's content. `built_in` is the file that shows the form."""
    import yaml

    try:
        _refuse_twins(path, yaml.compose(content, yaml.SafeLoader))
        loaded = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {error}. Expected the form of {FOLDER / f'{built_in}.yaml'}.") from error
    return Place(path, "the file", loaded)


def _refuse_twins(path: Path, node: Any) -> None:
    """Raise UsageError for a key that a mapping has twice: YAML takes the last without a word."""
    pairs = node.value if node is not None and node.id == "mapping" else ()
    for place, (key, inner) in enumerate(pairs):
        if key.value in [other.value for other, _ in pairs[:place]]:
            raise UsageError(
                f"{path}: line {key.start_mark.line + 1} has the key {key.value!r} again. Expected it once."
            )
        _refuse_twins(path, inner)
    for inner in node.value if node is not None and node.id == "sequence" else ():
        _refuse_twins(path, inner)


@dataclass(frozen=True)
class Place:
    """A value of the file and the keys that lead to it, for errors that name both."""

    path: Path
    key: str
    value: Any

    def refuse(self, expected: str) -> UsageError:
        """The error that says what stands there and what was expected."""
        shown = repr(self.value)
        return UsageError(
            f"{self.path}: {self.key} is {shown[:120]}{'…' if len(shown) > 120 else ''}. Expected {expected}."
        )

    def at(self, key: str | int) -> Place:
        """The value at a key of a mapping or a place of a list."""
        inner = f"{self.key}[{key}]" if isinstance(key, int) else key if self.key == "the file" else f"{self.key}.{key}"
        return Place(self.path, inner, self.value[key])

    def fields(self, *needed: str, may: Sequence[str] = ()) -> dict[str, Place]:
        """The values of a mapping that has all needed keys and no others than those and `may`."""
        if not isinstance(self.value, dict):
            raise self.refuse(f"a mapping with {', '.join(needed)}")
        unknown = [str(key) for key in self.value if key not in (*needed, *may)]
        missing = [key for key in needed if key not in self.value]
        if unknown or missing:
            said = [f"has {', '.join(unknown)}"] if unknown else []
            said += [f"lacks {', '.join(missing)}"] if missing else []
            raise UsageError(f"{self.path}: {self.key} {' and '.join(said)}. Expected {', '.join((*needed, *may))}.")
        return {key: self.at(key) for key in self.value}

    def named(self, known: Mapping[str, object] | None = None) -> dict[str, Place]:
        """The values of a mapping by name; with `known` no other name may be there."""
        if not isinstance(self.value, dict) or not self.value:
            raise self.refuse("a mapping that is not empty")
        for key in self.value:
            if known is not None and key not in known:
                raise UsageError(f"{self.path}: {self.key} has {key!r}. Expected some of: {', '.join(known)}.")
            if not isinstance(key, str) or not NAME.fullmatch(key):
                raise UsageError(
                    f"{self.path}: {self.key} has the name {key!r}. Expected small letters, digits, - and _."
                )
        return {key: self.at(key) for key in self.value}

    def items(self, least: int, most: int) -> list[Place]:
        """The values of a list of so many."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            raise self.refuse(f"a list of {least}" if least == most else f"a list of {least} to {most}")
        return [self.at(i) for i in range(len(self.value))]

    def text(self) -> str:
        """A text that is not empty, blanks at its ends removed."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.refuse("a text")
        return self.value.strip()

    def matching(self, pattern: re.Pattern[str], expected: str) -> str:
        """A text of a form."""
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            raise self.refuse(expected)
        return self.value
