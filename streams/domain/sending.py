"""One order at a broker across a network: what was asked, what was answered, what was filled.

Pure: each function takes what is known, one input and the time, and returns what is known then
and the events to publish. The ids of events are functions of what happened, so that the answer to
a call and the broker's stream make one event of the same thing.

    take      a command came from the router
    answered  the broker answered a call: it has it, or refused it
    refused   the call is not made, and never will be
    found     the broker was asked, and told how the order stands
    told      the broker's stream told something

A call whose outcome is unknown is no input: the request goes on waiting, and the broker is asked.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from streams.defences import Defence, on
from streams.domain import cumulative
from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO, share, shown
from streams.domain.matching.ledger import long_id
from streams.domain.refusals import Code, refuse
from streams.models.base import LongId, Nanos, Part, WideDec
from streams.models.orders import EventType, Fill, OrderEvent, OrderTerms, Refusal, Side, VenueOrder

#: Answered requests, and ids of events, that are remembered of an order; the newest.
MAX_KNOWN = 64

_ENDS = frozenset(
    {EventType.REJECTED, EventType.CANCELED, EventType.EXPIRED},
)
_ASKED = {"cancel": EventType.PENDING_CANCEL, "replace": EventType.PENDING_REPLACE}
_DENIED = {
    "submit": EventType.REJECTED,
    "cancel": EventType.CANCEL_REJECTED,
    "replace": EventType.REPLACE_REJECTED,
}


class Request(Part):
    """One command of the router. `order` is dropped when nothing can come of it any more."""

    request_id: LongId
    offset: int
    waiting: bool = True
    order: VenueOrder | None = None


class Sending(Part):
    """One order at one broker.

    `over`: the broker said so, or it was refused here; `unsent`: it never went out. `outbox` are
    the events of units that may not have been acknowledged yet.
    """

    kind: Literal["sending"] = "sending"
    order: VenueOrder
    requests: tuple[Request, ...] = ()
    covered: cumulative.Covered = cumulative.Covered()
    over: bool = False
    unsent: bool = False
    said: tuple[LongId, ...] = ()
    outbox: tuple[OrderEvent, ...] = ()
    ts_updated_ns: Nanos = 0


class Parked(Part):
    """Executions of an order that we do not know, oldest first, since `ts_parked_ns`."""

    kind: Literal["parked"] = "parked"
    events: tuple[OrderEvent, ...]
    ts_parked_ns: Nanos


class Held(Part):
    """What an account holds in a symbol at a broker, by the fills that were published."""

    kind: Literal["held"] = "held"
    qty: WideDec = ZERO
    ts_updated_ns: Nanos = 0


class Cursor(Part):
    """How far a broker's stream was followed."""

    kind: Literal["cursor"] = "cursor"
    cursor: str
    ts_updated_ns: Nanos


class Step(NamedTuple):
    """What is known now, what to publish, whether a call is to be made, or what is wrong."""

    state: Sending
    events: tuple[OrderEvent, ...] = ()
    call: bool = False
    conflict: str = ""


class Now(NamedTuple):
    """The time, and one before which all that was published is acknowledged."""

    ns: int
    settled_ns: int = 0


# --- inputs ---------------------------------------------------------------------------------


def take(known: Sending | None, order: VenueOrder, offset: int, now: Now) -> Step:
    """Take up a command that came as the record at `offset`."""
    if known is None:
        known = make(Sending, order=order)
    elif known.order.order_id != order.order_id:
        return _conflict(known, order, now)
    before = request_of(known, order.request_id)
    if before is None:
        request = make(Request, request_id=order.request_id, offset=offset, order=order)
        return Step(_next(known, (), now, requests=_with(known.requests, request)), call=True)
    if before.offset == offset:
        return Step(known, known.outbox)
    text = f"{order.command} {order.request_id} was here before"
    event = _event(known, EventType.DUPLICATE, now, (offset,), order=order, text=text)
    return Step(known, (event,))


def _conflict(known: Sending, order: VenueOrder, now: Now) -> Step:
    """Refuse a command whose client order id is that of another order; that one stands."""
    text = f"{order.client_order_id} is the id of another order, {known.order.order_id}"
    suffix = (order.order_id, order.request_id)
    refusal = refuse(Code.CONFLICT, text)
    kind = _DENIED[order.command]
    event = _event(known, kind, now, suffix, order=order, refusal=refusal, text=text)
    return Step(known, (event,), conflict=text)


