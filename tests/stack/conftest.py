"""The stack that the tests of this folder share; it is started once in a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.dev.testing import embedded_stack
from streams.settings import Settings

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that `-m "not stack"` leaves them all out."""
    for item in items:
        if _FOLDER in item.path.parents:
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield the settings of a running Kafka, ClickHouse and Valkey, empty at first."""
    with embedded_stack(tmp_path_factory.mktemp("stack")) as settings:
        yield settings
