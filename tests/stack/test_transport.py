"""The transport's promises, counted over kills, rebalances, restarts and refusals.

Each test has a namespace of its own and workers that count orders (`counting_worker`).
"""

import asyncio
import itertools
import json
import random
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from rocksdict import Options, Rdict

from connectors.kafka.admin import apply_topics
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES
from streams.transport.consumer import MAX_WAITING_BYTES
from streams.transport.fatal import EXIT_INFRASTRUCTURE
from streams.transport.store import CACHE_ENTRIES, CHANGELOG_KEY, OWN
from tests.stack.counting_worker import HOLD
from tests.stack.plain import (
    Raw,
    committed,
    count,
    ends,
    get,
    produce,
    read,
    topic_of,
    wait_until,
)
from tests.stack.workers import Worker, Workers, workers_of
from tests.transport import COUNTS, counted_order

REQUESTED = "orders.requested.v1"
OUTPUT = "orders.approved.v1"
DEAD = "dead-letters.v1"
CHANGELOG = COUNTS.changelog()
GROUP = "orderflow.orders.v1"
PARTITIONS = 4
ACCOUNTS = [f"A{number}" for number in range(40)]
#: The least that Kafka takes; a worker that is gone is noticed after it.
SESSION_TIMEOUT_S = 6.0

_namespaces = itertools.count(1)


class Stream:
    """One namespace: its settings, its workers, and the orders that were sent to it."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        self.settings = settings
        self.workers = workers
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self._next = 0

    def orders(self, many: int, accounts: Iterable[str] = ACCOUNTS, what: str = "") -> list[Raw]:
        """Return numbered orders, and remember which account got which numbers."""
        found, among = [], list(accounts)
        for _ in range(many):
            account = among[self._next % len(among)]
            if what in ("", "key"):
                self.numbers[account].append(self._next)
            found.append(order(account, self._next, what))
            self._next += 1
        return found

    async def send(self, many: int, accounts: Iterable[str] = ACCOUNTS, what: str = "") -> None:
        """Put numbered orders on the topic."""
        await produce(self.settings, REQUESTED, self.orders(many, accounts, what))

    async def state(self) -> dict[str, tuple[int, int]]:
        """Return what the changelog says of each key: how many orders, and their sum."""
        values: dict[str, bytes | None] = {}
        for record in await read(self.settings, CHANGELOG):
            assert record.key is not None
            if not record.key.startswith(OWN):
                values[record.key.decode()] = record.value
        found = {key: json.loads(value) for key, value in values.items() if value is not None}
        return {key: (value["n"], value["total"]) for key, value in found.items()}

    async def counted(self) -> None:
        """Return when every order was counted once and published at least once; fail if not."""
        expected = {key: (len(numbers), sum(numbers)) for key, numbers in self.numbers.items()}
        await wait_until(self.state, lambda state: state == expected)
        await self.settled()
        assert await self.state() == expected
        outputs = {json.loads(one.value)["order_id"] for one in await read(self.settings, OUTPUT)}
        assert outputs >= {f"o-{n}" for numbers in self.numbers.values() for n in numbers}

    async def settled(self) -> None:
        """Return when everything that was sent is committed."""
        sent = (await ends(self.settings, REQUESTED))[REQUESTED]
        wanted = {partition: end for partition, end in sent.items() if end}
        await wait_until(partial(committed, self.settings, GROUP, REQUESTED), wanted.__eq__)

    async def owned(self, worker: Worker) -> set[int]:
        """Return the partitions whose state a worker has."""
        (table,) = (await get(worker.port, "/tables")).body
        return set(table["partitions"])

    def local(self, index: int = 0) -> Path:
        """Return the folder of a worker's local tables."""
        return self.settings.data_dir / "workers" / f"orders-{index}" / "tables"

    def on_disk(self) -> dict[tuple[str, bytes], bytes]:
        """Return what the local tables hold; no worker may run."""
        found: dict[tuple[str, bytes], bytes] = {}
        for folder in sorted(self.local().glob("*/*")):
            store = Rdict(str(folder), options=Options(raw_mode=True))
            for key, value in store.items():
                if key != CHANGELOG_KEY:
                    found[folder.name, key] = value
            store.close()
        return found


def order(account: str, number: int, what: str = "") -> Raw:
    """Return an order, and in its `strategy` what the agent shall do."""
    return Raw(counted_order(account, number, what), account.encode())


