"""Send each order to its broker across a network, and publish what becomes of it.

In      venue.rest.orders, key account: the intent, durable before any call
Out     orders.events, key account; reconciliations: where the broker and we differ
State   table `sends`: each order at its broker, what was asked and answered, what was filled; how
        far the broker's stream was followed
Twice   a record that comes again publishes what was last published of its order, and calls
        nothing; an order or request that comes again as a new record is reported as `duplicate`
Bad     an order for another broker and an id that another order has go to the dead letters, as
        do executions whose order nobody sent within a minute; what a broker refuses is an event

A record is first taken up in the table; when that is durable the call goes out. So what the table
has as waiting when a partition is taken over may have been sent by whoever had it before: the
broker is asked by client order id before it is sent. The same when a call was not answered. The
calls of an account go out in order, one at a time.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from streams.broker import BrokerEvent, BrokerOrder, BrokerPosition, Theirs
from streams.domain import sending
from streams.domain.breaker import SECOND_NS
from streams.domain.build import make
from streams.domain.decimals import EXACT, ZERO
from streams.domain.reconciling import Comparison
from streams.domain.refusals import Code
from streams.domain.sending import Cursor, Held, Now, Parked, Sending, Step
from streams.models.orders import EventType, OrderEvent, OrderStatus, VenueOrder
from streams.ports import Agent, Owned, Record, Unit
from streams.topics import ORDERS_EVENTS, RECONCILIATIONS, VENUE_REST_ORDERS
from tables.sends import (
    KEEP_NS,
    Item,
    SendRow,
    Tray,
    cursor_key,
    held_key,
    parked_key,
    send_key,
)

BROKER_OF = {VENUE_REST_ORDERS.name: "rest"}

#: What a status at the broker says of the order's end; `filled` follows from the quantity.
_ENDS = {
    OrderStatus.CANCELED: EventType.CANCELED,
    OrderStatus.EXPIRED: EventType.EXPIRED,
    OrderStatus.REJECTED: EventType.REJECTED,
}

#: How long an execution waits for its order, and how many of one order do.
PARK_NS = 60 * SECOND_NS
MAX_PARKED = 100
#: The place in a broker's stream is kept this often though nothing of ours came.
CURSOR_EVERY_NS = 10 * SECOND_NS
#: Orders forgotten at most per unit of work.
MAX_FORGOTTEN = 1_000


@dataclass(frozen=True, slots=True)
class SenderDeps:
    """What the sender is given. `attend` makes the calls of a partition, until cancelled."""

    partition_of: Callable[[str], int]
    attend: Callable[["Sender", Owned[SendRow]], Awaitable[None]]


class Sender(Agent[SendRow]):
    """The sender agent: what the table knows. The calls are made by what attends to it."""

    def __init__(self, deps: SenderDeps) -> None:
        self._deps = deps
        self._trays: dict[int, Tray] = defaultdict(Tray)
        self._attended: set[int] = set()

    def step(self, unit: Unit[SendRow], record: Record) -> None:
        """Take a command up; the call follows when that is durable."""
        order: VenueOrder = record.value
        if order.broker != BROKER_OF[record.topic]:
            text = f"sent to {BROKER_OF[record.topic]}, but meant for {order.broker}"
            unit.dead_letter(record, "WRONG_BROKER", text)
            return
        key = send_key(order.account, order.broker, order.client_order_id)
        known = _sending(unit, key)
        if known is None and record.redelivered:
            return  # it was over, and forgotten
        tray, now = self._trays[unit.partition], Now(unit.now_ns)
        taken = sending.take(known, order, record.offset, now)
        _keep(unit, tray, key, known, taken)
        if taken.conflict:
            unit.dead_letter(record, Code.CONFLICT, taken.conflict)
        if taken.call:
            _take_parked(unit, tray, order, now)
            tray.add(Item(order, key))

    async def attend(self, owned: Owned[SendRow]) -> None:
        """Make the calls and follow the brokers' streams."""
        partition = owned.partition
        if partition in self._attended:  # what was begun before is in the table alone
            await owned.work(lambda unit: self._trays[partition].load(unit.scan()))
        self._attended.add(partition)
        await self._deps.attend(self, owned)

    def on_assigned(self, partition: int, state: Iterable[tuple[str, SendRow]]) -> None:
        """Find what waits."""
        self._attended.discard(partition)
        self._trays[partition].load(state)

    def on_revoked(self, partition: int) -> None:
        """Forget what waits."""
        self._trays[partition].clear()

    # What is done in units of work beside the records.

    def tray(self, partition: int) -> Tray:
        """Return what waits to be done for a partition."""
        return self._trays[partition]

    def apply(
        self,
        unit: Unit[SendRow],
        key: str,
        do: Callable[[Sending, Now], Step],
        settled_ns: int,
    ) -> None:
        """Take what became of a call into the order it was about."""
        state = _sending(unit, key)
        if state is not None:
            step = do(state, Now(unit.now_ns, settled_ns))
            _keep(unit, self._trays[unit.partition], key, state, step)

    def take_in(
        self, unit: Unit[SendRow], broker: str, news: list[BrokerEvent], settled_ns: int
    ) -> None:
        """Take in what the broker's stream tells, of all accounts."""
        tray, now = self._trays[unit.partition], Now(unit.now_ns, settled_ns)
        before = unit.get(cursor_key(broker))
        events = [told.event for told in news]
        ours = [one for one in events if self._deps.partition_of(one.account) == unit.partition]
        for event in ours:
            key = send_key(event.account, broker, event.client_order_id or "")
            state = _sending(unit, key)
            if state is not None:
                _keep(unit, tray, key, state, sending.told(state, event, now))
            elif event.fill is not None and (before or _is_young(event, unit)):
                _park(unit, tray, broker, event)
        known_ns = before.ts_updated_ns if isinstance(before, Cursor) else 0
        if news and (ours or unit.now_ns - known_ns > CURSOR_EVERY_NS):
            place = make(Cursor, cursor=news[-1].cursor, ts_updated_ns=unit.now_ns)
            unit.put(cursor_key(broker), place)

    def found(self, unit: Unit[SendRow], key: str, order: BrokerOrder, settled_ns: int) -> None:
        """Take that an order is at the broker, and whether it is over there.

        Its fills are left to the stream and to comparisons, which know ids and commissions.
        """
        end = _ENDS.get(order.status)
        self.apply(
            unit,
            key,
            lambda state, now: sending.found(state, now, cum_qty=ZERO, avg_px=None, end=end),
            settled_ns,
        )

    def compare(self, unit: Unit[SendRow], broker: str, theirs: Theirs, settled_ns: int) -> None:
        """Compare what the broker has with ours; publish what we missed, and what differs."""
        run = Comparison(broker, unit.partition, theirs.started_ns, unit.now_ns)
        now = Now(unit.now_ns, settled_ns)
        rows = ((key, _sending(unit, key)) for key in self._trays[unit.partition].open)
        quiet = {key for key, state in rows if state is not None and run.is_quiet(state)}
        moving = self._compare_fills(unit, run, theirs, now)
        self._compare_orders(unit, run, theirs, now, quiet - moving)
        self._compare_positions(unit, run, theirs, moving)
        for one in run.records():
            key = one.account or f"{broker}:{unit.partition}"
            unit.emit(RECONCILIATIONS, key, one)

    def _compare_fills(
        self, unit: Unit[SendRow], run: Comparison, theirs: Theirs, now: Now
    ) -> set[str]:
        """Publish fills that we missed; return the keys of what fills on their way will move."""
        tray, moving = self._trays[unit.partition], set()
        for fill in filter(self._is_mine(unit), theirs.fills):
            name = fill.client_order_id or ""
            key = send_key(fill.account, run.broker, name)
            state = _sending(unit, key)
            if state is None:
                run.unknown_order(fill.account, fill.symbol or "", name)
            elif run.is_old(fill.ts_event_ns):
                step = sending.told(state, fill, now)
                _keep(unit, tray, key, state, step)
                run.mended(step.events)
            else:
                moving |= {key, held_key(fill.account, run.broker, fill.symbol or "")}
        return moving

    def _compare_orders(
        self, unit: Unit[SendRow], run: Comparison, theirs: Theirs, now: Now, quiet: set[str]
    ) -> None:
        tray = self._trays[unit.partition]
        there = [*theirs.open_orders, *(order for _, order in theirs.asked if order is not None)]
        for order in filter(self._is_mine(unit), there):
            key = send_key(order.account, run.broker, order.client_order_id)
            state = _sending(unit, key)
            run.orders += 1
            if state is None:
                run.unknown_order(order.account, order.symbol, order.client_order_id)
            elif key in quiet:
                step = _as_found(state, order, now)
                _keep(unit, tray, key, state, step)
                run.mended(step.events)
        for ours, missing in theirs.asked:
            key = send_key(ours.account, run.broker, ours.client_order_id)
            state = _sending(unit, key)
            if missing is None and state is not None and key in quiet:
                run.missing_order(state)

    def _compare_positions(
        self, unit: Unit[SendRow], run: Comparison, theirs: Theirs, moving: set[str]
    ) -> None:
        tray = self._trays[unit.partition]
        there = {
            held_key(one.account, run.broker, one.symbol): one.qty
            for one in filter(self._is_mine(unit), theirs.positions)
        }
        ours = {key for key in tray.held if key.partition("#")[2].startswith(f"{run.broker}|")}
        for key in sorted({*there, *ours} - moving):
            held = unit.get(key)
            qty, changed_ns = (
                (held.qty, held.ts_updated_ns) if isinstance(held, Held) else (ZERO, 0)
            )
            if run.is_old(changed_ns):
                account, _, rest = key.partition("#")
                run.position(account, rest.partition("|")[2], qty, there.get(key, ZERO))

    def _is_mine(
        self, unit: Unit[SendRow]
    ) -> Callable[[OrderEvent | BrokerOrder | BrokerPosition], bool]:
        return lambda one: self._deps.partition_of(one.account) == unit.partition

    def age(self, unit: Unit[SendRow]) -> None:
        """Give up executions whose order never came; forget orders that are long over."""
        tray = self._trays[unit.partition]
        for key, since_ns in list(tray.parked.items()):
            if unit.now_ns - since_ns > PARK_NS:
                for event in _parked(unit, key):
                    _set_aside(unit, event)
                unit.delete(key)
                del tray.parked[key]
        for _ in range(MAX_FORGOTTEN):
            if not tray.over or tray.over[0][0] > unit.now_ns - KEEP_NS:
                break
            key = tray.over.popleft()[1]
            state = _sending(unit, key)
            if state is not None and state.ts_updated_ns > unit.now_ns - KEEP_NS:
                tray.over.append((state.ts_updated_ns, key))
            elif state is not None:
                unit.delete(key)

    def say_again(self, unit: Unit[SendRow]) -> None:
        """Publish again what may not have reached Kafka before the partition changed hands."""
        tray = self._trays[unit.partition]
        for key in tray.unconfirmed:
            state = _sending(unit, key)
            for event in state.outbox if state is not None else ():
                unit.emit(ORDERS_EVENTS, event.account, event)
        tray.unconfirmed.clear()


