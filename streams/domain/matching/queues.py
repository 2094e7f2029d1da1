"""Price-time queues: the best price first, among equals the order that arrived first.

Entries are dropped when they come up, not when their order ends or moves: an entry counts while
its order works and has the arrival number it was queued with.
"""

from decimal import Decimal
from heapq import heapify, heappop, heappush

from streams.domain.matching.orders import OpenOrder
from streams.domain.matching.stops import is_reached
from streams.models.orders import OrderType

_Entry = tuple[Decimal, int, OpenOrder]
_MARKET = Decimal(0)


class PriceQueue:
    """Orders of one side that wait for the price to come to them."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._prune_at = 64

    def push(self, key: Decimal, order: OpenOrder) -> None:
        """Add an order; the smallest key is served first."""
        if len(self._heap) >= self._prune_at:
            self._heap = [entry for entry in self._heap if _counts(entry)]
            heapify(self._heap)
            self._prune_at = max(64, 2 * len(self._heap))
        heappush(self._heap, (key, order.arrival, order))

    def first(self) -> OpenOrder | None:
        """Return the order that is served first, or None."""
        heap = self._heap
        while heap:
            if _counts(heap[0]):
                return heap[0][2]
            heappop(heap)
        return None

    def pop(self) -> None:
        """Take the first entry away."""
        heappop(self._heap)


def _counts(entry: _Entry) -> bool:
    return entry[2].working and entry[2].arrival == entry[1]


class SideQueues:
    """The waiting orders of one side."""

    def __init__(self, *, buying: bool) -> None:
        self._sign = -1 if buying else 1
        self.market = PriceQueue()
        self.limit = PriceQueue()
        self.stop = PriceQueue()
        self.trailing: dict[str, OpenOrder] = {}

    def add(self, order: OpenOrder) -> None:
        """Queue a working order where its type and state belong."""
        if order.waits_for_trigger:
            if order.terms.type is OrderType.TRAILING_STOP:
                self.trailing[order.client_order_id] = order
            elif order.stop_px is not None:
                self.stop.push(-self._sign * order.stop_px, order)
        elif order.limit_px is not None:
            self.limit.push(self._sign * order.limit_px, order)
        else:
            self.market.push(_MARKET, order)

    def triggered_by(self, price: Decimal) -> list[OpenOrder]:
        """Take out and return the stop orders that a price reaches, in order of arrival."""
        reached: list[OpenOrder] = []
        while (order := self.stop.first()) is not None and is_reached(order, price):
            self.stop.pop()
            reached.append(order)
        for order in list(self.trailing.values()):
            if not order.working:
                del self.trailing[order.client_order_id]
            elif is_reached(order, price):
                del self.trailing[order.client_order_id]
                reached.append(order)
        return sorted(reached, key=lambda order: order.arrival)
