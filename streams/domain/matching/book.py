"""The market of one symbol: the best bid and offer, the last print, and what is left of each.

A quote row replaces its side: the newest row of a side is the national best, whichever exchange
sets it. That is what consolidated feeds send (in the sample day 93 to 99 % of the prints lie
inside a book built this way; one that keeps each exchange's top until that exchange updates it
is crossed 98 % of the time). A row that crosses the other side proves that side outdated: it is
dropped until its next row. Locked sides (bid = ask) stand.

Liquidity is consumed: what orders took from a level is gone until a row with another price or
size for that side, or the next print. A row that repeats its side says nothing new.

Which ticks count is what `streams.domain.tick_checks` says.
"""

from decimal import Decimal

from streams.domain.build import make
from streams.domain.decimals import ZERO
from streams.domain.matching.config import VenueConfig
from streams.domain.matching.exact import floor_times
from streams.domain.matching.records import BookRecord, LevelRecord
from streams.domain.tick_checks import MAX_NUMBER, NOTED, TickChecks
from streams.models.market import Quote, TickReason, Trade

_LATE = frozenset({TickReason.DUPLICATE, TickReason.OUT_OF_ORDER, TickReason.STALE})


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

    __slots__ = ("_checks", "_config", "_whole", "ask", "bid", "finding", "last")

    def __init__(self, config: VenueConfig, record: BookRecord | None = None) -> None:
        empty = LevelRecord()
        self._config = config
        self._whole = config.participation == 1
        self.bid = Level(record.bid if record else empty)
        self.ask = Level(record.ask if record else empty)
        self.last = Level(record.last if record else empty)
        #: What the checks found about the newest tick that was given, taken or not.
        self.finding: TickReason | None = None
        self._checks = TickChecks(
            config.checks,
            newest_trade=record.trade if record else (0, 0),
            newest_quote=record.quote if record else (0, 0),
            last=(self.last.px, self.last.ts_ns),
            sides=(self.bid.px, self.ask.px),
        )

    def quote(self, quote: Quote) -> bool:
        """Apply a quote; return False for one that is late or a repetition.

        A bad side, or two sides that cross, take away what stood there.
        """
        found = self.finding = self._checks.quote(quote)
        if found in _LATE:
            return False
        ts, bid, ask = quote.ts_event_ns, quote.bid, quote.ask
        if bid is not None:
            self._set(self.bid, bid, quote.bid_size, ts)
        if ask is not None:
            self._set(self.ask, ask, quote.ask_size, ts)
        best_bid, best_ask = self.bid.px, self.ask.px
        if best_bid is not None and best_ask is not None and best_bid > best_ask:
            self._uncross(bid is not None, ask is not None)
        return True

    def trade(self, trade: Trade) -> bool:
        """Apply a print; return False for one that is late, a repetition, bad or far off.

        A correction or cancel of an earlier print moves nothing either: it is no trade of now.
        """
        found = self.finding = self._checks.trade(trade)
        if trade.canceled or trade.correction_of is not None:
            return False
        if found is not None and found not in NOTED:
            return False
        last, size = self.last, trade.size
        last.px, last.size, last.ts_ns = trade.price, size, trade.ts_event_ns
        last.left = size if self._whole else self._takeable(size)
        return True

    @property
    def print_seq(self) -> int:
        """Return the number of the newest print within its source."""
        return self._checks.newest_trade[1]

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
            quote=self._checks.newest_quote,
            trade=self._checks.newest_trade,
        )

    def _set(self, level: Level, price: Decimal, size: Decimal | None, ts: int) -> None:
        level.ts_ns = ts
        if size is None or not (ZERO < price < MAX_NUMBER and ZERO < size < MAX_NUMBER):
            level.clear()
        elif price != level.px or size != level.size:
            level.px, level.size = price, size
            level.left = size if self._whole else self._takeable(size)

    def _takeable(self, size: Decimal) -> Decimal:
        return floor_times(size, self._config.participation)

    def _uncross(self, bid_is_new: bool, ask_is_new: bool) -> None:
        if not (bid_is_new and ask_is_new):
            (self.ask if bid_is_new else self.bid).clear()
            return
        self.bid.clear()
        self.ask.clear()
