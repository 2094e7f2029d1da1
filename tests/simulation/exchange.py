"""A broker across a network: it fills as it likes, and hardly anything reaches it unharmed.

Calls get lost on the way there or back, arrive late, meet a closed door or are throttled. Its
stream tells things twice, not in the order of different orders, and leaves some out; whoever asks
for fills afterwards may be given other ids of executions. It keeps the rules of the broker port.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from streams.broker import Ack, BrokerEvent, BrokerOrder, BrokerPosition, Outcome
from streams.domain.build import evolve, make
from streams.domain.capabilities import REST, Capabilities
from streams.domain.decimals import ZERO
from streams.domain.refusals import Code, refuse
from streams.domain.sending import event_id
from streams.models.orders import (
    EventType,
    Fill,
    OrderEvent,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    VenueOrder,
)
from tests.simulation.loop import Loop, Timeline

T = TypeVar("T")

MS = 1_000_000
#: A call is given up after so long; what is on its way arrives before.
TIMEOUT_S = 0.2
TIMEOUT_NS = 200 * MS
OPEN = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
_PX = Decimal("50.00")


def some(rng: Random, least: int, below: int) -> int:
    """Return a number from `least` to `below` (exclusive); cheaper than `randrange`."""
    return least + int(rng.random() * (below - least))


@dataclass(slots=True)
class Deal:
    """An order at the broker. `sent_ns`: when the call that brought it went out."""

    order: VenueOrder
    sent_ns: int
    status: OrderStatus = OrderStatus.ACCEPTED
    cum: Decimal = ZERO
    requests: set[str] = field(default_factory=set)

    @property
    def leaves(self) -> Decimal:
        """Return what is not filled."""
        return (self.order.terms.qty or ZERO) - self.cum

    def shown(self) -> BrokerOrder:
        """Return the order as the broker tells of it."""
        order, average = self.order, _PX if self.cum else None
        return BrokerOrder(
            order.client_order_id,
            order.order_id,
            order.account,
            self.status,
            order.terms.qty,
            self.cum,
            average,
            order.terms.symbol,
        )


class Exchange:
    """The broker."""

    def __init__(self, timeline: Timeline, rng: Random) -> None:
        self.timeline = timeline
        self.rng = rng
        self.deals: dict[str, Deal] = {}
        self.log: list[BrokerEvent] = []
        self.fills: list[OrderEvent] = []
        self.lines: list[Connection] = []
        #: Calls of orders that have gone out.
        self.submits = 0
        #: Calls before this time do not get through.
        self.away_until_ns = 0
        #: From then on the network is well.
        self.calm = False
        #: Executions have other ids for who asks for them.
        self.renames = rng.random() < 0.3
        self._last: dict[str, int] = {}

    # What becomes of orders.

    def submit(self, order: VenueOrder, sent_ns: int) -> Ack:
        """Take an order, once."""
        name = order.client_order_id
        known = self.deals.get(name)
        if known is not None:
            same = (known.order.order_id, known.order.account) == (order.order_id, order.account)
            outcome = Outcome.DUPLICATE if same else Outcome.REJECTED
            return Ack(outcome, name, "" if same else Code.CONFLICT, "it is here")
        deal = self.deals[name] = Deal(order, sent_ns)
        if self.rng.random() < 0.06:
            deal.status = OrderStatus.REJECTED
            self._tell(deal, EventType.REJECTED, refusal=refuse(Code.BROKER_REFUSED, "not today"))
            return Ack(Outcome.REJECTED, name, Code.BROKER_REFUSED, "not today")
        self._tell(deal, EventType.ACCEPTED)
        self._plan(deal)
        return Ack(Outcome.ACCEPTED, name)

    def _plan(self, deal: Deal) -> None:
        """Decide how an order fills, and when."""
        rng, terms = self.rng, deal.order.terms
        at_once = terms.type is OrderType.MARKET or terms.time_in_force is TimeInForce.IOC
        parts = rng.choice((0, 1, 1, 2, 3)) if not at_once else rng.choice((1, 2))
        when_ns, whole = self.timeline.now_ns, terms.qty or ZERO
        for number in range(parts):
            when_ns += some(rng, 1, 120) * MS
            last = number == parts - 1 and rng.random() < 0.8
            qty = whole if last else max(whole // parts, Decimal(1))
            self.timeline.at(when_ns, lambda qty=qty: self._fill(deal, qty))
        if at_once or rng.random() < 0.05:
            self.timeline.at(when_ns + 5 * MS, lambda: self._expire(deal))

    def _fill(self, deal: Deal, most: Decimal) -> None:
        qty = min(most, deal.leaves)
        if deal.status not in OPEN or qty <= 0:
            return
        deal.cum += qty
        deal.status = OrderStatus.PARTIALLY_FILLED if deal.leaves > 0 else OrderStatus.FILLED
        fill = make(
            Fill,
            exec_id=f"x{len(self.fills)}-{deal.order.client_order_id}",
            last_qty=qty,
            last_px=_PX,
            cum_qty=deal.cum,
            commission=ZERO,
        )
        self.fills.append(self._tell(deal, EventType.FILL, (fill.exec_id,), fill=fill))

    def _expire(self, deal: Deal) -> None:
        if deal.status in OPEN:
            deal.status = OrderStatus.EXPIRED
            self._tell(deal, EventType.EXPIRED)

    def change(self, order: VenueOrder, _: int) -> Ack:
        """Cancel or replace an order, once per request."""
        name, request = order.client_order_id, order.request_id
        deal = self.deals.get(name)
        if deal is None:
            return Ack(Outcome.REJECTED, name, Code.UNKNOWN_ORDER, "no such order")
        if request in deal.requests:
            return Ack(Outcome.DUPLICATE, name, text="it was here")
        deal.requests.add(request)
        cancel = order.command == "cancel"
        qty = order.terms.qty or ZERO
        if deal.status not in OPEN or not (cancel or qty > deal.cum):
            kind = EventType.CANCEL_REJECTED if cancel else EventType.REPLACE_REJECTED
            why = refuse(Code.TOO_LATE, "it is over")
            self._tell(deal, kind, (request,), request_id=request, refusal=why)
            return Ack(Outcome.ACCEPTED, name)
        if cancel:
            deal.status = OrderStatus.CANCELED
            self._tell(deal, EventType.CANCELED, request_id=request)
            return Ack(Outcome.ACCEPTED, name)
        deal.order = evolve(deal.order, terms=order.terms, revision=order.revision)
        self._tell(deal, EventType.REPLACED, (request,), request_id=request, terms=order.terms)
        return Ack(Outcome.ACCEPTED, name)

    def positions(self) -> list[BrokerPosition]:
        """Return what the accounts hold."""
        held: dict[tuple[str, str], Decimal] = {}
        for deal in self.deals.values():
            order, qty = deal.order, deal.cum
            key = order.account, order.terms.symbol
            held[key] = held.get(key, ZERO) + (qty if order.terms.side is Side.BUY else -qty)
        return [BrokerPosition(*key, qty) for key, qty in held.items()]

    def fills_since(self, ts_ns: int) -> list[OrderEvent]:
        """Return the executions since a time, under ids of their own if it `renames`."""
        found = [event for event in self.fills if event.ts_event_ns >= ts_ns]
        return [_renamed(event) for event in found] if self.renames else found

    # The stream.

    def _tell(
        self, deal: Deal, kind: EventType, suffix: tuple[object, ...] = (), **blocks: Any
    ) -> OrderEvent:
        order, now_ns = deal.order, self.timeline.now_ns
        name = order.client_order_id
        event = make(
            OrderEvent,
            event_id=event_id(name, kind, *suffix),
            event=kind,
            order_id=order.order_id,
            account=order.account,
            symbol=order.terms.symbol,
            side=order.terms.side,
            client_order_id=name,
            broker=REST.broker,
            revision=order.revision,
            ts_event_ns=now_ns,
            ts_init_ns=now_ns,
            **blocks,
        )
        ends = kind in (EventType.FILL, EventType.CANCELED, EventType.EXPIRED)
        if not (ends and self.rng.random() < 0.04):  # or else the stream leaves it out
            when_ns = max(now_ns + some(self.rng, 1, 60) * MS, self._last.get(name, 0))
            self._last[name] = when_ns  # of one order they stay in order
            self.timeline.at(when_ns, lambda: self._publish(event))
        return event

    def _publish(self, event: OrderEvent) -> None:
        self.log.append(BrokerEvent(event, str(len(self.log) + 1)))
        for line in self.lines:
            line.wake()

    # The network.

    def connect(self) -> "Connection":
        """Return a new connection, for the process whose loop runs."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        self.lines = [line for line in self.lines if line.loop in self.timeline.loops]
        line = Connection(self, loop)
        self.lines.append(line)
        return line


