"""Both sides of a guarantee: a test that takes `side` runs once on ours and once on stock Faust."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.kafka.admin import _create, _wait_for_answers, _wait_for_leaders, changelog_spec
from connectors.kafka.client import admin
from streams.settings import Settings
from streams.topics import DEAD_LETTERS, ORDERS_APPROVED, ORDERS_REQUESTED
from tests.stack.guarantees.side import WORKERS, Side
from tests.stack.workers import workers_of
from tests.transport import COUNTS

PARTITIONS = 4
_namespaces = itertools.count(1)


@pytest.fixture(params=["ours", "stock"])
async def side(
    request: pytest.FixtureRequest, stack: Settings, tmp_path: Path
) -> AsyncIterator[Side]:
    """Yield a namespace with topics and without workers."""
    kind = request.param
    settings = stack.model_copy(
        update={
            "namespace": f"{kind}-{next(_namespaces)}",
            "data_dir": tmp_path,
            "session_timeout_s": 6.0,
        }
    )
    await make_topics(settings)
    with workers_of(settings, ("-m", WORKERS[kind])) as workers:
        yield Side(kind, settings, workers)
        for worker in workers.running.values():
            worker.kill()  # nobody waits for how it would end


async def make_topics(settings: Settings) -> None:
    """Create the topics of these tests, as `apply_topics` would create all there are."""
    specs = (ORDERS_REQUESTED, ORDERS_APPROVED, DEAD_LETTERS, changelog_spec(COUNTS))
    async with admin(settings) as client:
        await _create(client, settings, specs, PARTITIONS)
        await _wait_for_leaders(client, settings, specs, 30.0)
    await _wait_for_answers(settings, specs)
