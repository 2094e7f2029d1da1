"""The figures of a bar, out of prints or out of smaller bars; both give the same."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from streams.domain.bars.conditions import HIGH_LOW, LAST, VOLUME
from streams.domain.bars.prints import Print
from streams.domain.decimals import EXACT, ZERO, plain, ratio
from streams.models.market import Bar


class Figures(NamedTuple):
    """What a bar says, but for its bounds."""

    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal = ZERO
    notional: Decimal = ZERO
    trades: int = 0

    @property
    def vwap(self) -> Decimal | None:
        """Return the average price by volume, from the exact sums, rounded once."""
        return plain(ratio(self.notional, self.volume)) if self.volume else None


NOTHING = Figures()


def merged(first: Figures | None, second: Figures) -> Figures:
    """Return the figures of two spans of prints, the earlier one first."""
    if first is None:
        return second
    highs = [one for one in (first.high, second.high) if one is not None]
    lows = [one for one in (first.low, second.low) if one is not None]
    return Figures(
        first.open if first.open is not None else second.open,
        max(highs, default=None),
        min(lows, default=None),
        second.close if second.close is not None else first.close,
        EXACT.add(first.volume, second.volume),
        EXACT.add(first.notional, second.notional),
        first.trades + second.trades,
    )


def of_prints(prints: Iterable[Print]) -> Figures | None:
    """Return the figures of prints in market order; None if none of them counts."""
    add, fma = EXACT.add, EXACT.fma
    first = last = high = low = None
    volume = notional = ZERO
    trades = 0
    for _, _, _, _, price, size, rights, _ in prints:
        if rights & VOLUME:
            volume, notional = add(volume, size), fma(price, size, notional)
            trades += 1
        if rights & HIGH_LOW:
            if high is None or low is None:
                high = low = price
            elif price > high:
                high = price
            elif price < low:
                low = price
        if rights & LAST:
            if first is None:
                first = price
            last = price
    if not trades and high is None:
        return None
    return Figures(first, high, low, last, plain(volume), plain(notional), trades)


def of_bars(bars: Iterable[tuple[Bar, bool]]) -> Figures | None:
    """Return the figures of bars in time order; None if there are none that count.

    With each bar comes whether its prices count: those of extended hours do not in a day's.
    """
    first = last = high = low = None
    volume = notional = ZERO
    trades = 0
    for bar, priced in bars:
        volume = EXACT.add(volume, bar.volume)
        notional = EXACT.add(notional, bar.notional)
        trades += bar.trades
        if not priced:
            continue
        if bar.high is not None and bar.low is not None:
            high = bar.high if high is None else max(high, bar.high)
            low = bar.low if low is None else min(low, bar.low)
        if bar.close is not None:
            first = bar.open if first is None else first
            last = bar.close
    if not trades and high is None:
        return None
    return Figures(first, high, low, last, plain(volume), plain(notional), trades)
