"""What the classes of stock Faust do, on this build, where a live race would be one of luck.

The codes are those of docs/stock-faust.md. These are no tests of ours: should one fail after an
update of Faust, stock has changed there, and the page and the defence are to be looked at again.
Beside each stands what ours does in the same place.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP
from faust.utils import json

from streams import clock
from streams.topics import ORDERS_APPROVED
from streams.transport.ledger import Ledger
from streams.transport.store import OWN, TablePartition
from tests.builders import submit
from tests.transport import COUNTS, Count
from tests.unit.test_runner_order import Recorder, World, order

A = TP("orders", 0)


@pytest.fixture
async def app(tmp_path: Path) -> faust.App:
    """Return a stock app that is not started, and needs no Kafka."""
    app = faust.App(
        "stock",
        broker="kafka://127.0.0.1:9",
        store="memory://",
        datadir=str(tmp_path),
        autodiscover=False,
    )
    app.finalize()
    return app


@pytest.fixture
def state(tmp_path: Path) -> Iterator[TablePartition]:
    """Yield a table partition without keys."""
    partition = TablePartition(tmp_path / "0", COUNTS.adapter())
    yield partition
    partition.close()


async def _ignore(*_: Any) -> None:
    """Take what nobody asks for here."""


def consumer_of(app: faust.App, revoked: Any = _ignore) -> Any:
    """Return stock's consumer, without the thread that it would fetch in."""
    consumer: Any = app.transport.create_consumer(
        callback=_ignore, on_partitions_revoked=revoked, on_partitions_assigned=_ignore
    )
    consumer._thread.thread_loop.close()
    return consumer


# --- commits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "acked", "offset", "reason"),
    [
        (100, [101], 102, "P2: 100 is in flight, and passed over"),
        (100, [102], None, "two in flight: only the gap of one is overlooked"),
        (None, [101], 102, "P2: nothing committed yet, whatever came before"),
        (100, [100], 101, "in order"),
    ],
)
async def test_a_commit_passes_an_event_in_flight(
    app: faust.App, committed: int | None, acked: list[int], offset: int | None, reason: str
) -> None:
    """P2, T5. Stock finds the next offset among its acks alone."""
    consumer = consumer_of(app)
    consumer._committed_offset[A] = committed
    consumer._acked[A] = acked
    assert consumer._new_offset(A) == offset


def test_our_floor_stays_below_what_is_in_flight() -> None:
    """P2, T5. The same deliveries: 101 is done, 100 is not."""
    ledger = Ledger()
    for offset in (100, 101):
        ledger.opened(A, offset, offset + 1, 1)
    ledger.done(A, 101)
    assert ledger.floor(A) is None
    ledger.done(A, 100)
    assert ledger.floor(A) == 102


async def test_acks_are_dropped_before_the_commit_of_a_rebalance(app: faust.App) -> None:
    """P7. When the app is told, so that it may commit, there is nothing left to commit."""
    left: list[Any] = []

    async def told(_revoked: set[TP]) -> None:
        left.append(consumer._acked.get(A))

    consumer = consumer_of(app, told)
    consumer._acked[A] = [1, 2, 3]
    await consumer.on_partitions_revoked({A})
    assert left == [None]


# --- produces -------------------------------------------------------------------------------


@pytest.fixture
async def stuck_buffer(app: faust.App) -> AsyncIterator[Any]:
    """Yield stock's buffer of sends while the broker takes nothing."""
    buffer: Any = app.producer.buffer
    answer = asyncio.Event()

    async def send(_future: Any) -> None:
        await answer.wait()

    buffer._send_pending = send
    await buffer.start()
    yield buffer
    answer.set()
    for _ in range(20):
        await asyncio.sleep(0)
    await buffer.stop()


async def test_a_flush_returns_with_records_unsent(stuck_buffer: Any) -> None:
    """P4, T6. After a tenth of a second, whatever is left; what is being sent is not counted."""
    for number in range(3):
        stuck_buffer.pending.put_nowait(number)
    await asyncio.wait_for(stuck_buffer.flush(), 10)
    assert stuck_buffer.size == 2


