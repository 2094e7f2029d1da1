"""The market of one symbol: the best bid and offer, the last print, and what is left of each.

A quote row replaces its side: the newest row of a side is the national best, whichever exchange
sets it. That is what consolidated feeds send (in the sample day 93 to 99 % of the prints lie
inside a book built this way; one that keeps each exchange's top until that exchange updates it
is crossed 98 % of the time). A row that crosses the other side proves that side outdated: it is
dropped until its next row. Locked sides (bid = ask) stand.

Liquidity is consumed: what orders took from a level is gone until a row with another price or
size for that side, or the next print. A row that repeats its side says nothing new.
"""

from decimal import Decimal

from streams.domain.build import make
from streams.domain.decimals import ZERO
from streams.domain.matching.config import VenueConfig
from streams.domain.matching.exact import floor_times
from streams.domain.matching.records import BookRecord, LevelRecord
from streams.models.market import Quote, Trade

#: A price at or above this, or a size, is bad data; sums of products below it stay exact.
MAX_NUMBER = Decimal(1_000_000_000)


class Level:
    """One price level; `px` None: nothing is there."""

    __slots__ = ("left", "px", "size", "ts_ns")

    def __init__(self, record: LevelRecord) -> None:
        self.px: Decimal | None = record.px
        self.size = record.size
        self.left = record.left
        self.ts_ns = record.ts_ns

    def record(self) -> LevelRecord:
        """Return the level as the table keeps it."""
        return make(LevelRecord, px=self.px, size=self.size, left=self.left, ts_ns=self.ts_ns)

    def clear(self) -> None:
        """Take the level away."""
        self.px, self.size, self.left = None, ZERO, ZERO


class Book:
    """The market of one symbol."""

    __slots__ = ("_config", "_quote", "_trade", "ask", "bid", "last")

    def __init__(self, config: VenueConfig, record: BookRecord | None = None) -> None:
        empty = LevelRecord()
        self._config = config
        self.bid = Level(record.bid if record else empty)
        self.ask = Level(record.ask if record else empty)
        self.last = Level(record.last if record else empty)
        self._quote = record.quote if record else (0, 0)
        self._trade = record.trade if record else (0, 0)

    def quote(self, quote: Quote) -> bool:
        """Apply a quote; return False for one that is late, a repetition or bad."""
        ts, seq = quote.ts_event_ns, quote.seq
        if _seen(ts, seq, self._quote):
            return False
        self._quote = ts, seq
        bid, ask = quote.bid, quote.ask
        if bid is not None:
            self._set(self.bid, bid, quote.bid_size, ts)
        if ask is not None:
            self._set(self.ask, ask, quote.ask_size, ts)
        best_bid, best_ask = self.bid.px, self.ask.px
        if best_bid is not None and best_ask is not None and best_bid > best_ask:
            self._uncross(bid is not None, ask is not None)
        return True

    def trade(self, trade: Trade) -> bool:
        """Apply a print; return False for one that is late, a repetition, bad or suspicious.

        A correction or cancel of an earlier print moves nothing either: it is no trade of now.
        """
        if trade.correction_of is not None or trade.canceled:
            return False
        ts, seq = trade.ts_event_ns, trade.seq
        price, size = trade.price, trade.size
        if _seen(ts, seq, self._trade):
            return False
        self._trade = ts, seq
        if trade.suspicious or not (0 < price < MAX_NUMBER and 0 < size < MAX_NUMBER):
            return False
        last = self.last
        last.px, last.size, last.ts_ns = price, size, ts
        last.left = self._takeable(size)
        return True

    @property
    def print_seq(self) -> int:
        """Return the number of the newest print within its source."""
        return self._trade[1]

    def quoted(self, *, buying: bool) -> Level | None:
        """Return the live quote that an order meets (a buy: the ask), or None."""
        level = self.ask if buying else self.bid
        if level.px is None or self.last.ts_ns - level.ts_ns > self._config.quote_lag_ns:
            return None
        return level

    def offered(self, *, buying: bool, now_ns: int) -> Level | None:
        """Return what an arriving order meets: the live quote, or else the last print.

        Without quotes the last print stands for both sides, up to its own size.
        """
        level = self.quoted(buying=buying) or self.last
        if level.px is None or now_ns - level.ts_ns > self._config.max_age_ns:
            return None
        return level

    def record(self, symbol: str, clock_ns: int, shift_ns: int, seq: int) -> BookRecord:
        """Return the market as the table keeps it."""
        return make(
            BookRecord,
            symbol=symbol,
            clock_ns=clock_ns,
            shift_ns=shift_ns,
            seq=seq,
            bid=self.bid.record(),
            ask=self.ask.record(),
            last=self.last.record(),
            quote=self._quote,
            trade=self._trade,
        )

    def _set(self, level: Level, price: Decimal, size: Decimal | None, ts: int) -> None:
        level.ts_ns = ts
        if size is None or not (0 < price < MAX_NUMBER and 0 < size < MAX_NUMBER):
            level.clear()
        elif price != level.px or size != level.size:
            level.px, level.size, level.left = price, size, self._takeable(size)

    def _takeable(self, size: Decimal) -> Decimal:
        share = self._config.participation
        return size if share == 1 else floor_times(size, share)

    def _uncross(self, bid_is_new: bool, ask_is_new: bool) -> None:
        if not (bid_is_new and ask_is_new):
            (self.ask if bid_is_new else self.bid).clear()
            return
        self.bid.clear()
        self.ask.clear()


def _seen(ts: int, seq: int, newest: tuple[int, int]) -> bool:
    """Return whether a tick is older than the newest of its kind, or that very one again.

    A source that does not number its ticks sends `seq` 0; equal times are then all taken.
    """
    return ts < newest[0] or (ts == newest[0] and 0 < seq <= newest[1])
