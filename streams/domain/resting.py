"""The open orders of each account that rest on a book, by price: what a new order could hit.

Derived from the table, kept in memory: `update` with each order that changed, or all of them
after a restart. An entry too many is harmless, since whoever asks looks the order up again.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from streams.domain.exposure_models import RiskOrder
from streams.models.orders import OrderTerms, OrderType, Side

#: Sorts before every price: an order that trades at any price.
_ANY = Decimal("-Infinity")
_NEVER = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Crossing:
    """An open order that a new one would trade with; price None: a market order."""

    order_id: str
    price: Decimal | None


def _rank(terms: OrderTerms) -> Decimal:
    """Return the sort key of a resting order: the lower, the sooner it trades."""
    price = terms.limit_price
    if price is None:
        return _ANY
    return price if terms.side is Side.SELL else -price


def _reach(terms: OrderTerms) -> Decimal:
    """Return up to which rank of the other side an incoming order trades at once."""
    if terms.type is OrderType.MARKET:
        return _NEVER
    price = terms.limit_price
    if price is None or terms.type is not OrderType.LIMIT:
        return _ANY  # stops and trailing stops wait for their trigger
    return price if terms.side is Side.BUY else -price


class RestingOrders:
    """Resting orders of one partition's accounts, the first to trade first."""

    def __init__(self) -> None:
        self._books: dict[tuple[str, str, Side], list[tuple[Decimal, str]]] = {}
        self._places: dict[tuple[str, str], tuple[tuple[str, str, Side], Decimal]] = {}

    def update(self, order: RiskOrder) -> None:
        """Put the order where it belongs now; out, if it is closed or not on the book."""
        terms = order.terms
        if not order.live or not order.active or terms is None:
            self._remove(order.account, order.order_id)
            return
        rank = _rank(terms)
        if order.pending:
            rank = min(rank, *(_rank(pending.terms) for pending in order.pending))
        name = (order.account, order.order_id)
        book = (order.account, terms.symbol, terms.side)
        if self._places.get(name) != (book, rank):
            self._remove(*name)
            self._places[name] = (book, rank)
            insort(self._books.setdefault(book, []), (rank, order.order_id))

    def _remove(self, account: str, order_id: str) -> None:
        place = self._places.pop((account, order_id), None)
        if place is None:
            return
        book, rank = place
        entries = self._books[book]
        del entries[bisect_left(entries, (rank, order_id))]
        if not entries:
            del self._books[book]

    def drop(self, account: str, order_id: str) -> None:
        """Forget an order that the table does not show as resting."""
        self._remove(account, order_id)

    def crossing(self, account: str, terms: OrderTerms) -> Iterator[Crossing]:
        """Yield the account's orders that an incoming one would trade with, best first."""
        other = Side.SELL if terms.side is Side.BUY else Side.BUY
        entries = self._books.get((account, terms.symbol, other))
        if not entries:
            return
        reach = _reach(terms)
        for rank, order_id in tuple(entries) if entries[0][0] <= reach else ():
            if rank > reach:
                return
            price = None if rank == _ANY else rank if other is Side.SELL else -rank
            yield Crossing(order_id, price)
