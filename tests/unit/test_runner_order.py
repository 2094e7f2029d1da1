"""The runner: records in order, bad ones aside, nothing of a batch that was given up."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams import defences
from streams.ports import Agent, AsyncAgent, BulkAgent, Record, Unit
from streams.topics import DEAD_LETTERS, ORDERS_APPROVED, ORDERS_REQUESTED
from streams.transport import runner as module
from streams.transport.codec import Batch, encode
from streams.transport.journal import MAX_DEATHS
from streams.transport.ledger import Ledger
from streams.transport.runner import Runner
from streams.transport.store import TablePartition
from streams.wiring import AgentSpec
from tests.builders import submit
from tests.transport import COUNTS, Count, MemorySender

TP = ("ns.orders.requested.v1", 0)


class Recorder(Agent[Count]):
    """Counts orders, publishes each, and raises at those of quantity 13."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []
        self.ends = 0
        self.restored: list[list[str]] = []

    def step(self, unit: Unit[Count], record: Record) -> None:
        """Count one order."""
        self.seen.append((record.offset, record.redelivered))
        before = unit.get("n")
        if not record.redelivered:
            unit.put("n", Count(n=before.n + 1 if before else 1))
        unit.emit(ORDERS_APPROVED, "A1", record.value)
        if record.value.qty == 13:
            raise ArithmeticError("thirteen")

    def on_batch_end(self, unit: Unit[Count]) -> None:
        """Count the batches."""
        self.ends += unit.partition + 1

    def on_assigned(self, partition: int, state: Any) -> None:
        """Keep the keys that were there."""
        assert partition == 0
        self.restored.append([key for key, _ in state])


class Local:
    """The local store of one table partition."""

    def __init__(self, partition: TablePartition) -> None:
        self.partition = partition
        self.on_opened: Any = None
        self.on_closed: Any = None

    def open(self, partition: int) -> TablePartition:
        """Return the only partition there is."""
        assert partition == 0
        return self.partition

    def close_all(self) -> None:
        """Leave it open for the test."""