@pytest.fixture
async def stream(stack: Settings, tmp_path: Path) -> AsyncIterator[Stream]:
    """Yield a namespace with topics and without workers."""
    settings = stack.model_copy(
        update={
            "namespace": f"counted-{next(_namespaces)}",
            "data_dir": tmp_path,
            "session_timeout_s": SESSION_TIMEOUT_S,
            "compression": "none",
        }
    )
    await apply_topics(settings, (COUNTS,))
    with workers_of(settings, ("-m", "tests.stack.counting_worker")) as workers:
        yield Stream(settings, workers)


async def agent_of(worker: Worker) -> dict[str, int]:
    """Return the counters of a worker's agent."""
    return dict((await worker.ready()).body["agents"]["counter"])


@asynccontextmanager
async def under_load(stream: Stream) -> AsyncIterator[None]:
    """Send orders in bursts, about a thousand a second, until the block has run."""
    enough = asyncio.Event()

    async def send() -> None:
        while not enough.is_set():
            await stream.send(200)
            await asyncio.sleep(0.2)

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        enough.set()
        await sending


# --- kills and rebalances -------------------------------------------------------------------


async def test_kills_lose_and_double_nothing(stream: Stream) -> None:
    """Killed three times at seeded moments under load: each order counted once."""
    chance = random.Random(1)
    worker = stream.workers.start("orders")
    await worker.ready()
    async with under_load(stream):
        for _ in range(3):
            before = await count(stream.settings, OUTPUT)
            await wait_until(partial(count, stream.settings, OUTPUT), before.__lt__)
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            worker.kill()
            worker = stream.workers.start("orders")
            await worker.ready()
    await stream.counted()


async def test_a_join_and_a_leave_lose_and_double_nothing(stream: Stream) -> None:
    """A second worker comes, is killed, comes again and leaves in order, all under load."""
    first = stream.workers.start("orders", 0)
    await first.ready()
    async with under_load(stream):
        second = stream.workers.start("orders", 1)
        await second.ready()
        await wait_until(partial(agent_of, second), lambda agent: agent["records"] > 0)
        second.kill()
        del stream.workers.running["orders-1"]  # it comes back on another port
        second = stream.workers.start("orders", 1)
        await second.ready()
        await wait_until(partial(agent_of, second), lambda agent: agent["records"] > 0)
        assert await second.stop() == 0
    await stream.counted()
    await first.ready()


async def test_what_was_never_committed_is_taken_over_from_its_start(stream: Stream) -> None:
    """A worker is killed before its first commit: the other one, busy with its own, misses none."""
    never = {"ORDERFLOW_COMMIT_INTERVAL_S": "60"}
    first, second = (stream.workers.start("orders", index, never) for index in (0, 1))
    await stream.workers.ready(first, second)
    async with under_load(stream):
        await stream.send(8_000)
        await wait_until(partial(agent_of, second), lambda agent: agent["records"] > 0)
        second.kill()
        await wait_until(partial(stream.owned, first), {0, 1, 2, 3}.__eq__)
        await asyncio.sleep(1)
    expected = {key: (len(numbers), sum(numbers)) for key, numbers in stream.numbers.items()}
    assert await wait_until(stream.state, lambda state: state == expected)


async def test_a_worker_that_was_frozen_overwrites_nothing(stream: Stream) -> None:
    """Stopped in the middle of its work while another takes over: once woken, it ends itself."""
    first, second = (stream.workers.start("orders", index) for index in (0, 1))
    await stream.workers.ready(first, second)
    sending = asyncio.create_task(stream.send(10_000))
    await wait_until(partial(agent_of, second), lambda agent: agent["records"] > 0)
    second.child.process.send_signal(signal.SIGSTOP)
    await sending
    await wait_until(partial(stream.owned, first), {0, 1, 2, 3}.__eq__)
    await stream.counted()

    second.child.process.send_signal(signal.SIGCONT)
    assert await second.exit_code() == EXIT_INFRASTRUCTURE
    assert await first.stop() == 0
    shutil.rmtree(stream.local())
    await stream.workers.start("orders").ready()
    await stream.send(400)
    await stream.counted()


# --- what fails -----------------------------------------------------------------------------


