"""How much of a parent is due at a moment.

TWAP   The time from start to end has n intervals, the last one may be shorter. With interval i
       (from 0 on) qty x (i + 1) / n is due in all, rounded down to the instrument's step; with
       the last one all of it. Cumulative rounding: the slices add up to the quantity exactly.
POV    participation x the market's volume since the start is due in all, rounded down likewise,
       and never more than the quantity.

What is due in all, less what was filled and what is open, is the next slice. So what a slice
leaves unfilled, and what was missed while no worker ran, is in the next one.
"""

from decimal import Decimal

from streams.domain.decimals import EXACT, ZERO
from streams.models.slices import StartPov, StartTwap

SECOND_NS = 1_000_000_000


def interval_ns(start: StartTwap | StartPov) -> int:
    """Return the time between two slices."""
    return int(start.interval_s * SECOND_NS)


def slices_of(start: StartTwap, start_ns: int) -> int:
    """Return how many slices there are, at least one."""
    return max(1, -(-(start.end_ns - start_ns) // interval_ns(start)))


def slice_at(start: StartTwap, start_ns: int, now_ns: int) -> int:
    """Return the number of the slice whose time it is, from 0 on."""
    passed = (now_ns - start_ns) // interval_ns(start)
    return min(max(passed, 0), slices_of(start, start_ns) - 1)


def due_by_time(start: StartTwap, start_ns: int, number: int, step: Decimal) -> Decimal:
    """Return what is due in all with a slice."""
    many = slices_of(start, start_ns)
    if number >= many - 1:
        return start.qty
    part = EXACT.multiply(start.qty, Decimal(number + 1))
    steps = EXACT.divide_int(part, EXACT.multiply(step, Decimal(many)))
    return EXACT.multiply(steps, step)


def due_by_volume(start: StartPov, volume: Decimal, step: Decimal) -> Decimal:
    """Return what is due in all after this volume of the market."""
    part = EXACT.multiply(start.participation, volume)
    if part >= start.qty:
        return start.qty
    return EXACT.multiply(EXACT.divide_int(part, step), step) if part > 0 else ZERO
