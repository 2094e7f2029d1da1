"""What is stored of sliced orders: parents, and each of their children."""

from typing import Annotated, Literal

from pydantic import Field

from streams.domain.aging import Gone, Leaving
from streams.domain.decimals import ZERO
from streams.domain.spawning import Child
from streams.models.base import Part, WideDec
from streams.models.slices import StartPov, StartTwap

Status = Literal["pending", "working", "filled", "canceled", "expired", "rejected"]
OVER = frozenset({"filled", "canceled", "expired", "rejected"})


class Parent(Part):
    """A sliced order.

    `open_id`: the child that may still fill, with `open_qty` left. `sliced`, `sliced_ns`: number
    and time of the newest slice. `refused`: children refused in a row. `since_ns` and
    `seen_volume`: the market's volume as it was last looked at.
    """

    kind: Literal["parent"] = "parent"
    start: Annotated[StartTwap | StartPov, Field(discriminator="command")]
    start_ns: int
    content: str
    status: Status = "pending"
    stop: bool = False
    live: bool = True
    children: int = 0
    open_id: str = ""
    open_qty: WideDec = ZERO
    cum_qty: WideDec = ZERO
    cost: WideDec = ZERO
    sliced: int = -1
    sliced_ns: int = 0
    refused: int = 0
    text: str = ""
    since_ns: int | None = None
    seen_volume: WideDec = ZERO
    market_volume: WideDec = ZERO
    version: int = 0
    ts_updated_ns: int = 0


SlicerRow = Annotated[Parent | Child | Leaving | Gone, Field(discriminator="kind")]


def parent_key(account: str, parent_id: str) -> str:
    """Return the key of a parent."""
    return f"{account}|p|{parent_id}"


def child_key(account: str, order_id: str) -> str:
    """Return the key of a child."""
    return f"{account}|c|{order_id}"


def child_id(parent_id: str, number: int) -> str:
    """Return the id of a parent's child, from 1 on: the spawn rule."""
    return f"{parent_id}-E{number}"


def parent_of(order_id: str) -> str | None:
    """Return the parent's id out of a child's; None for another id."""
    parent, _, number = order_id.rpartition("-E")
    return parent if parent and number.isdecimal() else None
