"""What holds for every document, whatever its PDF: shared by the tests on typeset and on real papers."""

from __future__ import annotations

import re

from jobs.core.contracts import BLOCK_KINDS
from jobs.corpus.layout import Document


def blocks(document: Document, kind: str) -> list[str]:
    """The texts of all blocks of a kind, in order."""
    return [document.text[block.start : block.end] for block in document.blocks if block.kind == kind]


def titles(document: Document) -> list[tuple[int, str]]:
    """Level and title of every section, in order."""
    return [(section.level, section.title) for section in document.sections]


def measurements(text: str) -> list[int]:
    """Numbers of the sentences that stand whole in a text, in order."""
    sentence = r"Measurement (\d+) was repeated until its value agreed with the one before it\."
    return [int(number) for number in re.findall(sentence, text)]


def check(document: Document) -> None:
    """Raise AssertionError where the document breaks a rule of `layout.Document`."""
    _check_blocks(document)
    _check_sections(document)
    assert len(document.pages) == document.n_pages
    assert document.pages == sorted(document.pages)
    assert all(0 <= start <= len(document.text) for start in document.pages)
    assert 0.0 <= document.quality_01 <= 1.0
    assert not any((ord(c) < 32 and c != "\n") or c == "\u00ad" or "\ud800" <= c <= "\udfff" for c in document.text)


def _check_blocks(document: Document) -> None:
    text, end = document.text, 0
    for block in document.blocks:
        assert block.kind in BLOCK_KINDS
        assert end <= block.start < block.end <= len(text)
        assert not text[end : block.start].strip(), "text between blocks"
        inside = text[block.start : block.end]
        assert inside == inside.strip()
        assert "\n" not in inside
        assert "  " not in inside
        end = block.end
    assert not text[end:].strip(), "text behind the last block"


def _check_sections(document: Document) -> None:
    around = []
    for section in document.sections:
        while around and around[-1].end <= section.start:
            around.pop()
        assert 0 <= section.start < section.end <= len(document.text)
        assert document.text.startswith(section.title, section.start)
        if around:
            assert section.end <= around[-1].end
            assert section.level > around[-1].level
        around.append(section)
