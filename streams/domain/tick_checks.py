"""Checks of ticks, with what each symbol's checks remember: the last ones, one reference price.

The virtual venue's book, the prices and the import ask the same checks, so a print that moves no
price live is the one that `./orderflow import` names. A check gives a reason or None; a reason of
`NOTED` is counted, and the tick is taken all the same. What the reasons mean: docs/market.md.

A tick costs well under 2 microseconds, so bounds are kept ready and nothing is computed twice.
"""

from dataclasses import dataclass
from decimal import Decimal

from streams.domain.conditions import is_known
from streams.models.market import Quote, TickReason, Trade

#: A price at or above this, or a size, is bad data; sums of products below it stay exact.
MAX_NUMBER = Decimal(1_000_000_000)
_ZERO = Decimal(0)  # a Decimal is compared with it sooner than with 0
#: Reasons that refuse nothing.
NOTED = frozenset({TickReason.LOCKED, TickReason.OUTDATED_SIDE, TickReason.UNKNOWN_CONDITION})
SECOND_NS = 1_000_000_000

Newest = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TickLimits:
    """What the checks allow.

    Far off   A print further than `far_off_percent` from the last one taken is refused, while
              that one is not older than `reference_age_ns`. `confirmed_by` such prints in a row,
              none further than the limit from the first of them, say that the price did move:
              the last of them is taken.
    Late      A tick older than the newest of its kind is out of order; by more than
              `stale_after_ns` it is stale.
    """

    far_off_percent: Decimal = Decimal(10)
    confirmed_by: int = 3
    reference_age_ns: int = 900 * SECOND_NS
    stale_after_ns: int = 5 * SECOND_NS


