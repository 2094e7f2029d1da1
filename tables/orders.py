"""Every order as it stands, and the executions it is made of."""

from typing import Annotated

from pydantic import Field

from streams.domain.aging import GONE_DAYS, KEEP_DAYS, Gone, Leaving
from streams.domain.executions import Execution
from streams.domain.order_state import OrderState
from tables.base import TableSpec

OrderRow = OrderState | Execution | Leaving | Gone


def order_key(account: str, order_id: str) -> str:
    """Return the key of an order."""
    return f"{account}|{order_id}"


ORDERS = TableSpec(
    name="orders",
    key="account|order_id; executions account#broker|exec_id; ~day|time of a batch",
    value=Annotated[OrderRow, Field(discriminator="kind")],
    written_by="tracker",
    doc="Every order as it stands, and its executions.",
    bound=(
        "Per order about 850 bytes, and 20 more for each event that is no fill, at most 1,024 of"
        f" them; per execution about 330 bytes. Both go {KEEP_DAYS} days after the order was over;"
        f" orders that are not over stay. Of an order its id stays for {GONE_DAYS} days more,"
        " about 100 bytes."
    ),
)
