"""Orders that hang together: brackets, OTO and OCO.

- The children of a bracket or OTO order come to life when it ends with something filled (filled,
  or canceled, replaced or expired after a part), for the quantity that was filled. Until then
  they do not exist, so canceling the parent leaves nothing behind.
- An OCO order is itself the profit-taking leg; its stop comes to life when it is accepted.
- The two legs of a bracket or OCO are a pair: what one fills comes off the other, one that is
  filled or canceled cancels the other.
- A child has its own ids: the parent's with `-TP` or `-SL`; its `accepted` event carries its
  terms and `parent_order_id`.
"""

from decimal import Decimal
from hashlib import blake2b

from streams.domain.build import evolve, make
from streams.domain.matching.ledger import Ledger
from streams.domain.matching.orders import OpenOrder
from streams.models.orders import (
    EventType,
    OrderClass,
    OrderTerms,
    OrderType,
    Side,
    TimeInForce,
)

WITH_CHILDREN = (OrderClass.BRACKET, OrderClass.OTO)
#: Leg, and what its ids end in.
_LEGS = {"take_profit": "TP", "stop_loss": "SL"}
_MAX_ORDER_ID = 64
_MAX_CLIENT_ID = 128


def child_id(parent: str, ending: str, most: int = _MAX_ORDER_ID) -> str:
    """Return a child's id of at most `most` characters; a digest stands for what is too long."""
    plain = f"{parent}-{ending}"
    if len(plain) <= most:
        return plain
    digest = blake2b(parent.encode(), digest_size=8).hexdigest()
    return f"{parent[: most - len(ending) - 18]}-{digest}-{ending}"


def children(parent: OpenOrder, ledger: Ledger) -> list[OpenOrder]:
    """Return the legs of a bracket or OTO order for what it filled, as a pair if there are two."""
    terms = parent.terms
    legs = [
        _child(parent, leg, ledger, parent.cum_qty)
        for leg, asked in (("take_profit", terms.take_profit), ("stop_loss", terms.stop_loss))
        if asked is not None
    ]
    if len(legs) == 2:
        legs[0].pair, legs[1].pair = legs[1].client_order_id, legs[0].client_order_id
    return legs


def oco_stop(order: OpenOrder, ledger: Ledger) -> OpenOrder:
    """Return the stop leg of an OCO order, paired with it."""
    stop = _child(order, "stop_loss", ledger, order.leaves)
    stop.pair, order.pair = order.client_order_id, stop.client_order_id
    ledger.touch(order)
    return stop


def reduce(leg: OpenOrder, filled: OpenOrder, qty: Decimal, ledger: Ledger) -> bool:
    """Take what one leg filled off the other; return False if nothing is left of that."""
    if leg.leaves <= qty:
        return False
    leg.amend((leg.qty or Decimal(0)) - qty)
    ledger.touch(leg)
    text = f"reduced by a fill of the other leg {filled.order_id}"
    ledger.report(leg, EventType.REPLACED, "reduced", filled.execs, terms=leg.terms, text=text)
    return True


def _child(parent: OpenOrder, leg: str, ledger: Ledger, qty: Decimal) -> OpenOrder:
    terms = _exit_terms(parent.terms, leg, qty)
    if parent.terms.order_class is not OrderClass.OCO:
        # An OCO's own side is the exit already.
        side = Side.SELL if parent.buying else Side.BUY
        terms = evolve(terms, side=side)
    ending = _LEGS[leg]
    return OpenOrder(
        client_order_id=child_id(parent.client_order_id, ending, _MAX_CLIENT_ID),
        order_id=child_id(parent.order_id, ending),
        account=parent.account,
        leg=leg,
        strategy=parent.strategy,
        terms=terms,
        revision=0,
        content=f"child of {parent.client_order_id}",
        arrival=ledger.next_seq(),
        effective_ns=ledger.clock_ns,
        qty=qty,
        stop_px=terms.stop_price,
        parent_order_id=parent.order_id,
        ts_requested_ns=parent.ts_requested_ns,
        controls_version=parent.controls_version,  # it was given to the venue with its parent
    )


def _exit_terms(terms: OrderTerms, leg: str, qty: Decimal) -> OrderTerms:
    tif = TimeInForce.GTC if terms.time_in_force is TimeInForce.GTC else TimeInForce.DAY
    base = make(
        OrderTerms,
        symbol=terms.symbol,
        side=terms.side,
        type=OrderType.LIMIT,
        qty=qty,
        time_in_force=tif,
        extended_hours=terms.extended_hours,
    )
    if leg == "take_profit" and terms.take_profit is not None:
        return evolve(base, limit_price=terms.take_profit.limit_price)
    stop = terms.stop_loss
    if stop is None:
        return base
    kind = OrderType.STOP if stop.limit_price is None else OrderType.STOP_LIMIT
    return evolve(base, type=kind, stop_price=stop.stop_price, limit_price=stop.limit_price)