def _keep(unit: Unit[SendRow], tray: Tray, key: str, known: Sending | None, step: Step) -> None:
    """Put what is known now, publish what happened, and move the position at the broker."""
    for event in step.events:
        unit.emit(ORDERS_EVENTS, event.account, event)
    if step.state is known:
        return
    unit.put(key, step.state)
    if step.state.over:
        tray.open.discard(key)
    else:
        tray.open.add(key)
    if step.state.over and not (known is not None and known.over):
        tray.over.append((unit.now_ns, key))
    moved = sending.bought(step.events)
    if moved:
        order = step.state.order
        at = held_key(order.account, order.broker, order.terms.symbol)
        before = unit.get(at)
        held = before.qty if isinstance(before, Held) else ZERO
        unit.put(at, make(Held, qty=EXACT.add(held, moved), ts_updated_ns=unit.now_ns))
        tray.held.add(at)


def _as_found(state: Sending, order: BrokerOrder, now: Now) -> Step:
    return sending.found(
        state, now, cum_qty=order.cum_qty, avg_px=order.avg_px, end=_ENDS.get(order.status)
    )


def _sending(unit: Unit[SendRow], key: str) -> Sending | None:
    found = unit.get(key)
    return found if isinstance(found, Sending) else None


def _parked(unit: Unit[SendRow], key: str) -> tuple[OrderEvent, ...]:
    found = unit.get(key)
    return found.events if isinstance(found, Parked) else ()


