"""How an order stands, as a function of the set of events that came for it.

The events of an order have three writers and may come twice, late, or in another order than
they happened. Everything here is therefore a sum, a maximum, a minimum or a set: `advance` over
the same distinct events gives the same `Order`, whatever their order. `order_table` holds what
is data about it: which row decides the status, which word on the terms is the better one.
`order_view` derives from the state what users see.

Decisions that a reader may look for:

- The quantity of fills decides `filled`; `cum_qty` is the sum over the legs of a split order.
- A late fill after canceled or expired counts and reopens nothing. If it completes the
  quantity, the order is filled. Leaves are 0 when terminal, and never negative; what was filled
  beyond the quantity is booked and shown as `overfill_qty`.
- Legs of a split order: it has ended when every routed leg has (by its outcome or by its
  quantity). One leg rejected and the other filled is `canceled`, with the refusal.
- `duplicate`, and `rejected` because the id is taken (`CONFLICT`), are about a second use of the
  order's id: they change nothing.
- Terms come from the highest revision; within one, from the better source (`TERMS_RANK`), then
  from the latest, then from the smaller quantity: legs of a pair shrink as the other one fills.
- A `pending_*` event without a request id asks nothing that an answer could settle; only its
  arrival is counted.

Memory: per event that is no execution 16 hex digits, the newest `MAX_SEEN` of them, so that a
repetition within as many events is known; per request its id, likewise. Executions are kept
beside the order, one record each.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal

from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO
from streams.domain.executions import (
    EXECUTION_EVENTS,
    Change,
    Contradiction,
    Executions,
    record_execution,
)
from streams.domain.order_legs import NOT_YET, At, Leg, at_of, outranks, with_event
from streams.domain.order_table import (
    ANSWERS,
    ASKS_CANCEL,
    ASKS_REPLACE,
    LEG_EVENTS,
    NEWS_RANK,
    NO_PROOF,
    SPLIT_LEGS,
    TERMS_RANK,
)
from streams.domain.refusals import Code
from streams.models.base import Part, WideDec
from streams.models.orders import (
    EventType,
    OrderEvent,
    OrderTerms,
    Refusal,
    Side,
)

MAX_SEEN = 1024
MAX_REJECTIONS = 8


class Rejection(Part):
    """Who was refused what: the order before a venue saw it (no client order id), or a leg."""

    ts_event_ns: int
    event_id: str
    client_order_id: str
    terms: OrderTerms | None = None
    refusal: Refusal | None = None


class OrderState(Part):
    """Everything that is remembered of an order but its executions."""

    kind: Literal["order"] = "order"
    order_id: str
    account: str
    exists: bool = False
    symbol: str | None = None
    side: Side | None = None
    client_order_id: str | None = None
    strategy: str = ""
    parent_order_id: str | None = None
    terms: OrderTerms | None = None
    terms_at: At = NOT_YET
    split: OrderTerms | None = None
    split_at: At = NOT_YET
    legs: tuple[Leg, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    news: EventType | None = None
    news_ns: int = 0
    fill_ns: int = 0
    cancels: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    cum_qty: WideDec = ZERO
    cost: WideDec = ZERO
    commission: WideDec = ZERO
    fills: int = 0
    seen: tuple[str, ...] = ()
    version: int = 0
    ts_requested_ns: int | None = None
    ts_updated_ns: int = 0


def advance(
    state: OrderState | None, event: OrderEvent, executions: Executions
) -> OrderState | Contradiction | None:
    """Return the order with one more event; the very same object if it was known before.

    `executions` are those of the event's account at the event's broker; a fill, bust or
    correction is put there. None: there is no order, and the event makes none.
    """
    if _is_second_use(event):
        return state
    now = state or make(OrderState, order_id=event.order_id, account=event.account)
    if clash := _clash(now, event):
        return clash
    changes: list[Change] = []
    update: dict[str, Any] = {}
    if event.event in EXECUTION_EVENTS:
        recorded = record_execution(executions, event)
        if recorded is None or isinstance(recorded, Contradiction):
            return recorded or state
        changes = recorded
        update = _sums(now, event, changes)
    else:
        digest = blake2b(event.event_id.encode(), digest_size=8).hexdigest()
        if digest in now.seen:
            return state
        update["seen"] = (*now.seen[1 - MAX_SEEN :], digest)
        _take(now, event, update)
    _identify(now, event, update)
    if event.event in LEG_EVENTS or (event.event is EventType.REJECTED and event.broker):
        update["legs"] = with_event(now.legs, event, changes)
    return evolve(now, **update)


def _clash(now: OrderState, event: OrderEvent) -> Contradiction | None:
    """Return how an event contradicts what the order is, or None."""
    terms, symbol, side = event.terms, now.symbol, now.side
    if symbol is not None:
        if event.symbol not in (None, symbol):
            return _contradiction(event, "symbol", symbol, event.symbol)
        if terms is not None and terms.symbol != symbol:
            return _contradiction(event, "symbol", symbol, terms.symbol)
    if side is not None:
        if event.side not in (None, side):
            return _contradiction(event, "side", side, event.side)
        if terms is not None and terms.side is not side:
            return _contradiction(event, "side", side, terms.side)
    return None


def _contradiction(event: OrderEvent, what: str, known: str, said: str | None) -> Contradiction:
    return Contradiction(
        "CONTRADICTS_ORDER",
        f"order {event.order_id} has {what} {known}, event {event.event_id} says {said}",
    )


def says_nothing_new(event: OrderEvent) -> bool:
    """Say whether an event is about a command that was refused: it moves no order."""
    return _is_second_use(event) or event.event in NO_PROOF


def _is_second_use(event: OrderEvent) -> bool:
    if event.event is EventType.REJECTED:
        return event.refusal is not None and event.refusal.code == Code.CONFLICT
    return event.event is EventType.DUPLICATE


def _sums(now: OrderState, event: OrderEvent, changes: Iterable[Change]) -> dict[str, Any]:
    cum, cost, commission, fills = now.cum_qty, now.cost, now.commission, now.fills
    for change in changes:
        one = change.execution
        add = EXACT.add if change.counts else EXACT.subtract
        cum = add(cum, one.qty)
        cost = add(cost, EXACT.multiply(one.qty, one.px))
        commission = add(commission, one.commission)
        fills += 1 if change.counts else -1
    update = {"cum_qty": cum, "cost": cost, "commission": commission, "fills": fills}
    if event.event is EventType.FILL and event.ts_event_ns > now.fill_ns:
        update["fill_ns"] = event.ts_event_ns
    return update


def _take(now: OrderState, event: OrderEvent, update: dict[str, Any]) -> None:
    """Take up what an event that is no execution says."""
    kind, request = event.event, event.request_id
    if event.terms is not None and kind in TERMS_RANK:
        _take_terms(now, event, event.terms, update)
    if kind is EventType.REJECTED:
        update["rejections"] = _with_rejection(now.rejections, event)
    if kind in NEWS_RANK and _is_newer(now, event):
        update |= {"news": kind, "news_ns": event.ts_event_ns}
    if request is None:
        return
    if kind in ASKS_CANCEL:
        update["cancels"] = _with(now.cancels, request)
    elif kind in ASKS_REPLACE:
        update["replaces"] = _with(now.replaces, request)
    elif kind in ANSWERS:
        update["answered"] = _with(now.answered, request)


def _take_terms(
    now: OrderState, event: OrderEvent, terms: OrderTerms, update: dict[str, Any]
) -> None:
    at = at_of(event)
    if event.leg in SPLIT_LEGS:
        if outranks(at, terms.qty, now.split_at, now.split.qty if now.split else None):
            update |= {"split": terms, "split_at": at}
    elif outranks(at, terms.qty, now.terms_at, now.terms.qty if now.terms else None):
        update |= {"terms": terms, "terms_at": at}


def _is_newer(now: OrderState, event: OrderEvent) -> bool:
    if now.news is None:
        return True
    return (event.ts_event_ns, NEWS_RANK[event.event]) > (now.news_ns, NEWS_RANK[now.news])


def _with(ids: tuple[str, ...], new: str) -> tuple[str, ...]:
    return ids if new in ids else (*ids[1 - MAX_SEEN :], new)


def _with_rejection(known: tuple[Rejection, ...], event: OrderEvent) -> tuple[Rejection, ...]:
    """Add a rejection; the earliest are kept."""
    new = make(
        Rejection,
        ts_event_ns=event.ts_event_ns,
        event_id=event.event_id,
        client_order_id=(event.client_order_id or "") if event.broker else "",
        terms=event.terms,
        refusal=event.refusal,
    )
    in_order = sorted((*known, new), key=lambda one: (one.ts_event_ns, one.event_id))
    return tuple(in_order[:MAX_REJECTIONS])


def _identify(now: OrderState, event: OrderEvent, update: dict[str, Any]) -> None:
    """Take up what any event may say about the order as such, and count the event."""
    update["version"] = now.version + 1
    if event.ts_init_ns > now.ts_updated_ns:
        update["ts_updated_ns"] = event.ts_init_ns
    asked = event.ts_requested_ns
    if asked is not None and (now.ts_requested_ns is None or asked < now.ts_requested_ns):
        update["ts_requested_ns"] = asked
    if not now.exists and event.event not in NO_PROOF:
        update["exists"] = True
    if event.strategy > now.strategy:
        update["strategy"] = event.strategy
    if event.parent_order_id and event.parent_order_id > (now.parent_order_id or ""):
        update["parent_order_id"] = event.parent_order_id
    if event.event is EventType.APPROVED and event.client_order_id:
        update["client_order_id"] = event.client_order_id
    if now.symbol is None and (symbol := event.symbol or (event.terms and event.terms.symbol)):
        update["symbol"] = symbol
    if now.side is None and (side := event.side or (event.terms and event.terms.side)):
        update["side"] = side
