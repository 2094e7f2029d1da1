"""When a stop is reached, and how a trailing stop follows the price."""

from decimal import Decimal

from streams.domain.matching.exact import times
from streams.domain.matching.orders import OpenOrder
from streams.models.orders import OrderType

_PERCENT = Decimal("0.01")
_LEAST = Decimal("0.0001")


def is_reached(order: OpenOrder, price: Decimal) -> bool:
    """Return whether a price triggers the order: at or above a buy's stop, at or below a sell's."""
    if order.stop_px is None:
        return False
    return price >= order.stop_px if order.buying else price <= order.stop_px


def trail(order: OpenOrder, price: Decimal) -> bool:
    """Move a trailing stop behind a price better than all before; return whether it moved.

    The best price is the highest for a sell and the lowest for a buy: the stop never loosens.
    """
    best = order.hwm
    if order.terms.type is not OrderType.TRAILING_STOP or order.triggered:
        return False
    if best is not None and (price >= best if order.buying else price <= best):
        return False
    order.hwm = price
    set_trailing_stop(order)
    return True


def set_trailing_stop(order: OpenOrder) -> None:
    """Put a trailing stop its distance behind the best price, at most nine places."""
    best = order.hwm
    if best is None:
        return
    distance = order.terms.trail_price
    if distance is None:
        distance = times(best, (order.terms.trail_percent or Decimal(0)) * _PERCENT)
    stop = best + distance if order.buying else best - distance
    order.stop_px = max(stop, _LEAST)


def shown(order: OpenOrder) -> str:
    """Return the stop, and for a trailing one the best price it followed, for people."""
    text = f"stop {order.stop_px}"
    return text if order.hwm is None else f"{text}, best price {order.hwm}"
