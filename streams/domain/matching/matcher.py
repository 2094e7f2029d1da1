"""Orders meet the market: arrivals, quotes, prints, stops, auctions, and orders that hang together.

Rules, in the order in which they are applied:

- An arriving order (new, triggered, replaced, or woken by its session) takes what is offered at
  the best price, once. A limit order pays the offered price, never worse than its limit.
- What is left rests. At a new quote market orders go first, by arrival; then limit orders that
  the quote reaches, best limit first, then by arrival, at their limit. All share what the quote
  shows.
- A print through a resting limit fills it at its limit; all share the print's size. Without live
  quotes prints serve resting market orders too, before the limits.
- A stop is triggered by a print, or by the quote it would trade at; then it arrives, and trades
  at the market, never at its stop price. A trailing stop follows prints and that quote.
"""

from decimal import Decimal

from streams.domain.matching import contingent
from streams.domain.matching.book import Book, Level
from streams.domain.matching.config import draw
from streams.domain.matching.executor import Executor
from streams.domain.matching.hours import Hours
from streams.domain.matching.ledger import Ledger
from streams.domain.matching.orders import OpenOrder
from streams.domain.matching.queues import SideQueues
from streams.domain.matching.stops import is_reached, shown, trail
from streams.models.orders import EventType, OrderClass, OrderStatus, TimeInForce

_AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)
_DRAWS = 1_000_000_000


