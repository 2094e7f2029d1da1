"""What is stored of indicators: one row per symbol and frame."""

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from streams.domain.indicators.rules import Kept


class Late(NamedTuple):
    """A bar that came too late to change anything, and when that was said."""

    start_ns: int
    bar_rev: int
    told_ns: int


class SeriesRow(BaseModel):
    """The newest bars of a series, and the states of its indicators before the oldest of them.

    `units` are the times of the last units of work that changed the series; `upto_ns` is when the
    newest of its bars was made.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["series"] = "series"
    base: dict[str, tuple[Any, ...]]
    bars: tuple[Kept, ...] = ()
    units: tuple[int, ...] = ()
    upto_ns: int = 0
    late: tuple[Late, ...] = ()


def series_key(symbol: str, frame: str) -> str:
    """Return the key of a series."""
    return f"{symbol}|{frame}"
