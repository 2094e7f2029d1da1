"""Checks of what is counted and kept: I3, I4 and I5 of `verify`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from agents.positions import Positions, PositionsDeps
from agents.tracker import Tracker
from connectors.clickhouse.rows import TABLES as HISTORY
from streams.demo.accounting import OPEN
from streams.domain.capabilities import REST, VIRTUAL
from streams.domain.controls import ControlSet
from streams.domain.matching.records import ClosedRecord, OrderRecord
from streams.domain.positions import PositionState
from streams.models.orders import TERMINAL, EventType
from streams.ports import Record
from streams.topics import (
    DEAD_LETTERS,
    ORDERS_EVENTS,
)
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.venue import VENUE
from tests.fakes import MemoryUnit
from tests.faults.facts import Facts, Name, Read, is_message, signed, sums
from tests.faults.findings import Kind, Violation, at

ZERO = Decimal(0)


def executions_add_up(facts: Facts) -> Iterator[Violation]:
    """I3. The executions of an order come to the quantity that the broker says is filled.

    Not those of an order of which some were taken back: it says less from then on.
    """
    total: dict[str, Decimal] = defaultdict(Decimal)
    most: dict[str, Decimal] = defaultdict(Decimal)
    for event in facts.fills.values():
        assert event.fill is not None
        total[event.client_order_id or ""] += event.fill.last_qty
        most[event.client_order_id or ""] = max(
            most[event.client_order_id or ""], event.fill.cum_qty
        )
    busted = {
        event.client_order_id for event in facts.events if event.event is EventType.FILL_BUSTED
    }
    for client_order_id, qty in total.items():
        if client_order_id in busted:
            continue
        if qty != most[client_order_id]:
            kind: Kind = "lost" if qty < most[client_order_id] else "counted_twice"
            text = (
                f"{client_order_id}: executions of {qty}, the broker says {most[client_order_id]}"
            )
            yield Violation(kind, text)


def positions_are_their_fills(facts: Facts) -> Iterator[Violation]:
    """I3. The topics, the table, the history and the views have the positions of the fills."""
    fills = sums((_held(event), signed(event)) for event in facts.fills.values())
    number = Counter(_held(event) for event in facts.fills.values())
    seen, table = facts.seen, facts.table(POSITIONS.changelog()).values()
    states = [row for row in table if isinstance(row, PositionState)]
    for name, counted in {(row.account, row.symbol): row.fills for row in states}.items():
        if counted != number[name]:
            kind: Kind = "counted_twice" if counted > number[name] else "lost"
            text = f"position {'/'.join(name)} counts {counted} fills of {number[name]}"
            yield Violation(kind, text)
    yield from _same(fills, {name: one.qty for name, one in facts.positions.items()}, "the topic")
    yield from _same(fills, {(row.account, row.symbol): row.qty for row in states}, "the table")
    yield from _same(fills, seen.history_positions, "the history's positions")
    yield from _same(fills, seen.history_fills, "the history's fills")
    for name, qty in seen.viewed.items():
        yield from _same({name: fills.get(name, ZERO)}, {name: qty}, "the view")


def the_broker_agrees(facts: Facts) -> Iterator[Violation]:
    """I3. What the broker has executed is what the fills come to."""
    executed: dict[str, Decimal] = {}
    for one in facts.read(VENUE.changelog()):
        if isinstance(one.value, OrderRecord | ClosedRecord):
            executed[one.value.client_order_id] = one.value.cum_qty
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in facts.fills.values():
        if event.broker == VIRTUAL.broker and event.fill is not None:
            filled[event.client_order_id or ""] += event.fill.last_qty
    for client_order_id in sorted(executed.keys() | filled.keys()):
        broker, ours = executed.get(client_order_id, ZERO), filled.get(client_order_id, ZERO)
        if broker != ours:
            kind: Kind = "lost" if ours < broker else "counted_twice"
            yield Violation(kind, f"{client_order_id}: {broker} at the broker, {ours} in fills")


def the_other_broker_agrees(facts: Facts) -> Iterator[Violation]:
    """I2, I3. A broker across a network has our orders alone, each filled and ended as we say."""
    asked = {order.client_order_id: order for order in facts.asked() if order.broker == REST.broker}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in facts.fills.values():
        if event.broker == REST.broker and event.fill is not None:
            filled[event.client_order_id or ""] += event.fill.last_qty
    for client_order_id, (status, cum_qty) in facts.seen.at_broker.items():
        order, ours = asked.get(client_order_id), filled.get(client_order_id, ZERO)
        if order is None:
            yield Violation(
                "sent_twice", f"{client_order_id} is at the broker, of no order of ours"
            )
            continue
        if ours != cum_qty:
            kind: Kind = "lost" if ours < cum_qty else "counted_twice"
            yield Violation(kind, f"{client_order_id}: {cum_qty} at the broker, {ours} in fills")
        stands = facts.orders.get((order.account, order.order_id))
        if status in TERMINAL and stands is not None and stands.status in OPEN and not order.leg:
            text = f"{client_order_id} is {status} at the broker and {stands.status.value} here"
            yield Violation("lost", text)
    for client_order_id in filled.keys() - facts.seen.at_broker.keys():
        yield Violation("counted_twice", f"{client_order_id} has fills and is not at the broker")


def the_history_is_the_topics(facts: Facts) -> Iterator[Violation]:
    """I4. The history has each offset that can be read once, and no other."""
    for name in HISTORY:
        wanted = {
            one.place[1:]
            for one in facts.read(name)
            if name == DEAD_LETTERS.name or is_message(one.value)
        }
        held = Counter(facts.seen.history.get(name, ()))
        for partition, offset in sorted(wanted - held.keys()):
            yield Violation("lost", f"{at((name, partition, offset))} is not in the history")
        for partition, offset in sorted(held.keys() - wanted):
            text = f"{at((name, partition, offset))} is in the history and not in Kafka"
            yield Violation("unaccounted", text)
        for (partition, offset), times in held.items():
            if times > 1:
                text = f"{at((name, partition, offset))} is in the history {times} times"
                yield Violation("counted_twice", text)


def tables_can_be_rebuilt(facts: Facts) -> Iterator[Violation]:
    """I5. The tables of orders and positions are what the events give, to the last byte.

    Keys with a `~` only say when what is old may leave; they follow from our clock.
    """
    deps = PositionsDeps(controls=ControlSet, price=lambda _symbol: None)
    for spec, agent in ((ORDERS, Tracker()), (POSITIONS, Positions(deps))):
        rebuilt: MemoryUnit[Any] = MemoryUnit()
        for one in facts.read(ORDERS_EVENTS.name):
            if is_message(one.value):
                agent.step(rebuilt, _record(one))
        held = facts.table(spec.changelog())
        for key in sorted(rebuilt.state.keys() | held.keys()):
            if not key.startswith("~") and rebuilt.state.get(key) != held.get(key):
                text = _difference(held.get(key), rebuilt.state.get(key))
                yield Violation("unaccounted", f"table {spec.name}, {key}: {text}")


def _held(event: Any) -> Name:
    return event.account, event.symbol or ""


def _same(
    wanted: dict[Name, Decimal], found: dict[Name, Decimal], where: str
) -> Iterator[Violation]:
    for name in sorted(wanted.keys() | found.keys()):
        ours, theirs = wanted.get(name, ZERO), found.get(name, ZERO)
        if ours != theirs:
            text = f"position {'/'.join(name)}: fills come to {ours}, {where} says {theirs}"
            yield Violation("counted_twice" if abs(theirs) > abs(ours) else "lost", text)


def _record(one: Read) -> Record:
    topic, partition, offset = one.place
    row = one.row
    return Record(topic, partition, offset, row.key, one.value, row.value, row.timestamp_ms)


def _difference(held: Any, rebuilt: Any) -> str:
    if held is None or rebuilt is None:
        return "is only in the table" if rebuilt is None else "is not in the table"
    pairs = {
        name: (getattr(held, name), getattr(rebuilt, name, None))
        for name in type(held).model_fields
        if getattr(held, name) != getattr(rebuilt, name, None)
    }
    told = "; ".join(
        f"{name} {ours!r}, rebuilt {theirs!r}" for name, (ours, theirs) in pairs.items()
    )
    return told[:300] or "of another kind"
