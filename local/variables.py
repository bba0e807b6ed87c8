"""Make variables as settings: METADATA=x is --metadata x, and what a run's form is told of them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.core.definition import Definition, Source
from jobs.core.errors import UsageError

NOT_SETTINGS = {"AIRFLOW_PORT", "APP_PORT", "YES", "ARGS", "PYTHON", "PYTHON_BIN", "SHELL", "FAST"}
BARE = {"upgrade", "redefine"}  # flags without a value: UPGRADE=1
FORM_TEXT = ("from", "to", "goal", "profile", "only")
FORM_NUMBER = ("max_papers_per_window",)
ONLY_AT_START = {"lake", "name"}  # the plan made the lake; the form gets its folder
PATHS = {"metadata", "pdfs"}
# Of one run, or kept in LAKE.json.
NOT_STANDING = {"from", "to", "only", "profile", *BARE, *ONLY_AT_START} | {
    field.name for cls in (Definition, Source) for field in dataclasses.fields(cls)
}


@dataclass(frozen=True)
class Given:
    """Settings from the command line of make, by their names: from, goal, max_papers_per_window, …"""

    values: dict[str, str]

    @classmethod
    def of(cls, names: list[str], environment: Mapping[str, str]) -> Given:
        """The variables that make says were given; it exports their values."""
        wanted = [name for name in names if name not in NOT_SETTINGS and environment.get(name)]
        return cls({name.lower(): environment[name] for name in wanted})

    @property
    def flags(self) -> list[str]:
        """Flags of `python -m jobs`."""
        return _flags(self.values)

    @property
    def days(self) -> tuple[str, str]:
        """FROM and TO. Raises UsageError if one is missing."""
        if not (self.values.get("from") and self.values.get("to")):
            raise UsageError("A backfill needs a range: make backfill FROM=2024-01-01 TO=2024-06-30 (both included).")
        return self.values["from"], self.values["to"]

    @property
    def standing(self) -> str:
        """Flags that hold for the weekly runs to come as well, as one line."""
        return shlex.join(_flags({name: value for name, value in self.values.items() if name not in NOT_STANDING}))

    def conf(self, lake: str) -> dict[str, Any]:
        """The trigger form's fields; what the form has no field for goes into `settings` as flags."""
        conf: dict[str, Any] = {"lake": lake}
        conf |= {name: self.values[name] for name in FORM_TEXT if name in self.values}
        for name in FORM_NUMBER:
            if name in self.values:
                if not self.values[name].isdigit():
                    raise UsageError(f"{name.upper()}={self.values[name]!r}: expected a whole number.")
                conf[name] = int(self.values[name])
        rest = {k: v for k, v in self.values.items() if k not in {*FORM_TEXT, *FORM_NUMBER, *ONLY_AT_START}}
        if rest:
            absolute = {k: str(Path(v).resolve()) if k in PATHS and "://" not in v else v for k, v in rest.items()}
            conf["settings"] = shlex.join(_flags(absolute))
        return conf


def _flags(values: Mapping[str, str]) -> list[str]:
    words = []
    for name, value in values.items():
        if name in BARE:
            words += [f"--{name}"] if value.lower() not in ("0", "no", "false") else []
        else:
            words += [f"--{name.replace('_', '-')}", value]
    return words
