"""Which part of an execution is new, by the quantity that an order is filled to.

An execution of `qty` after which the order is filled to `cum` covers the interval (cum - qty, cum].
What is covered already does not count again, whoever reports it: the broker's stream, a question
after a gap, the broker's second copy under another id. So the same set of reports gives the same
sum, whatever their order.

A report without executions ("filled to 7 at 50.10 on average") fills what is not covered up to
there, each gap with an execution of our own, at the price that the average implies; an execution
that comes later for such an interval counts nothing.

Ids come first: an execution that was here before counts nothing, whatever it says.

A bust or a correction changes the broker's cumulative numbers. From then on they cannot be
compared with those of before, so of such an order executions count by their ids alone.
"""

from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO, ratio, shown, total
from streams.models.base import Part, WideDec

#: Executions of an order whose ids are remembered, 16 characters each; the newest.
MAX_SEEN = 512


class Interval(Part):
    """Shares `low` (exclusive) to `high` of an order, and what was paid for them together."""

    low: WideDec
    high: WideDec
    cost: WideDec


class Covered(Part):
    """What of an order has been counted: disjoint intervals in order.

    `broken`: the broker's cumulative numbers have changed since, so ids alone tell. `seen` are
    digests of the executions that came, counted or not.
    """

    intervals: tuple[Interval, ...] = ()
    broken: bool = False
    seen: tuple[str, ...] = ()

    @property
    def qty(self) -> Decimal:
        """Return how much has been counted, busts and corrections apart."""
        return total(EXACT.subtract(one.high, one.low) for one in self.intervals)


class Counted(NamedTuple):
    """What an execution adds: `qty` of it is new, which is nothing if it was all known."""

    covered: Covered
    qty: Decimal


class Gap(NamedTuple):
    """Shares that are filled by a report alone, up to the cumulative quantity `cum`."""

    qty: Decimal
    px: Decimal
    cum: Decimal


def count(covered: Covered, exec_id: str, qty: Decimal, px: Decimal, cum: Decimal) -> Counted:
    """Count one execution; `cum` is the order's filled quantity with it."""
    digest = blake2b(exec_id.encode(), digest_size=8).hexdigest()
    if digest in covered.seen:
        return Counted(covered, ZERO)
    seen = (*covered.seen[1 - MAX_SEEN :], digest)
    if covered.broken:
        return Counted(evolve(covered, seen=seen), qty)
    gaps = _gaps(covered.intervals, max(EXACT.subtract(cum, qty), ZERO), cum)
    new = total(EXACT.subtract(high, low) for low, high in gaps)
    intervals = _with(covered.intervals, gaps, px) if gaps else covered.intervals
    return Counted(evolve(covered, intervals=intervals, seen=seen), new)


def fill_up(covered: Covered, cum: Decimal, avg_px: Decimal | None) -> tuple[Covered, list[Gap]]:
    """Count what a report of `cum` at an average of `avg_px` says beyond what is covered.

    Without an average the shares have no price, so nothing is counted.
    """
    if covered.broken or avg_px is None:
        return covered, []
    gaps = _gaps(covered.intervals, ZERO, cum)
    if not gaps:
        return covered, []
    px = _implied(covered.intervals, gaps, cum, avg_px)
    changed = evolve(covered, intervals=_with(covered.intervals, gaps, px))
    return changed, [Gap(EXACT.subtract(high, low), px, high) for low, high in gaps]


def broken(covered: Covered) -> Covered:
    """Return what holds once an execution was busted or corrected."""
    return covered if covered.broken else evolve(covered, broken=True)


def _gaps(
    intervals: tuple[Interval, ...], low: Decimal, high: Decimal
) -> list[tuple[Decimal, Decimal]]:
    """Return the parts of (low, high] that no interval covers, in order."""
    found = []
    for one in intervals:
        if one.high <= low:
            continue
        if one.low >= high:
            break
        if one.low > low:
            found.append((low, one.low))
        low = one.high
    if low < high:
        found.append((low, high))
    return found


def _with(
    intervals: tuple[Interval, ...], gaps: list[tuple[Decimal, Decimal]], px: Decimal
) -> tuple[Interval, ...]:
    """Return the intervals and these gaps; neighbours become one."""
    new = [
        make(Interval, low=low, high=high, cost=EXACT.multiply(EXACT.subtract(high, low), px))
        for low, high in gaps
    ]
    merged: list[Interval] = []
    for one in sorted((*intervals, *new), key=lambda each: each.low):
        if merged and merged[-1].high == one.low:
            cost = EXACT.add(merged[-1].cost, one.cost)
            merged[-1] = evolve(merged[-1], high=one.high, cost=cost)
        else:
            merged.append(one)
    return tuple(merged)


def _implied(
    intervals: tuple[Interval, ...],
    gaps: list[tuple[Decimal, Decimal]],
    cum: Decimal,
    avg_px: Decimal,
) -> Decimal:
    """Return the price of the gaps that makes the average of (0, cum] what was reported.

    That cannot be told where an interval reaches beyond `cum`: its cost is known as a whole
    only. Then, and where rounding would make it negative, the average itself is the best there is.
    """
    if any(one.low < cum < one.high for one in intervals):
        return shown(avg_px)
    paid = total(one.cost for one in intervals if one.high <= cum)
    missing = total(EXACT.subtract(high, low) for low, high in gaps)
    left = EXACT.subtract(EXACT.multiply(cum, avg_px), paid)
    return ratio(left, missing) if left >= 0 else shown(avg_px)
