"""Orders: what users ask for, what passed the checks, what happened, and how things stand.

Names and meanings of order fields are Alpaca's; statuses are FIX's and Alpaca's.
"""

from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from streams.models.base import Dec, Id, LongId, Message, Nanos, Part, Symbol, WideDec, Word


class Side(Word):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(Word):
    """How the price of an order is found."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(Word):
    """How long an order works."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"
    IOC = "ioc"
    FOK = "fok"


class OrderClass(Word):
    """Whether an order comes alone or with others that depend on it."""

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class PositionIntent(Word):
    """What an order is meant to do to the position."""

    BUY_TO_OPEN = "buy_to_open"
    BUY_TO_CLOSE = "buy_to_close"
    SELL_TO_OPEN = "sell_to_open"
    SELL_TO_CLOSE = "sell_to_close"


class TakeProfit(Part):
    """The profit-taking leg of a bracket, OCO or OTO order."""

    limit_price: Dec


class StopLoss(Part):
    """The protective leg of a bracket, OCO or OTO order; a stop-limit if `limit_price` is set."""

    stop_price: Dec
    limit_price: Dec | None = None


class Submit(Message):
    """Ask for a new order. Record key: `account`."""

    command: Literal["submit"]
    order_id: Id = Field(description="The sender's id; unique within the account for ever.")
    account: Id
    symbol: Symbol
    side: Side
    type: OrderType
    qty: Dec | None = Field(None, description="Shares; exactly one of qty and notional.")
    notional: Dec | None = Field(None, description="Money instead of shares (market, day).")
    time_in_force: TimeInForce = TimeInForce.DAY
    limit_price: Dec | None = None
    stop_price: Dec | None = None
    trail_price: Dec | None = None
    trail_percent: Dec | None = Field(None, description="Percent: 1.5 trails by 1.5 %.")
    extended_hours: bool = False
    client_order_id: Id | None = Field(None, description="Defaults to order_id.")
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    position_intent: PositionIntent | None = None
    reduce_only: bool = Field(False, description="Refuse what would open or flip a position.")
    strategy: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,64}$")] = ""
    ts_event_ns: Nanos | None = Field(
        None, description="When the sender decided; defaults to the record's Kafka timestamp."
    )


class Cancel(Message):
    """Ask to cancel a working order. Record key: `account`."""

    command: Literal["cancel"]
    order_id: Id
    account: Id
    request_id: Id | None = Field(
        None, description="Tells one cancel request from its repetition; one per order if absent."
    )
    ts_event_ns: Nanos | None = None


class Replace(Message):
    """Ask to change a working order; what is absent stays. Record key: `account`."""

    command: Literal["replace"]
    order_id: Id
    account: Id
    request_id: Id | None = Field(
        None, description="Tells one request from its repetition; derived from content if absent."
    )
    qty: Dec | None = Field(None, description="New total quantity, filled shares included.")
    limit_price: Dec | None = None
    stop_price: Dec | None = None
    trail_price: Dec | None = None
    trail_percent: Dec | None = None
    time_in_force: TimeInForce | None = None
    ts_event_ns: Nanos | None = None


Command = Annotated[Submit | Cancel | Replace, Field(discriminator="command")]


class OrderTerms(Part):
    """What an order is: every field filled in, `notional` still open to be turned into `qty`."""

    symbol: Symbol
    side: Side
    type: OrderType
    qty: Dec | None = None
    notional: Dec | None = None
    time_in_force: TimeInForce
    limit_price: Dec | None = None
    stop_price: Dec | None = None
    trail_price: Dec | None = None
    trail_percent: Dec | None = None
    extended_hours: bool = False
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    position_intent: PositionIntent | None = None
    reduce_only: bool = False


class ApprovedOrder(Message):
    """An order, cancel or replace that passed every check. Record key: `account`.

    Made only by the validator: what is on `orders.approved` has been checked.
    """

    command: Literal["submit", "cancel", "replace"]
    order_id: Id
    account: Id
    client_order_id: LongId = Field(
        description="The user's; of a bracket, OCO or OTO child the broker's."
    )
    parent_order_id: Id | None = Field(None, description="Of a bracket, OCO or OTO child.")
    strategy: str = ""
    request_id: LongId = Field(description="Of a cancel or replace; `submit` for a new order.")
    terms: OrderTerms = Field(description="For a replace, the terms as they shall become.")
    revision: int = Field(0, ge=0, description="0 as submitted; each replace adds one.")
    position_qty: WideDec = Field(
        description="The account's signed position in the symbol when the order was approved."
    )
    rules_version: int = Field(ge=0, description="Newest `controls` version the checks saw.")
    ts_requested_ns: Nanos
    ts_event_ns: Nanos


