"""Orders that are sent in slices over time: TWAP and participation in the volume (POV)."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from streams.models.base import Dec, Id, Message, Nanos, Symbol, WideDec
from streams.models.orders import Side

#: Child orders append to it, and have to fit an order id.
ParentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,48}$")]


class _Start(Message):
    """What both kinds share. Record key: `account`."""

    parent_id: ParentId = Field(description="Unique within the account for ever.")
    account: Id
    symbol: Symbol
    side: Side
    qty: Dec = Field(gt=0, description="Shares in all.")
    start_ns: Nanos | None = Field(None, description="Begin; at once if absent.")
    end_ns: Nanos = Field(description="Nothing is sent from here on.")
    limit_price: Dec | None = Field(None, gt=0, description="Of every child; market if absent.")
    strategy: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,64}$")] = ""
    ts_event_ns: Nanos | None = None


class StartTwap(_Start):
    """Ask for equal slices, one each `interval_s` seconds."""

    command: Literal["twap"]
    interval_s: Dec = Field(Decimal(60), ge=1)


class StartPov(_Start):
    """Ask for a share of what trades in the market."""

    command: Literal["pov"]
    participation: Dec = Field(gt=0, le=1, description="0.1: a tenth of the volume.")
    min_slice_qty: Dec = Field(Decimal(1), gt=0, description="Less is saved for the next slice.")
    interval_s: Dec = Field(Decimal(5), ge=1, description="Seconds between two slices at least.")


class CancelSlices(Message):
    """Ask that no more slices be sent; the open one is canceled. Record key: `account`."""

    command: Literal["cancel"]
    parent_id: ParentId
    account: Id
    ts_event_ns: Nanos | None = None


SliceCommand = Annotated[StartTwap | StartPov | CancelSlices, Field(discriminator="command")]


class SlicedOrder(Message):
    """A parent as its children make it; compacted. Record key: `account|parent_id`."""

    parent_id: ParentId
    account: Id
    symbol: Symbol
    side: Side
    kind: Literal["twap", "pov"]
    qty: Dec
    status: Literal["pending", "working", "filled", "canceled", "expired", "rejected"]
    version: int = Field(ge=1)
    sent_qty: WideDec = Field(description="Of all children, less what they gave back unfilled.")
    cum_qty: WideDec
    avg_px: WideDec | None = None
    leaves_qty: WideDec
    children: int = Field(0, ge=0)
    market_volume: WideDec = Field(Decimal(0), description="Of POV: volume that was counted.")
    text: str = ""
    start_ns: Nanos
    end_ns: Nanos
    ts_updated_ns: Nanos
