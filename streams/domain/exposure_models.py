"""What the table `risk` holds: accounts, orders, requests, as the validator knows them."""

from typing import Annotated, Literal

from pydantic import Field

from streams.domain.aging import Expiry, Gone
from streams.domain.decimals import ZERO
from streams.domain.executions import Execution
from streams.models.base import Id, LongId, Message, Nanos, Part, WideDec
from streams.models.orders import OrderTerms, Refusal, Side


class Holding(Part):
    """One symbol of an account. `buy_qty` and `sell_qty` are what open orders can still fill."""

    qty: WideDec = Field(ZERO, description="Signed position.")
    avg_px: WideDec = Field(ZERO, description="Of the position; 0 when flat.")
    buy_qty: WideDec = ZERO
    sell_qty: WideDec = ZERO
    mark: WideDec = Field(ZERO, description="Price it is valued at.")


class RiskAccount(Message):
    """An account as its risk checks see it. Key `account`.

    `reserved`: money held for open orders that open or add to positions. `long_value`,
    `short_value`: positions at their marks; `worst_value`: the same with every open order filled
    on the worse side. `tokens` are billionths of a command.
    """

    kind: Literal["account"] = "account"
    account: Id
    cash: WideDec
    day: str = Field("", description="New York date that `realized_day` counts for.")
    realized_day: WideDec = Field(ZERO, description="Commissions taken off.")
    tokens: int = 0
    tokens_ns: Nanos = 0
    contents: dict[str, tuple[int, ...]] = Field(
        {}, description="When equal orders were approved lately, by `trade_content`."
    )
    open_orders: int = 0
    reserved: WideDec = ZERO
    long_value: WideDec = ZERO
    short_value: WideDec = ZERO
    worst_value: WideDec = ZERO
    marked_ns: Nanos = 0
    holdings: dict[str, Holding] = Field({})
    live: bool = Field(default=False, description="Holds something, or an open order may.")


class Reserve(Part):
    """What one set of terms would reserve unfilled: `opening` is the part that needs money."""

    qty: WideDec
    opening: WideDec
    px: WideDec = Field(description="Worst price it can fill at.")


class PendingReplace(Part):
    """A replace that was approved and not answered yet."""

    request_id: LongId
    revision: int
    terms: OrderTerms
    reserve: Reserve


class Leg(Part):
    """One half of an order that was split in a close and an open."""

    qty: WideDec | None = None
    done: WideDec = ZERO
    closed: bool = False


class RiskOrder(Message):
    """An order as the validator judged it, and what it reserves. Key `account|order_id`.

    `verdict` external: not from here, met in the events. `submitted` are the terms as judged,
    `terms` as they are now. `done` is the quantity of all executions, later busted ones too:
    what was busted is not worked again.
    """

    kind: Literal["order"] = "order"
    account: Id
    order_id: Id
    client_order_id: LongId | None = None
    strategy: str = ""
    parent_order_id: Id | None = None
    content: str = ""
    partition: int = -1
    offset: int = -1
    verdict: Literal["approved", "rejected", "external"]
    refusal: Refusal | None = None
    submitted: OrderTerms | None = None
    position_qty: WideDec = ZERO
    rules_version: int = 0
    ts_requested_ns: Nanos = 0
    decided_ns: Nanos = 0
    symbol: str = ""
    side: Side = Side.BUY
    terms: OrderTerms | None = None
    revision: int = 0
    approved_revision: int = Field(0, description="Of the newest replace that was approved.")
    reserve: Reserve | None = None
    pending: tuple[PendingReplace, ...] = ()
    answered: tuple[LongId, ...] = Field((), description="Replaces answered, newest last.")
    done: WideDec = ZERO
    spent: WideDec = ZERO
    executions: dict[str, Execution] = Field({})
    legs: dict[str, Leg] = Field({})
    children: dict[str, WideDec] = Field({}, description="What open legs can still fill.")
    exit_side: Side | None = None
    active: bool = Field(
        default=True, description="On the book, as far as is known: no untriggered stop."
    )
    ended: bool = Field(default=False, description="Canceled, expired or rejected.")
    reserved_buy: WideDec = ZERO
    reserved_sell: WideDec = ZERO
    reserved_value: WideDec = ZERO
    live: bool = False


class RiskRequest(Message):
    """A cancel or replace as it was judged.

    Key `account|order_id|request_id`; one that was refused `…|request_id@offset`, so that the
    same request may be judged again later.
    """

    kind: Literal["request"] = "request"
    account: Id
    order_id: Id
    request_id: LongId
    command: Literal["cancel", "replace"]
    content: str
    partition: int
    offset: int
    refusal: Refusal | None = None
    client_order_id: LongId | None = Field(None, description="This and the next as judged.")
    parent_order_id: Id | None = None
    strategy: str = ""
    symbol: str | None = None
    side: Side | None = None
    terms: OrderTerms | None = None
    revision: int = 0
    position_qty: WideDec = ZERO
    rules_version: int = 0
    ts_requested_ns: Nanos = 0
    decided_ns: Nanos = 0


RiskRecord = Annotated[
    RiskAccount | RiskOrder | RiskRequest | Expiry | Gone, Field(discriminator="kind")
]
