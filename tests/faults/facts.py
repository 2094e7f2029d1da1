"""What a run left behind: every record of every topic, the history, and what the load intended.

Plain data, so that a test can write it by hand. `Facts` is the same, decoded with the registry's
models; the changelogs are here under their names, such as `table.orders.v1`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from streams.load import Kind
from streams.models.orders import EventType, Order, OrderEvent, VenueOrder
from streams.models.positions import Position
from streams.ports import Malformed
from streams.topics import BY_NAME, DEAD_LETTERS, ORDERS_EVENTS, ORDERS_UPDATES, POSITIONS_UPDATES
from streams.transport.codec import decode
from streams.transport.store import OWN
from tables.registry import TABLES

Name = tuple[str, str]  # account and order id, or account and symbol
Place = tuple[str, int, int]  # topic of the registry, partition, offset


class Row(NamedTuple):
    """A record as it lies in Kafka."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int = 0


class Sent(NamedTuple):
    """A record that Kafka acknowledged to the load."""

    place: Place
    value: bytes | None


@dataclass
class Seen:
    """Everything a run left behind.

    `history` has the offsets of each topic as queries see them, with repetitions;
    `history_positions` and `history_fills` what the views say; `viewed` what the workers say;
    `at_broker` status and filled quantity of each order at the broker across the network.
    `expected` is what the load wants of each new order; `late` says what did not come to rest.
    """

    topics: dict[str, list[Row]] = field(default_factory=dict)
    history: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    history_positions: dict[Name, Decimal] = field(default_factory=dict)
    history_fills: dict[Name, Decimal] = field(default_factory=dict)
    viewed: dict[Name, Decimal] = field(default_factory=dict)
    at_broker: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    expected: dict[Name, Kind] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)


class Read(NamedTuple):
    """A record with its value decoded: a message, None, or `Malformed`."""

    place: Place
    row: Row
    value: Any


_CHANGELOGS: Mapping[str, TypeAdapter[Any]] = {
    table.changelog(): table.adapter() for table in TABLES
}


class Facts:
    """What was seen, decoded as it is asked for."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._read: dict[str, list[Read]] = {}

    def read(self, topic: str) -> list[Read]:
        """Return a topic's records by partition and offset."""
        if topic not in self._read:
            adapter = BY_NAME[topic].adapter if topic in BY_NAME else _CHANGELOGS[topic]
            rows = sorted(self.seen.topics.get(topic, ()), key=lambda row: row[:2])
            self._read[topic] = [
                Read(
                    (topic, row.partition, row.offset),
                    row,
                    None if row.value is None else decode(adapter, row.value),
                )
                for row in rows
                if topic in BY_NAME or not (row.key or b"").startswith(OWN)
            ]
        return self._read[topic]

    @cached_property
    def letters(self) -> dict[Place, list[Row]]:
        """Return the dead letters of each source record."""
        found: dict[Place, list[Row]] = {}
        for row in self.seen.topics.get(DEAD_LETTERS.name, ()):
            found.setdefault(source_of(row), []).append(row)
        return found

    @cached_property
    def events(self) -> list[OrderEvent]:
        """Return the events of orders, each as often as it was published."""
        return [one.value for one in self.read(ORDERS_EVENTS.name) if is_message(one.value)]

    @cached_property
    def distinct(self) -> dict[str, OrderEvent]:
        """Return the events by their id: the first of each."""
        found: dict[str, OrderEvent] = {}
        for event in self.events:
            found.setdefault(event.event_id, event)
        return found

    @cached_property
    def fills(self) -> dict[tuple[str, str, str], OrderEvent]:
        """Return the executions that stand, by account, broker and id; no busted one does."""
        found = {
            (event.account, event.broker, event.fill.exec_id): event
            for event in reversed(self.events)
            if event.event is EventType.FILL and event.fill is not None
        }
        return {name: event for name, event in found.items() if name not in self.busted}

    @cached_property
    def busted(self) -> set[tuple[str, str, str]]:
        """Return the executions that were taken back."""
        return {
            (event.account, event.broker, event.fill.ref_exec_id or "")
            for event in self.events
            if event.event is EventType.FILL_BUSTED and event.fill is not None
        }

    @cached_property
    def orders(self) -> dict[Name, Order]:
        """Return each order as its newest version has it."""
        found: dict[Name, Order] = {}
        for order in self._messages(ORDERS_UPDATES.name):
            name = (order.account, order.order_id)
            if name not in found or order.version >= found[name].version:
                found[name] = order
        return found

    @cached_property
    def positions(self) -> dict[Name, Position]:
        """Return each position as its newest version has it."""
        found: dict[Name, Position] = {}
        for position in self._messages(POSITIONS_UPDATES.name):
            name = (position.account, position.symbol)
            if name not in found or position.version >= found[name].version:
                found[name] = position
        return found

    def asked(self) -> list[VenueOrder]:
        """Return what was routed to any broker."""
        names = [name for name in BY_NAME if name.startswith("venue.")]
        return [one.value for name in names for one in self.read(name) if is_message(one.value)]

    def repeated(self) -> int:
        """Return how many events are there again: outputs of what was redelivered."""
        return len(self.events) - len(self.distinct)

    def table(self, changelog: str) -> dict[str, Any]:
        """Return a table as its changelog has it."""
        found: dict[str, Any] = {}
        for one in self.read(changelog):
            key = (one.row.key or b"").decode()
            if one.value is None:
                found.pop(key, None)
            else:
                found[key] = one.value
        return found

    def _messages(self, topic: str) -> Iterator[Any]:
        return (one.value for one in self.read(topic) if is_message(one.value))


def is_message(value: Any) -> bool:
    """Return whether a decoded value is a message."""
    return value is not None and not isinstance(value, Malformed)


def source_of(row: Row) -> Place:
    """Return where the record lay that a dead letter is about."""
    headers = dict(row.headers)
    topic, partition, offset = (
        headers.get(f"__streams.errors.{part}", b"").decode()
        for part in ("topic", "partition", "offset")
    )
    return topic, int(partition or -1), int(offset or -1)


def signed(event: OrderEvent) -> Decimal:
    """Return what a fill adds to its position."""
    assert event.fill is not None
    return event.fill.last_qty if event.side == "buy" else -event.fill.last_qty


def sums(pairs: Iterable[tuple[Name, Decimal]]) -> dict[Name, Decimal]:
    """Add up quantities by name; names that come to nothing are left out."""
    found: dict[Name, Decimal] = {}
    for name, qty in pairs:
        found[name] = found.get(name, Decimal(0)) + qty
    return {name: qty for name, qty in found.items() if qty}
