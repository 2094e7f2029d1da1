"""The sender and its desk: what is sent, asked, said again, over a broker and a Kafka in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any, TypeVar, cast

import pytest

from agents.sender import PARK_NS, Sender, SenderDeps
from connectors.brokers import desk as module
from connectors.brokers.desk import Desk
from connectors.brokers.line import Line
from streams import defences
from streams.broker import (
    Ack,
    BrokerAcrossNetwork,
    BrokerEvent,
    BrokerOrder,
    BrokerPosition,
    Outcome,
    Theirs,
)
from streams.domain.breaker import OPEN_NS, Bucket
from streams.domain.capabilities import REST
from streams.domain.controls import ControlSet
from streams.models.controls import AnyControl, KillSwitch
from streams.models.orders import OrderEvent, OrderStatus, VenueOrder
from streams.ports import Owned, Record, Unit
from streams.topics import ORDERS_EVENTS, RECONCILIATIONS, VENUE_REST_ORDERS
from tables.sends import KEEP_NS, SENDS, SendRow, send_key
from tests.builders import NOW_NS, SECOND, fill, record
from tests.fakes import MemoryUnit
from tests.unit.matching_world import venue_order
from tests.unit.test_breaker import opened
from tests.unit.test_sending import news

T = TypeVar("T")
D = Decimal
NO = Ack(Outcome.UNKNOWN, "A1.o1")
YES = Ack(Outcome.ACCEPTED, "A1.o1")
UNTIL_NS = NOW_NS + 30 * SECOND


def order(order_id: str = "o1", **fields: Any) -> VenueOrder:
    """Return an order for the broker, to be sent within 30 s."""
    return venue_order(order_id, broker="rest", valid_until_ns=UNTIL_NS, **fields)


def at_broker(status: str = "accepted", cum: str = "0") -> BrokerOrder:
    """Return the order as the broker has it."""
    avg = D(50) if cum != "0" else None
    state = OrderStatus(status)
    return BrokerOrder("A1.o1", "o1", "A1", state, D(10), D(cum), avg, "AIG")


class FakeBroker:
    """A broker whose answers the test gives; without one a call is accepted."""

    caps = REST

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, list[Any]] = defaultdict(list)
        self.told: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        self.cursor: str | None = "not started"

    async def start(self, cursor: str | None) -> None:
        """Keep the cursor."""
        self.cursor = cursor

    async def stop(self) -> None:
        """Note it."""
        self.calls.append("stop")

    async def submit(self, order: VenueOrder) -> Ack:
        """Answer as the test wants."""
        return cast(Ack, self._answer(f"submit {order.client_order_id}", YES))

    async def cancel(self, order: VenueOrder) -> Ack:
        """Answer as the test wants."""
        return cast(Ack, self._answer(f"cancel {order.client_order_id}", YES))

    async def replace(self, order: VenueOrder) -> Ack:
        """Answer as the test wants."""
        return cast(Ack, self._answer(f"replace {order.client_order_id}", YES))

    async def find(self, order: VenueOrder) -> BrokerOrder | None:
        """Answer as the test wants."""
        return cast(BrokerOrder | None, self._answer(f"find {order.client_order_id}", None))

    async def open_orders(self) -> list[BrokerOrder]:
        """Return none."""
        return []

    async def fills_since(self, ts_ns: int) -> list[OrderEvent]:
        """Return none."""
        assert ts_ns
        return []

    async def positions(self) -> list[BrokerPosition]:
        """Return none."""
        return []

    async def events(self) -> AsyncIterator[BrokerEvent]:
        """Yield what the test tells."""
        while True:
            yield await self.told.get()

    def _answer(self, call: str, otherwise: Any) -> Any:
        self.calls.append(call)
        waiting = self.answers[call.split(maxsplit=1)[0]]
        answer = waiting.pop(0) if waiting else otherwise
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """A sender of one partition, its table, its broker, and a clock that runs when it waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = NOW_NS
        self.partition = 0
        self.broker = FakeBroker()
        self.rules: list[AnyControl] = []
        self.unit: MemoryUnit[SendRow] = MemoryUnit({}, NOW_NS)
        self.fenced: Exception | None = None
        self.line = Line(
            lambda: cast(BrokerAcrossNetwork, self.broker), 5.0, Bucket(6_000), 10_000.0
        )
        self.sender = Sender(SenderDeps(lambda _: 0, self._attend))
        self.offset = 0
        self._sleep = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self._pass)

    async def _pass(self, seconds: float) -> None:
        """Let time pass at once, unless it is the tick or the comparison that waits."""
        if (
            seconds >= 1.0
            and seconds != 10_000.0
            and seconds in (module.TICK_S, module.COMPARE_FIRST_S)
        ):
            await asyncio.Event().wait()
        if seconds >= 10_000:
            await asyncio.Event().wait()
        self.now_ns += int(seconds * SECOND)
        await self._sleep(0)

    async def _attend(self, sender: Sender, owned: Owned[SendRow]) -> None:
        controls = ControlSet().with_records(self.rules)
        await Desk(sender, owned, {"rest": self.line}, lambda: controls, lambda: self.now_ns).run()

    # Implements `Owned`.

    async def work(self, do: Callable[[Unit[SendRow]], T]) -> T:
        """Run a unit of work."""
        self.unit.now_ns = self.now_ns
        return do(self.unit)

    async def durable(self) -> None:
        """Be durable at once."""

    def fence(self) -> None:
        """Raise what the test wants."""
        if self.fenced is not None:
            raise self.fenced

    def settled_ns(self) -> int:
        """Have nothing acknowledged."""
        return 0

    # What tests do.

    def take(self, order: VenueOrder, offset: int | None = None, *, again: bool = False) -> Record:
        """Give the sender a record."""
        self.offset = self.offset + 1 if offset is None else offset
        self.unit.now_ns = self.now_ns
        made = record(order, VENUE_REST_ORDERS, self.offset, redelivered=again)
        self.sender.step(self.unit, made)
        return made

    async def run(self, turns: int = 200, *, anew: bool = False) -> list[str]:
        """Let the desk work for a while; return the events that were published.

        It goes on with what is on the tray, or begins `anew`, after one that was given up.
        """
        if not anew:
            self.sender._attended.clear()
        task = asyncio.get_running_loop().create_task(self.sender.attend(cast(Any, self)))
        for _ in range(turns):
            await self._sleep(0)
        failed = task.exception() if task.done() else None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if failed is not None:
            raise failed
        return self.said()

    def said(self) -> list[str]:
        """Return the events that were published."""
        return [event.event.value for event in self.unit.values(ORDERS_EVENTS)]

    def refusal(self) -> str:
        """Return the code of the only refusal."""
        (code,) = [e.refusal.code for e in self.unit.values(ORDERS_EVENTS) if e.refusal is not None]
        return str(code)

    def taken_over(self) -> None:
        """Begin anew from the table, as another worker does."""
        self.sender.on_revoked(0)
        self.sender.on_assigned(0, list(self.unit.state.items()))

    def calls(self) -> list[str]:
        """Return the calls, but for the last one."""
        return [call.split()[0] for call in self.broker.calls if call != "stop"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a sender's world."""
    return World(monkeypatch)


async def test_an_order_is_sent_once(world: World) -> None:
    """Whether its record comes again as it was, or as a new one."""
    world.take(order(), 1)
    assert await world.run() == ["accepted"]
    world.take(order(), 1, again=True)
    world.take(order(), 2)
    assert await world.run() == ["accepted", "accepted", "duplicate"]
    assert world.calls() == ["submit"]


async def test_after_a_takeover_the_broker_is_asked_first(world: World) -> None:
    """What it has is not sent; what it has not, twice, is sent, under the same id."""
    world.take(order())
    world.taken_over()
    world.broker.answers["find"] = [at_broker("partially_filled", "4")]
    assert await world.run() == ["accepted"]
    assert world.calls() == ["find"]
    other = order("o2")
    world.take(other)
    world.taken_over()
    began_ns = world.now_ns
    await world.run()
    assert set(world.calls()[1:-1]) == {"find"}
    assert world.broker.calls[-2] == "submit A1.o2"
    assert len(world.calls()[1:-1]) >= 2
    assert world.now_ns >= began_ns + 5 * SECOND


@pytest.mark.parametrize(
    ("found", "calls", "events"),
    [
        ([at_broker()], ["submit", "find"], ["accepted"]),
        ([OSError(), at_broker()], ["submit", "find", "find"], ["accepted"]),
        ([at_broker("rejected")], ["submit", "find"], ["rejected"]),
        ([at_broker("canceled", "4")], ["submit", "find"], ["accepted", "canceled"]),
    ],
)
async def test_without_an_answer_the_broker_is_asked(
    world: World, found: list[Any], calls: list[str], events: list[str]
) -> None:
    """Until it says what became of the order."""
    world.broker.answers["submit"] = [NO]
    world.broker.answers["find"] = [
        ConnectionError("away") if isinstance(one, OSError) else one for one in found
    ]
    world.take(order())
    assert await world.run() == events
    assert world.calls() == calls


async def test_what_is_not_there_in_time_is_refused(world: World) -> None:
    """It was looked for until its time was over, and never sent again after that."""
    world.broker.answers["submit"] = [NO]
    world.broker.answers["find"] = [ConnectionError("away")] * 4
    world.take(order())
    world.line.breaker.failures = -100
    world.now_ns = UNTIL_NS - SECOND
    assert await world.run() == ["rejected"]
    assert world.refusal() == "EXPIRED_UNSENT"
    assert world.calls().count("submit") == 1


async def test_a_call_that_did_not_arrive_is_made_again(world: World) -> None:
    """Nobody has to be asked: it certainly changed nothing."""
    away = Ack(Outcome.UNKNOWN, "A1.o1", sent=False)
    slow = Ack(Outcome.UNKNOWN, "A1.o1", sent=False, throttled=True)
    world.broker.answers["submit"] = [away, slow, YES]
    world.take(order())
    assert await world.run() == ["accepted"]
    assert world.calls() == ["submit"] * 3


BARRED: list[tuple[Callable[[World], None], str, str]] = [
    (lambda w: w.rules.append(KillSwitch(engaged=True, version=3)), "KILL_SWITCH", "kill switch"),
    (
        lambda w: w.rules.append(KillSwitch(scope="broker:rest", engaged=True, version=3)),
        "KILL_SWITCH",
        "of its broker",
    ),
    (lambda w: setattr(w, "now_ns", UNTIL_NS + 1), "EXPIRED_UNSENT", "its time is over"),
    (lambda w: setattr(w.line, "breaker", opened(NOW_NS)), "BROKER_DOWN", "open"),
    (lambda w: w.line.bucket.pause(NOW_NS, 60.0), "BROKER_DOWN", "no call within its time"),
]


@pytest.mark.parametrize(("bar", "code", "reason"), BARRED)
async def test_what_may_not_go_is_refused_at_once(
    world: World, bar: Callable[[World], None], code: str, reason: str
) -> None:
    """Without a call; and a cancel that follows finds that there is nothing to cancel."""
    bar(world)
    world.take(order())
    assert await world.run() == ["rejected"], reason
    assert (world.refusal(), world.calls()) == (code, [])
    world.unit.emitted.clear()
    world.take(order(command="cancel", request_id="c1"))
    assert await world.run() == ["cancel_rejected"]
    assert (world.refusal(), world.calls()) == ("TOO_LATE", [])


async def test_an_account_s_calls_go_out_in_order(world: World) -> None:
    """Those of an order that is asked for wait; others go on."""
    world.broker.answers["submit"] = [NO]
    world.broker.answers["find"] = [ConnectionError("away"), at_broker()]
    world.take(order())
    world.take(order(command="cancel", request_id="c1"))
    world.take(order("o2"))
    world.take(order("o3"))
    await world.run()
    submits = [call for call in world.broker.calls if call.startswith("submit")]
    assert submits == ["submit A1.o1", "submit A1.o2", "submit A1.o3"]
    assert world.calls().index("cancel") > len(world.calls()) - 1 - world.calls()[::-1].index(
        "find"
    )
    assert set(world.said()) == {"accepted", "pending_cancel"}


async def test_a_cancel_is_sent_until_it_is_answered(world: World) -> None:
    """Its request id makes it the same cancel; in the end it is not known what came of it."""
    world.take(order())
    world.take(order(command="cancel", request_id="c1"))
    world.broker.answers["cancel"] = [NO, NO, YES]
    assert await world.run() == ["accepted", "pending_cancel"]
    assert world.calls() == ["submit", "cancel", "cancel", "cancel"]
    world.take(order(command="cancel", request_id="c2"))
    world.broker.answers["cancel"] = [NO] * 100
    world.line.breaker.failures = -100
    assert (await world.run(2_000))[-1] == "cancel_rejected"
    assert world.refusal() == "BROKER_DOWN"


async def test_a_lost_partition_sends_nothing(world: World) -> None:
    """The fence is asked right before the call."""
    world.fenced = RuntimeError("stood still")
    world.take(order())
    with pytest.raises(ExceptionGroup):
        await world.run()
    assert world.calls() == []


async def test_a_desk_that_begins_again_finds_what_waits(world: World) -> None:
    """What the one before had taken off the tray is in the table still."""
    world.broker.answers["submit"] = [NO]
    world.broker.answers["find"] = [ConnectionError("away")] * 100
    world.line.breaker.failures = -1_000
    world.take(order())
    assert await world.run(20) == []
    world.broker.answers["find"] = [at_broker()]
    assert await world.run(anew=True) == ["accepted"]
    assert world.calls().count("submit") == 1


async def test_five_calls_without_an_answer_open_the_breaker(world: World) -> None:
    """Then orders are refused at once, and after half a minute one call is a probe."""
    world.broker.answers["submit"] = [Ack(Outcome.UNKNOWN, "A1.o1", sent=False)] * 5
    world.take(order())
    assert await world.run() == ["rejected"]
    assert (world.refusal(), world.calls()) == ("BROKER_DOWN", ["submit"] * 5)
    world.now_ns += OPEN_NS
    world.take(order("o2", at=NOW_NS).model_copy(update={"valid_until_ns": None}))
    assert (await world.run())[-1] == "accepted"
    assert world.line.breaker.opened_ns is None


async def test_the_stream_is_taken_in_from_where_it_was_left(world: World) -> None:
    """Each event once, and the place in the stream with it."""
    world.take(order())
    for number in ("7", "8"):
        told = news("fill", fill=fill("x1", "4", cum_qty="4"))
        world.broker.told.put_nowait(BrokerEvent(told, number))
    assert sorted(await world.run()) == ["accepted", "fill"]
    world.taken_over()
    await world.run()
    assert world.broker.cursor == "8"


async def test_what_may_be_lost_is_said_again_after_a_takeover(world: World) -> None:
    """The events of units that were not acknowledged, and no other; with the same ids."""
    world.take(order())
    await world.run()
    (first,) = world.unit.values(ORDERS_EVENTS)
    world.unit.emitted.clear()
    world.taken_over()
    assert await world.run() == ["accepted"]
    assert world.unit.values(ORDERS_EVENTS) == [first]


def test_what_is_said_again_moves_no_position(world: World) -> None:
    """A record that comes again publishes the fill anew; the shares are held once."""
    world.take(order(), 1)
    told = BrokerEvent(news("fill", fill=fill("x1", "4", cum_qty="4")), "1")
    world.sender.take_in(world.unit, "rest", [told], 0)
    world.take(order(), 1, again=True)
    assert world.said() == ["fill", "fill"]
    held = world.unit.state["A1#rest|AIG"]
    assert held.kind == "held"
    assert held.qty == 4


def test_an_execution_waits_for_its_order(world: World) -> None:
    """Counted when the order comes; without one it is a dead letter after a minute."""
    told = news("fill", fill=fill("x1", "4", cum_qty="4"))
    for _ in range(2):
        world.sender.take_in(world.unit, "rest", [BrokerEvent(told, "1")], 0)
    assert world.said() == []
    world.taken_over()
    world.take(order())
    assert world.said() == ["fill"]
    orphan = told.model_copy(update={"client_order_id": "A1.nobody"})
    world.sender.take_in(world.unit, "rest", [BrokerEvent(orphan, "2")], 0)
    world.unit.now_ns += PARK_NS
    world.sender.age(world.unit)
    assert world.unit.dead_letters == []
    world.unit.now_ns += 1
    world.sender.age(world.unit)
    (letter,) = world.unit.dead_letters
    assert letter.code == "ORPHAN_EXECUTION"
    assert ORDERS_EVENTS.adapter.validate_json(letter.record.raw or b"") == orphan
    assert not [key for key in world.unit.state if "~rest" in key]


def test_a_stream_that_was_never_followed_begins_with_history(world: World) -> None:
    """What others sent there long ago is none of our business."""
    old = news("fill", fill=fill("x1"), ts_event_ns=NOW_NS - PARK_NS)
    world.sender.take_in(world.unit, "rest", [BrokerEvent(old, "1")], 0)
    assert [key for key in world.unit.state if "~rest" in key] == []
    world.sender.take_in(world.unit, "rest", [BrokerEvent(old, "2")], 0)
    assert [key for key in world.unit.state if "~rest" in key] == ["A1~rest|A1.o1"]


def test_what_is_long_over_is_forgotten(world: World) -> None:
    """Seven days after it was over; what is open stays."""
    world.take(order())
    world.take(order("o2"))
    told = news("fill", fill=fill("x1"))
    world.sender.take_in(world.unit, "rest", [BrokerEvent(told, "1")], 0)
    world.unit.now_ns = NOW_NS + KEEP_NS - 1
    world.sender.age(world.unit)
    assert send_key("A1", "rest", "A1.o1") in world.unit.state
    world.unit.now_ns += 1
    world.sender.age(world.unit)
    assert send_key("A1", "rest", "A1.o1") not in world.unit.state
    assert send_key("A1", "rest", "A1.o2") in world.unit.state


def test_what_does_not_belong_here_is_set_aside(world: World) -> None:
    """An order for another broker, and an id that another order has."""
    world.take(venue_order())
    world.take(order())
    world.take(order("o2", client_order_id="A1.o1"))
    assert [letter.code for letter in world.unit.dead_letters] == ["WRONG_BROKER", "CONFLICT"]
    assert world.said() == ["rejected"]


def test_the_table_takes_what_is_put(world: World) -> None:
    """Every row comes back from JSON as it was."""
    world.take(order())
    world.sender.take_in(
        world.unit, "rest", [BrokerEvent(news("fill", fill=fill("x1", "4", cum_qty="4")), "1")], 0
    )
    orphan = news("fill", fill=fill("x1")).model_copy(update={"client_order_id": "A1.nobody"})
    world.sender.take_in(world.unit, "rest", [BrokerEvent(orphan, "2")], 0)
    adapter = SENDS.adapter()
    kinds = set()
    for row in world.unit.state.values():
        assert adapter.validate_json(adapter.dump_json(row)) == row
        kinds.add(row.kind)
    assert kinds == {"sending", "held", "parked", "cursor"}


def compared(world: World, theirs: Theirs) -> list[tuple[str, str, str, bool]]:
    """Compare ten seconds later; return what was found, without the summary."""
    world.unit.now_ns = theirs.started_ns
    world.sender.compare(world.unit, "rest", theirs, 0)
    *found, summary = world.unit.values(RECONCILIATIONS)
    assert (summary.finding, summary.differences) == ("summary", len(found))
    assert summary.unmended == sum(not one.mended for one in found)
    world.unit.emitted.clear()
    return [(one.finding, one.ours, one.theirs, one.mended) for one in found]


async def test_a_comparison_mends_what_can_be_mended(world: World) -> None:
    """Fills and ends that we missed are published, once; the same again finds nothing."""
    world.take(order())
    await world.run()
    position = BrokerPosition("A1", "AIG", D(4))
    asked: list[tuple[VenueOrder, BrokerOrder | None]] = [(order(), at_broker("canceled", "4"))]
    later_ns = NOW_NS + 10 * SECOND
    theirs = Theirs(
        later_ns, [], asked, [news("fill", fill=fill("x1", "4", cum_qty="4"))], [position]
    )
    assert compared(world, theirs) == [
        ("missing_fill", "", "4 at 50", True),
        ("over_at_broker", "open", "canceled", True),
    ]
    assert compared(world, Theirs(later_ns + 10 * SECOND, [], [], theirs.fills, [position])) == []


async def test_a_comparison_fills_up_what_no_execution_tells(world: World) -> None:
    """At the average price, with an id of ours; the execution counts nothing when it comes."""
    world.take(order())
    await world.run()
    there = [at_broker("accepted", "4")]
    position = [BrokerPosition("A1", "AIG", D(4))]
    assert compared(world, Theirs(NOW_NS + 10 * SECOND, there, [], [], position)) == [
        ("missing_fill", "", "4 at 50", True)
    ]
    told = BrokerEvent(news("fill", fill=fill("x1", "4", cum_qty="4")), "1")
    world.sender.take_in(world.unit, "rest", [told], 0)
    assert world.said() == []


async def test_a_comparison_reports_what_it_cannot_mend(world: World) -> None:
    """Orders and positions that are not ours, and an order that the broker has lost."""
    world.take(order())
    await world.run()
    stranger = BrokerOrder("x", "x", "A9", OrderStatus.ACCEPTED, D(1), D(0), None, "AIG")
    held = BrokerPosition("A1", "MSFT", D("3.50"))
    theirs = Theirs(NOW_NS + 10 * SECOND, [stranger], [(order(), None)], [], [held])
    assert compared(world, theirs) == [
        ("unknown_order", "unknown", "there", False),
        ("missing_order", "open", "unknown", False),
        ("position", "0", "3.5", False),
    ]


async def test_a_comparison_leaves_alone_what_is_on_its_way(world: World) -> None:
    """What changed a moment ago may not have reached the other side."""
    world.take(order())
    await world.run()
    later_ns = NOW_NS + 10 * SECOND
    young = news("fill", fill=fill("x1", "4", cum_qty="4"), ts_event_ns=later_ns - SECOND)
    position = [BrokerPosition("A1", "AIG", D(4))]
    there = Theirs(later_ns, [at_broker("accepted", "4")], [], [young], position)
    assert compared(world, there) == []
    assert world.said() == []
    told = BrokerEvent(news("fill", fill=fill("x1", "4", cum_qty="4")), "1")
    world.sender.take_in(world.unit, "rest", [told], 0)
    world.unit.emitted.clear()
    assert compared(world, Theirs(NOW_NS + SECOND, [], [(order(), None)], [], [])) == []


@pytest.fixture
def without() -> Iterator[Callable[[str], object]]:
    """Yield what switches defences off, until the test is over."""
    yield defences.switch_off
    defences.switch_off("")


@pytest.mark.parametrize(
    ("off", "events"), [("", ["find", "accepted"]), ("find-first", ["submit", "accepted"])]
)
async def test_without_asking_first(
    world: World, without: Callable[[str], object], off: str, events: list[str]
) -> None:
    """An order that the broker has goes out again after a takeover."""
    without(off)
    world.take(order())
    world.taken_over()
    world.broker.answers["find"] = [at_broker()]
    said = await world.run()
    assert [*world.calls(), *said] == events


@pytest.mark.parametrize(("off", "event"), [("", "accepted"), ("unknown", "rejected")])
async def test_without_the_unknown(
    world: World, without: Callable[[str], object], off: str, event: str
) -> None:
    """An order that the broker has is reported as refused."""
    without(off)
    world.broker.answers["submit"] = [NO]
    world.broker.answers["find"] = [at_broker()]
    world.take(order())
    assert await world.run() == [event]


@pytest.mark.parametrize(("off", "second"), [("", "A1.o1"), ("stable-id", "A1.o1-1")])
async def test_without_a_stable_id(
    world: World, without: Callable[[str], object], off: str, second: str
) -> None:
    """What is sent again is another order to the broker."""
    without(off)
    world.broker.answers["submit"] = [NO]
    world.take(order())
    await world.run()
    submits = [call for call in world.broker.calls if call.startswith("submit")]
    assert submits == ["submit A1.o1", f"submit {second}"]


@pytest.mark.parametrize(("off", "event"), [("", "rejected"), ("valid-until", "accepted")])
async def test_without_a_time_until_it_is_valid(
    world: World, without: Callable[[str], object], off: str, event: str
) -> None:
    """An order goes out that nobody wants any more."""
    without(off)
    world.now_ns = UNTIL_NS + 1
    world.take(order())
    assert await world.run() == [event]


async def test_without_the_fence(world: World, without: Callable[[str], object]) -> None:
    """A worker that lost its partition sends."""
    without("fence")
    world.fenced = RuntimeError("stood still")
    world.take(order())
    assert await world.run() == ["accepted"]


@pytest.mark.parametrize(("off", "fills"), [("", 1), ("cumulative", 2)])
def test_without_the_cumulative_quantity(
    world: World, without: Callable[[str], object], off: str, fills: int
) -> None:
    """The same execution under another id counts again."""
    without(off)
    world.take(order())
    for name in ("x1", "copy"):
        told = BrokerEvent(news("fill", fill=fill(name, "4", cum_qty="4")), "1")
        world.sender.take_in(world.unit, "rest", [told], 0)
    assert world.said() == ["fill"] * fills


async def test_a_question_that_is_given_up_before_its_turn_is_closed(world: World) -> None:
    """It was never asked; Python would warn of a coroutine that nobody awaited."""
    world.line.bucket.pause(NOW_NS, 10)
    question: Any = world.broker.find(order())
    asking = asyncio.get_running_loop().create_task(world.line.ask(question, lambda: NOW_NS))
    await world._sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert question.cr_frame is None
    assert world.broker.calls == []
