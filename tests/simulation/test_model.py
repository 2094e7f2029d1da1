"""The model of the publisher does what the publisher does, with its defences and without."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams import defences
from streams.topics import ORDERS_APPROVED, ORDERS_EVENTS
from streams.transport.publisher import Publisher
from streams.transport.sender import Sender
from streams.transport.store import TablePartition
from streams.transport.unit import UnitOfWork
from streams.wiring import AgentSpec
from tests.builders import NOW_NS, event, record, submit
from tests.simulation.kafka import Kafka
from tests.simulation.store import MemoryPartition
from tests.simulation.worker import Lane, Worker
from tests.transport import COUNTS, Count, MemorySender

UNITS = 3
#: What was sent to each topic so far, and the units that are done.
Seen = tuple[dict[str, int], list[int]]


def unit_of(state: Any, number: int, rng: Random) -> UnitOfWork:
    """Return a unit that may change something, and may say one thing on each of two topics."""
    unit = UnitOfWork("counter", 0, NOW_NS, state)
    unit.begin()
    if rng.random() < 0.7:
        unit.put("A1", Count(n=number))
    if rng.random() < 0.8:
        unit.emit(ORDERS_EVENTS, "A1", event("routed", event_id=str(number)))
    if rng.random() < 0.5:
        unit.emit(ORDERS_APPROVED, "A1", event("routed", event_id=str(number)))
    unit.finish(record(submit(), offset=number))
    return unit


class Real:
    """The publisher, with a Kafka that acknowledges when told."""

    def __init__(self, state: TablePartition, *, state_first: bool) -> None:
        self.state = state
        self.sender = MemorySender()
        sender = cast(Sender, self.sender)
        self.publisher = Publisher(sender, str, COUNTS.name, state_first=state_first)
        self.done: list[int] = []

    async def publish(self, number: int, rng: Random) -> None:
        """Publish a unit."""
        unit = unit_of(self.state, number, rng)
        await self.publisher.publish(unit, lambda: self.done.append(number))
        await self.settled()

    async def acknowledge(self, topic: str) -> None:
        """Let Kafka have the oldest record batch of a topic that it has not got."""
        waiting = [b for b in self.sender.sent if b.topic == topic and not b.ack.done()]
        if waiting:
            waiting[0].acknowledge()
        await self.settled()

    async def settled(self) -> None:
        """Let everything run that can."""
        for _ in range(20):
            await asyncio.sleep(0)

    def seen(self) -> Seen:
        """Return what can be seen from outside."""
        return dict(Counter(self.sender.topics())), self.done


class Model:
    """The same, of the simulation."""

    def __init__(self, *, state_first: bool) -> None:
        spec = AgentSpec("counter", "orders", "", (), (), COUNTS, state_first=state_first)
        self.worker: Any = SimpleNamespace(
            stores={(COUNTS.name, 0): MemoryPartition()},
            outbox=defaultdict(deque),
            kafka=Kafka(encoded=True),
        )
        self.lane = Lane(cast(Worker, self.worker), spec, 0)
        self.done: list[int] = []
        self.acknowledged: Counter[str] = Counter()

    def publish(self, number: int, rng: Random) -> None:
        """Publish a unit."""
        unit = unit_of(self.lane.state, number, rng)
        self.lane.publish(unit, lambda: self.done.append(number))

    def acknowledge(self, topic: str) -> None:
        """Let Kafka have the oldest that it has not got of a topic."""
        for tp, queue in list(self.worker.outbox.items()):
            if tp[0] == topic and queue:
                self.acknowledged[topic] += 1
                Worker._append(self.worker, tp, queue.popleft(), acknowledged=True)
                return

    def seen(self) -> Seen:
        """Return what can be seen from outside."""
        sent = Counter(self.acknowledged)
        for tp, queue in self.worker.outbox.items():
            sent[tp[0]] += len(queue)
        return dict(+sent), self.done


@pytest.fixture
def without(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch defences off for one test."""
    defences.switch_off(request.param)
    yield
    defences.switch_off("")


@pytest.mark.parametrize("without", ["", "state-first", "acks"], indirect=True)
@pytest.mark.parametrize("state_first", [True, False])
async def test_the_model_sends_and_finishes_as_the_publisher(
    tmp_path: Path, state_first: bool, without: None
) -> None:
    """Whatever is acknowledged in which order: the same is sent at the same time, and is done."""
    for seed in range(6):
        disk = TablePartition(tmp_path / str(seed), COUNTS.adapter())
        real, model = Real(disk, state_first=state_first), Model(state_first=state_first)
        for number in range(UNITS):
            await real.publish(number, Random(seed * 10 + number))
            model.publish(number, Random(seed * 10 + number))
        rng = Random(seed)
        assert real.seen() == model.seen()
        for _ in range(40):
            topic = rng.choice((COUNTS.name, ORDERS_EVENTS.name, ORDERS_APPROVED.name))
            await real.acknowledge(topic)
            model.acknowledge(topic)
            assert real.seen() == model.seen(), seed
        assert real.done == list(range(UNITS))
        disk.close()
