"""Pairs as a sheet that people fill in: RFC 4180, UTF-8 with its mark, no cell that a spreadsheet would compute.

What was not touched comes back as it was: a cell is compared with what was written, whatever line ends became of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.core import durable
from jobs.core.errors import InputMissingError, UsageError

COLUMNS = (
    *("qa_id", "paper", "title", "page", "split", "reason"),
    *("question", "answer", "evidence", "verdict", "note"),
)
NEEDED = ("qa_id", "question", "answer", "verdict")
DELIMITERS = (",", ";", "\t")  # where the decimal sign is a comma, spreadsheets write semicolons
MAX_COMPLAINTS = 20
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_MARK = "'"


@dataclass(frozen=True)
class Line:
    """A row of a sheet: where it begins in the file (from 1), and its cells by column."""

    number: int
    cells: dict[str, str]


def write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a sheet under COLUMNS, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([[to_cell(value) for value in row] for row in rows])
    durable.write_atomic(path, text.getvalue().encode("utf-8-sig"))


def read(path: Path) -> list[Line]:
    """The lines of a sheet. Raises InputMissingError, and UsageError for what is no sheet."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputMissingError(f"{path} is not there. Expected what `python -m jobs review export` wrote.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 ({error}). Save it as `CSV UTF-8` and import it again.") from error
    header = text.partition("\n")[0].rstrip("\r")
    delimiter = max(DELIMITERS, key=header.count)
    lines = list(_records(text, delimiter, path))
    names = [name.strip() for name in lines[0][1]] if lines else []
    if missing := [name for name in NEEDED if name not in names]:
        raise UsageError(
            f"{path} line 1 has the columns {names}. Expected at least {', '.join(NEEDED)}: {', '.join(missing)} is "
            "missing."
        )
    return [Line(number, _cells(names, values, number, path)) for number, values in lines[1:] if any(values)]


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for values in reader:
            yield number, values
            number = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"{path} line {number}: {error}. Expected CSV as `python -m jobs review export` wrote."
        ) from error


def _cells(names: Sequence[str], values: Sequence[str], number: int, path: Path) -> dict[str, str]:
    if len(values) > len(names):
        raise UsageError(f"{path} line {number} has {len(values)} cells, expected at most {len(names)}.")
    filled = [*values, *[""] * (len(names) - len(values))]
    return {name: from_cell(value) for name, value in zip(names, filled, strict=True)}


def to_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before it, as people put there themselves."""
    plain = normal(text)
    return _MARK + plain if plain.startswith(_FORMULA) or _is_marked(plain) else plain


def from_cell(cell: str) -> str:
    """The text that a cell was made from."""
    return normal(cell[1:] if _is_marked(cell) else cell)


def _is_marked(text: str) -> bool:
    return text[:1] == _MARK and text[1:2] != "" and text[1:].startswith((*_FORMULA, _MARK))


def normal(text: str) -> str:
    """A text without what the way through a spreadsheet may change: its line ends, and blanks around it."""
    return "\n".join(line.rstrip() for line in text.replace("\0", "").splitlines()).strip(" \n")


def refuse(path: Path, complaints: Sequence[str]) -> None:
    """Raise UsageError with what is wrong in which line, if anything is."""
    if complaints:
        more = len(complaints) - MAX_COMPLAINTS
        told = [*complaints[:MAX_COMPLAINTS], *([f"and {more} more"] if more > 0 else [])]
        raise UsageError(f"{path} was not imported, nothing was changed. " + " ".join(f"{one}." for one in told))