class VenueOrder(Message):
    """An order, cancel or replace for one broker. Key: `account`, at `virtual` the `symbol`."""

    command: Literal["submit", "cancel", "replace"]
    broker: str
    client_order_id: LongId = Field(
        description="Id at the broker: a function of account, order and leg, never reused."
    )
    order_id: Id
    account: Id
    leg: Literal["", "close", "open", "take_profit", "stop_loss"] = Field(
        "", description="Part of an order that was split, or a child of a bracket, OCO or OTO."
    )
    parent_qty: Dec | None = Field(
        None, description="Quantity of the whole order, where this is one leg of a split."
    )
    strategy: str = ""
    request_id: LongId
    terms: OrderTerms
    revision: int = 0
    ts_requested_ns: Nanos
    ts_approved_ns: Nanos
    ts_event_ns: Nanos
    valid_until_ns: Nanos | None = Field(
        None, description="Not sent after this time; absent at the virtual venue."
    )


class EventType(Word):
    """What can happen to an order."""

    APPROVED = "approved"
    REJECTED = "rejected"
    ROUTED = "routed"
    ACCEPTED = "accepted"
    HELD = "held"
    TRIGGERED = "triggered"
    FILL = "fill"
    FILL_BUSTED = "fill_busted"
    FILL_CORRECTED = "fill_corrected"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    CANCEL_REJECTED = "cancel_rejected"
    PENDING_REPLACE = "pending_replace"
    REPLACED = "replaced"
    REPLACE_REJECTED = "replace_rejected"
    EXPIRED = "expired"
    DONE_FOR_DAY = "done_for_day"
    SUSPENDED = "suspended"
    DUPLICATE = "duplicate"


class Refusal(Part):
    """Why something was refused: the code, and the limit beside the actual value.

    `code` is one of the rows of `docs/reference/refusals.md`; numbers are fields, `text` is for
    people. `rules_version` is the version of the control record that held the limit, 0 where
    the refusal comes from no rule.
    """

    code: str
    text: str
    limit: str | None = None
    actual: str | None = None
    rules_version: int = 0


class Fill(Part):
    """One execution. `last_*` are of this execution alone, `cum_qty` of the order at the broker."""

    exec_id: LongId
    last_qty: Dec
    last_px: Dec
    cum_qty: Dec = Field(description="Filled quantity of the client order, this fill included.")
    commission: Dec = Field(description="Of this execution, in the account's currency.")
    ref_exec_id: LongId | None = Field(
        None, description="The execution that a bust or correction refers to."
    )


class OrderEvent(Message):
    """One thing that happened to an order. Record key: `account`.

    Which blocks are set: `terms` on approved, rejected (if they were readable), routed and
    replaced; `fill` on fill, fill_busted and fill_corrected; `refusal` on rejected,
    cancel_rejected and replace_rejected.
    """

    event_id: LongId = Field(description="A function of the input: a repetition has the same id.")
    event: EventType
    order_id: Id
    account: Id
    symbol: Symbol | None = None
    client_order_id: LongId | None = None
    leg: str = ""
    broker: str = ""
    strategy: str = ""
    request_id: LongId | None = None
    revision: int = 0
    terms: OrderTerms | None = None
    fill: Fill | None = None
    refusal: Refusal | None = None
    parent_order_id: Id | None = Field(None, description="Of a bracket, OCO or OTO child.")
    side: Side | None = None
    text: str = ""
    controls_version: int = Field(
        0,
        ge=0,
        exclude_if=not_,
        description="On what a broker did with a new order: the newest `controls` version known"
        " when it was sent there.",
    )
    ts_requested_ns: Nanos | None = None
    ts_event_ns: Nanos = Field(description="When it happened: the venue's time for a fill.")
    ts_init_ns: Nanos = Field(description="When Orderflow wrote it down.")


class OrderStatus(Word):
    """How an order stands. FIX's and Alpaca's names."""

    PENDING_NEW = "pending_new"
    HELD = "held"
    ACCEPTED = "accepted"
    TRIGGERED = "triggered"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    DONE_FOR_DAY = "done_for_day"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SUSPENDED = "suspended"


TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


class Order(Message):
    """An order as it stands. Key `account|order_id` on the account's partition; compacted."""

    order_id: Id
    account: Id
    client_order_id: LongId | None = None
    strategy: str = ""
    parent_order_id: Id | None = None
    broker: str = ""
    status: OrderStatus
    terms: OrderTerms | None = Field(None, description="Absent until an event brought them.")
    revision: int = 0
    cum_qty: WideDec
    leaves_qty: WideDec
    avg_px: WideDec | None = None
    commission: WideDec
    overfill_qty: WideDec = Field(description="Filled beyond the quantity: booked, and flagged.")
    fills: int = 0
    refusal: Refusal | None = None
    version: int = Field(ge=1, description="Grows by one with every event that changed the order.")
    ts_requested_ns: Nanos | None = None
    ts_updated_ns: Nanos
