"""Give orders and ticks to the virtual venue, and publish what becomes of the orders.

In      venue.virtual.orders, market.quotes, market.trades, key symbol
Out     orders.events, key account; statements, key account: every `reconcile_every_s` what the
        venue has of each account on each symbol
State   table `venue`: markets, orders, latest events; written here only
Twice   the stored events go out again; an order or request that comes again as a new record is
        reported as `duplicate` and executes nothing
Bad     an id that is taken by another order, and an order for another broker, go to the dead
        letters; what the venue refuses is an event, and so is what a kill switch or a halt stops:
        both are asked right before an order, or a replace that asks for more, goes to the venue;
        ticks that the checks refuse move nothing, and the prices agent counts them

State must be acknowledged before outputs are published: a fill depends on how orders and ticks
interleaved, so it must not be computed anew once it has been published.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from streams.broker import Ack, Outcome, VenueInProcess
from streams.domain.build import make
from streams.domain.controls import ControlSet
from streams.domain.matching.config import DAY_NS, SECOND_NS
from streams.domain.matching.ledger import long_id
from streams.domain.matching.records import BookRecord, ClosedRecord, EngineRecord, OrderRecord
from streams.domain.refusals import Code
from streams.domain.stating import Held, statements
from streams.domain.switches import stopped
from streams.errors import InfrastructureError
from streams.models.orders import EventType, OrderEvent, VenueOrder
from streams.ports import Agent, Record, Unit
from streams.topics import ORDERS_EVENTS, STATEMENTS
from tables.venue import Published, VenueRecord

T = TypeVar("T")

#: How long events are kept for the redelivery of their record: well above a commit interval.
KEEP_NS = 60 * SECOND_NS
#: Records forgotten at most per unit of work.
MAX_FORGOTTEN = 1_000
#: A worker states what it has so soon after it was given a partition, then at its interval.
STATE_FIRST_NS = 5 * SECOND_NS
#: An order that is over is stated for so many intervals, so at least twice; of each symbol not
#: more than this number of them.
STATED_FOR = 3
MAX_LATELY = 500
#: Stated in one unit of work, about: more would hold up orders.
MAX_STATED_SYMBOLS = 100
MAX_STATED_ORDERS = 2_000


@dataclass(slots=True)
class _Partition:
    """What is derived from the table for one partition; `since_ns`: when work on it began."""

    symbols: dict[str, None] = field(default_factory=dict)
    closed: deque[tuple[int, str]] = field(default_factory=deque)
    published: deque[tuple[int, str]] = field(default_factory=deque)
    unconfirmed: list[str] = field(default_factory=list)
    since_ns: int = 0
    stated_ns: dict[str, int] = field(default_factory=dict)
    lately: dict[str, deque[ClosedRecord]] = field(default_factory=dict)

    def closes(self, key: str, record: ClosedRecord) -> None:
        """Note that an order is over."""
        self.closed.append((record.ts_closed_ns, key))
        symbol = key.split("|", 1)[0]
        if symbol not in self.lately:
            self.lately[symbol] = deque(maxlen=MAX_LATELY)
        self.lately[symbol].append(record)

    def closed_lately(self, symbol: str, from_ns: int) -> list[ClosedRecord]:
        """Return what closed on a symbol since then, not more than is noted."""
        return [one for one in self.lately.get(symbol, ()) if one.ts_closed_ns >= from_ns]


class Gateway(Agent[VenueRecord]):
    """The gateway agent of the virtual venue."""

    def __init__(
        self,
        broker: VenueInProcess,
        controls: Callable[[], ControlSet],
        remember_ns: int,
        state_every_ns: int = 60 * SECOND_NS,
    ) -> None:
        """`remember_ns`: how long closed orders stay known, as in the venue's configuration.

        `state_every_ns`: how often each symbol's orders are stated.
        """
        self._broker = broker
        self._controls = controls
        self._known = controls()
        self._remember_ns = remember_ns
        self._state_every_ns = state_every_ns
        self._partitions: dict[int, _Partition] = defaultdict(_Partition)
        self._unit: Unit[VenueRecord] | None = None
        self._symbols: dict[str, None] = {}
        self._last: Record | None = None
        self._ordered: dict[str, None] = {}

    def step(self, unit: Unit[VenueRecord], record: Record) -> None:
        """Take an order, a cancel, a replace or a tick."""
        if record.redelivered:
            self._publish_again(unit, _key(record))
            return
        self._last, value = record, record.value
        if isinstance(value, VenueOrder):
            self._bind(unit)
            self._partitions[unit.partition].symbols[value.terms.symbol] = None
            reported = self._command(unit, record, value)
            self._store(unit)
            self._publish(unit, _key(record), reported)
            return
        if unit is not self._unit:
            self._bind(unit)
        self._symbols[value.symbol] = None
        if self._broker.tick(value) and self._publish(unit, _key(record)):
            self._store(unit)

    def on_batch_end(self, unit: Unit[VenueRecord]) -> None:
        """Let what is due by our time take effect, and store the markets that moved."""
        if self._last is None:
            return
        self._bind(unit)
        self._broker.on_clock(self._ordered)
        self._publish(unit, _key(self._last))
        self._store(unit)
        self._store_markets(unit)
        self._forget(unit)
        self._ordered.clear()
        self._unit = self._last = None

    def on_timer(self, unit: Unit[VenueRecord]) -> None:
        """Let time expire orders, forget what is old, publish again what may have been lost."""
        kept = self._partitions[unit.partition]
        for key in kept.unconfirmed:
            self._publish_again(unit, key)
        kept.unconfirmed.clear()
        self._bind(unit)
        for symbol in kept.symbols:
            self._broker.on_clock((symbol,))
            if self._publish(unit, f"{symbol}#clock#{unit.now_ns:020d}"):
                self._store(unit)
        self._store(unit)
        self._store_markets(unit)
        self._forget(unit)
        self._state(unit)
        self._unit = None

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return that without open orders no tick brings anything about."""
        busy = self._broker.next_ns(self._partitions[partition].symbols) is not None
        return ts_ns if busy else ts_ns + DAY_NS

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when time alone does something to an order."""
        kept = self._partitions[partition]
        if kept.unconfirmed:
            return ts_ns
        due_ns = self._broker.next_ns(kept.symbols)
        return ts_ns + DAY_NS if due_ns is None else due_ns

    def on_assigned(self, partition: int, state: Iterable[tuple[str, VenueRecord]]) -> None:
        """Rebuild the engines of a partition."""
        kept = self._partitions[partition] = _Partition()
        engines: dict[str, list[EngineRecord]] = defaultdict(list)
        closed: list[tuple[int, str]] = []
        published: list[tuple[int, str]] = []
        for key, record in state:
            if isinstance(record, BookRecord | OrderRecord):
                engines[key.split("|", 1)[0]].append(record)
            elif isinstance(record, ClosedRecord):
                closed.append((record.ts_closed_ns, key))
            else:
                published.append((record.ts_init_ns, key))
        kept.closed.extend(sorted(closed))
        kept.published.extend(sorted(published))
        kept.unconfirmed += [key for _, key in kept.published if "#clock#" in key]
        for symbol, records in engines.items():
            kept.symbols[symbol] = None
            self._broker.load(symbol, records)

    def on_revoked(self, partition: int) -> None:
        """Forget the engines of a partition."""
        for symbol in self._partitions.pop(partition, _Partition()).symbols:
            self._broker.unload(symbol)
        self._unit = self._last = None

    def _command(
        self, unit: Unit[VenueRecord], record: Record, order: VenueOrder
    ) -> list[OrderEvent]:
        """Give a command to the venue; return what the venue itself does not report."""
        if order.broker != self._broker.caps.broker:
            text = f"sent to {self._broker.caps.broker}, but meant for {order.broker}"
            unit.dead_letter(record, "WRONG_BROKER", text)
            return []
        self._ordered[order.terms.symbol] = None
        stop = stopped(self._known, order) if self._broker.asks_for_more(order) else None
        ack = self._broker.refuse(order, stop) if stop is not None else _done(self._send(order))
        if ack.outcome is Outcome.DUPLICATE:
            return [_duplicate(order, record, unit.now_ns)]
        if ack.code == Code.CONFLICT:
            unit.dead_letter(record, ack.code, ack.text)
        return []

    def _send(self, order: VenueOrder) -> Coroutine[Any, Any, Ack]:
        if order.command == "submit":
            return self._broker.submit(order)
        if order.command == "cancel":
            return self._broker.cancel(order)
        return self._broker.replace(order)

    def _bind(self, unit: Unit[VenueRecord]) -> None:
        controls = self._controls()
        if unit is not self._unit or controls is not self._known:
            self._unit, self._known = unit, controls
            self._symbols = self._partitions[unit.partition].symbols
            shift_ns, version = controls.session_shift_ns(), controls.version
            self._broker.bind(unit.get, unit.now_ns, shift_ns, version)

    def _publish(
        self, unit: Unit[VenueRecord], key: str, reported: Iterable[OrderEvent] = ()
    ) -> bool:
        """Publish what happened, and keep it under the key of what led to it; say if it did."""
        events = (*reported, *self._broker.take_events())
        if not events:
            return False
        for event in events:
            unit.emit(ORDERS_EVENTS, event.account, event)
        before = unit.get(key)
        earlier = before.events if isinstance(before, Published) else ()
        unit.put(key, make(Published, events=(*earlier, *events), ts_init_ns=unit.now_ns))
        if not earlier:
            self._partitions[unit.partition].published.append((unit.now_ns, key))
        return True

    def _publish_again(self, unit: Unit[VenueRecord], key: str) -> None:
        kept = unit.get(key)
        for event in kept.events if isinstance(kept, Published) else ():
            unit.emit(ORDERS_EVENTS, event.account, event)

    def _store(self, unit: Unit[VenueRecord]) -> None:
        """Put the orders that changed: at once, so that taking back a later record loses none."""
        kept = self._partitions[unit.partition]
        for key, record in self._broker.take_orders():
            unit.put(key, record)
            if isinstance(record, ClosedRecord):
                kept.closes(key, record)

    def _store_markets(self, unit: Unit[VenueRecord]) -> None:
        for market in self._broker.take_markets():
            unit.put(market.symbol, market)

    def _state(self, unit: Unit[VenueRecord]) -> None:
        """State the orders of symbols whose turn it is; the first time soon after the start."""
        kept = self._partitions[unit.partition]
        first_ns = kept.since_ns + STATE_FIRST_NS - self._state_every_ns
        due_ns = unit.now_ns - self._state_every_ns
        due = (symbol for symbol in kept.symbols if kept.stated_ns.get(symbol, first_ns) <= due_ns)
        lately_ns = unit.now_ns - STATED_FOR * self._state_every_ns
        stated = 0
        for symbol in islice(due, MAX_STATED_SYMBOLS):
            kept.stated_ns[symbol] = unit.now_ns
            orders: list[Held] = [*self._broker.orders_of(symbol)]
            orders += kept.closed_lately(symbol, lately_ns)
            for one in statements(self._broker.caps.broker, symbol, orders, unit.now_ns):
                unit.emit(STATEMENTS, one.account, one)
            stated += len(orders)
            if stated > MAX_STATED_ORDERS:
                return  # the others when the timer runs again

    def _forget(self, unit: Unit[VenueRecord]) -> None:
        """Delete what has been kept long enough.

        How long the worker was away does not count for published events: what it had not
        committed comes again when it is back.
        """
        kept = self._partitions[unit.partition]
        kept.since_ns = kept.since_ns or unit.now_ns
        for aged, keep_ns, from_ns in (
            (kept.closed, self._remember_ns, 0),
            (kept.published, KEEP_NS, kept.since_ns),
        ):
            for _ in range(MAX_FORGOTTEN):
                if not aged or max(aged[0][0], from_ns) > unit.now_ns - keep_ns:
                    break
                unit.delete(aged.popleft()[1])


def _key(record: Record) -> str:
    value = record.value
    symbol = value.terms.symbol if isinstance(value, VenueOrder) else value.symbol
    return f"{symbol}#{record.topic}#{record.offset:020d}"


def _done(call: Coroutine[Any, Any, T]) -> T:
    """Return what a call of an in-process broker returns; such a call never waits."""
    try:
        call.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    call.close()
    raise InfrastructureError("an in-process broker waited for something; it must not")


def _duplicate(order: VenueOrder, record: Record, now_ns: int) -> OrderEvent:
    return make(
        OrderEvent,
        event_id=long_id(order.client_order_id, EventType.DUPLICATE, record.offset),
        event=EventType.DUPLICATE,
        order_id=order.order_id,
        account=order.account,
        symbol=order.terms.symbol,
        client_order_id=order.client_order_id,
        leg=order.leg,
        broker=order.broker,
        strategy=order.strategy,
        request_id=order.request_id,
        revision=order.revision,
        side=order.terms.side,
        text=f"{order.command} {order.request_id} was here before",
        ts_requested_ns=order.ts_requested_ns,
        ts_event_ns=order.ts_event_ns,
        ts_init_ns=now_ns,
    )