class World:
    """A runner with what is around it in a worker."""

    def __init__(self, agent: Any, state: TablePartition | None, *, reports: bool = True) -> None:
        self.ledger, self.sender = Ledger(), MemorySender(at_once=True)
        self.app = SimpleNamespace(
            consumer=SimpleNamespace(epoch=0, ledger=self.ledger),
            producer=SimpleNamespace(sender=self.sender),
        )
        local = Local(state) if state is not None else None
        table = SimpleNamespace(local=local, changelog_topic_name="log") if local else None
        spec = AgentSpec("counter", "orders", "", (ORDERS_REQUESTED,), (ORDERS_APPROVED,))
        self.runner = Runner(
            self.app,
            spec,
            agent,
            frozenset({ORDERS_REQUESTED.name}) if reports else frozenset(),
            lambda name: f"ns.{name}",
            table,  # type: ignore[arg-type]
        )
        self._end = 0

    def batch(self, *values: bytes | None, partition: int = 0, epoch: int = 0) -> Batch:
        """Return the next batch of a partition, entered in the ledger as delivered."""
        first, follows = self._end, self._end
        raw: list[Any] = [
            SimpleNamespace(offset=first + place, key=b"A1", value=value, timestamp=1, headers=())
            for place, value in enumerate(values)
        ]
        self._end += len(values)
        self.ledger.opened((TP[0], partition), first, self._end, 1)
        return Batch(
            TP[0], ORDERS_REQUESTED.name, partition, raw, ORDERS_REQUESTED.adapter, epoch, follows
        )

    async def work(self, *batches: Batch) -> None:
        """Let the agent have batches, as Faust gives them, and finish all that follows."""

        async def events() -> Any:
            for batch in batches:
                yield SimpleNamespace(value=batch)

        await self.runner._consume(SimpleNamespace(events=events))
        await self.runner.drain()

    def values(self, topic: str) -> list[bytes | None]:
        """Return what was published on a topic."""
        batches = [batch for batch in self.sender.sent if batch.topic == f"ns.{topic}"]
        return [out.value for batch in batches for out in batch.records]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TablePartition]:
    """Yield a table partition without keys."""
    partition = TablePartition(tmp_path / "0", COUNTS.adapter())
    yield partition
    partition.close()


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the reasons for which the process would have ended."""
    found: list[str] = []
    monkeypatch.setattr(module, "die", lambda reason, *_error: found.append(reason))
    return found


def order(number: int = 1, qty: str = "10") -> bytes:
    """Return an order as it is on the wire."""
    return encode(submit(order_id=f"o{number}", qty=qty))


async def test_records_are_stepped_in_order_and_committed(state: TablePartition) -> None:
    """Two batches: their outputs in order, the floor at their end."""
    agent = Recorder()
    world = World(agent, state)
    orders = [order(number) for number in range(5)]
    await world.work(world.batch(*orders[:3]), world.batch(*orders[3:]))
    assert agent.seen == [(offset, False) for offset in range(5)]
    assert world.values(ORDERS_APPROVED.name) == orders
    assert (agent.ends, world.ledger.floor(TP), state.get("n")) == (2, 5, Count(n=5))
    assert state.applied(ORDERS_REQUESTED.name) == 5


async def test_a_record_that_cannot_be_used_is_set_aside(state: TablePartition) -> None:
    """Neither the bad one nor the null one reaches the agent; both are dead letters."""
    agent = Recorder()
    world = World(agent, state)
    await world.work(world.batch(order(1), b"?", None, order(2)))
    assert [offset for offset, _ in agent.seen] == [0, 3]
    assert world.values(DEAD_LETTERS.name) == [b"?", b""]
    assert (world.runner.rejected, world.ledger.floor(TP)) == (2, 4)


async def test_another_agent_reports_it(state: TablePartition) -> None:
    """An agent that does not report the topic passes over it in silence."""
    agent = Recorder()
    world = World(agent, state, reports=False)
    await world.work(world.batch(b"?", order(1)))
    assert [offset for offset, _ in agent.seen] == [1]
    assert world.values(DEAD_LETTERS.name) == []


async def test_a_step_that_raises_leaves_only_a_dead_letter(state: TablePartition) -> None:
    """What the agent derives from the table is derived anew; the next record goes on."""
    agent = Recorder()
    world = World(agent, state)
    await world.work(world.batch(order(1), order(2, qty="13"), order(3)))
    assert state.get("n") == Count(n=2)
    assert world.values(ORDERS_APPROVED.name) == [order(1), order(3)]
    assert world.values(DEAD_LETTERS.name) == [order(2, qty="13")]
    assert agent.restored == [["n"]]


async def test_what_the_table_has_is_marked_as_redelivered(state: TablePartition) -> None:
    """Of a batch that overlaps: published again, counted once."""
    first = World(Recorder(), state)
    await first.work(first.batch(order(0), order(1)))
    agent = Recorder()
    world = World(agent, state)
    await world.work(world.batch(order(0), order(1), order(2)))
    assert agent.seen == [(0, True), (1, True), (2, False)]
    assert world.values(ORDERS_APPROVED.name) == [order(0), order(1), order(2)]
    assert (state.get("n"), world.runner.redelivered) == (Count(n=3), 2)


async def test_the_mark_of_what_is_applied_never_goes_back(state: TablePartition) -> None:
    """Not even where an agent changes something for a record that it had before."""
    first = World(Recorder(), state)
    await first.work(first.batch(order(0), order(1)))
    agent = Recorder()
    agent.on_batch_end = lambda unit: unit.put("end", Count(n=1))  # type: ignore[method-assign]
    world = World(agent, state)
    await world.work(world.batch(order(0)))
    assert state.get("end") == Count(n=1)
    assert state.applied(ORDERS_REQUESTED.name) == 2


async def test_a_batch_of_before_a_rebalance_is_not_begun(state: TablePartition) -> None:
    """Its partition may be another worker's by now."""
    agent = Recorder()
    world = World(agent, state)
    batch = world.batch(order(1))
    world.app.consumer.epoch += 1
    await world.work(batch)
    assert (agent.seen, world.sender.sent, world.ledger.floor(TP)) == ([], [], None)


async def test_a_delivery_that_went_missing_ends_the_process(
    state: TablePartition, deaths: list[str]
) -> None:
    """State must not jump over records."""
    world = World(Recorder(), state)
    first, _missing, third = (world.batch(order(number)) for number in range(3))
    await world.work(first, third)
    assert deaths == [f"agent counter got {TP} after 2, but worked to 1"]


