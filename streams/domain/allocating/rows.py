"""What is stored of allocations: positions, targets on the way, fills, requests."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from streams.domain.aging import Gone, Leaving
from streams.domain.decimals import ZERO
from streams.domain.executions import Execution
from streams.domain.spawning import Child
from streams.models.allocations import OrderFill, SetTargets
from streams.models.base import Dec, Part, WideDec
from streams.models.orders import OrderType, TimeInForce


class Holding(Part):
    """A position, and the target it is on its way to; `strategy` "": all of the account's.

    `vain`: children in a row that ended by themselves and filled nothing.
    """

    kind: Literal["holding"] = "holding"
    account: str
    strategy: str
    symbol: str
    qty: WideDec = ZERO
    allocation_id: str = ""
    child: Child | None = None
    vain: int = 0
    live: bool = False


class Line(Part):
    """One symbol of an allocation: what was asked, and how far it is."""

    kind: Literal["line"] = "line"
    type: OrderType
    time_in_force: TimeInForce
    limit_price: Dec | None = None
    stop: bool = False
    sent: int = 0
    shown: OrderFill


class Request(Part):
    """An allocation as a whole. `parts`: the accounts it was divided among."""

    kind: Literal["request"] = "request"
    allocation_id: str
    account: str
    strategy: str
    parent_id: str = ""
    content: str
    symbols: tuple[str, ...]
    parts: tuple[str, ...] = ()
    canceled: bool = False
    version: int = 0
    ts_requested_ns: int
    ts_updated_ns: int = 0


class Divided(Part):
    """The request of one account, of one that was divided among several."""

    kind: Literal["divided"] = "divided"
    request: SetTargets


class OrderFills(Part):
    """The executions of one order that count, by id, signed; `odd`: what a bust or correction met.

    `until`: the day after which it leaves.
    """

    kind: Literal["fills"] = "fills"
    strategy: str = ""
    counted: dict[str, WideDec] = Field(default_factory=dict)
    odd: dict[str, Execution] = Field(default_factory=dict)
    until: str = ""


AllocatorRow = Annotated[
    Holding | Line | Request | Divided | OrderFills | Leaving | Gone, Field(discriminator="kind")
]


class Rows(Protocol):
    """Where rows are kept; the unit of work of an agent is one."""

    now_ns: int

    def get(self, key: str) -> Any:
        """Return the row of a key, or None."""

    def put(self, key: str, value: Any) -> None:
        """Set the row of a key."""

    def delete(self, key: str) -> None:
        """Remove a key."""


def holding_key(account: str, strategy: str, symbol: str) -> str:
    """Return the key of a position."""
    return f"{account}|h|{strategy}|{symbol}"


def request_key(account: str, allocation_id: str) -> str:
    """Return the key of an allocation."""
    return f"{account}|a|{allocation_id}"


def line_key(account: str, allocation_id: str, symbol: str) -> str:
    """Return the key of one symbol of an allocation."""
    return f"{account}|l|{allocation_id}|{symbol}"


def part_key(account: str, allocation_id: str, name: str) -> str:
    """Return the key of the part that the account `name` has of an allocation."""
    return f"{account}|d|{allocation_id}|{name}"


def fills_key(account: str, order_id: str) -> str:
    """Return the key of an order's executions."""
    return f"{account}#{order_id}"
