"""What the name of a font says about its look."""

from __future__ import annotations

import re
from functools import lru_cache

_ITALIC = re.compile(r"Ital|Obli|Slant|-It\b|CMTI|CMSL|CMBXTI|SFTI|SFSL|ptmri", re.IGNORECASE)


@lru_cache(maxsize=4096)
def is_italic(font: str) -> bool:
    """Whether a font is italic or slanted."""
    return bool(_ITALIC.search(font))


_MONOSPACED = re.compile(
    r"CM[A-Z]{0,3}TT|[SE]FTT|LM(?:Roman)?Mono|Mono|Courier|Consol|Typewriter|Menlo|txtt|ectt|pcrr", re.IGNORECASE
)


@lru_cache(maxsize=4096)
def is_monospaced(font: str) -> bool:
    """Whether a font is one of those that program text is set in."""
    return bool(_MONOSPACED.search(font))


@lru_cache(maxsize=4096)
def family(font: str) -> str:
    """A font's name without its size: CMR for CMR10 and CMR8."""
    return font.rstrip("0123456789")
