"""What an agent does beside its records: units of work that wait for Kafka, and when it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from streams.ports import Agent, GivenUpError, Owned, Record, Unit
from streams.topics import ORDERS_EVENTS
from streams.transport import attending as module
from streams.transport.attending import Attendance, Post
from streams.transport.publisher import Publisher
from streams.transport.sender import Sender
from streams.transport.store import TablePartition
from streams.transport.unit import UnitOfWork
from tests.builders import NOW_NS, event
from tests.transport import COUNTS, Count, MemorySender


class Busy(Agent[Count]):
    """Keeps what was given to its background, and whether that was cancelled."""

    def __init__(self, do: Callable[[Owned[Count]], Any]) -> None:
        self.do = do
        self.begun: list[int] = []
        self.cancelled = 0

    def step(self, unit: Unit[Count], record: Record) -> None:
        """Take no records."""

    async def attend(self, owned: Owned[Count]) -> None:
        """Do what the test wants, then wait."""
        self.begun.append(owned.partition)
        try:
            await self.do(owned)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Around:
    """What a runner gives, over one table partition and a Kafka in memory."""

    name = "busy"

    def __init__(self, state: TablePartition) -> None:
        self.state = state
        self.sender = MemorySender()
        self.mine = [0]
        self.fences = 0
        self._publisher = Publisher(
            cast(Sender, self.sender), lambda name: f"ns.{name}", "log", state_first=True
        )

    @property
    def publisher(self) -> Publisher:
        """Return the publisher."""
        return self._publisher

    def owned(self) -> list[int]:
        """Return the partitions."""
        return self.mine

    def unit_of(self, partition: int) -> UnitOfWork:
        """Return a unit."""
        return UnitOfWork("busy", partition, NOW_NS, self.state)

    def fence(self) -> None:
        """Count the calls."""
        self.fences += 1

    async def acknowledge(self) -> None:
        """Let Kafka have stored what was sent so far, and what follows from that."""
        for _ in range(20):
            await asyncio.sleep(0)
            for sent in self.sender.sent:
                if not sent.ack.done():
                    sent.acknowledge()


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    """Yield what is around, with an empty table partition."""
    state = TablePartition(tmp_path / "0", COUNTS.adapter())
    yield Around(state)
    state.close()


@pytest.fixture
async def post(around: Around) -> AsyncIterator[Post]:
    """Yield an owned partition."""
    yield Post(around, asyncio.Lock(), 0)
    await around.acknowledge()


def add(unit: Unit[Count]) -> int:
    """Count one up and say so."""
    before = unit.get("A1")
    n = (before.n if before else 0) + 1
    unit.put("A1", Count(n=n))
    unit.emit(ORDERS_EVENTS, "A1", event("routed", event_id=str(n)))
    return n


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds, and what follows from it at once has happened."""
    for _ in range(1_000):
        if holds():
            break
        await asyncio.sleep(0.01)
    for _ in range(5):
        await asyncio.sleep(0)


async def _nothing(_: Owned[Count]) -> None:
    """Do nothing."""


async def test_work_returns_when_kafka_has_it(around: Around, post: Post) -> None:
    """State first, then what it explains; not a moment earlier."""
    work = asyncio.get_running_loop().create_task(post.work(add))
    for _ in range(20):
        await asyncio.sleep(0)
    assert [sent.topic for sent in around.sender.sent] == ["log"]
    assert not work.done()
    await around.acknowledge()
    assert await work == 1
    assert [sent.topic for sent in around.sender.sent] == ["log", "ns.orders.events.v1"]
    assert post.settled_ns() == NOW_NS


async def test_units_build_on_each_other_before_they_are_acknowledged(
    around: Around, post: Post
) -> None:
    """What one has put the next one sees."""
    works = [asyncio.get_running_loop().create_task(post.work(add)) for _ in range(3)]
    await around.acknowledge()
    assert await asyncio.gather(*works) == [1, 2, 3]


async def test_what_only_looks_waits_for_nothing(around: Around, post: Post) -> None:
    """No record goes out for it."""
    assert await post.work(lambda unit: unit.get("A1")) is None
    assert around.sender.sent == []


async def test_an_error_takes_back_what_was_done(around: Around, post: Post) -> None:
    """Nothing is published, and the next unit sees nothing of it."""

    def fail(unit: Unit[Count]) -> None:
        add(unit)
        raise ArithmeticError("thirteen")

    with pytest.raises(ArithmeticError):
        await post.work(fail)
    assert await post.work(lambda unit: unit.get("A1")) is None
    assert around.sender.sent == []


async def test_durable_waits_for_what_was_put_before(around: Around, post: Post) -> None:
    """A call that follows from a record goes out when the record's effect is in Kafka."""
    work = asyncio.get_running_loop().create_task(post.work(add))
    await asyncio.sleep(0)
    durable = asyncio.get_running_loop().create_task(post.durable())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not durable.done()
    await around.acknowledge()
    await asyncio.gather(durable, work)


async def test_a_partition_that_was_given_up_takes_nothing(around: Around, post: Post) -> None:
    """Neither work, nor a call."""
    post.fence()
    around.mine = []
    for attempt in (post.work(add), post.durable()):
        with pytest.raises(GivenUpError):
            await attempt
    with pytest.raises(GivenUpError):
        post.fence()
    assert around.fences == 2


async def test_each_owned_partition_is_attended_to_until_it_is_given_up(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing begins between `stop` and `resume`."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    agent = Busy(_nothing)
    attendance = Attendance(agent, around, asyncio.Lock())
    running = asyncio.get_running_loop().create_task(attendance.run())
    around.mine = [0, 2]
    await until(lambda: len(agent.begun) == 2)
    assert agent.begun == [0, 2]
    await attendance.stop()
    assert agent.cancelled == 2
    await asyncio.sleep(0.05)
    assert agent.begun == [0, 2]
    attendance.resume()
    await until(lambda: len(agent.begun) == 4)
    assert agent.begun == [0, 2, 0, 2]
    await attendance.stop()
    running.cancel()


async def test_an_owned_partition_is_attended_to_again(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance in which a task noticed that it may not work may leave the partition here."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)

    async def give_up(_: Owned[Count]) -> None:
        if len(agent.begun) == 1:
            raise GivenUpError("0")

    agent = Busy(give_up)
    attendance = Attendance(agent, around, asyncio.Lock())
    running = asyncio.get_running_loop().create_task(attendance.run())
    await until(lambda: len(agent.begun) == 2)
    await asyncio.sleep(0.05)
    assert agent.begun == [0, 0]
    await attendance.stop()
    running.cancel()


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ArithmeticError("thirteen"), True),
        (GivenUpError("0"), False),  # somebody else has the partition
        (ExceptionGroup("tasks", [GivenUpError("0")]), False),  # likewise, from a group of tasks
        (ExceptionGroup("tasks", [GivenUpError("0"), OSError("disk")]), True),
    ],
)
async def test_a_failure_beside_the_records_ends_the_process(
    around: Around, monkeypatch: pytest.MonkeyPatch, error: Exception, *, ends: bool
) -> None:
    """Orders would wait for ever for a task that is gone."""
    died: list[str] = []
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "die", lambda reason, _: died.append(reason))

    async def fail(owned: Owned[Count]) -> None:
        raise error

    agent = Busy(fail)
    attendance = Attendance(agent, around, asyncio.Lock())
    running = asyncio.get_running_loop().create_task(attendance.run())
    await until(lambda: bool(agent.begun))
    await attendance.stop()
    running.cancel()
    assert bool(died) is ends