def answered(
    state: Sending,
    order: VenueOrder,
    now: Now,
    refusal: Refusal | None = None,
    controls_version: int = 0,
) -> Step:
    """Take the answer to the call of a command; without a `refusal` the broker has it.

    `controls_version` is that of the controls that were known when an order was sent.
    """
    request = request_of(state, order.request_id)
    if request is None or not request.waiting:
        return Step(state)
    requests = _without(state.requests, request, keep=refusal is None)
    if refusal is None:
        if order.command == "submit":
            event = _event(state, EventType.ACCEPTED, now, controls_version=controls_version)
            return _publish(state, [event], now, requests=requests)
        asked = _event(state, _ASKED[order.command], now, (order.request_id,), order=order)
        return _publish(state, [asked], now, requests=requests)
    suffix = () if order.command == "submit" else (order.request_id,)
    kind = _DENIED[order.command]
    blocks: dict[str, Any] = {"refusal": refusal, "text": refusal.text}
    if order.command == "submit":
        blocks["controls_version"] = controls_version
    event = _event(state, kind, now, suffix, order=order, **blocks)
    over = state.over or order.command == "submit"
    return _publish(state, [event], now, requests=requests, over=over)


def refused(
    state: Sending, order: VenueOrder, refusal: Refusal, now: Now, controls_version: int = 0
) -> Step:
    """Refuse a command here: it was not sent, or certainly is not at the broker."""
    step = answered(state, order, now, refusal, controls_version)
    if order.command != "submit":
        return step
    return step._replace(state=evolve(step.state, unsent=True))


def found(
    state: Sending,
    now: Now,
    *,
    cum_qty: Decimal,
    avg_px: Decimal | None,
    end: EventType | None = None,
) -> Step:
    """Take how the order stands at the broker: it is there, filled to `cum_qty`, over or not."""
    events: list[OrderEvent] = []
    requests = state.requests
    submitted = request_of(state, "submit")
    if submitted is not None and submitted.waiting:
        requests = _without(requests, submitted, keep=False)
    if end is not EventType.REJECTED:
        events.append(_event(state, EventType.ACCEPTED, now))
    covered, gaps = cumulative.fill_up(state.covered, cum_qty, avg_px)
    for gap in gaps:
        fill = make(
            Fill,
            exec_id=long_id(state.order.client_order_id, "cum", gap.cum),
            last_qty=gap.qty,
            last_px=gap.px,
            cum_qty=gap.cum,
            commission=ZERO,
        )
        events.append(_event(state, EventType.FILL, now, (fill.exec_id,), fill=fill))
    if end is not None:
        events.append(_event(state, end, now, refusal=_why(end)))
    over = state.over or end is not None or _is_full(state.order, covered)
    step = _publish(state, events, now, requests=requests, covered=covered, over=over)
    return step._replace(state=evolve(step.state, unsent=False))


def told(state: Sending, news: OrderEvent, now: Now) -> Step:
    """Take what the broker's stream tells of the order; once, whoever told it before."""
    event = _ours(state, news, now)
    if event.event in (EventType.FILL_BUSTED, EventType.FILL_CORRECTED):
        return _publish(state, [event], now, covered=cumulative.broken(state.covered))
    if event.event is EventType.FILL:
        return _executed(state, event, now)
    requests = state.requests
    request = request_of(state, event.request_id or "")
    if event.event in (EventType.REPLACED, EventType.REPLACE_REJECTED, EventType.CANCEL_REJECTED):
        if request is not None:
            requests = _without(requests, request, keep=False)
    elif event.event is not EventType.DUPLICATE:
        submitted = request_of(state, "submit")
        if submitted is not None and submitted.waiting:
            requests = _without(requests, submitted, keep=False)
    over = event.event in _ENDS or (state.over and not state.unsent)
    order = state.order
    if event.event is EventType.REPLACED and event.terms is not None:
        order = evolve(order, terms=event.terms, revision=event.revision)
    update = {"requests": requests, "over": over, "unsent": False, "order": order}
    return _publish(state, [event], now, **update)


# --- questions ------------------------------------------------------------------------------


def request_of(state: Sending, request_id: str) -> Request | None:
    """Return what is known of a request, or None."""
    return next((one for one in state.requests if one.request_id == request_id), None)


def waiting(state: Sending) -> Iterable[Request]:
    """Return the requests that have no answer, oldest first."""
    return (one for one in state.requests if one.waiting)


def bought(events: Iterable[OrderEvent]) -> Decimal:
    """Return how far events move the position at the broker; shares sold are negative.

    A bust names the quantity that it takes back; a correction changes price or commission.
    """
    moved = ZERO
    for event in events:
        if event.fill is None or event.event is EventType.FILL_CORRECTED:
            continue
        qty = event.fill.last_qty
        qty = qty if event.side is Side.BUY else qty.copy_negate()
        add = EXACT.subtract if event.event is EventType.FILL_BUSTED else EXACT.add
        moved = add(moved, qty)
    return moved


