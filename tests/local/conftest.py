"""The one stack that the tests of this folder share: it takes half a minute to come up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import commands, running
from local.layout import Layout
from local.rest import Airflow


@pytest.fixture(scope="package")
def layout() -> Iterator[Layout]:
    """Not below pytest's own folder: for root PostgreSQL is another user, whom every other pytest locks out of it."""
    with tempfile.TemporaryDirectory(prefix="stack-", ignore_cleanup_errors=True) as folder:
        yield Layout(Path(folder))


@pytest.fixture(scope="package")
def lake(layout: Layout) -> Path:
    return layout.root / "lake"


@pytest.fixture(scope="package")
def airflow(layout: Layout, lake: Path) -> Iterator[Airflow]:
    patch = pytest.MonkeyPatch()
    patch.setenv("AIRFLOW_PORT", "0")
    patch.setenv("APP_PORT", "0")
    patch.delenv("LAKE", raising=False)
    patch.setenv("SPARK_ARXIV_STACK", str(layout.root))
    try:
        commands.ask_plan(["--lake", str(lake), "--goal", "papers"])
        yield running.start(layout, lake)
    finally:
        running.stop(layout)
        patch.undo()