def _is_young(event: OrderEvent, unit: Unit[SendRow]) -> bool:
    """Say whether it just happened: a stream that was never followed begins with old history."""
    return event.ts_event_ns > unit.now_ns - PARK_NS


def _park(unit: Unit[SendRow], tray: Tray, broker: str, event: OrderEvent) -> None:
    """Keep an execution whose order is not known, for the order may be on its way."""
    key = parked_key(event.account, broker, event.client_order_id or "")
    events = _parked(unit, key)
    if any(one.event_id == event.event_id for one in events):
        return
    if len(events) >= MAX_PARKED:
        _set_aside(unit, event)
        return
    since_ns = tray.parked.setdefault(key, unit.now_ns)
    unit.put(key, make(Parked, events=(*events, event), ts_parked_ns=since_ns))


def _take_parked(unit: Unit[SendRow], tray: Tray, order: VenueOrder, now: Now) -> None:
    """Count the executions that came before their order."""
    key = parked_key(order.account, order.broker, order.client_order_id)
    if key not in tray.parked:
        return
    at = send_key(order.account, order.broker, order.client_order_id)
    for event in _parked(unit, key):
        state = _sending(unit, at)
        if state is not None:
            _keep(unit, tray, at, state, sending.told(state, event, now))
    unit.delete(key)
    del tray.parked[key]


def _set_aside(unit: Unit[SendRow], event: OrderEvent) -> None:
    """Send an execution to the dead letters, as the record it would have become."""
    record = Record(
        topic=ORDERS_EVENTS.name,
        partition=unit.partition,
        offset=0,
        key=event.account.encode(),
        value=event,
        raw=event.model_dump_json(exclude_none=True).encode(),
        timestamp_ms=unit.now_ns // 1_000_000,
    )
    text = f"execution of {event.client_order_id} at {event.broker}, which we have not sent"
    unit.dead_letter(record, "ORPHAN_EXECUTION", text)
