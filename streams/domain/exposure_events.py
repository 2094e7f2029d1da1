"""Exposure comes back from `orders.events`: what each event does to an account and its order.

`apply_event` is a function of what is known and the event. Repeated events change nothing, and
events in another order lead to the same position, cash and reservations.
"""

from decimal import Decimal
from typing import NamedTuple

from streams.domain.aging import Gone
from streams.domain.build import evolve, make
from streams.domain.decimals import ZERO, ratio
from streams.domain.executions import (
    EXECUTION_EVENTS,
    Change,
    Contradiction,
    Execution,
    record_execution,
)
from streams.domain.exposure import day_of, holding_of, leaves_of, money, settle, with_holding
from streams.domain.exposure_models import Leg, Reserve, RiskAccount, RiskOrder
from streams.models.orders import EventType, OrderEvent, OrderTerms, OrderType

#: How the ids of the validator's own events begin: their effect is in the table already.
OWN = "validator:"
#: What moves nothing.
_SILENT = frozenset(
    {
        EventType.APPROVED,
        EventType.DUPLICATE,
        EventType.PENDING_CANCEL,
        EventType.PENDING_REPLACE,
        EventType.DONE_FOR_DAY,
        EventType.SUSPENDED,
        EventType.HELD,
    }
)
_ENDS = frozenset({EventType.CANCELED, EventType.EXPIRED, EventType.REJECTED})
_ANSWERS = frozenset({EventType.CANCEL_REJECTED, EventType.REPLACE_REJECTED})
_SPLIT = frozenset({"close", "open"})
_AT_ONCE = frozenset({OrderType.MARKET, OrderType.LIMIT})
#: Answers of the venue that are kept per order, to judge a repeated request anew.
MAX_ANSWERED = 16


class Exposure(NamedTuple):
    """What one event can change: the account, its order, and the order's parent."""

    account: RiskAccount
    order: RiskOrder | None
    parent: RiskOrder | None = None


def apply_event(
    before: Exposure, event: OrderEvent, shift_ns: int = 0
) -> Exposure | Contradiction | None:
    """Return what an event leads to; None: nothing changes.

    `shift_ns` is the session shift: the day of a fill is that of its market time.
    """
    if event.event_id.startswith(OWN):
        return None
    if event.event in _SILENT and not (event.terms and event.parent_order_id):
        return None
    order = before.order or _adopted(event)
    if order is None or (order.verdict == "rejected" and event.event not in EXECUTION_EVENTS):
        return None
    order = _with_terms(order, event)
    account = before.account
    if event.event in EXECUTION_EVENTS:
        booked = _executed(account, order, event, shift_ns)
        if booked is None or isinstance(booked, Contradiction):
            return booked
        account, order = booked
    else:
        order = _moved(order, event)
        if order is before.order:
            return None
    account, order = settle(account, order)
    if before.parent is None or before.parent.verdict == "rejected":
        return Exposure(account, order)
    account, parent = settle(account, _with_child(before.parent, order))
    return Exposure(account, order, parent)


def happened_after(gone: Gone, event: OrderEvent) -> bool:
    """Say whether an event is an execution that cannot have been counted with its order.

    Of what happened before the order left nobody can say; of a bust likewise.
    """
    return event.event is EventType.FILL and day_of(event.ts_event_ns) > gone.day


def _adopted(event: OrderEvent) -> RiskOrder | None:
    """Return an order that did not come through here: a leg, or one placed at the broker."""
    side = event.terms.side if event.terms else event.side
    symbol = event.terms.symbol if event.terms else event.symbol
    starts = event.terms is not None or event.event in EXECUTION_EVENTS or event.event in _ENDS
    if side is None or symbol is None or not starts or not event.broker:
        return None
    return make(
        RiskOrder,
        account=event.account,
        order_id=event.order_id,
        client_order_id=event.client_order_id,
        parent_order_id=event.parent_order_id,
        verdict="external",
        symbol=symbol,
        side=side,
        active=False,
    )


def plain_reserve(terms: OrderTerms) -> Reserve | None:
    """Return what terms reserve when there is no judgement to go by: all of it, at its price."""
    if terms.qty is None:
        return None
    px = terms.limit_price or terms.stop_price or ZERO
    return make(Reserve, qty=terms.qty, opening=terms.qty, px=px)


def _with_terms(order: RiskOrder, event: OrderEvent) -> RiskOrder:
    """Return the order with terms it did not have: those of a leg, or the shares of a notional."""
    terms = event.terms
    if terms is None or terms.qty is None or event.leg in _SPLIT:
        return order
    if order.terms is None:
        return evolve(order, terms=terms, reserve=plain_reserve(terms))
    if order.terms.qty is None and order.reserve is not None:
        reserve = evolve(order.reserve, qty=terms.qty)
        return evolve(order, terms=evolve(order.terms, qty=terms.qty), reserve=reserve)
    return order


def _with_child(parent: RiskOrder, child: RiskOrder) -> RiskOrder:
    """Return the parent knowing what this leg can still fill."""
    leaves = leaves_of(child, child.reserve) if child.live and child.reserve else ZERO
    children = {**parent.children, child.order_id: leaves}
    if not leaves:
        del children[child.order_id]
    return evolve(parent, children=children, exit_side=child.side)


# --- what happened ------------------------------------------------------------------------------


