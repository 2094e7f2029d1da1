"""Keep the newest prices of each symbol and publish them, conflated; count the ticks refused.

In      market.trades, market.quotes, key symbol
Out     market.last, key symbol: at most one record per symbol and batch, with the volume of the
        prints taken that count for volume; market.refused, key
        symbol: counts per reason and minute, again every 5 s while they grow
State   none: the newest prices follow from the ticks that come; volume is counted anew by each
        worker that starts
Twice   a tick that is not newer than those before moves nothing; after a restart the same prices
        go out again, and refused ticks that were not committed are counted again
Bad     a marked, late, far-off or impossible tick moves no price (`streams.domain.tick_checks`),
        nor does one of more than a day ahead; each is counted by its reason
"""

from decimal import Decimal

from streams.domain.bars.conditions import VOLUME, rights
from streams.domain.decimals import ZERO
from streams.domain.matching.book import Book
from streams.domain.matching.config import DAY_NS, VenueConfig
from streams.domain.refused_ticks import MINUTE_NS, Place, RefusedCounts
from streams.models.market import LastPrice, Quote, TickReason, Trade
from streams.ports import Agent, Record, Unit
from streams.topics import MARKET_LAST, MARKET_REFUSED


class Prices(Agent[None]):
    """The prices agent."""

    def __init__(self) -> None:
        self._config = VenueConfig()
        self._books: dict[str, Book] = {}
        self._moved: dict[str, int] = {}
        #: Per symbol: shares of the prints that count, and when this worker began to count.
        self._volumes: dict[str, Decimal] = {}
        self._since_ns: dict[str, int] = {}
        self._refused = RefusedCounts()

    def step(self, unit: Unit[None], record: Record) -> None:
        """Take one tick."""
        tick: Trade | Quote = record.value
        if tick.ts_event_ns > unit.now_ns + DAY_NS:  # the venue drops it too; it would end time
            self._count(unit, record, TickReason.AHEAD)
            return
        book = self._books.get(tick.symbol)
        if book is None:
            book = self._books[tick.symbol] = Book(self._config)
        if isinstance(tick, Trade):
            if book.trade(tick):
                self._moved[tick.symbol] = tick.ts_event_ns
                if rights(tick.conditions) & VOLUME:
                    self._volumes[tick.symbol] = self._volumes.get(tick.symbol, ZERO) + tick.size
        elif book.quote(tick):
            self._moved[tick.symbol] = tick.ts_event_ns
        if book.finding is not None:
            self._count(unit, record, book.finding)

    def on_batch_end(self, unit: Unit[None]) -> None:
        """Publish the symbols that moved."""
        for symbol, ts_ns in self._moved.items():
            book = self._books[symbol]
            since_ns = self._since_ns.setdefault(symbol, unit.now_ns)
            price = LastPrice.model_construct(
                symbol=symbol,
                last=book.last.px,
                bid=book.bid.px,
                ask=book.ask.px,
                volume=self._volumes.get(symbol, ZERO),
                volume_since_ns=since_ns,
                ts_event_ns=ts_ns,
                ts_init_ns=unit.now_ns,
            )
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
