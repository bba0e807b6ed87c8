"""One running app that the tests of its routes share."""

from collections.abc import Iterator

import pytest

from tests.conftest import new_lake
from tests.serving import house


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[house.App]:
    """An app over two passages. Its release never changes."""
    lake = new_lake(tmp_path_factory.mktemp("serving") / "lake")
    house.publish_release(lake)
    with house.running(lake.root) as running:
        yield running
