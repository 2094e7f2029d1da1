"""A record that ends the process is found by the deaths it causes; all others are processed."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from operator import lt
from pathlib import Path

import pytest

from connectors.kafka.admin import apply_topics
from streams.settings import Settings
from streams.transport.journal import MAX_DEATHS
from tests.stack.plain import Raw, count, produce, read, wait_until
from tests.stack.poisoned_worker import AWAITS, FOLDS
from tests.stack.workers import Workers, workers_of
from tests.transport import counted_order

REQUESTED = "orders.requested.v1"
OUTPUT = "orders.approved.v1"
DEAD = "dead-letters.v1"
ACCOUNTS = [f"A{number}" for number in range(12)]
BOUND_S = 240.0

_namespaces = itertools.count(1)


@pytest.fixture
async def workers(stack: Settings, tmp_path: Path) -> AsyncIterator[Workers]:
    """Yield a namespace with topics and without workers."""
    chosen = {"namespace": f"crash-{next(_namespaces)}", "data_dir": tmp_path}
    settings = stack.model_copy(update={**chosen, "session_timeout_s": 6.0})
    await apply_topics(settings, ())
    with workers_of(settings, ("-m", "tests.stack.poisoned_worker")) as found:
        yield found


def orders(many: int, bad: dict[int, str]) -> list[Raw]:
    """Return numbered orders of several accounts; `bad` says what some of them do."""
    return [
        Raw(counted_order(account, number, bad.get(number, "")), account.encode())
        for number, account in zip(range(many), itertools.cycle(ACCOUNTS), strict=False)
    ]


async def work_until(workers: Workers, letters: int, env: dict[str, str]) -> int:
    """Start the worker again whenever it dies, until so many dead letters are there.

    Returns how often it died.
    """
    deaths = 0
    async with asyncio.timeout(BOUND_S):
        worker = workers.start("orders", env=env)
        while await count(workers.settings, DEAD) < letters:
            if worker.child.exit_code is not None:
                deaths += 1
                worker = workers.start("orders", env=env)
            await asyncio.sleep(0.2)
    await worker.ready()
    return deaths


async def taken(workers: Workers, expected: set[str]) -> Counter[str]:
    """Return how often each order was published, when all expected ones were."""

    async def ask() -> Counter[str]:
        records = await read(workers.settings, OUTPUT)
        return Counter(json.loads(record.value or b"")["order_id"] for record in records)

    return await wait_until(ask, lambda found: set(found) >= expected, BOUND_S)


async def different(workers: Workers) -> int:
    """Return how many orders were published."""
    return len(await taken(workers, set()))


async def condemned(workers: Workers) -> dict[str, dict[str, str]]:
    """Return the headers of the dead letters by the order that each holds."""
    found = {}
    for record in await read(workers.settings, DEAD):
        order_id = json.loads(record.value or b"")["order_id"]
        assert order_id not in found
        found[order_id] = {name: value.decode() for name, value in record.headers}
    return found


@pytest.mark.parametrize(
    ("how", "env"),
    [
        ("exit", {}),
        ("segfault", {}),
        ("segfault", {FOLDS: "1"}),
        ("decode", {}),
        ("decode", {AWAITS: "1"}),
    ],
)
async def test_a_record_that_ends_the_process_is_set_aside(
    workers: Workers, how: str, env: dict[str, str]
) -> None:
    """After three deaths; what came with it and after it is processed, each order."""
    await produce(workers.settings, REQUESTED, orders(60, {30: how}))
    assert await work_until(workers, 1, env) == MAX_DEATHS
    rest = {f"o-{number}" for number in range(60)} - {"o-30"}
    assert set(await taken(workers, rest)) == rest
    ((order_id, told),) = (await condemned(workers)).items()
    assert (order_id, told["orderflow.code"]) == ("o-30", "CRASHED_WORKER")
    assert "died 3 times" in told["__streams.errors.message"]


async def test_a_batch_that_ends_the_process_is_searched_for_the_record(workers: Workers) -> None:
    """An agent that awaits has many records under way; two of them, on two partitions, are bad."""
    await produce(workers.settings, REQUESTED, orders(200, {77: "exit", 150: "segfault"}))
    deaths = await work_until(workers, 2, {AWAITS: "1"})
    assert 2 * MAX_DEATHS - 1 <= deaths <= 2 * MAX_DEATHS + 3
    rest = {f"o-{number}" for number in range(200)} - {"o-77", "o-150"}
    assert set(await taken(workers, rest)) == rest
    letters = await condemned(workers)
    assert set(letters) == {"o-77", "o-150"}
    assert {told["orderflow.code"] for told in letters.values()} == {"CRASHED_WORKER"}


async def test_a_panic_of_native_code_is_the_records_fault(workers: Workers) -> None:
    """It is set aside at once, and the process lives."""
    await produce(workers.settings, REQUESTED, orders(20, {7: "panic"}))
    assert await work_until(workers, 1, {}) == 0
    assert (await condemned(workers))["o-7"]["orderflow.code"] == "AGENT_ERROR"


async def test_kills_from_outside_condemn_nobody(workers: Workers) -> None:
    """A worker that is killed over and over in the middle of a record, which then gets through."""
    numbers = range(60)
    await produce(workers.settings, REQUESTED, orders(60, dict.fromkeys(numbers, "linger")))
    expected = {f"o-{number}" for number in numbers}
    for _ in range(2 * MAX_DEATHS):
        worker = workers.start("orders")
        await wait_until(partial(different, workers), partial(lt, await different(workers)))
        worker.kill()
    worker = workers.start("orders")
    assert set(await taken(workers, expected)) == expected
    assert await worker.stop() == 0
    assert await condemned(workers) == {}