# --- how ------------------------------------------------------------------------------------


def _executed(state: Sending, event: OrderEvent, now: Now) -> Step:
    fill = event.fill
    assert fill is not None
    known = state.covered if on(Defence.CUMULATIVE) else cumulative.broken(state.covered)
    covered, qty = cumulative.count(known, fill.exec_id, fill.last_qty, fill.last_px, fill.cum_qty)
    if not qty:
        return Step(state if covered is state.covered else _next(state, (), now, covered=covered))
    if qty != fill.last_qty:
        part = shown(share(fill.commission, qty, fill.last_qty))
        event = evolve(event, fill=evolve(fill, last_qty=qty, commission=part))
    over = state.over or _is_full(state.order, covered)
    return _publish(state, [event], now, covered=covered, over=over, unsent=False)


def _is_full(order: VenueOrder, covered: cumulative.Covered) -> bool:
    return order.terms.qty is not None and covered.qty >= order.terms.qty


def _ours(state: Sending, news: OrderEvent, now: Now) -> OrderEvent:
    """Return the broker's news with what we know of the order and the request it is about.

    The broker's symbol and side stand: where they contradict the order, the tracker says so.
    """
    order = state.order
    about = request_of(state, news.request_id or "")
    asked = about.order if about is not None else None
    terms: OrderTerms | None = news.terms
    revision = order.revision
    if asked is not None:
        revision = asked.revision
        terms = asked.terms if news.event is EventType.REPLACED else terms
    return evolve(
        news,
        order_id=order.order_id,
        account=order.account,
        symbol=news.symbol or order.terms.symbol,
        side=news.side or order.terms.side,
        client_order_id=order.client_order_id,
        leg=order.leg,
        broker=order.broker,
        strategy=order.strategy,
        revision=revision,
        terms=terms,
        ts_requested_ns=order.ts_requested_ns,
        ts_init_ns=now.ns,
    )


def event_id(client_order_id: str, kind: EventType, *suffix: object) -> str:
    """Return the id of an event: of what happened, and to what."""
    return long_id(client_order_id, kind, *suffix)


def _event(
    state: Sending,
    kind: EventType,
    now: Now,
    suffix: tuple[object, ...] = (),
    *,
    order: VenueOrder | None = None,
    **blocks: Any,
) -> OrderEvent:
    """Return an event; `order` is the command it answers, if that is not the order itself."""
    of = order or state.order
    return make(
        OrderEvent,
        event_id=event_id(of.client_order_id, kind, *suffix),
        event=kind,
        order_id=of.order_id,
        account=of.account,
        symbol=of.terms.symbol,
        client_order_id=of.client_order_id,
        leg=of.leg,
        broker=of.broker,
        strategy=of.strategy,
        request_id=order.request_id if order is not None else None,
        revision=of.revision,
        side=of.terms.side,
        ts_requested_ns=of.ts_requested_ns,
        ts_event_ns=now.ns,
        ts_init_ns=now.ns,
        **blocks,
    )


def _why(end: EventType) -> Refusal | None:
    if end is not EventType.REJECTED:
        return None
    return refuse(Code.BROKER_REFUSED, "the broker has the order as rejected")


def _publish(state: Sending, events: list[OrderEvent], now: Now, **update: Any) -> Step:
    """Publish what has not been said; keep it until it is acknowledged."""
    new = tuple(event for event in events if event.event_id not in state.said)
    return Step(_next(state, new, now, **update), new)


def _next(state: Sending, new: tuple[OrderEvent, ...], now: Now, **update: Any) -> Sending:
    ids = tuple(event.event_id for event in new if event.event is not EventType.FILL)
    late = tuple(event for event in state.outbox if event.ts_init_ns >= now.settled_ns)
    return evolve(
        state,
        said=(*state.said, *ids)[-MAX_KNOWN:],
        outbox=(*late, *new),
        ts_updated_ns=now.ns,
        **update,
    )


def _with(requests: tuple[Request, ...], new: Request) -> tuple[Request, ...]:
    """Add a request; of too many the oldest that are answered go, but for the order itself."""
    kept = list(requests)
    for one in requests:
        if len(kept) < MAX_KNOWN:
            break
        if not one.waiting and one.request_id != "submit":
            kept.remove(one)
    return (*kept, new)


def _without(requests: tuple[Request, ...], answer: Request, *, keep: bool) -> tuple[Request, ...]:
    """Note that a request is answered; `keep` its terms for what the broker does with them."""
    order = answer.order if keep and answer.request_id != "submit" else None
    done = evolve(answer, waiting=False, order=order)
    return tuple(done if one.request_id == answer.request_id else one for one in requests)
