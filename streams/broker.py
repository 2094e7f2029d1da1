"""The broker port: what an adapter gives, whichever broker is behind it.

Commands go in as `VenueOrder`; what becomes of them comes out as `OrderEvent`, never as the
return value of a call: an `Ack` says only what happened to the call.

Rules that every adapter keeps (numbered as the cards of `tests/contract/test_broker.py`):

1. The same `client_order_id` submitted twice executes once; the second call is a `DUPLICATE`.
   The same id with other content is `REJECTED` and changes nothing.
2. A call whose outcome is not known (time-out, reset, 5xx) is `UNKNOWN`, never `REJECTED`.
   `find` then tells; only a definite "not found" twice permits to send again.
3. Every execution has an id that it keeps: the broker's own, or else a function of order and
   cumulative quantity. `cum_qty` of an order never falls but by a bust or a correction.
4. Events come at least once, ordered per order, with ids that are functions of what happened.
5. Terminal is terminal, but for fills that come after a cancel.
6. A cancel or replace that comes too late is refused by an event; the order is as it was.

Positions and money are not part of the port: they follow from the fills.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from streams.domain.capabilities import Capabilities
from streams.domain.matching.records import BookRecord, ClosedRecord, EngineRecord, OrderRecord
from streams.models.market import Quote, Trade
from streams.models.orders import OrderEvent, OrderStatus, Refusal, VenueOrder


class Outcome(StrEnum):
    """What happened to a call."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a call. `code` is a refusal's, of this call or of the one it repeats.

    An UNKNOWN that is not `sent` certainly changed nothing at the broker: it was not reached, or
    would not look at the call for so many came (`throttled`). The same call may be made again.
    """

    outcome: Outcome
    client_order_id: str
    code: str = ""
    text: str = ""
    sent: bool = True
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker has it. `qty` is None where a notional has no price yet."""

    client_order_id: str
    order_id: str
    account: str
    status: OrderStatus
    qty: Decimal | None
    cum_qty: Decimal
    avg_px: Decimal | None = None
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class BrokerEvent:
    """An event and where it stands in the broker's stream.

    `cursor` is opaque; given to `start` it resumes after this event. `recovered`: found by asking
    after a gap, not received as it happened.
    """

    event: OrderEvent
    cursor: str
    recovered: bool = False


class Broker(Protocol):
    """A broker. No method raises for what the broker refuses."""

    caps: Capabilities

    async def start(self, cursor: str | None) -> None:
        """Connect, log in, make up for what was missed since `cursor`; return once live."""

    async def stop(self) -> None:
        """Disconnect; orders go on working."""

    async def submit(self, order: VenueOrder) -> Ack:
        """Send a new order."""

    async def cancel(self, order: VenueOrder) -> Ack:
        """Ask to cancel; `order` is the cancel command. ACCEPTED: it is on its way."""

    async def replace(self, order: VenueOrder) -> Ack:
        """Ask to change; `order.terms` are the terms as they shall become."""

    async def find(self, order: VenueOrder) -> BrokerOrder | None:
        """Return the order of this `client_order_id` and symbol; None: definitely not there."""

    async def open_orders(self) -> list[BrokerOrder]:
        """Return the orders that are not over."""

    def events(self) -> AsyncIterator[BrokerEvent]:
        """Yield what happens, from the cursor given to `start` on."""


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What an account holds at the broker; negative: short."""

    account: str
    symbol: str
    qty: Decimal


@dataclass(frozen=True, slots=True)
class Theirs:
    """What a broker has, asked from `started_ns` on.

    `asked` are orders of ours that are not among the open ones; None: the broker has none such.
    """

    started_ns: int
    open_orders: list[BrokerOrder]
    asked: list[tuple[VenueOrder, BrokerOrder | None]]
    fills: list[OrderEvent]
    positions: list[BrokerPosition]


class BrokerAcrossNetwork(Broker, Protocol):
    """A broker that calls may not reach: what only asks raises ConnectionError then."""

    async def fills_since(self, ts_ns: int) -> list[OrderEvent]:
        """Return the executions since a time, as `events` yields them."""

    async def positions(self) -> list[BrokerPosition]:
        """Return the positions of all accounts; one that is absent is flat."""


class VenueInProcess(Broker, Protocol):
    """A broker inside the gateway's process, whose state is the gateway's table.

    Its methods never wait: a coroutine of it ends at its first `send`. It lives on market data,
    and takes its time from it.
    """

    def bind(
        self,
        lookup: Callable[[str], object],
        now_ns: int,
        shift_ns: int,
        controls_version: int = 0,
    ) -> None:
        """Take the table's records by key, our time, the session shift, until the next call.

        `controls_version` is that of the controls that the caller knows when it gives an order.
        """

    def asks_for_more(self, order: VenueOrder) -> bool:
        """Return whether a command would let more trade than the venue was given before.

        A submit does, and a replace that raises the quantity.
        """

    def refuse(self, order: VenueOrder, refusal: Refusal) -> Ack:
        """Refuse such a command before the venue works on it: by an event, and for good."""

    def tick(self, tick: Trade | Quote) -> bool:
        """Take market data; return whether there are events to take."""

    def on_clock(self, symbols: Iterable[str]) -> None:
        """Let our time move the venue's for these symbols."""

    def next_ns(self, symbols: Iterable[str]) -> int | None:
        """Return when time next does something to open orders of these symbols; None: none are."""

    def orders_of(self, symbol: str) -> list[BrokerOrder]:
        """Return the orders of a symbol that are not over."""

    def take_events(self) -> list[OrderEvent]:
        """Return what happened since the last call, in order; `events` does not yield it then."""

    def take_orders(self) -> list[tuple[str, OrderRecord | ClosedRecord]]:
        """Return the records of the orders that changed since the last call, by table key."""

    def take_markets(self) -> list[BookRecord]:
        """Return the records of the markets that changed since the last call; key: the symbol."""

    def load(self, symbol: str, records: Iterable[EngineRecord]) -> None:
        """Rebuild a symbol from its records."""

    def unload(self, symbol: str) -> None:
        """Forget a symbol."""
