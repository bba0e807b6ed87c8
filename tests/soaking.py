"""What only `make soak` runs: walks of minutes, and ten times the faults."""

from __future__ import annotations

import os

import pytest

IS_SOAK = os.environ.get("SPARK_ARXIV_SOAK") == "1"
ROUNDS = 10 if IS_SOAK else 1


def only_soaked(reason: str) -> pytest.MarkDecorator:
    """Skip unless `make soak` runs."""
    return pytest.mark.skipif(not IS_SOAK, reason=f"{reason}: make soak")
