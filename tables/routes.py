"""Where each order was sent, so that its cancels follow it and a repetition goes the same way."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from streams.domain.aging import GONE_DAYS, Leaving
from streams.models.orders import Refusal, VenueOrder
from tables.base import TableSpec

#: An order that is not good till canceled is over by then, wherever it is.
ROUTE_DAYS = 14
#: One that is, too: it is given to brokers for 90 days.
GTC_ROUTE_DAYS = GONE_DAYS


class Routes(BaseModel):
    """What the router answered to one order: orders for a broker, or a refusal.

    `until` is the last day on which it is kept; empty for those of before there was such a day.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["routes"] = "routes"
    orders: tuple[VenueOrder, ...] = ()
    rule: str = ""
    refusal: Refusal | None = None
    answered: tuple[str, ...] = ()
    until: str = ""


RouteRow = Routes | Leaving

ROUTES = TableSpec(
    name="routes",
    key="account|order_id; ~day|time of a batch",
    value=Annotated[RouteRow, Field(discriminator="kind")],
    written_by="router",
    doc="Where each order was sent.",
    bound=(
        f"One record per order that was approved, about 600 bytes, for {ROUTE_DAYS} days after its"
        f" last command; {GTC_ROUTE_DAYS} for one that is good till canceled."
    ),
)
