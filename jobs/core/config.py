"""Settings: defaults < profile < the lake's definition < flags, into frozen dataclasses.

A setting is a dataclass field made by `setting`; its name is its flag with hyphens, its Make variable in capitals and
its key in a profile. One name means one thing: two stages that share a name share its type and default (a test holds).
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILES = Path(__file__).resolve().parents[1] / "profiles"

Settings = dict[str, Any]


def setting(
    default: Any,
    meaning: str,
    *,
    affects_rows: bool = False,
    choices: tuple[str, ...] = (),
    is_keyed_at_default: bool = True,
) -> Any:
    """A dataclass field that is a setting. `affects_rows`: a change makes other rows, so it is part of the key.

    Not `is_keyed_at_default`: only then; the key of what is made without it is that of before the setting was there.
    """
    metadata = {
        "meaning": meaning,
        "affects_rows": affects_rows,
        "choices": choices,
        "is_keyed_at_default": is_keyed_at_default,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Resolved:
    """A filled dataclass of settings and where each value came from: default, profile NAME, lake, flag."""

    values: Any
    origins: dict[str, str]

    def affecting_rows(self) -> Settings:
        """The settings that are part of a part's key."""
        return {
            field.name: getattr(self.values, field.name)
            for field in dataclasses.fields(self.values)
            if field.metadata.get("affects_rows")
            and (field.metadata["is_keyed_at_default"] or getattr(self.values, field.name) != field.default)
        }


def load_profile(name: str) -> Settings:
    """The settings of a profile, only what differs from the defaults. Raises UsageError for an unknown profile."""
    import yaml

    path = PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in PROFILES.glob("*.yaml")))
        raise UsageError(f"profile {name!r} is unknown. Expected one of: {known} (files of jobs/profiles/).")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}. Expected `name: value` lines.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}. Expected `name: value` lines.")
    return content


def resolve(cls: type, layers: Mapping[str, Settings]) -> Resolved:
    """Fill a dataclass of settings from layers (origin -> settings, weakest first); names of others are passed over.

    A class may offer `derive(values)`, which answers {name: (value, origin)} of the settings that follow from others.
    Raises UsageError where a value has the wrong type or is not among the choices, or is given although it follows.
    """
    values: Settings = {}
    origins: dict[str, str] = {}
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        values[field.name], origins[field.name] = field.default, "default"
        for origin, layer in layers.items():
            if field.name in layer:
                values[field.name] = _coerce(field, hints[field.name], layer[field.name], origin)
                origins[field.name] = origin
    for name, (value, origin) in cls.derive(values).items() if hasattr(cls, "derive") else ():
        if origins[name] != "default":
            raise UsageError(f"{name}={values[name]!r} ({origins[name]}): expected none, it follows from {origin}.")
        values[name], origins[name] = value, origin
    return Resolved(cls(**values), origins)


def refuse_unknown(names: typing.Iterable[str], known: set[str], where: str) -> None:
    """Raise UsageError for the first name that no stage knows, with the nearest known one."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "`python -m jobs config STAGE` lists a stage's settings."
            raise UsageError(f"{where} has an unknown setting {name!r}. {hint}")


def parse_text(cls: type, name: str, text: str) -> Any:
    """A setting's value from the text of a flag. Lists are parted by blanks. Raises UsageError."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    hint, is_optional = _unwrap_optional(typing.get_type_hints(cls)[name])
    if is_optional and text in ("", "none", "null"):
        return None
    if typing.get_origin(hint) is tuple:
        return tuple(text.split())
    if hint is bool:
        lowered = text.lower()
        if lowered not in ("true", "false", "1", "0", "yes", "no"):
            raise UsageError(f"--{flag_of(name)} {text!r}: expected true or false.")
        return lowered in ("true", "1", "yes")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError as error:
            raise UsageError(f"--{flag_of(name)} {text!r}: expected a number ({hint.__name__}).") from error
    return _coerce(field, hint, text, "flag")


def flag_of(name: str) -> str:
    """The flag of a setting, without its dashes: chunk_chars -> chunk-chars."""
    return name.replace("_", "-")


def _coerce(field: dataclasses.Field[Any], hint: Any, value: Any, origin: str) -> Any:
    hint, is_optional = _unwrap_optional(hint)
    if value is None and is_optional:
        return None
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    expected = typing.get_origin(hint) or hint
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise UsageError(f"{field.name}={value!r} ({origin}): expected {getattr(hint, '__name__', hint)}.")
    choices = field.metadata.get("choices") or ()
    if choices and value not in choices:
        raise UsageError(f"{field.name}={value!r} ({origin}): expected one of {', '.join(choices)}.")
    return value


def _unwrap_optional(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return inner[0], True
    return hint, False
