"""What a venue of our own says it has, so that it can be compared with what we have of it."""

from typing import Literal

from pydantic import Field

from streams.models.base import Dec, Id, LongId, Message, Nanos, Part, Symbol


class StatedOrder(Part):
    """One order at the venue."""

    order_id: Id
    client_order_id: LongId
    state: Literal["open", "closed"]
    cum_qty: Dec = Field(description="Shares executed.")


class Statement(Message):
    """Orders of an account on one symbol: the open ones, and those that closed lately.

    Record key: `account`. Of many orders there are several statements of the same time.
    """

    broker: str
    account: Id
    symbol: Symbol
    orders: tuple[StatedOrder, ...]
    ts_event_ns: Nanos
