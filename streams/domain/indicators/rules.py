"""What an indicator is: a start, and a step from one bar to the next.

States are flat tuples of numbers and text, so that they come back from JSON as they were: a float
is written with as many digits as tell it from every other one.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

State = tuple[Any, ...]
Values = tuple[float, ...]

#: An indicator of one output calls it so.
ONE = ("value",)


class Kept(NamedTuple):
    """A bar as indicators see it: prices are floats, sums are exact.

    `rev` counts what was said of its indicators, `told_ns` is when that was last.
    """

    start_ns: int
    end_ns: int
    session: str
    bar_rev: int
    rev: int
    told_ns: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float
    shares: Decimal
    notional: Decimal


Step = Callable[[State, Kept], tuple[State, Values | None]]


class Rule(NamedTuple):
    """One indicator with its parameters.

    `step` returns the next state, and the values after the bar: None before the warm-up is over,
    and where the bar lacks a price that the indicator needs; such a bar changes nothing in it.
    """

    name: str
    outputs: tuple[str, ...]
    start: State
    step: Step
