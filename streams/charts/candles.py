"""What a chart shows: candles, fills on them, and the span of prices that holds both."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


class Candle(NamedTuple):
    """One bar. A price that no print of the bar may set is None."""

    start_ns: int
    end_ns: int
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: Decimal

    @property
    def falls(self) -> bool:
        """Return whether it closes below its open."""
        return self.open is not None and self.close is not None and self.close < self.open


class Fill(NamedTuple):
    """One execution; `text` says which, for people."""

    ts_ns: int
    side: Literal["buy", "sell"]
    qty: Decimal
    px: Decimal
    text: str = ""


class Placed(NamedTuple):
    """Fills by the number of the candle they are drawn on, and those that are on none."""

    on: dict[int, list[Fill]]
    off: list[Fill]


def place(candles: Sequence[Candle], fills: Iterable[Fill]) -> Placed:
    """Return on which candle each fill is drawn: the one of its time, or in a gap the one before.

    What happened before the first candle, or after the end of the last, is on none.
    """
    starts = [candle.start_ns for candle in candles]
    placed = Placed({}, [])
    for fill in fills:
        number = bisect_right(starts, fill.ts_ns) - 1
        if number < 0 or fill.ts_ns >= candles[-1].end_ns:
            placed.off.append(fill)
        else:
            placed.on.setdefault(number, []).append(fill)
    return placed


class Span(NamedTuple):
    """The prices from the bottom to the top of a chart; `high` is above `low`."""

    low: Decimal
    high: Decimal

    def share(self, price: Decimal) -> float:
        """Return where a price is: 0 at the top, 1 at the bottom."""
        return float((self.high - price) / (self.high - self.low))

    def label(self, price: Decimal, steps: int) -> str:
        """Return a price with as many places as tell `steps` steps apart, two at least."""
        step = (self.high - self.low) / steps
        places = 2
        while places < 9 and step < Decimal(1).scaleb(-places):
            places += 1
        return f"{price:.{places}f}"


def span_of(candles: Iterable[Candle], fills: Iterable[Fill]) -> Span | None:
    """Return the span that holds all prices, or None if there are none."""
    prices = [price for candle in candles for price in candle[2:6] if price is not None]
    prices += [fill.px for fill in fills]
    if not prices:
        return None
    low, high = min(prices), max(prices)
    if low == high:
        margin = abs(low) / 100 or Decimal(1)
        return Span(low - margin, high + margin)
    return Span(low, high)


def when(ts_ns: int) -> str:
    """Return a time in UTC, to the second."""
    return f"{datetime.fromtimestamp(ts_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S}"


def time_label(ts_ns: int, span_ns: int) -> str:
    """Return a time in UTC, as exactly as a chart over so much time needs it."""
    when = datetime.fromtimestamp(ts_ns // SECOND_NS, UTC)
    if span_ns > 300 * DAY_NS:
        return f"{when:%Y-%m}"
    if span_ns > 2 * DAY_NS:
        return f"{when:%m-%d}"
    return f"{when:%H:%M:%S}" if span_ns < 600 * SECOND_NS else f"{when:%H:%M}"