async def test_our_floor_waits_for_every_acknowledgement(state: TablePartition) -> None:
    """P4, T6. The broker takes its time: nothing may be committed until it has answered."""
    world = World(Recorder(), state)
    world.sender.at_once = False
    working = asyncio.create_task(world.work(world.batch(order(1))))
    for _ in range(50):
        await asyncio.sleep(0)
    changes, outputs = world.sender.sent
    for batch in (changes, outputs):
        assert world.ledger.floor(("ns.orders.requested.v1", 0)) is None
        batch.acknowledge()
    await working
    assert world.ledger.floor(("ns.orders.requested.v1", 0)) == 1


async def test_a_failed_produce_is_a_warning(
    app: faust.App, caplog: pytest.LogCaptureFixture
) -> None:
    """P5. The exception goes to a future that nobody awaits, and a line to the log."""
    topic: Any = app.topic("out")
    refused, kept = asyncio.Future[Any](), asyncio.Future[Any]()
    refused.set_exception(OSError("refused"))
    message: Any = _FutureMessage(kept, topic)
    topic._on_published(refused, message=message, producer=app.producer, state=0.0)
    assert isinstance(kept.exception(), OSError)
    assert [line.levelname for line in caplog.records] == ["WARNING"]


class _FutureMessage:
    """What Faust keeps of a send: a future, and to which channel it went."""

    def __init__(self, future: "asyncio.Future[Any]", channel: Any) -> None:
        self.set_exception = future.set_exception
        self.message = SimpleNamespace(channel=channel)


# --- tables ---------------------------------------------------------------------------------


async def test_a_value_changed_in_place_is_in_no_changelog(app: faust.App) -> None:
    """P12. The table's own dict sees it, the changelog does not."""
    table: Any = app.Table("lists", default=list)
    sent: list[Any] = []
    table.send_changelog = lambda *args, **_kw: sent.append(args)
    table.data["A1"] = []
    table["A1"].append(1)
    assert (table["A1"], sent) == ([1], [])


async def test_a_key_that_came_back_as_zero_is_lost_in_a_restore(
    app: faust.App, state: TablePartition
) -> None:
    """P17. Deleted, then set to 0, in one batch of the changelog: stock's memory store drops it."""
    table: Any = app.Table("numbers", default=int)
    changes = [
        SimpleNamespace(key="A1", value=value, message=SimpleNamespace(value=raw, partition=0))
        for value, raw in ((7, b"7"), (None, None), (0, b"0"))
    ]
    table.data.apply_changelog_batch(changes, to_key=str, to_value=lambda value: value)
    assert "A1" not in table.data
    state.load([(b"A1", None), (b"A1", b'{"n":0}')], 2)
    assert state.get("A1") == Count(n=0)


async def test_a_table_is_written_only_from_a_stream(app: faust.App) -> None:
    """P21. A timer or task that tries raises, and takes the app with it."""
    table: Any = app.Table("counts", default=int)
    with pytest.raises(TypeError, match="outside of stream iteration"):
        table["A1"] = 1


def test_json_turns_what_is_no_number_into_null() -> None:
    """P24. A price that is not a number arrives as none at all."""
    assert json.loads(json.dumps({"price": math.nan})) == {"price": None}
    with pytest.raises(ValueError, match="finite"):
        submit(qty="NaN")


async def test_a_batch_is_one_changelog_record_per_key(
    state: TablePartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 changes of one key in a batch: one record of it, one of how far its source was applied.

    Stock sends one each: `tests/stack/guarantees` counts them in Kafka.
    """
    monkeypatch.setattr(clock, "monotonic", lambda: 0.0)  # a slow machine must not cut the unit
    world = World(Recorder(), state)
    await world.work(world.batch(*(order(number) for number in range(300))))
    changes = [batch.records for batch in world.sender.sent if batch.topic == "log"]
    assert [[out.key[:1] == OWN for out in part if out.key] for part in changes] == [[False, True]]
    assert changes[0][0].value == COUNTS.adapter().dump_json(Count(n=300))
    assert len(world.values(ORDERS_APPROVED.name)) == 300
