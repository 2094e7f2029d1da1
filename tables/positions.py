"""Every position and every account's money, and the executions they are made of."""

from typing import Annotated

from pydantic import Field

from streams.domain.aging import EXECUTION_DAYS, Leaving
from streams.domain.executions import Execution
from streams.domain.positions import AccountState, PositionState
from tables.base import TableSpec

PositionRow = PositionState | AccountState | Execution | Leaving


def position_key(account: str, symbol: str) -> str:
    """Return the key of a position; an account's money has the account as its key."""
    return f"{account}|{symbol}"


POSITIONS = TableSpec(
    name="positions",
    key="account|symbol; money account; executions account#broker|exec_id; ~day|time of a batch",
    value=Annotated[PositionRow, Field(discriminator="kind")],
    written_by="positions",
    doc="Every position, every account's money, and the executions behind them.",
    bound=(
        "One record per account and symbol, one per account. Per execution about 370 bytes, and"
        f" 30 to 100 for what says when it is due; it goes {EXECUTION_DAYS} days after it happened"
        " and was booked. What is older and unknown is not booked: it may have been."
    ),
)
