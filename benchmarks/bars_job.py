"""The ticks of `ticks`, the bars they come to, and the work of the contenders that are not ours.

100 symbols trade in turn, in time order, at so many ticks a minute; a last print per symbol
closes the last minute. Bars are of one minute.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from pydantic import TypeAdapter

from streams.domain.build import make
from streams.domain.decimals import EXACT, ratio
from streams.models.market import Bar, Trade

SYMBOLS = 100
MINUTE_NS = 60_000_000_000
#: A Tuesday in 2026, 10:00 in New York.
START_NS = int(datetime(2026, 11, 17, 15, tzinfo=UTC).timestamp()) * 1_000_000_000

_TRADES = TypeAdapter(Trade)


def symbol(number: int) -> str:
    """Return the symbol of a tick."""
    return f"S{number % SYMBOLS:03d}"


class Input(NamedTuple):
    """How many ticks: so many minutes of so many each, the latter a multiple of `SYMBOLS`."""

    minutes: int
    per_minute: int

    @property
    def ticks(self) -> int:
        """Return how many ticks that are."""
        return self.minutes * self.per_minute

    @property
    def topic(self) -> str:
        """Return the topic that holds them."""
        return f"ticks-in-{self.minutes}-{self.per_minute}"


def ticks(given: Input) -> Iterator[Trade]:
    """Yield the ticks, and one more of each symbol, five seconds later."""
    for number in range(given.ticks):
        yield _tick(number, START_NS + number * MINUTE_NS // given.per_minute)
    for number in range(given.ticks, given.ticks + SYMBOLS):
        yield _tick(number, START_NS + given.minutes * MINUTE_NS + 5_000_000_000)


def _tick(number: int, ts_event_ns: int) -> Trade:
    return make(
        Trade,
        symbol=symbol(number),
        ts_event_ns=ts_event_ns,
        seq=number + 1,
        exchange="NQKZ"[number * 7 % 4],
        conditions="@ F",
        price=Decimal(5_000 + number * 7919 % 211).scaleb(-2),
        size=Decimal(100 + number * 31 % 7 * 100),
    )


def sent(tick: Trade) -> bytes:
    """Return a tick as it is put on the topic: about 150 bytes."""
    return tick.__pydantic_serializer__.to_json(tick, exclude_none=True)


def decode(raw: bytes) -> Trade:
    """Return the tick of a record."""
    return _TRADES.validate_json(raw)


class Open(NamedTuple):
    """The bar of a symbol that is not closed."""

    start_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    notional: Decimal
    trades: int

    def bar(self, symbol: str) -> Bar:
        """Return it closed."""
        return make(
            Bar,
            symbol=symbol,
            frame="1m",
            session="2026-11-17",
            ts_start_ns=self.start_ns,
            ts_end_ns=self.start_ns + MINUTE_NS,
            status="final",
            rev=1,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            notional=self.notional,
            vwap=ratio(self.notional, self.volume),
            trades=self.trades,
            ts_init_ns=self.start_ns + MINUTE_NS,
        )


def apply(tick: Trade, known: Open | None) -> tuple[Open, Bar | None]:
    """Return the bar that is open with a tick, and the one that it closed.

    That needs ticks in order: nothing is waited for, restated, corrected or told apart.
    """
    price, size = tick.price, tick.size
    start = tick.ts_event_ns // MINUTE_NS * MINUTE_NS
    money = EXACT.multiply(price, size)
    if known is None or start != known.start_ns:
        closed = None if known is None else known.bar(tick.symbol)
        return Open(start, price, price, price, price, size, money, 1), closed
    _, first, high, low, _, volume, notional, trades = known
    high, low = max(high, price), min(low, price)
    volume, notional = EXACT.add(volume, size), EXACT.add(notional, money)
    return Open(start, first, high, low, price, volume, notional, trades + 1), None


#: Of a bar: open, high, low, close, volume, average price, count.
Said = tuple[Decimal | None, ...]


def said(bar: Bar) -> Said:
    """Return what a bar says."""
    figures = bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap
    return (*figures, Decimal(bar.trades))


def expected(given: Input) -> dict[tuple[str, int], Said]:
    """Return what has to come out, by symbol and start."""
    known: dict[str, Open] = {}
    found: dict[tuple[str, int], Said] = {}
    for tick in ticks(given):
        known[tick.symbol], bar = apply(tick, known.get(tick.symbol))
        if bar is not None:
            found[bar.symbol, bar.ts_start_ns] = said(bar)
    return found
