"""The virtual venue's memory: markets, orders, and what was published about them lately."""

from typing import Annotated, Literal

from pydantic import Field

from streams.domain.matching.records import BookRecord, ClosedRecord, OrderRecord
from streams.models.base import Message, Nanos
from streams.models.orders import OrderEvent
from tables.base import TableSpec


class Published(Message):
    """The events one source record led to, so that its redelivery publishes them again.

    Key `symbol#topic#offset`; `symbol#clock#time` for what time alone brought.
    """

    kind: Literal["published"] = "published"
    events: tuple[OrderEvent, ...]
    ts_init_ns: Nanos


VenueRecord = Annotated[
    OrderRecord | ClosedRecord | BookRecord | Published, Field(discriminator="kind")
]

VENUE = TableSpec(
    name="venue",
    key="symbol, symbol|client_order_id, symbol#topic#offset",
    value=VenueRecord,
    written_by="gateway",
    doc="The virtual venue: the market of each symbol, its orders, its latest events.",
    bound="One record per symbol and per open order, about 800 bytes; per order closed within "
    "the last 10 minutes, 350 bytes; per source record that led to events within the last "
    "minute, 500 bytes per event.",
)