class Matcher:
    """Matches the orders of a ledger against a book."""

    def __init__(self, ledger: Ledger, book: Book, hours: Hours) -> None:
        self._ledger = ledger
        self._config = ledger.config
        self._book = book
        self._hours = hours
        self._buys = SideQueues(buying=True)
        self._sells = SideQueues(buying=False)
        self._woken: list[OpenOrder] = []
        self._opg: list[OpenOrder] = []
        self.executor = Executor(ledger, hours, self.accept)

    def requeue(self) -> None:
        """Queue the orders that may match in this part of the session, and no others.

        Orders that wake up arrive with the next tick, in the order they came to the venue.
        """
        self._buys, self._sells = SideQueues(buying=True), SideQueues(buying=False)
        self._woken, self._opg = [], []
        for order in sorted(self._ledger.orders.values(), key=lambda order: order.arrival):
            if not order.working:
                continue
            if order.at_auction:
                self._stand_by(order)
            elif not self._hours.working(order.terms):
                if order.rested:
                    order.rested = False
                    self._ledger.touch(order)
            elif order.rested:
                self._queues(order).add(order)
            else:
                self._woken.append(order)

    def accept(self, order: OpenOrder) -> None:
        """Let an order that has just taken effect arrive, or wait for its hours."""
        if order.at_auction:
            self._stand_by(order)
        elif self._hours.working(order.terms):
            self.arrive(order)
        elif order.terms.time_in_force in _AT_ONCE:
            self.executor.end(order, OrderStatus.CANCELED, "outside of its trading hours")
        if order.open and order.terms.order_class is OrderClass.OCO and not order.pair:
            self.executor.start([contingent.oco_stop(order, self._ledger)])

    def arrive(self, order: OpenOrder) -> None:
        """Let an order meet the market as it stands."""
        order.rested = True
        self._ledger.touch(order)
        level = self._book.offered(buying=order.buying, now_ns=self._ledger.clock_ns)
        if order.waits_for_trigger:
            if level is not None and level.px is not None:
                trail(order, level.px)
            if level is None or level.px is None or not is_reached(order, level.px):
                self._queues(order).add(order)
                return
            self._report_triggered(order)
        self._enter(order)

    def on_quote(self) -> None:
        """Match what a new quote reaches."""
        self._arrive_woken()
        for queues, buying in ((self._buys, True), (self._sells, False)):
            level = self._book.quoted(buying=buying)
            if level is not None:
                self._serve(queues, level, resting_limits=True)
        for queues, buying in ((self._buys, True), (self._sells, False)):
            level = self._book.quoted(buying=buying)
            if level is not None and level.px is not None:
                self._trigger(queues, level.px)

    def on_trade(self) -> None:
        """Match what a new print reaches."""
        last = self._book.last
        if last.px is None:
            return
        if self._opg and self._hours.phase == "regular":
            self._open_auction(last)
        self._arrive_woken()
        for queues, buying in ((self._buys, True), (self._sells, False)):
            if self._book.quoted(buying=buying) is None:
                self._serve(queues, last, resting_limits=False)
            self._fill_through(queues, last, last.px, buying=buying)
        self._trigger(self._buys, last.px)
        self._trigger(self._sells, last.px)

    def close_auction(self, expire_ns: int) -> None:
        """Execute the orders at the close that is now, with the session's last print."""
        last = self._book.last
        if last.px is None or last.ts_ns < self._hours.session.open_ns:
            return
        for order in sorted(self._ledger.orders.values(), key=lambda order: order.arrival):
            if order.terms.time_in_force is TimeInForce.CLS and order.expire_ns <= expire_ns:
                self.executor.take(order, last)

    # What an arriving order does.

    def _enter(self, order: OpenOrder) -> None:
        level = self._book.offered(buying=order.buying, now_ns=self._ledger.clock_ns)
        if level is not None:
            self.executor.take(order, level)
        if not order.working:
            return
        if order.terms.time_in_force in _AT_ONCE:
            self.executor.end(order, OrderStatus.CANCELED, "not executed at once")
        else:
            self._queues(order).add(order)

    # What resting orders do.

    def _serve(self, queues: SideQueues, level: Level, *, resting_limits: bool) -> None:
        while level.left > 0 and (order := queues.market.first()) is not None:
            self.executor.take(order, level)
        if not resting_limits or level.px is None:
            return
        while level.left > 0 and (order := queues.limit.first()) is not None:
            limit = order.limit_px
            if limit is None or ((limit < level.px) if order.buying else (limit > level.px)):
                return
            self.executor.execute(order, level, limit)

    def _fill_through(
        self, queues: SideQueues, last: Level, price: Decimal, *, buying: bool
    ) -> None:
        """Fill the limits that a print went through, and those it touched if they are drawn."""
        passed_over: list[OpenOrder] = []
        while last.left > 0 and (order := queues.limit.first()) is not None:
            limit = order.limit_px
            if limit is None or ((limit < price) if buying else (limit > price)):
                break
            if limit == price and not self._touched(order, last):
                queues.limit.pop()
                passed_over.append(order)
                continue
            self.executor.execute(order, last, limit)
        for order in passed_over:
            queues.add(order)

    def _touched(self, order: OpenOrder, last: Level) -> bool:
        chance = self._config.touch_probability
        if chance <= 0 or chance >= 1:
            return chance >= 1
        occasion = f"touch|{last.ts_ns}|{self._book.print_seq}"
        return draw(self._config.seed, order.client_order_id, occasion, _DRAWS) < chance * _DRAWS

    def _arrive_woken(self) -> None:
        woken, self._woken = self._woken, []
        for order in woken:
            if order.working and not order.rested:
                self.arrive(order)

    # Stops.

    def _trigger(self, queues: SideQueues, price: Decimal) -> None:
        for order in queues.triggered_by(price):
            if order.working:
                self._report_triggered(order)
                self._enter(order)
        for order in queues.trailing.values():
            if trail(order, price):
                self._ledger.touch(order)

    def _report_triggered(self, order: OpenOrder) -> None:
        order.triggered = True
        self._ledger.touch(order)
        self._ledger.report(order, EventType.TRIGGERED, text=shown(order))

    # Auctions, and orders that hang together.

    def _stand_by(self, order: OpenOrder) -> None:
        if order.terms.time_in_force is TimeInForce.OPG:
            self._opg.append(order)

    def _open_auction(self, first_print: Level) -> None:
        due = [o for o in self._opg if o.expire_ns == self._hours.session.close_ns]
        for order in due:
            self.executor.take(order, first_print)
            if order.working:
                self.executor.end(order, OrderStatus.CANCELED, "not executed at the open")
        self._opg = [order for order in self._opg if order.working]

    def _queues(self, order: OpenOrder) -> SideQueues:
        return self._buys if order.buying else self._sells
