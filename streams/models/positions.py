"""Positions and accounts as they stand."""

from pydantic import Field

from streams.models.base import Id, Message, Nanos, Symbol, WideDec


class Position(Message):
    """What an account holds of a symbol. Key `account|symbol` on the account's partition.

    Sign of `qty`: long is positive. `realized_pl` has commissions already taken off;
    `unrealized_pl` is at `mark_px`, absent while no price is known.
    """

    account: Id
    symbol: Symbol
    qty: WideDec
    avg_entry_px: WideDec = Field(description="0 when flat.")
    realized_pl: WideDec
    unrealized_pl: WideDec | None = None
    mark_px: WideDec | None = None
    ts_mark_ns: Nanos | None = Field(
        None,
        description="Time of the print or quote behind `mark_px`: by it the mark's age is told.",
    )
    commission: WideDec
    buy_qty: WideDec = Field(description="Sum of all distinct buy fills, busts taken off.")
    sell_qty: WideDec
    fills: int
    version: int = Field(ge=1)
    ts_updated_ns: Nanos


class Account(Message):
    """An account's money. Key `account`. `cash` starts at the limit record's `starting_cash`."""

    account: Id
    cash: WideDec
    realized_pl: WideDec
    commission: WideDec
    fills: int
    day: str = Field(description="New York date that `realized_pl_day` counts for.")
    realized_pl_day: WideDec
    version: int = Field(ge=1)
    ts_updated_ns: Nanos