async def test_a_step_that_raises_is_a_dead_letter(stream: Stream) -> None:
    """One in ten raises: nothing of it in the state or the outputs, the others go on."""
    await stream.workers.start("orders").ready()
    for _ in range(5):
        await stream.send(45)
        await stream.send(5, what="raise")
    await stream.counted()
    letters = [dict(record.headers) for record in await read(stream.settings, DEAD)]
    assert Counter(letter["orderflow.code"] for letter in letters) == {b"AGENT_ERROR": 25}
    assert b"ArithmeticError: as the order asked" in letters[0]["__streams.errors.message"]
    places = {
        letter["__streams.errors.partition"] + letter["__streams.errors.offset"]
        for letter in letters
    }
    assert len(places) == 25
    assert await count(stream.settings, OUTPUT) == 225


@pytest.mark.parametrize("what", ["end", "large"])
async def test_a_failure_ends_the_process_and_commits_nothing_of_it(
    stream: Stream, what: str
) -> None:
    """An exception outside a step, or a record that Kafka refuses: exit code 70, no commit."""
    worker = stream.workers.start("orders")
    await worker.ready()
    await stream.send(100, ["A1"])
    await stream.settled()
    held = await stream.state()
    await stream.send(1, ["A1"], what)
    assert await worker.exit_code() == EXIT_INFRASTRUCTURE
    home = partition_of(b"A1", PARTITIONS)
    assert await committed(stream.settings, GROUP, REQUESTED) == {home: 100}
    if what == "end":
        assert await stream.state() == held
    again = stream.workers.start("orders")
    assert await again.exit_code() == EXIT_INFRASTRUCTURE
    assert (await committed(stream.settings, GROUP, REQUESTED))[home] == 100


async def test_a_topic_that_is_gone_ends_the_process(stream: Stream) -> None:
    """The output cannot be published: nothing of its input is committed."""
    worker = stream.workers.start("orders")
    await worker.ready()
    await stream.send(10)
    await stream.counted()
    admin = AIOKafkaAdminClient(bootstrap_servers=stream.settings.kafka_bootstrap)
    await admin.start()
    await admin.delete_topics([topic_of(stream.settings, OUTPUT)])
    await admin.close()
    before = await committed(stream.settings, GROUP, REQUESTED)
    await stream.send(100)
    assert await worker.exit_code() == EXIT_INFRASTRUCTURE
    assert await committed(stream.settings, GROUP, REQUESTED) == before


# --- commits --------------------------------------------------------------------------------


async def test_a_commit_never_passes_what_is_not_finished(stream: Stream, tmp_path: Path) -> None:
    """An agent hangs on one partition: that one stays, the others are committed to their ends."""
    hold = tmp_path / "hold"
    hold.touch()
    worker = stream.workers.start("orders", env={HOLD: str(hold)})
    await worker.ready()
    for _ in range(4):
        await stream.send(100)
        await asyncio.sleep(0.2)
    sent = (await ends(stream.settings, REQUESTED))[REQUESTED]
    others = {partition: end for partition, end in sent.items() if partition != 0}
    assert sent[0] > 0
    ask = partial(committed, stream.settings, GROUP, REQUESTED)
    await wait_until(ask, lambda found: {**found, 0: 0} == {**others, 0: 0})
    assert 0 not in await ask()
    hold.unlink()
    await wait_until(ask, sent.__eq__)
    assert await count(stream.settings, OUTPUT) == 400


async def test_a_partition_that_stands_still_is_not_fetched_from(
    stream: Stream, tmp_path: Path
) -> None:
    """More waits of it than a worker keeps: the others go on, and later none of it is missing."""
    hold = tmp_path / "hold"
    hold.touch()
    worker = stream.workers.start("orders", env={HOLD: str(hold)})
    await worker.ready()
    homes = {account: partition_of(account.encode(), PARTITIONS) for account in ACCOUNTS}
    sent = stream.orders(15_000, [account for account, home in homes.items() if home == 0])
    assert sum(len(one.value or b"") for one in sent) > 1.5 * MAX_WAITING_BYTES
    await produce(stream.settings, REQUESTED, sent)
    await stream.send(300, [account for account, home in homes.items() if home != 0])
    await wait_until(partial(count, stream.settings, OUTPUT), (300).__eq__)
    hold.unlink()
    await stream.settled()
    assert await count(stream.settings, OUTPUT) == 15_300


