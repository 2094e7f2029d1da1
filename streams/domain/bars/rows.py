"""What is stored of bars: prints by the bar they fall in, bars as published, symbols' clocks."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from streams.models.market import Bar


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class PrintsRow(_Row):
    """Some prints of one bar of the lowest frame, as `prints.packed` writes them."""

    kind: Literal["prints"] = "prints"
    end_ns: int
    prints: str


class BarRow(_Row):
    """A bar that was closed; without `bar` nothing in it counted, and nothing was published."""

    kind: Literal["bar"] = "bar"
    bar: Bar | None = None
    drop_ns: int


class CountRow(_Row):
    """The bar of a counted frame that is open; `start_ns` 0: none is."""

    kind: Literal["count"] = "count"
    session: str = ""
    start_ns: int = 0
    upto_ns: int = -1
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    trades: int = 0


class SymbolRow(_Row):
    """A symbol's clock: the newest venue time; its frames; the repetitions that were dropped."""

    kind: Literal["symbol"] = "symbol"
    frames: str
    event_ns: int
    duplicates: int = 0


BarsRecord = Annotated[PrintsRow | BarRow | CountRow | SymbolRow, Field(discriminator="kind")]


class Rows(Protocol):
    """Where rows are kept; the unit of work of an agent is one."""

    now_ns: int

    def get(self, key: str) -> Any:
        """Return the row of a key, or None."""

    def put(self, key: str, value: Any) -> None:
        """Set the row of a key."""

    def delete(self, key: str) -> None:
        """Remove a key."""


def bar_key(symbol: str, frame: str, start_ns: int) -> str:
    """Return the key of a bar."""
    return f"{symbol}|b|{frame}|{start_ns:020d}"


def prints_key(symbol: str, start_ns: int, offset: int) -> str:
    """Return the key of prints of the bar that starts then, from the one at an offset on."""
    return f"{symbol}|p|{start_ns:020d}|{offset:020d}"
