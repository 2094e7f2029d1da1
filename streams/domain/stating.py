"""What a venue of our own has, as statements."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Protocol

from streams.domain.build import make
from streams.domain.matching.records import ClosedRecord
from streams.models.statements import StatedOrder, Statement


class Held(Protocol):
    """An order as a venue has it."""

    @property
    def order_id(self) -> str:
        """Return the id of who asked for it."""

    @property
    def client_order_id(self) -> str:
        """Return its id at the venue."""

    @property
    def account(self) -> str:
        """Return whose it is."""

    @property
    def cum_qty(self) -> Decimal:
        """Return the shares executed."""


#: Of one statement, so that it stays far below what a record may hold.
MAX_ORDERS = 1_000


def statements(
    broker: str, symbol: str, orders: Iterable[Held], now_ns: int
) -> Iterator[Statement]:
    """Yield the statements of a symbol, an account each; of many orders several."""
    by_account: dict[str, list[StatedOrder]] = {}
    for order in orders:
        by_account.setdefault(order.account, []).append(_stated(order))
    for account, stated in by_account.items():
        for first in range(0, len(stated), MAX_ORDERS):
            yield make(
                Statement,
                broker=broker,
                account=account,
                symbol=symbol,
                orders=tuple(stated[first : first + MAX_ORDERS]),
                ts_event_ns=now_ns,
            )


def _stated(order: Held) -> StatedOrder:
    return make(
        StatedOrder,
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        state="closed" if isinstance(order, ClosedRecord) else "open",
        cum_qty=order.cum_qty,
    )
