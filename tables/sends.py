"""What the sender remembers: orders at brokers across a network, and how far their streams went."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from streams.domain.sending import Cursor, Held, Parked, Sending, waiting
from streams.models.orders import VenueOrder
from tables.base import TableSpec

SendRow = Sending | Parked | Held | Cursor

#: How long an order that is over stays known.
KEEP_NS = 7 * 86_400 * 1_000_000_000
#: Events published in the last such time before the end may not have reached Kafka.
UNCONFIRMED_NS = 120 * 1_000_000_000


def send_key(account: str, broker: str, client_order_id: str) -> str:
    """Return the key of an order at a broker."""
    return f"{account}|{broker}|{client_order_id}"


def parked_key(account: str, broker: str, client_order_id: str) -> str:
    """Return the key of executions whose order is not known."""
    return f"{account}~{broker}|{client_order_id}"


def held_key(account: str, broker: str, symbol: str) -> str:
    """Return the key of an account's position at a broker."""
    return f"{account}#{broker}|{symbol}"


def cursor_key(broker: str) -> str:
    """Return the key of how far the broker's stream was followed for the partition."""
    return f"~cursor|{broker}"


SENDS = TableSpec(
    name="sends",
    key="account|broker|client_order_id; positions account#broker|symbol; executions whose order"
    " is not known account~broker|client_order_id; the stream ~cursor|broker",
    value=Annotated[SendRow, Field(discriminator="kind")],
    written_by="sender",
    doc="Each order at a broker across a network, what was asked and answered, what was filled.",
    bound="Per order about 2 kB, and 70 bytes for each event that is no fill, at most 64 of them;"
    " it goes 7 days after it was over. Per account and symbol at a broker 60 bytes. Executions"
    " whose order is not known for a minute.",
)


@dataclass(frozen=True, slots=True)
class Item:
    """A command to be called. `again`: it may have been sent before."""

    order: VenueOrder
    key: str
    again: bool = False


class Tray:
    """What waits to be done for one partition, derived from the table.

    `items` are commands to be called, `unconfirmed` the orders whose last events may not have
    reached Kafka, `over` and `parked` what time will remove, `cursors` the places in the streams,
    `open` and `held` the orders and positions that are compared with the brokers'.
    """

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.cursors: dict[str, str] = {}
        self.unconfirmed: list[str] = []
        self.over: deque[tuple[int, str]] = deque()
        self.parked: dict[str, int] = {}
        self.open: set[str] = set()
        self.held: set[str] = set()
        self.on_fresh: Callable[[], None] = _nobody

    def add(self, item: Item) -> None:
        """Add a command."""
        self.items.append(item)
        self.on_fresh()

    def clear(self) -> None:
        """Forget everything."""
        self.items.clear()
        self.cursors.clear()
        self.unconfirmed.clear()
        self.over.clear()
        self.parked.clear()
        self.open.clear()
        self.held.clear()

    def load(self, rows: Iterable[tuple[str, SendRow]]) -> None:
        """Derive anew what waits."""
        self.clear()
        found: list[tuple[int, Item]] = []
        said: list[tuple[int, str]] = []
        over: list[tuple[int, str]] = []
        newest = 0
        for key, row in rows:
            if isinstance(row, Sending):
                newest = max(newest, row.ts_updated_ns)
                found += [
                    (one.offset, Item(one.order, key, again=True))
                    for one in waiting(row)
                    if one.order is not None
                ]
                said += [(event.ts_init_ns, key) for event in row.outbox[-1:]]
                over += [(row.ts_updated_ns, key)] if row.over else []
                self.open |= set() if row.over else {key}
            elif isinstance(row, Parked):
                self.parked[key] = row.ts_parked_ns
            elif isinstance(row, Cursor):
                self.cursors[key] = row.cursor
            else:
                self.held.add(key)
        self.unconfirmed += [key for ns, key in said if ns > newest - UNCONFIRMED_NS]
        self.over.extend(sorted(over))
        for _, item in sorted(found, key=lambda each: each[0]):
            self.add(item)


def _nobody() -> None:
    """Stand for somebody who waits for commands."""
