"""What the table `venue` keeps of a symbol's market and of its orders."""

from typing import Annotated, Literal

from pydantic import Field

from streams.domain.decimals import ZERO
from streams.models.base import Dec, Id, LongId, Message, Nanos, Part, Symbol
from streams.models.orders import OrderStatus, OrderTerms


class PendingCommand(Part):
    """A cancel or replace on its way: it takes effect at `effective_ns`, in order of `seq`."""

    command: Literal["cancel", "replace"]
    request_id: LongId
    terms: OrderTerms
    revision: int
    ts_requested_ns: Nanos
    effective_ns: Nanos
    seq: int


class OrderRecord(Message):
    """An open order. Key `symbol|client_order_id`.

    `status`: pending_new until it takes effect, accepted from then on. `qty` is None while a
    notional order waits for its first price.
    """

    kind: Literal["order"] = "order"
    client_order_id: LongId
    order_id: Id
    account: Id
    leg: str
    strategy: str
    parent_order_id: Id | None
    terms: OrderTerms
    revision: int
    content: str
    status: OrderStatus
    arrival: int
    effective_ns: Nanos
    expire_ns: Nanos
    qty: Dec | None
    cum_qty: Dec
    value: Dec
    commission: Dec
    execs: int
    triggered: bool
    stop_px: Dec | None
    hwm: Dec | None
    rested: bool
    pair: str
    commands: tuple[PendingCommand, ...]
    requests: tuple[str, ...]
    ts_requested_ns: Nanos
    controls_version: int = 0


class ClosedRecord(Message):
    """An order that is over: kept so that its repetition is known. Same key."""

    kind: Literal["closed"] = "closed"
    client_order_id: LongId
    order_id: Id
    account: Id
    content: str
    status: OrderStatus
    qty: Dec | None
    cum_qty: Dec
    refusal: str = Field(description="Code of a rejection, or empty.")
    requests: tuple[str, ...]
    ts_closed_ns: Nanos = Field(description="Our time; what the venue forgets by.")


class LevelRecord(Part):
    """One price level: `left` of its `size` may still be taken. Price None: nothing is there."""

    px: Dec | None = None
    size: Dec = ZERO
    left: Dec = ZERO
    ts_ns: Nanos = 0


class BookRecord(Message):
    """A symbol's market as the engine sees it. Key `symbol`."""

    kind: Literal["book"] = "book"
    symbol: Symbol
    clock_ns: Nanos
    shift_ns: int
    seq: int
    bid: LevelRecord
    ask: LevelRecord
    last: LevelRecord
    quote: tuple[int, int] = Field(description="(ts, seq) of the newest quote.")
    trade: tuple[int, int] = Field(description="(ts, seq) of the newest trade.")


EngineRecord = Annotated[OrderRecord | ClosedRecord | BookRecord, Field(discriminator="kind")]
