"""Executes orders against a level of the book, and carries what follows from an order's end."""

from collections.abc import Callable
from decimal import Decimal

from streams.domain.decimals import ZERO
from streams.domain.matching import contingent
from streams.domain.matching.book import Level
from streams.domain.matching.exact import floor_ratio, worse
from streams.domain.matching.hours import Hours
from streams.domain.matching.ledger import Ledger
from streams.domain.matching.orders import OpenOrder
from streams.models.orders import EventType, OrderStatus, TimeInForce


class Executor:
    """Fills and ends the orders of a ledger."""

    def __init__(self, ledger: Ledger, hours: Hours, accept: Callable[[OpenOrder], None]) -> None:
        """`accept` lets an order that has just come to life meet the market."""
        self._ledger = ledger
        self._config = ledger.config
        self._hours = hours
        self._accept = accept

    def take(self, order: OpenOrder, level: Level) -> None:
        """Execute against one level, at its price, as far as limit and size allow."""
        px, limit = level.px, order.limit_px
        if px is None or not order.working:
            return
        if limit is None:
            px = worse(px, self._config.slippage_bps, buying=order.buying)
        elif (px > limit) if order.buying else (px < limit):
            return
        if order.qty is None and not self._sized(order, px):
            return
        if order.terms.time_in_force is TimeInForce.FOK and level.left < order.leaves:
            return
        self.execute(order, level, px)

    def execute(self, order: OpenOrder, level: Level, px: Decimal) -> None:
        """Fill an order from a level at a price, as much as both have left."""
        qty = min(order.leaves, level.left)
        if qty <= 0:
            return
        level.left -= qty
        self._ledger.fill(order, qty, px)
        sibling = self._sibling(order)
        if sibling is not None and not contingent.reduce(sibling, order, qty, self._ledger):
            sibling.pair = ""
            self.end(sibling, OrderStatus.CANCELED, f"the other leg {order.order_id} was filled")
        if not order.open:
            self._after_end(order)

    def end(self, order: OpenOrder, status: OrderStatus, text: str = "", request: str = "") -> None:
        """End an order that is not filled, with what hangs on it; `request` asked for it."""
        event = EventType(status.value)
        self._ledger.report(order, event, text=text, request_id=request or None)
        self._ledger.end(order, status)
        self._after_end(order)

    def end_as_filled(self, order: OpenOrder) -> None:
        """End an order whose quantity was lowered to what is filled."""
        self._ledger.end(order, OrderStatus.FILLED)
        self._after_end(order)

    def start(self, children: list[OpenOrder]) -> None:
        """Bring children to life: they take effect at once, all known before one can fill."""
        for child in children:
            child.expire_ns = self._hours.expiry(child.terms, self._ledger.clock_ns)
            child.status = OrderStatus.ACCEPTED
            self._ledger.add(child)
            self._ledger.report(child, EventType.ACCEPTED, terms=child.terms)
        for child in children:
            if child.working:
                self._accept(child)

    def _sized(self, order: OpenOrder, px: Decimal) -> bool:
        """Turn a notional order into shares at its first price; return whether any came of it."""
        qty = floor_ratio(order.terms.notional or ZERO, px)
        if qty <= 0:
            self.end(order, OrderStatus.CANCELED, f"the notional buys nothing at {px}")
            return False
        order.amend(qty)
        text = "notional turned into a quantity"
        self._ledger.report(order, EventType.REPLACED, "sized", terms=order.terms, text=text)
        return True

    def _after_end(self, order: OpenOrder) -> None:
        sibling = self._sibling(order)
        if sibling is not None and order.status is not OrderStatus.EXPIRED:
            sibling.pair = ""
            self.end(sibling, OrderStatus.CANCELED, f"the other leg {order.order_id} ended")
        if order.cum_qty > 0 and order.terms.order_class in contingent.WITH_CHILDREN:
            self.start(contingent.children(order, self._ledger))

    def _sibling(self, order: OpenOrder) -> OpenOrder | None:
        return self._ledger.orders.get(order.pair) if order.pair else None
