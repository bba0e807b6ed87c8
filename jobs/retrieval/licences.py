"""What may be shown of a paper to people who are not its reader at home.

A quotation with its source is fair for every paper; a whole passage leaves the machine only under a licence that
permits it. Anything unknown counts as arXiv's own licence, which does not.
"""

from __future__ import annotations

import re

MAX_QUOTE_CHARS = 300
_PERMISSIVE = re.compile(
    r"https?://creativecommons\.org/(?:licenses/by(?:-sa)?/\d\.\d|publicdomain/zero/1\.0)(?:/\S*)?", re.IGNORECASE
)


def may_show_whole(license_uri: str | None) -> bool:
    """Whether the licence (CC BY, CC BY-SA or CC0, by URI) lets whole passages be passed on."""
    return bool(license_uri) and _PERMISSIVE.fullmatch(str(license_uri).strip()) is not None


def shown_text(text: str, license_uri: str | None, *, is_public: bool) -> str:
    """A passage's text as a reader gets it: whole, or its first 300 characters on a public app without permission."""
    return cut(text) if is_public and not may_show_whole(license_uri) else text


def cut(text: str, max_chars: int = MAX_QUOTE_CHARS) -> str:
    """At most `max_chars` characters, cut between words."""
    if len(text) <= max_chars:
        return text
    return text[: max_chars + 1].rpartition(" ")[0] or text[:max_chars]