async def test_an_orderly_end_leaves_nothing_to_do_again(stream: Stream) -> None:
    """SIGTERM in the middle of the load: what was taken is finished, the next worker goes on."""
    never = {"ORDERFLOW_COMMIT_INTERVAL_S": "60"}  # so that what is committed is so at the end
    worker = stream.workers.start("orders", env=never)
    await worker.ready()
    async with under_load(stream):
        await wait_until(partial(count, stream.settings, OUTPUT), lambda outputs: outputs > 1_000)
        assert await worker.stop() == 0
        done = sum((await committed(stream.settings, GROUP, REQUESTED)).values())
        assert await count(stream.settings, OUTPUT) == done
    worker = stream.workers.start("orders")
    await stream.counted()
    agent = await agent_of(worker)
    assert agent["redelivered"] == 0
    assert done + agent["records"] == sum(len(numbers) for numbers in stream.numbers.values())


# --- state ----------------------------------------------------------------------------------


async def test_a_state_larger_than_the_cache_is_restored_as_it_was(stream: Stream) -> None:
    """After a restart on the same disk, and from the changelog alone: the same bytes."""
    keys = CACHE_ENTRIES + 1_000
    worker = stream.workers.start("orders")
    await stream.send(keys, ["A1"], "key")
    await stream.settled()
    assert await worker.stop() == 0
    whole = stream.on_disk()
    assert len([key for _, key in whole if not key.startswith(OWN)]) == keys

    again = stream.workers.start("orders")
    await again.ready()
    await produce(
        stream.settings, REQUESTED, [order("A1", number, "key") for number in range(keys)]
    )
    await stream.settled()
    assert await again.stop() == 0
    twice = stream.on_disk()
    counts = [
        json.loads(value)["n"] for (_, key), value in twice.items() if not key.startswith(OWN)
    ]
    assert counts == [2] * keys

    shutil.rmtree(stream.local())
    anew = stream.workers.start("orders")
    await anew.ready()
    assert await anew.stop() == 0
    assert stream.on_disk() == twice


async def test_a_unit_larger_than_other_topics_take_is_one_batch(stream: Stream) -> None:
    """Two megabytes of changes at once: the changelog takes them, and they are restored."""
    names = (f"L{number}" for number in itertools.count())
    at_home = (name for name in names if partition_of(name.encode(), PARTITIONS) == 0)
    await stream.send(500, itertools.islice(at_home, 500), "state")
    worker = stream.workers.start("orders")
    await stream.settled()
    changes = await read(stream.settings, CHANGELOG)
    sizes: Counter[int] = Counter()
    for record in changes:
        sizes[record.timestamp] += len(record.value or b"")  # a unit's records have one time
    assert max(sizes.values()) > MAX_RECORD_BYTES
    assert await worker.stop() == 0
    held = stream.on_disk()
    shutil.rmtree(stream.local())
    again = stream.workers.start("orders")
    await again.ready()
    assert await again.stop() == 0
    assert stream.on_disk() == held


@pytest.mark.parametrize("last", ["tombstone", "control record"])
async def test_a_changelog_without_a_last_record_restores(stream: Stream, last: str) -> None:
    """It ends with a tombstone, or with a marker that no consumer is given: it is complete."""
    worker = stream.workers.start("orders")
    await worker.ready()
    await stream.send(100)
    await stream.counted()
    assert await worker.stop() == 0
    await end_changelog(stream.settings, transactional=last == "control record")

    shutil.rmtree(stream.local())
    again = stream.workers.start("orders")
    await again.ready()
    await stream.send(100)
    await stream.counted()


async def test_deleted_keys_stay_deleted(stream: Stream) -> None:
    """A key that the agent deleted is not there after a restore, and counts from 1 again."""
    worker = stream.workers.start("orders")
    await worker.ready()
    await stream.send(80)
    await stream.send(1, ["A1"], "forget")
    stream.numbers["A1"].clear()
    await stream.settled()
    assert await worker.stop() == 0
    shutil.rmtree(stream.local())
    await stream.workers.start("orders").ready()
    await stream.send(40)
    await stream.counted()


async def end_changelog(settings: Settings, *, transactional: bool) -> None:
    """Put a tombstone of a key that never was at the end of each changelog partition."""
    extra: dict[str, Any] = {"transactional_id": settings.namespace} if transactional else {}
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, **extra)
    await producer.start()
    try:
        if transactional:
            await producer.begin_transaction()
        for partition in range(PARTITIONS):
            name = topic_of(settings, CHANGELOG)
            await producer.send_and_wait(name, None, key=b"never", partition=partition)
        if transactional:
            await producer.commit_transaction()
    finally:
        await producer.stop()
