"""An order as users see it, derived from what is remembered of it.

`order_of` is the way out; the rest are the questions that it is made of.
"""

from collections.abc import Iterable
from decimal import Decimal

from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, NINTH, ZERO, plain, ratio, total
from streams.domain.order_state import OrderState
from streams.domain.order_table import ENDS, Facts, status_of
from streams.models.orders import (
    TERMINAL,
    EventType,
    Order,
    OrderStatus,
    OrderTerms,
    Refusal,
)

_NONE_SAID: frozenset[EventType | None] = frozenset({None})


def unbooked_qty(state: OrderState) -> Decimal:
    """Return how many shares the venue's own sums say were filled beyond what came in fills.

    Above 0 in the long run means that a fill was missed: the venue has to be asked for it.
    """
    gaps = (EXACT.subtract(leg.venue_cum_qty, leg.cum_qty) for leg in state.legs)
    return plain(total(gap for gap in gaps if gap > 0))


def facts_of(state: OrderState) -> Facts:
    """Return what the order's status follows from."""
    paused = state.news in (EventType.DONE_FOR_DAY, EventType.SUSPENDED)
    resumed = paused and state.fill_ns > state.news_ns
    return Facts(
        full=_is_full(state),
        ended=_ended(state),
        cancel_asked=bool(state.cancels) and _waits(state, state.cancels),
        replace_asked=bool(state.replaces) and _waits(state, state.replaces),
        some=state.cum_qty > 0,
        news=EventType.ACCEPTED if resumed else state.news,
    )


def _waits(state: OrderState, asked: Iterable[str]) -> bool:
    return any(one not in state.answered for one in asked)


def _is_full(state: OrderState) -> bool:
    if not state.cum_qty or state.terms is None:
        return False
    qty = quantity(state)
    if qty is not None:
        return state.cum_qty >= qty
    if state.terms.notional is None:
        return False
    # Of an amount of money, full is when the rest buys less than the smallest size there is.
    rest = EXACT.subtract(state.terms.notional, state.cost)
    return EXACT.multiply(rest, state.cum_qty) < EXACT.multiply(state.cost, NINTH)


def quantity(state: OrderState) -> Decimal | None:
    """Return the shares that the whole order is for, or None while nobody has said."""
    whole = state.terms.qty if state.terms else None
    if whole is not None and state.split_at[0] <= state.terms_at[0]:
        return whole
    legs = [leg.qty for leg in state.legs if leg.client_order_id]
    known = [qty for qty in legs if qty is not None]
    return total(known) if known and len(known) == len(legs) else whole


def _ended(state: OrderState) -> EventType | None:
    """Return what ended the order, or None while it may go on."""
    said = {leg.outcome for leg in state.legs}
    if not state.rejections and said <= _NONE_SAID:
        return None
    legs = [leg for leg in state.legs if leg.client_order_id]
    whole = any(leg.outcome for leg in state.legs if not leg.client_order_id)
    if legs and not whole and not all(leg.done for leg in legs):
        return None
    if not legs and state.rejections:
        said.add(EventType.REJECTED)
    return next((end for end in ENDS if end in said), None)


def order_of(state: OrderState) -> Order | None:
    """Return the order as users see it; None if all that came were refusals about its id."""
    if not state.exists:
        return None
    status = status_of(facts_of(state))
    terms, qty = _terms(state), quantity(state)
    qty = qty if qty is not None else state.cum_qty
    rest = EXACT.subtract(qty, state.cum_qty)
    leaves = rest if rest > 0 and status not in TERMINAL else ZERO
    over = rest.copy_negate() if rest < 0 and terms is not None else ZERO
    return make(
        Order,
        order_id=state.order_id,
        account=state.account,
        client_order_id=state.client_order_id or _first(leg.client_order_id for leg in state.legs),
        strategy=state.strategy,
        parent_order_id=state.parent_order_id,
        broker=_first(leg.broker for leg in state.legs) or "",
        status=status,
        terms=terms,
        revision=max(state.terms_at[0], state.split_at[0], 0),
        cum_qty=plain(state.cum_qty),
        leaves_qty=plain(leaves),
        avg_px=plain(ratio(state.cost, state.cum_qty)) if state.cum_qty > 0 else None,
        commission=plain(state.commission),
        overfill_qty=plain(over),
        fills=state.fills,
        refusal=_refusal(state, status),
        version=state.version,
        ts_requested_ns=state.ts_requested_ns,
        ts_updated_ns=state.ts_updated_ns,
    )


def _first(names: Iterable[str]) -> str | None:
    return next((name for name in names if name), None)


def _terms(state: OrderState) -> OrderTerms | None:
    """Return the terms of the whole order; a replaced split has its legs' prices."""
    if state.terms is None:
        return next((one.terms for one in state.rejections if one.terms is not None), None)
    if state.split is None or state.split_at[0] <= state.terms_at[0]:
        return state.terms
    return evolve(state.split, qty=quantity(state))


def _refusal(state: OrderState, status: OrderStatus) -> Refusal | None:
    if status not in (OrderStatus.REJECTED, OrderStatus.CANCELED):
        return None
    return next((one.refusal for one in state.rejections), None)
