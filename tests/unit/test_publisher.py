"""The publisher: state and outputs in order, pipelined, and nothing settled before it is safe."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from streams.partitioner import partition_of
from streams.topics import MARKET_LAST, ORDERS_APPROVED, ORDERS_EVENTS
from streams.transport import publisher as module
from streams.transport.publisher import MAX_IN_FLIGHT, Publisher
from streams.transport.sender import CHANGES_BATCH_BYTES, Sender
from streams.transport.store import TablePartition, source_key
from streams.transport.unit import UnitOfWork
from tests.builders import NOW_NS, event, last_price, record, submit
from tests.transport import COUNTS, Count, MemorySender, Sent

CHANGELOG = "ns.table.counts.v1"
EVENTS = "ns.orders.events.v1"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TablePartition]:
    """Yield a table partition without keys."""
    partition = TablePartition(tmp_path / "0", COUNTS.adapter())
    yield partition
    partition.close()


def publisher_on(sender: MemorySender, *, state_first: bool = False) -> Publisher:
    """Return a publisher of an agent with a table."""
    return Publisher(
        cast(Sender, sender), lambda name: f"ns.{name}", CHANGELOG, state_first=state_first
    )


def unit_of(state: TablePartition | None, number: int, *, outputs: int = 1) -> UnitOfWork:
    """Return a unit that counts one record of offset `number` and reports it."""
    unit = UnitOfWork("counter", 0, NOW_NS, state)
    unit.begin()
    if state is not None:
        before = unit.get("A1")
        unit.put("A1", Count(n=before.n + 1 if before else 1))
    for _ in range(outputs):
        unit.emit(ORDERS_EVENTS, "A1", event("routed", event_id=str(number)))
    unit.finish(record(submit(), offset=number))
    return unit


class Finished(list[int]):
    """Which units have called `done`, in order."""

    def note(self, number: int) -> Any:
        """Return what a publisher calls."""
        return lambda: self.append(number)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def to(sender: MemorySender, topic: str) -> list[Sent]:
    """Return the record batches that went to a topic."""
    return [batch for batch in sender.sent if batch.topic == topic]


async def test_all_changes_of_a_unit_are_one_record_batch(state: TablePartition) -> None:
    """With the source offset they include; on the unit's partition."""
    sender = MemorySender()
    unit = unit_of(state, 6)
    unit.put("A1|o1", Count(n=7))
    unit.delete("gone")
    await publisher_on(sender).publish(unit, lambda: None)
    await settled()
    (batch,) = to(sender, CHANGELOG)
    assert (batch.partition, batch.timestamp_ms) == (0, NOW_NS // 1_000_000)
    assert batch.max_bytes == CHANGES_BATCH_BYTES
    assert [(out.key, out.value) for out in batch.records] == [
        (b"A1", b'{"kind":"count","n":1,"total":0,"text":""}'),
        (b"A1|o1", b'{"kind":"count","n":7,"total":0,"text":""}'),
        (b"gone", None),
        (source_key("orders.requested.v1"), b"7"),
    ]


async def test_outputs_go_where_their_key_says() -> None:
    """A batch per target partition, each in order; the namespace is in the name."""
    sender = MemorySender(at_once=True)
    unit = UnitOfWork("counter", 0, NOW_NS, None)
    for key in ("A1", "A2", "A1"):
        unit.emit(ORDERS_EVENTS, key, event("routed"))
    unit.emit(ORDERS_APPROVED, "A1|o1", event("routed"), partition_key="A2")
    await publisher_on(sender).publish(unit, lambda: None)
    await settled()
    found = {
        (batch.topic, batch.partition): [out.key for out in batch.records] for batch in sender.sent
    }
    first, second = (partition_of(key, 4) for key in (b"A1", b"A2"))
    assert first != second
    assert found == {
        (EVENTS, first): [b"A1", b"A1"],
        (EVENTS, second): [b"A2"],
        ("ns.orders.approved.v1", second): [b"A1|o1"],
    }


async def test_done_comes_when_all_is_acknowledged(state: TablePartition) -> None:
    """State and outputs both; until then the disk knows nothing."""
    sender, done = MemorySender(), Finished()
    await publisher_on(sender).publish(unit_of(state, 0), done.note(0))
    await settled()
    changes, outputs = sender.sent
    outputs.acknowledge()
    await settled()
    assert (done, state.changelog_offset()) == ([], None)
    changes.acknowledge()
    await settled()
    assert (done, state.changelog_offset(), state.get("A1")) == ([0], 2, Count(n=1))


@pytest.mark.parametrize(
    ("state_first", "before", "reason"),
    [
        (True, [CHANGELOG], "its outputs wait for the state that explains them"),
        (False, [CHANGELOG, EVENTS], "its outputs can be computed again"),
    ],
)
async def test_outputs_of_a_state_first_agent_wait(
    state: TablePartition, state_first: bool, before: list[str], reason: str
) -> None:
    """What has been sent before the changelog is acknowledged."""
    sender = MemorySender()
    await publisher_on(sender, state_first=state_first).publish(unit_of(state, 0), lambda: None)
    await settled()
    assert sender.topics() == before
    sender.sent[0].acknowledge()
    await settled()
    assert sender.topics() == [CHANGELOG, EVENTS]


@pytest.mark.parametrize("state_first", [True, False])
async def test_units_stay_in_order(state: TablePartition, state_first: bool) -> None:
    """Outputs and ends too, though the acknowledgements come backwards."""
    sender, done = MemorySender(), Finished()
    publisher = publisher_on(sender, state_first=state_first)
    for number in range(MAX_IN_FLIGHT):
        await publisher.publish(unit_of(state, number), done.note(number))
    await settled()
    assert [batch.offset for batch in to(sender, CHANGELOG)] == [0, 2, 4]
    for batch in reversed(to(sender, CHANGELOG)):
        batch.acknowledge()
        await settled()
    for batch in reversed(to(sender, EVENTS)):
        batch.acknowledge()
        await settled()
    ids = [out.value for batch in to(sender, EVENTS) for out in batch.records]
    assert [f'"event_id":"{number}"'.encode() in raw for number, raw in enumerate(ids)] == [
        True
    ] * 3
    assert (done, state.get("A1"), state.changelog_offset()) == ([0, 1, 2], Count(n=3), 6)


async def test_the_disk_never_runs_ahead(state: TablePartition) -> None:
    """The second unit is acknowledged first: the disk waits for the one before it."""
    sender = MemorySender()
    publisher = publisher_on(sender)
    for number in range(2):
        await publisher.publish(unit_of(state, number), lambda: None)
    await settled()
    for batch in (to(sender, CHANGELOG)[1], *to(sender, EVENTS)):
        batch.acknowledge()
    await settled()
    assert state.changelog_offset() is None
    to(sender, CHANGELOG)[0].acknowledge()
    await settled()
    assert state.changelog_offset() == 4


async def test_so_many_units_are_under_way_at_most(state: TablePartition) -> None:
    """One more waits until the first one ends; partitions do not wait for each other."""
    sender, done = MemorySender(), Finished()
    publisher = publisher_on(sender)
    for number in range(MAX_IN_FLIGHT):
        await publisher.publish(unit_of(state, number), done.note(number))
    late = asyncio.create_task(publisher.publish(unit_of(state, 99), done.note(99)))
    await settled()
    assert (late.done(), len(to(sender, CHANGELOG))) == (False, MAX_IN_FLIGHT)

    elsewhere = UnitOfWork("counter", 1, NOW_NS, None)
    elsewhere.emit(MARKET_LAST, "AIG", last_price())
    await asyncio.wait_for(publisher.publish(elsewhere, lambda: None), 1)

    for batch in list(sender.sent):
        batch.acknowledge()
    await settled()
    assert late.done()
    assert done == list(range(MAX_IN_FLIGHT))


async def test_draining_waits_for_the_last_acknowledgement(state: TablePartition) -> None:
    """As before partitions are given up."""
    sender, done = MemorySender(), Finished()
    publisher = publisher_on(sender)
    await publisher.publish(unit_of(state, 0), done.note(0))
    draining = asyncio.create_task(publisher.drain())
    await settled()
    assert (draining.done(), publisher.in_flight()) == (False, 1)
    await publisher.publish(unit_of(state, 1), done.note(1))
    await settled()
    first, second = to(sender, CHANGELOG), to(sender, EVENTS)
    for batch in (first[0], second[0]):
        batch.acknowledge()
    await settled()
    assert (draining.done(), done) == (False, [0])
    for batch in (first[1], second[1]):
        batch.acknowledge()
    await draining
    assert (done, publisher.in_flight()) == ([0, 1], 0)


async def test_a_refused_batch_ends_the_process(
    state: TablePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the unit is done, nothing settled."""
    ended: list[str] = []
    monkeypatch.setattr(module, "die", lambda reason, _error: ended.append(reason))
    sender, done = MemorySender(), Finished()
    await publisher_on(sender).publish(unit_of(state, 0), done.note(0))
    await settled()
    changes, outputs = sender.sent
    changes.acknowledge()
    outputs.refuse()
    await settled()
    assert ended == ["agent counter could not publish its unit of work"]
    assert (done, state.changelog_offset()) == ([], None)


async def test_a_unit_that_is_never_acknowledged_ends_the_process(
    state: TablePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would try for ever, and the worker stand still without a word."""
    ended: list[BaseException] = []
    monkeypatch.setattr(module, "die", lambda _reason, error: ended.append(error))
    monkeypatch.setattr(module, "PUBLISH_TIMEOUT_S", 0.01)
    publisher = publisher_on(MemorySender())
    await publisher.publish(unit_of(state, 0), lambda: None)
    await publisher.drain()
    assert [type(error) for error in ended] == [TimeoutError]


async def test_changes_of_several_record_batches_settle_to_the_last_ones_start(
    state: TablePartition,
) -> None:
    """A restart then reads the rest again, which changes nothing."""
    sender = MemorySender(at_once=True, per_batch=2)
    unit = unit_of(state, 0)
    for number in range(4):
        unit.put(f"k{number}", Count(n=number))
    await publisher_on(sender).publish(unit, lambda: None)
    await settled()
    assert [len(batch.records) for batch in to(sender, CHANGELOG)] == [2, 2, 2]
    assert (state.changelog_offset(), state.get("k3")) == (4, Count(n=3))


async def test_a_unit_that_changed_nothing_writes_no_changelog(state: TablePartition) -> None:
    """Its outputs go out all the same, and it ends."""
    sender, done = MemorySender(at_once=True), Finished()
    unit = UnitOfWork("counter", 0, NOW_NS, state)
    unit.emit(ORDERS_EVENTS, "A1", event("routed"))
    unit.finish(record(submit(), offset=3))
    await publisher_on(sender).publish(unit, done.note(0))
    await settled()
    assert (sender.topics(), done) == ([EVENTS], [0])


@pytest.mark.parametrize(("state_first", "marks"), [(True, [b"7"]), (False, [])])
async def test_what_is_said_once_is_marked(
    state: TablePartition, state_first: bool, marks: list[bytes]
) -> None:
    """A unit that changed nothing and said something: its records must not be judged anew.

    Only where the answer depends on more than the record. The mark comes before the answer.
    """
    sender = MemorySender()
    unit = UnitOfWork("counter", 0, NOW_NS, state)
    unit.begin()
    unit.emit(ORDERS_EVENTS, "A1", event("duplicate"))
    unit.finish(record(submit(), offset=6))
    await publisher_on(sender, state_first=state_first).publish(unit, lambda: None)
    await settled()
    assert [out.value for batch in to(sender, CHANGELOG) for out in batch.records] == marks
    assert len(to(sender, EVENTS)) == (0 if state_first else 1)
    while waiting := [batch for batch in sender.sent if not batch.ack.done()]:
        waiting[0].acknowledge()
        await settled()
    assert state.applied(record(submit()).topic) == (7 if state_first else 0)
    assert len(to(sender, EVENTS)) == 1