async def test_an_exception_at_the_end_of_a_batch_ends_the_process(
    state: TablePartition, deaths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the batch is published or committed."""

    def fail(*_: Any) -> None:
        raise ArithmeticError

    monkeypatch.setattr(Recorder, "on_batch_end", fail)
    world = World(Recorder(), state)
    await world.work(world.batch(order(1)))
    assert deaths == ["agent counter failed on a batch"]
    assert (world.sender.sent, world.ledger.floor(TP)) == ([], None)


async def test_a_long_batch_is_several_units(
    state: TablePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published on the way; the commit comes with the last one."""
    monkeypatch.setattr(module, "UNIT_S", -1.0)
    agent = Recorder()
    world = World(agent, state)
    await world.work(world.batch(order(1), order(2), order(3)))
    changelogs = [batch for batch in world.sender.sent if batch.topic == "log"]
    assert len(changelogs) == 3
    assert (agent.ends, world.ledger.floor(TP), state.get("n")) == (4, 3, Count(n=3))


# --- agents that await ----------------------------------------------------------------------


class Waiter(AsyncAgent[None]):
    """Waits for leave, by partition; publishes then."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.leave = {0: asyncio.Event(), 1: asyncio.Event()}

    async def handle(self, unit: Unit[None], records: Sequence[Record]) -> None:
        """Publish when it may."""
        await self.leave[unit.partition].wait()
        await asyncio.sleep(0.02 if records[0].offset == 0 else 0)  # the first one is the slowest
        self.log += [f"{unit.partition}:{record.offset}" for record in records]
        for record in records:
            unit.emit(ORDERS_APPROVED, "A1", record.value)

    async def on_partitions(self, partitions: set[tuple[str, int]]) -> None:
        """Note what was prepared."""
        self.log += [f"prepared {partition}" for _, partition in sorted(partitions)]


async def test_partitions_do_not_wait_for_each_other_and_keep_their_order() -> None:
    """Partition 0 hangs; 1 goes on; a partition is prepared once, before its first batch."""
    agent = Waiter()
    world = World(agent, None)
    batches = [world.batch(order(n), b"?", partition=part) for n, part in enumerate((0, 1, 0, 1))]
    agent.leave[1].set()
    working = asyncio.create_task(world.work(*batches))
    for _ in range(50):
        await asyncio.sleep(0)
    assert agent.log == ["prepared 0", "prepared 1", "1:2", "1:6"]
    assert (world.ledger.floor((TP[0], 1)), world.ledger.floor(TP)) == (8, None)
    agent.leave[0].set()
    await working
    assert agent.log[4:] == ["0:0", "0:4"]
    assert world.ledger.floor(TP) == 6
    assert world.values(DEAD_LETTERS.name) == [b"?"] * 4


async def test_what_hangs_is_given_up_with_its_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for, publishes nothing, and will be delivered again."""
    monkeypatch.setattr(module, "AWAIT_TIMEOUT_S", 0.01)
    agent = Waiter()
    world = World(agent, None)
    await world.work(world.batch(order(1)))
    agent.leave[0].set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (agent.log, world.sender.sent) == (["prepared 0"], [])
    assert world.ledger.floor(TP) is None


class Folder(BulkAgent[Count]):
    """Counts what it is given at once, and raises where an order of quantity 13 is."""

    def __init__(self) -> None:
        self.folds: list[list[tuple[int, bool]]] = []
        self.count = 0

    def fold(self, unit: Unit[Count], records: Sequence[Record]) -> None:
        """Count all of them."""
        self.folds.append([(record.offset, record.redelivered) for record in records])
        for record in records:
            self.count += not record.redelivered
            unit.put("n", Count(n=self.count))
            unit.emit(ORDERS_APPROVED, "A1", record.value)
            if record.value.qty == 13:
                raise ArithmeticError("thirteen")

    def on_assigned(self, partition: int, state: Any) -> None:
        """Go on from the table."""
        assert partition == 0
        self.count = dict(state).get("n", Count(n=0)).n


async def test_a_bulk_agent_gets_a_batch_at_once(state: TablePartition) -> None:
    """Without those that cannot be used; each of these is a dead letter."""
    agent = Folder()
    world = World(agent, state)
    await world.work(world.batch(order(0), b"?", order(2)), world.batch(order(3)))
    assert agent.folds == [[(0, False), (2, False)], [(3, False)]]
    assert world.values(DEAD_LETTERS.name) == [b"?"]
    assert (world.runner.records, world.runner.rejected, world.ledger.floor(TP)) == (4, 1, 4)
    assert (state.get("n"), state.applied(ORDERS_REQUESTED.name)) == (Count(n=3), 4)


class Nibbler(Folder):
    """Wants two records at once of this topic."""

    def at_once(self, topic: str) -> int:
        """Return two."""
        return 2 if topic == ORDERS_REQUESTED.name else 1


async def test_a_bulk_agent_says_how_many_it_takes_at_once(state: TablePartition) -> None:
    """By topic; the rest of the batch follows."""
    agent = Nibbler()
    world = World(agent, state)
    await world.work(world.batch(*(order(number) for number in range(5))))
    assert agent.folds == [[(0, False), (1, False)], [(2, False), (3, False)], [(4, False)]]
    assert (state.get("n"), state.applied(ORDERS_REQUESTED.name)) == (Count(n=5), 5)


async def test_a_fold_that_raises_is_taken_back_and_done_one_by_one(state: TablePartition) -> None:
    """The bad record alone is set aside; what the agent knows is what the table has."""
    agent = Folder()
    world = World(agent, state)
    await world.work(world.batch(order(0)))
    await world.work(world.batch(order(1), b"?", order(2, qty="13"), order(3)))
    assert agent.folds[1:] == [
        [(1, False), (3, False), (4, False)],
        [(1, False)],
        [(3, False)],
        [(4, False)],
    ]
    assert world.values(ORDERS_APPROVED.name) == [order(0), order(1), order(3)]
    assert world.values(DEAD_LETTERS.name) == [b"?", order(2, qty="13")]
    assert (state.get("n"), agent.count) == (Count(n=3), 3)
    assert (world.runner.rejected, world.runner.records) == (1, 5)


async def test_redelivered_records_come_one_by_one(state: TablePartition) -> None:
    """Up to the end of the batch they are in, marked."""
    first = World(Folder(), state)
    await first.work(first.batch(order(0), order(1)))
    agent = Folder()
    agent.count = 2
    world = World(agent, state)
    await world.work(world.batch(order(0), order(1), order(2)))
    assert agent.folds == [[(0, True)], [(1, True)], [(2, False)]]
    assert state.get("n") == Count(n=3)


async def test_a_bulk_agent_without_the_defence_says_nothing_again(state: TablePartition) -> None:
    """What the table has is passed over; the rest of the batch is done."""
    first = World(Folder(), state)
    await first.work(first.batch(order(0), order(1)))
    agent = Folder()
    agent.count = 2
    world = World(agent, state)
    defences.switch_off("re-emit")
    try:
        await world.work(world.batch(order(0), order(1), order(2)))
    finally:
        defences.switch_off("")
    assert agent.folds == [[(2, False)]]
    assert (world.runner.records, world.runner.redelivered) == (3, 2)


class Ending(Folder):
    """Ends the process at orders of quantity 13, as far as the journal can see."""

    def fold(self, unit: Unit[Count], records: Sequence[Record]) -> None:
        """Go through the records up to such an order."""
        super().fold(unit, [record for record in records if record.value.qty != 13])
        if any(record.value.qty == 13 for record in records):
            self.folds.append([(record.offset, False) for record in records])
            raise KeyboardInterrupt


async def test_a_fold_that_ends_the_process_ends_in_finding_the_record(
    state: TablePartition, tmp_path: Path, deaths: list[str]
) -> None:
    """The journal names all of the fold, then the one; at the third death it is set aside."""
    named = []
    values = order(0), order(1), order(2, qty="13"), order(3)
    for _ in range(MAX_DEATHS):
        world = World(Ending(), state)
        world.runner.journal.attach(tmp_path / "journal")
        named.append([(one.first, one.end) for one in world.runner.journal.suspects])
        await world.work(world.batch(*values))
    assert (named, len(deaths)) == ([[], [(0, 4)], [(2, 3)]], MAX_DEATHS)
    agent = Ending()
    world = World(agent, state)
    world.runner.journal.attach(tmp_path / "journal")
    await world.work(world.batch(*values), world.batch(order(4), order(5)))
    assert agent.folds == [[(0, False)], [(1, False)], [(3, False)], [(4, False), (5, False)]]
    assert world.values(DEAD_LETTERS.name) == [order(2, qty="13")]
    assert (world.runner.records, world.runner.rejected, world.ledger.floor(TP)) == (6, 1, 6)
    assert (len(deaths), world.runner.journal.suspects) == (MAX_DEATHS, [])
