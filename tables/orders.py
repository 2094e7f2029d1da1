"""Every order as it stands, and the executions it is made of."""

from typing import Annotated

from pydantic import Field

from streams.domain.executions import Execution
from streams.domain.order_state import OrderState
from tables.base import TableSpec

OrderRow = OrderState | Execution


def order_key(account: str, order_id: str) -> str:
    """Return the key of an order."""
    return f"{account}|{order_id}"


ORDERS = TableSpec(
    name="orders",
    key="account|order_id; executions account#broker|exec_id",
    value=Annotated[OrderRow, Field(discriminator="kind")],
    written_by="tracker",
    doc="Every order as it stands, and its executions.",
    bound=(
        "Per order about 700 bytes, and 20 more for each event that is no fill, at most 1,024 of"
        " them; per execution about 300 bytes. Grows with the number of orders."
    ),
)
