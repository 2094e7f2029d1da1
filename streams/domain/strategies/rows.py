"""What is stored of strategies: how each stands on each symbol, and its signals for a while."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from streams.models.base import Part
from streams.models.signals import Signal, StrategyState


class StrategyRow(StrategyState):
    """One strategy on one symbol: what is published of it, and what it needs to go on."""

    kind: Literal["strategy"] = "strategy"
    state: str = Field("", description="The strategy's own state as JSON.")
    unwanted: bool = Field(False, description="Stopped because nobody wants it to run.")
    heard: dict[str, int] = Field(
        default_factory=dict, description="Start of the newest bar by frame, or indicator."
    )
    fills: tuple[str, ...] = Field((), description="Newest fills by their `event_id`.")


class SignalsRow(Part):
    """What was decided on one record, or by one turn of the timer; said again if need be."""

    kind: Literal["signals"] = "signals"
    signals: tuple[Signal, ...]


StrategiesRecord = Annotated[StrategyRow | SignalsRow, Field(discriminator="kind")]

#: Begins the keys of `SignalsRow`, which no symbol does.
SIGNALS_PREFIX = "~"
TIMER_PREFIX = "~timer|"


class Rows(Protocol):
    """Where rows are kept; the unit of work of an agent is one."""

    now_ns: int

    def get(self, key: str) -> Any:
        """Return the row of a key, or None."""

    def put(self, key: str, value: Any) -> None:
        """Set the row of a key."""

    def delete(self, key: str) -> None:
        """Remove a key."""


def pair_key(symbol: str, strategy: str) -> str:
    """Return the key of a strategy on a symbol; the symbol is first, as it is what partitions."""
    return f"{symbol}|{strategy}"


def cause_key(topic: str, offset: int) -> str:
    """Return the key of what was decided on a record."""
    return f"{SIGNALS_PREFIX}{topic}|{offset:020d}"


def timer_key(row: StrategyState) -> str:
    """Return the key of what a strategy decided by the timer."""
    return f"{TIMER_PREFIX}{row.symbol}|{row.strategy}|{row.version:020d}"