def _moved(order: RiskOrder, event: OrderEvent) -> RiskOrder:
    """Return the order after an event that is no execution; the same one if nothing changed."""
    kind = event.event
    if kind in _ENDS:
        if event.leg in _SPLIT:
            leg = order.legs.get(event.leg) or make(Leg)
            return evolve(order, legs={**order.legs, event.leg: evolve(leg, closed=True)})
        return order if order.ended else evolve(order, ended=True, pending=())
    if kind is EventType.REPLACED:
        return _replaced(order, event)
    if kind in _ANSWERS:
        return _answered(order, event)
    if kind is EventType.ROUTED and event.leg in _SPLIT and event.terms is not None:
        leg = order.legs.get(event.leg) or make(Leg)
        return evolve(order, legs={**order.legs, event.leg: evolve(leg, qty=event.terms.qty)})
    at_once = order.terms is not None and order.terms.type in _AT_ONCE
    works = kind is EventType.TRIGGERED or (kind is EventType.ACCEPTED and at_once)
    return evolve(order, active=True) if works and not order.active else order


def _replaced(order: RiskOrder, event: OrderEvent) -> RiskOrder:
    asked = next((one for one in order.pending if one.request_id == event.request_id), None)
    revision = asked.revision if asked else event.revision
    pending = tuple(one for one in order.pending if one.revision > revision)
    if revision < order.revision:  # an older one that came late
        return evolve(order, pending=pending)
    terms = event.terms or (asked.terms if asked else order.terms)
    reserve = asked.reserve if asked else terms and plain_reserve(terms)
    if asked and terms and terms.qty is not None and terms.qty != asked.reserve.qty:
        reserve = evolve(asked.reserve, qty=terms.qty)  # FIX: below what is filled, amended to it
    return evolve(
        _noted(order, event),
        terms=terms,
        reserve=reserve or order.reserve,
        revision=revision,
        pending=pending,
    )


def _answered(order: RiskOrder, event: OrderEvent) -> RiskOrder:
    pending = tuple(one for one in order.pending if one.request_id != event.request_id)
    return evolve(_noted(order, event), pending=pending)


def _noted(order: RiskOrder, event: OrderEvent) -> RiskOrder:
    request = event.request_id
    if request is None or request in order.answered:
        return order
    return evolve(order, answered=(*order.answered, request)[-MAX_ANSWERED:])


# --- executions ---------------------------------------------------------------------------------


class _Known:
    """The executions of one order, as `record_execution` wants them."""

    def __init__(self, order: RiskOrder) -> None:
        self.all = dict(order.executions)

    def get(self, exec_id: str) -> Execution | None:
        return self.all.get(exec_id)

    def put(self, execution: Execution) -> None:
        self.all[execution.exec_id] = execution


def _executed(
    account: RiskAccount, order: RiskOrder, event: OrderEvent, shift_ns: int
) -> tuple[RiskAccount, RiskOrder] | Contradiction | None:
    """Return account and order after a fill, bust or correction; None if it was known."""
    if event.symbol is None or event.side is None:
        event = evolve(event, symbol=order.symbol, side=order.side)
    known = _Known(order)
    changes = record_execution(known, event)
    if changes is None or isinstance(changes, Contradiction):
        return changes
    for change in changes:
        account, realized = _booked(account, change, shift_ns)
        stored = known.all[change.execution.exec_id]
        known.put(evolve(stored, realized=realized))
    filled: dict[str, object] = {}
    if event.event is EventType.FILL and event.fill is not None:
        filled = _filled(order, event.leg, event.fill.last_qty, event.fill.last_px)
    return account, evolve(order, executions=known.all, **filled)


def _filled(order: RiskOrder, name: str, qty: Decimal, px: Decimal) -> dict[str, object]:
    """Return what a fill changes in its order."""
    legs = order.legs
    if name in _SPLIT:
        leg = legs.get(name) or make(Leg)
        legs = {**legs, name: evolve(leg, done=leg.done + qty)}
    return {"done": order.done + qty, "spent": order.spent + money(qty * px), "legs": legs}


def _booked(account: RiskAccount, change: Change, shift_ns: int) -> tuple[RiskAccount, Decimal]:
    """Return the account with an execution booked, or taken back, and what it realised.

    The cost of the position is `avg_px` times quantity; an execution adds its signed value and
    what it realised, and takes just that away again when it is busted.
    """
    execution = change.execution
    holding = holding_of(account, execution.symbol or "")
    signed, sign = execution.signed_qty, 1 if change.counts else -1
    gross = (
        _realised(holding.qty, holding.avg_px, signed, execution.px)
        if change.counts
        else (execution.realized or ZERO) + execution.commission
    )
    qty = holding.qty + sign * signed
    cost = holding.qty * holding.avg_px + sign * (signed * execution.px + gross)
    average = ratio(cost, qty) if qty else ZERO
    net = money(gross - execution.commission)
    day = day_of(execution.ts_event_ns - shift_ns)
    account = with_holding(
        account,
        execution.symbol or "",
        evolve(
            holding,
            qty=qty,
            avg_px=average if average > 0 else execution.px if qty else ZERO,
            mark=holding.mark or execution.px,
        ),
        cash=account.cash - sign * money(signed * execution.px + execution.commission),
        **_day_sum(account, day, sign * net),
    )
    return account, net


def _realised(qty: Decimal, average: Decimal, signed: Decimal, px: Decimal) -> Decimal:
    """Return what a fill realises before commission: nothing, unless it closes."""
    if qty * signed >= 0:
        return ZERO
    closed = min(abs(qty), abs(signed))
    return money((px - average) * closed if qty > 0 else (average - px) * closed)


def _day_sum(account: RiskAccount, day: str, amount: Decimal) -> dict[str, object]:
    """Return the changed day and its sum; what belongs to an older day does not count."""
    if day > account.day:
        return {"day": day, "realized_day": amount}
    if day == account.day:
        return {"realized_day": account.realized_day + amount}
    return {}
