"""Signs of formulas that hang below their origin, and those that a font has no Unicode for.

TeX's extension font draws its signs downwards from the top of the line, so their origin tells another baseline than
the text beside them; MuPDF gives U+FFFD for most of them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from jobs.corpus.looks import font_kind

UNKNOWN = "\ufffd"
# Widths of sums and products in font sizes, as cmex10.tfm has them. Others of the font that are as wide are rare: the
# widest hat and tilde, parts of roots of several lines, coproducts, the largest slashes. Integrals are as wide as
# common hats, so they stay unknown.
_BY_WIDTH = {1.444: "∑", 1.056: "∑", 1.278: "∏", 0.944: "∏"}
_TOLERANCE = 0.006
# How far the baseline of the text lies below the origin, in font sizes, as seen on a page of arXiv:hep-th/9108004 (0.82
# for roots) and one of arXiv:2002.08909 (0.95 for displayed sums and products, 0.75 for those in the text: the mean).
HANGING = {"√": 0.82, "∑": 0.85, "∏": 0.85}


def named(spans: list[dict[str, Any]], counts: Counter[str]) -> list[dict[str, Any]]:
    """The spans with what can be told of unknown signs in fonts of formulas; tall brackets and hats are left out."""
    known = []
    for span in spans:
        text = span["text"]
        if UNKNOWN in text and font_kind(span["font"])[1]:
            sign = _sign_of(span)
            counts["math_glyphs"] += text.count(UNKNOWN) - len(sign)
            span = {**span, "text": sign or text.replace(UNKNOWN, "")}
        known.append(span)
    return known


def hang(text: str, size: float) -> float:
    """Points from the origin of a sign that stands alone down to the baseline of the text beside it."""
    return HANGING.get(text.strip(), 0.0) * size


def _sign_of(span: dict[str, Any]) -> str:
    if span["text"].strip() != UNKNOWN or "CMEX" not in span["font"]:
        return ""
    width = (span["bbox"][2] - span["bbox"][0]) / span["size"]
    return next((sign for wide, sign in _BY_WIDTH.items() if abs(width - wide) < _TOLERANCE), "")
