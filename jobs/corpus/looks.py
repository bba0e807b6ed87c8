"""How text is set, and whether it may be invisible: one object for each look of a span.

A page has 600 spans, and most of what they cost in Python is looking into their dicts: `Looks` does it in C.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import itemgetter
from typing import Any

MIN_VISIBLE_SIZE = 2.0  # points; nobody reads less on paper
WHITE = 0xF0  # every channel above this is white to the eye
PAINTED = 0x10 | 0x20  # char_flags of MuPDF 1.26 and later: filled, stroked. Neither: render mode 3
SUPERSCRIPT, BOLD = 1, 16  # span flags of PyMuPDF
MATH_FONT = re.compile(
    r"CMMI|CMSY|CMEX|CMBSY|MSAM|MSBM|EUFM|EUSM|RSFS|LASY|Math|^(Symbol|[rp]?txmi|txsy|txex|t1xmi|NewTXMI|pxmi|pxsy|pxex"
    r"|MTMI|MTSY|MTEX|stmary|esint|wasy|bbm|dsrom|ntxmi|ntxsy|ntxex)",
    re.IGNORECASE,
)
BOLD_FONT = re.compile(r"Bold|Medi\b|CMBX|CMB1|SFBX|-Bd|Black|Semibold|Heavy", re.IGNORECASE)


def is_white(color: int) -> bool:
    """Whether a color of a span, 0xRRGGBB, is white to the eye."""
    return (color >> 16) > WHITE and ((color >> 8) & 255) > WHITE and (color & 255) > WHITE


@lru_cache(maxsize=4096)
def font_kind(name: str) -> tuple[bool, bool]:
    """Whether a font is bold, and whether it is made for formulas, by its name."""
    bare = name.split("+")[-1]
    return bool(BOLD_FONT.search(bare)), bool(MATH_FONT.search(bare))


class Look:
    """How a span is set; one object for each look, so that they are compared and counted by identity.

    `is_suspect`: text that looks so may be invisible (white text is, on white alone).
    """

    __slots__ = ("font", "is_bold", "is_math", "is_raised", "is_suspect", "size")

    def __init__(self, font: str, size: float, flags: int, is_suspect: bool) -> None:
        is_bold, self.is_math = font_kind(font)
        self.font = font.split("+")[-1]
        self.size = size
        self.is_bold = is_bold or bool(flags & BOLD)
        self.is_raised = bool(flags & SUPERSCRIPT)
        self.is_suspect = is_suspect


@lru_cache(maxsize=4096)
def look_of(font: str, size: float, flags: int, color: int, alpha: int, painted: int) -> Look:
    """The look with these properties of a span; `painted` are its `char_flags` as far as they are in PAINTED."""
    return Look(font, size, flags, alpha == 0 or not painted or size < MIN_VISIBLE_SIZE or is_white(color))


_PROPERTIES = itemgetter("font", "size", "flags", "color", "alpha", "char_flags")


class Looks(dict[tuple[Any, ...], Look]):
    """Properties of a span -> its look; `suspects` are those met so far that are suspect.

    MuPDF begins a span at every blank that it infers from a wide gap and marks it in `char_flags`: two thirds of all
    spans. They share a look with the words beside them.
    """

    def __init__(self) -> None:
        self.suspects: set[Look] = set()

    def __missing__(self, key: tuple[Any, ...]) -> Look:
        *properties, char_flags = key
        look = self[key] = look_of(*properties, char_flags & PAINTED)
        if look.is_suspect:
            self.suspects.add(look)
        return look

    def of(self, spans: list[dict[str, Any]]) -> list[Look]:
        """The looks of spans, in their order."""
        return list(map(self.__getitem__, map(_PROPERTIES, spans)))
