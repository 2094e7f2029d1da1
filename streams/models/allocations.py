"""Targets of positions: what accounts are to hold, and how far they are on the way."""

from typing import Annotated, Literal

from pydantic import Field

from streams.models.base import Dec, Id, Message, Nanos, Part, Symbol, WideDec
from streams.models.orders import OrderType, TimeInForce

#: Child orders append to it, and have to fit an order id.
AllocationId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,32}$")]
StrategyTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,64}$")]


class SetTargets(Message):
    """Ask that positions become these; what is not named stays as it is. Record key: `account`.

    With a `strategy` the positions are those that its own orders made; without, the account's.
    A newer request of the same account and strategy replaces an older one for its symbols.
    With `shares` the targets are a total, which is divided among those accounts: each gets a
    request of its own, with this one as its parent.
    """

    command: Literal["target"]
    allocation_id: AllocationId = Field(description="Unique within the account for ever.")
    account: Id = Field(
        description="The account; with `shares` the one that the record is keyed by."
    )
    strategy: StrategyTag = ""
    targets: dict[Symbol, Dec] = Field(
        min_length=1, max_length=500, description="Signed: shares to be long, or short if negative."
    )
    shares: dict[Id, Annotated[Dec, Field(gt=0)]] = Field(
        default_factory=dict, max_length=100, description="Weights of the accounts, above 0."
    )
    parent_id: str = Field("", max_length=32, description="The request that this is a part of.")
    type: Literal[OrderType.MARKET, OrderType.LIMIT] = OrderType.MARKET
    limit_prices: dict[Symbol, Dec] = Field(default_factory=dict, description="For limit orders.")
    time_in_force: TimeInForce = TimeInForce.DAY
    ts_event_ns: Nanos | None = None


class CancelTargets(Message):
    """Ask that nothing more be done for an allocation; open orders are canceled."""

    command: Literal["cancel"]
    allocation_id: AllocationId
    account: Id
    ts_event_ns: Nanos | None = None


AllocationCommand = Annotated[SetTargets | CancelTargets, Field(discriminator="command")]


class OrderFill(Part):
    """How far one symbol is. `target_qty` and `position_qty` are signed."""

    symbol: Symbol
    target_qty: Dec
    start_qty: WideDec = Field(description="Position when the target was set.")
    position_qty: WideDec
    open_qty: WideDec = Field(description="Signed quantity that open child orders may still fill.")
    order_ids: tuple[str, ...] = Field((), description="The newest child orders, eight at most.")
    refusal_code: str = ""
    refusal_text: str = ""
    state: Literal["working", "done", "refused", "replaced", "canceled"]


class Allocation(Message):
    """An allocation as it stands; compacted. Record key: `account|allocation_id`."""

    allocation_id: AllocationId
    account: Id
    strategy: StrategyTag = ""
    parent_id: str = Field("", description="The allocation over several accounts it is a part of.")
    status: Literal[
        "working", "done", "partly_refused", "refused", "replaced", "canceled", "divided"
    ] = Field(description="`divided`: its parts, one for each account, have a status of their own.")
    version: int = Field(ge=1)
    order_fill: tuple[OrderFill, ...]
    ts_requested_ns: Nanos
    ts_updated_ns: Nanos
