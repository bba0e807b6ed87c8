"""Docs cannot go stale: what they tell to type exists, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.core.cli import _command
from jobs.core.errors import UsageError
from jobs.core.stages import STAGES
from tools.make_docs import TARGET, datasets_page

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
LINKING = sorted([*PAGES, *(REPOSITORY / "sample").glob("*.md"), *(REPOSITORY / "benchmarks").glob("*.md")])

JOB = re.compile(r"python -m jobs\s+(?P<word>[a-z_]+)")
TARGET_NAMED = re.compile(r"(?:^|`)\s*make (?P<word>[a-z][a-z-]*)", re.MULTILINE)
LINK = re.compile(r"\]\((?P<to>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
APPLICATIONS = ("serve_chat",)  # runs, but is no stage and no command of the table


def named(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """(page, word that the pattern finds) of every page."""
    return [(page.name, match["word"]) for page in PAGES for match in pattern.finditer(page.read_text())]


def make_targets() -> set[str]:
    lines = re.findall(r"^([a-z][a-z -]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return {name for line in lines for name in line.split()}


def is_command(word: str) -> bool:
    try:
        _command(word, False)
    except UsageError:
        return word in APPLICATIONS and any((REPOSITORY / "jobs").glob(f"*/{word}.py"))
    return True


def anchors(page: Path) -> set[str]:
    """The fragments that a Markdown page's headings make, as GitHub does."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(page.read_text())}


def leads_nowhere(page: Path, to: str) -> bool:
    path, _, fragment = to.partition("#")
    target = page if not path else page.parent / path
    return not target.exists() or bool(fragment and target.suffix == ".md" and fragment not in anchors(target))


def test_page_of_datasets_is_what_the_contracts_say() -> None:
    assert TARGET.read_text() == datasets_page(), "run: make docs"


def test_every_command_of_the_docs_exists() -> None:
    found = named(JOB)
    assert len(found) > 5
    assert [(page, word) for page, word in found if not is_command(word)] == []


def test_every_make_target_of_the_docs_exists() -> None:
    found = named(TARGET_NAMED)
    assert len(found) > 3
    assert [(page, word) for page, word in found if word not in make_targets()] == []


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = [m["to"] for m in LINK.finditer(page.read_text()) if not re.match(r"[a-z]+:", m["to"])]
    assert [to for to in links if leads_nowhere(page, to)] == []


def test_readme_links_are_looked_at() -> None:
    assert len(LINK.findall((REPOSITORY / "README.md").read_text())) > 3


def test_rules_would_notice(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n\n[here](#a-title) [gone](gone.md) [nowhere](#b)\n")
    assert [to for to in LINK.findall(page.read_text()) if leads_nowhere(page, to)] == ["gone.md", "#b"]
    assert not is_command("filter")
    assert all(is_command(name) for name in STAGES)
