"""What the venue itself refuses. Orders come checked; this keeps nonsense out of the engine."""

from decimal import Decimal

from streams.domain.refusals import Code
from streams.domain.tick_checks import MAX_NUMBER
from streams.models.orders import (
    OrderClass,
    OrderTerms,
    OrderType,
    Refusal,
    TimeInForce,
)

_NEEDS_LIMIT = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_NEEDS_STOP = (OrderType.STOP, OrderType.STOP_LIMIT)
_LASTING = (TimeInForce.DAY, TimeInForce.GTC)
_AUCTION = (TimeInForce.OPG, TimeInForce.CLS)


def refusal_of(terms: OrderTerms) -> Refusal | None:
    """Return why the venue does not take an order of these terms, or None."""
    for flaw in (_quantity(terms), _prices(terms), _combination(terms)):
        if flaw is not None:
            what, actual = flaw
            return Refusal(code=Code.INVALID_TERMS, text=what, actual=actual)
    return None


def replace_refusal(old: OrderTerms, new: OrderTerms) -> Refusal | None:
    """Return why `old` cannot become `new`, or None.

    Quantity, prices and day or gtc may change. A quantity at or below what is filled is allowed:
    it ends the order.
    """
    if old.notional is not None:
        text = "a notional order cannot be replaced; cancel it and send a new one"
        return _not_replaceable(text, "qty", "notional")
    fixed = ("symbol", "side", "type", "order_class", "extended_hours")
    for name in fixed:
        if getattr(old, name) != getattr(new, name):
            text = f"a replace must not change {name}; cancel the order and send a new one"
            return _not_replaceable(text, str(getattr(old, name)), str(getattr(new, name)))
    tif = old.time_in_force, new.time_in_force
    if tif[0] is not tif[1] and not (tif[0] in _LASTING and tif[1] in _LASTING):
        text = "a replace may change time_in_force between day and gtc only"
        return _not_replaceable(text, str(tif[0]), str(tif[1]))
    return refusal_of(new)


def _not_replaceable(text: str, limit: str, actual: str) -> Refusal:
    return Refusal(code=Code.REPLACE_NOT_ALLOWED, text=text, limit=limit, actual=actual)


_Flaw = tuple[str, str] | None


def _quantity(terms: OrderTerms) -> _Flaw:
    if (terms.qty is None) == (terms.notional is None):
        return "exactly one of qty and notional must be set", f"{terms.qty}, {terms.notional}"
    amount = terms.qty if terms.qty is not None else terms.notional
    if amount is None or not 0 < amount < MAX_NUMBER:
        return f"the quantity must be above 0 and below {MAX_NUMBER}", str(amount)
    if terms.notional is not None and terms.type is not OrderType.MARKET:
        return "a notional order must be a market order", str(terms.type)
    return None


def _prices(terms: OrderTerms) -> _Flaw:
    needs: list[tuple[str, Decimal | None]] = []
    if terms.type in _NEEDS_LIMIT and not _is_oco(terms):
        needs.append(("limit_price", terms.limit_price))
    if terms.type in _NEEDS_STOP:
        needs.append(("stop_price", terms.stop_price))
    if terms.type is OrderType.TRAILING_STOP:
        if (terms.trail_price is None) == (terms.trail_percent is None):
            return "exactly one of trail_price and trail_percent must be set", str(terms.type)
        needs.append(("the trail", terms.trail_price or terms.trail_percent))
    if terms.take_profit is not None:
        needs.append(("take_profit.limit_price", terms.take_profit.limit_price))
    if terms.stop_loss is not None:
        needs.append(("stop_loss.stop_price", terms.stop_loss.stop_price))
        if terms.stop_loss.limit_price is not None:
            needs.append(("stop_loss.limit_price", terms.stop_loss.limit_price))
    for name, price in needs:
        if price is None or not 0 < price < MAX_NUMBER:
            return f"{name} must be above 0 and below {MAX_NUMBER}", str(price)
    return None


def _combination(terms: OrderTerms) -> _Flaw:
    tif, kind = terms.time_in_force, terms.order_class
    if tif in _AUCTION and terms.type not in (OrderType.MARKET, OrderType.LIMIT):
        return "an order at the open or close must be market or limit", str(terms.type)
    if kind is OrderClass.SIMPLE:
        return None
    if tif not in _LASTING:
        return "a bracket, oco or oto order must be day or gtc", str(tif)
    legs = (terms.take_profit is not None) + (terms.stop_loss is not None)
    if legs != (1 if kind is OrderClass.OTO else 2):
        return f"{kind} needs {'one leg' if kind is OrderClass.OTO else 'both legs'}", str(legs)
    if _is_oco(terms) and terms.type is not OrderType.LIMIT:
        return "an oco order must be a limit order", str(terms.type)
    return None


def _is_oco(terms: OrderTerms) -> bool:
    return terms.order_class is OrderClass.OCO
