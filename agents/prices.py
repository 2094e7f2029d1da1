"""Keep the newest prices of each symbol and publish them, conflated; count the ticks refused.

In      market.trades, market.quotes, key symbol
Out     market.last, key symbol: at most one record per symbol and batch, with the volume of the
        prints taken that count for volume; market.refused, key
        symbol: counts per reason and minute, again every 5 s while they grow
State   none: the newest prices follow from the ticks that come; what none has said since the
        worker got the symbol, print or quote, stays as market.last has it. Volume is counted anew
        by each worker that starts
Twice   a tick that is not newer than those before moves nothing; after a restart the same prices
        go out again, and refused ticks that were not committed are counted again
Bad     a marked, late, far-off or impossible tick moves no price (`streams.domain.tick_checks`),
        nor does one of more than a day ahead; each is counted by its reason
"""

from collections.abc import Callable

from streams.domain.bars.conditions import VOLUME, rights
from streams.domain.decimals import ZERO
from streams.domain.matching.book import Book
from streams.domain.matching.config import DAY_NS, VenueConfig
from streams.domain.prices import last_ns, quote_ns
from streams.domain.refused_ticks import MINUTE_NS, Place, RefusedCounts
from streams.models.market import LastPrice, Quote, TickReason, Trade
from streams.ports import Agent, Record, Unit
from streams.topics import MARKET_LAST, MARKET_REFUSED


class _Market:
    """A symbol's book, and the shares of its prints that count, since this worker counts them."""

    __slots__ = ("book", "since_ns", "volume")

    def __init__(self, book: Book, since_ns: int) -> None:
        self.book = book
        self.since_ns = since_ns
        self.volume = ZERO  # sizes are below 10^9 with nine places: plain sums of them are exact


class Prices(Agent[None]):
    """The prices agent. `known` gives a symbol's prices as they were published last."""

    def __init__(self, known: Callable[[str], LastPrice | None]) -> None:
        self._known = known
        self._config = VenueConfig()
        self._markets: dict[str, _Market] = {}
        self._moved: dict[str, None] = {}
        self._refused = RefusedCounts()

    def step(self, unit: Unit[None], record: Record) -> None:
        """Take one tick."""
        tick: Trade | Quote = record.value
        if tick.ts_event_ns > unit.now_ns + DAY_NS:  # the venue drops it too; it would end time
            self._count(unit, record, TickReason.AHEAD)
            return
        market = self._markets.get(tick.symbol)
        if market is None:
            market = self._markets[tick.symbol] = _Market(Book(self._config), unit.now_ns)
        book = market.book
        if isinstance(tick, Trade):
            if book.trade(tick):
                self._moved[tick.symbol] = None
                if rights(tick.conditions) & VOLUME:
                    market.volume += tick.size
        elif book.quote(tick):
            self._moved[tick.symbol] = None
        if book.finding is not None:
            self._count(unit, record, book.finding)

    def on_batch_end(self, unit: Unit[None]) -> None:
        """Publish the symbols that moved."""
        for symbol in self._moved:
            price = _price(symbol, self._markets[symbol], self._known(symbol), unit.now_ns)
            unit.emit(MARKET_LAST, symbol, price)
        self._moved.clear()

    def on_timer(self, unit: Unit[None]) -> None:
        """Publish the counts of refused ticks that are due."""
        for count in self._refused.due(unit.partition, unit.now_ns):
            unit.emit(MARKET_REFUSED, count.symbol, count)

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return the end of the minute: a replay publishes its counts once."""
        del partition
        return (ts_ns // MINUTE_NS + 1) * MINUTE_NS

    def _count(self, unit: Unit[None], record: Record, reason: TickReason) -> None:
        place = Place(record.topic, record.partition, record.offset)
        self._refused.add(record.value, reason, place, unit.now_ns)


def _price(symbol: str, market: _Market, known: LastPrice | None, now_ns: int) -> LastPrice:
    """Return a symbol's prices: print and quote of the book, or those known if they are newer."""
    book = market.book
    last, ts_last_ns = book.last.px, book.last.ts_ns
    bid, ask, ts_quote_ns = book.bid.px, book.ask.px, max(book.bid.ts_ns, book.ask.ts_ns)
    if known is not None:
        if known.last is not None and last_ns(known) > ts_last_ns:
            last, ts_last_ns = known.last, last_ns(known)
        if (known.bid or known.ask) and quote_ns(known) > ts_quote_ns:
            bid, ask, ts_quote_ns = known.bid, known.ask, quote_ns(known)
    return LastPrice.model_construct(
        symbol=symbol,
        last=last,
        bid=bid,
        ask=ask,
        volume=market.volume,
        volume_since_ns=market.since_ns,
        ts_last_ns=ts_last_ns or None,
        ts_quote_ns=ts_quote_ns or None,
        ts_event_ns=max(ts_last_ns, ts_quote_ns),
        ts_init_ns=now_ns,
    )
