"""Where each order was sent, so that its cancels follow it and a repetition goes the same way."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from streams.models.orders import Refusal, VenueOrder
from tables.base import TableSpec


class Routes(BaseModel):
    """What the router answered to one order: orders for a broker, or a refusal."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["routes"] = "routes"
    orders: tuple[VenueOrder, ...] = ()
    rule: str = ""
    refusal: Refusal | None = None
    answered: tuple[str, ...] = ()


ROUTES = TableSpec(
    name="routes",
    key="account|order_id",
    value=Routes,
    written_by="router",
    doc="Where each order was sent.",
    bound="One record per order that was approved, about 600 bytes.",
)
