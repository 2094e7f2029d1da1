"""The pipeline that the tests of this folder share."""

import asyncio
from collections.abc import Iterator

import pytest

from streams.settings import Settings
from streams.wiring import ROLES
from tests.stack.pipeline.running import Pipeline, set_up, settings_of
from tests.stack.workers import workers_of


@pytest.fixture(scope="session")
def pipeline(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Yield a running pipeline: a worker of each role, all ready."""
    settings = settings_of(stack, tmp_path_factory.mktemp("pipeline"), "pipe")
    with workers_of(settings) as workers:
        asyncio.run(set_up(settings))
        for role in ROLES:
            workers.start(role)
        asyncio.run(workers.ready())
        yield Pipeline(settings, workers)