class Connection:
    """One connection. Implements `BrokerAcrossNetwork`."""

    caps: Capabilities = REST

    def __init__(self, exchange: Exchange, loop: Loop) -> None:
        self.exchange = exchange
        self.loop = loop
        self.place: int | None = None
        self.told: asyncio.Queue[BrokerEvent] = asyncio.Queue()
        #: The stream brings nothing before.
        self.stalled_ns = 0

    async def start(self, cursor: str | None) -> None:
        """Follow the stream from the cursor on."""
        self.place = int(cursor or 0)
        self.wake()

    async def stop(self) -> None:
        """Disconnect."""
        self.place = None

    async def submit(self, order: VenueOrder) -> Ack:
        """Send a new order."""
        self.exchange.submits += 1
        return await self._call(order, self.exchange.submit)

    async def cancel(self, order: VenueOrder) -> Ack:
        """Ask to cancel."""
        return await self._call(order, self.exchange.change)

    async def replace(self, order: VenueOrder) -> Ack:
        """Ask to change."""
        return await self._call(order, self.exchange.change)

    async def find(self, order: VenueOrder) -> BrokerOrder | None:
        """Return an order, or None."""
        deals = self.exchange.deals
        return await self._ask(
            lambda: deals[name].shown() if (name := order.client_order_id) in deals else None
        )

    async def open_orders(self) -> list[BrokerOrder]:
        """Return the open orders."""
        deals = self.exchange.deals.values
        return await self._ask(lambda: [deal.shown() for deal in deals() if deal.status in OPEN])

    async def positions(self) -> list[BrokerPosition]:
        """Return all positions."""
        return await self._ask(self.exchange.positions)

    async def fills_since(self, ts_ns: int) -> list[OrderEvent]:
        """Return the executions since a time."""
        return await self._ask(lambda: self.exchange.fills_since(ts_ns))

    async def events(self) -> AsyncIterator[BrokerEvent]:
        """Yield what the stream tells."""
        while True:
            yield await self.told.get()

    def wake(self) -> None:
        """Let what the broker has told come, soon."""
        if self.place is not None:
            delay_s = 0.001 * some(self.exchange.rng, 1, 20)
            self.loop.call_later(delay_s, self._receive)

    def _receive(self) -> None:
        log, rng = self.exchange.log, self.exchange.rng
        if self.place is None:
            return
        if self.loop.timeline.now_ns < self.stalled_ns:
            self.loop.call_later(0.1, self._receive)
            return
        if rng.random() < 0.08:  # the connection broke, and what it told last comes again
            self.place = max(0, self.place - rng.randint(1, 3))
        for told in log[self.place :]:
            self.told.put_nowait(told)
        self.place = len(log)

    # Calls.

    async def _call(self, order: VenueOrder, do: Callable[[VenueOrder, int], Ack]) -> Ack:
        name, sent_ns = order.client_order_id, self.loop.timeline.now_ns
        answer = await self._over(lambda: do(order, sent_ns))
        if isinstance(answer, Lost):
            unsent = answer.unsent
            return Ack(
                Outcome.UNKNOWN, name, sent=not unsent, throttled=unsent and answer.throttled
            )
        return answer

    async def _ask(self, question: Callable[[], T]) -> T:
        answer = await self._over(question)
        if isinstance(answer, Lost):
            raise ConnectionError("no answer")
        return answer

    async def _over(self, do: Callable[[], T]) -> "T | Lost":
        """Do something at the broker, if the network brings it there, and its answer back."""
        exchange, rng, timeline = self.exchange, self.exchange.rng, self.loop.timeline
        chance = 1.0 if exchange.calm else rng.random()
        if timeline.now_ns < exchange.away_until_ns and not exchange.calm:
            chance *= 0.15
        there_ns, back_ns = some(rng, 1, 30) * MS, some(rng, 1, 30) * MS
        if chance < 0.05:
            return Lost(unsent=True, throttled=rng.random() < 0.3)
        if chance < 0.1:
            there_ns = back_ns = 2 * TIMEOUT_NS
        elif chance < 0.33:
            back_ns = TIMEOUT_NS
        elif chance < 0.39:
            there_ns += some(rng, 80, 160) * MS
        if (
            there_ns + back_ns >= TIMEOUT_NS and rng.random() < 0.6
        ):  # nor does the stream get through
            self.stalled_ns = timeline.now_ns + some(rng, 400, 3_000) * MS
        box: list[T] = []
        if there_ns < TIMEOUT_NS:
            timeline.at(timeline.now_ns + there_ns, lambda: box.append(do()))
        await asyncio.sleep(min(there_ns + back_ns, TIMEOUT_NS) / 1e9)
        in_time = there_ns + back_ns < TIMEOUT_NS
        return box[0] if box and in_time else Lost(unsent=False, throttled=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """A call without an answer; `unsent`: it certainly changed nothing."""

    unsent: bool
    throttled: bool


def _renamed(event: OrderEvent) -> OrderEvent:
    """Return an execution as the broker's own list has it: under another id."""
    fill = event.fill
    assert fill is not None
    other = f"{fill.exec_id}-again"
    name = event.client_order_id or ""
    return evolve(
        event,
        event_id=event_id(name, EventType.FILL, other),
        fill=evolve(fill, exec_id=other),
    )