class TickChecks:
    """The checks of one symbol."""

    __slots__ = (
        "_above",
        "_ask",
        "_below",
        "_bid",
        "_far",
        "_far_px",
        "_high",
        "_limits",
        "_low",
        "_reference",
        "_reference_ns",
        "newest_quote",
        "newest_trade",
    )

    def __init__(
        self,
        limits: TickLimits,
        *,
        newest_trade: Newest = (0, 0),
        newest_quote: Newest = (0, 0),
        last: tuple[Decimal | None, int] = (None, 0),
        sides: tuple[Decimal | None, Decimal | None] = (None, None),
    ) -> None:
        """Begin, or go on from what was kept: time and number of the newest, the last print."""
        self._limits = limits
        share = limits.far_off_percent / 100
        self._below, self._above = 1 - share, 1 + share
        self.newest_trade = newest_trade
        self.newest_quote = newest_quote
        self._bid, self._ask = sides
        self._far = 0
        self._far_px = Decimal(0)
        self._reference: Decimal | None = None
        self._low = self._high = Decimal(0)
        self._reference_ns = last[1]
        if last[0] is not None:
            self._set_reference(last[0])

    def trade(self, trade: Trade) -> TickReason | None:
        """Return what is wrong with a print, or to be noted about it.

        A correction or cancel is no print of now: it bears the time of an earlier one, and is
        neither checked nor remembered.
        """
        if trade.canceled or trade.correction_of is not None:
            return None
        ts, seq, price = trade.ts_event_ns, trade.seq, trade.price
        newest = self.newest_trade
        if ts <= newest[0] and _is_late(ts, seq, newest):
            return self._late(ts, seq, newest)
        self.newest_trade = ts, seq
        moved = price != self._reference  # which was looked at when it was new
        if moved and not _ZERO < price < MAX_NUMBER:
            return TickReason.PRICE
        if not _ZERO < trade.size < MAX_NUMBER:
            return TickReason.SIZE
        if trade.suspicious:
            return TickReason.MARKED
        if moved:
            if self._is_far_off(price, ts):
                return TickReason.FAR_OFF
            self._set_reference(price)
        self._far = 0
        self._reference_ns = ts
        return None if is_known(trade.conditions) else TickReason.UNKNOWN_CONDITION

    def quote(self, quote: Quote) -> TickReason | None:
        """Return what is wrong with a quote, or to be noted about it.

        A side without a price, or with 0 for price and size, says that nothing is offered there.
        """
        ts, seq, bid, ask = quote.ts_event_ns, quote.seq, quote.bid, quote.ask
        newest = self.newest_quote
        if ts <= newest[0] and _is_late(ts, seq, newest):
            return self._late(ts, seq, newest)
        self.newest_quote = ts, seq
        found = None
        if bid is not None and (bad := _side(bid, quote.bid_size)) is not None:
            bid, found = None, bad
        if ask is not None and (bad := _side(ask, quote.ask_size)) is not None:
            ask, found = None, bad
        if quote.bid is not None:
            self._bid = bid or None
        if quote.ask is not None:
            self._ask = ask or None
        best_bid, best_ask = self._bid, self._ask
        if best_bid is None or best_ask is None or best_bid < best_ask:
            return found
        return self._met(quote, best_bid == best_ask)  # no side is bad, since both stand

    def _met(self, quote: Quote, locked: bool) -> TickReason:
        """Return the reason of sides that meet; a row that crosses the other side outdates it."""
        if locked:
            return TickReason.LOCKED
        both = quote.bid is not None and quote.ask is not None
        if quote.ask is not None:
            self._bid = None
        if quote.bid is not None:
            self._ask = None
        return TickReason.CROSSED if both else TickReason.OUTDATED_SIDE

    def _late(self, ts: int, seq: int, newest: Newest) -> TickReason:
        if 0 < seq <= newest[1]:
            return TickReason.DUPLICATE
        if ts < newest[0] - self._limits.stale_after_ns:
            return TickReason.STALE
        return TickReason.OUT_OF_ORDER

    def _is_far_off(self, price: Decimal, ts: int) -> bool:
        if self._reference is None or self._low <= price <= self._high:
            return False
        if ts - self._reference_ns > self._limits.reference_age_ns:
            return False
        first = self._far_px
        if self._far and first * self._below <= price <= first * self._above:
            self._far += 1
        else:
            self._far, self._far_px = 1, price
        return self._far < self._limits.confirmed_by

    def _set_reference(self, price: Decimal) -> None:
        self._reference = price
        self._low, self._high = price * self._below, price * self._above


def _is_late(ts: int, seq: int, newest: Newest) -> bool:
    """Return whether a tick is older than the newest of its kind, or that very one again.

    A source that does not number its ticks sends `seq` 0; equal times are then all taken.
    """
    return ts < newest[0] or (ts == newest[0] and 0 < seq <= newest[1])


def _side(price: Decimal, size: Decimal | None) -> TickReason | None:
    """Return what is wrong with one side of a quote."""
    if not _ZERO < price < MAX_NUMBER:
        return None if price == 0 and not size else TickReason.PRICE
    if size is None or not _ZERO < size < MAX_NUMBER:
        return TickReason.SIZE
    return None


#: What each reason says, for people.
SAYS: dict[TickReason, str] = {
    TickReason.PRICE: "a price that is zero, negative or absurd",
    TickReason.SIZE: "a size that is zero, negative, absurd or absent",
    TickReason.MARKED: "the source itself marks the print as suspicious",
    TickReason.FAR_OFF: "a print too far from the last one",
    TickReason.DUPLICATE: "its number was here before",
    TickReason.OUT_OF_ORDER: "older than the newest of its kind",
    TickReason.STALE: "much older than the newest of its kind",
    TickReason.AHEAD: "more than a day ahead of our clock",
    TickReason.CROSSED: "its bid is above its ask",
    TickReason.LOCKED: "the bid equals the ask",
    TickReason.OUTDATED_SIDE: "it crosses the other side, which is outdated by that",
    TickReason.UNKNOWN_CONDITION: "a sale condition of no known notation",
}
