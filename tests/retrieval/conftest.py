"""Fixtures of the retrieval room."""

from pathlib import Path

import pytest

from jobs.core.lake import Lake
from jobs.retrieval import encoder
from tests.retrieval import house
from tests.retrieval.house import RecordingEncoder


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> RecordingEncoder:
    """An encoder that records, known by its name as long as the test lasts."""
    made = RecordingEncoder()
    monkeypatch.setitem(encoder.BUILTIN, house.ENCODER, lambda: made)
    return made


@pytest.fixture
def lake(tmp_path: Path, recorder: RecordingEncoder) -> Lake:
    """An empty lake that is embedded by the recorder."""
    return house.new_lake(tmp_path / "lake")
