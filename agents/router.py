"""Send each approved order to its broker.

In      orders.approved, key account
Out     venue.<broker>.orders, key account, at the virtual venue the symbol; orders.events
State   table `routes`: where each order went, written here only
Twice   the stored answer goes out again, with the same ids, whatever the rules say by then
Bad     an order that no rule routes, whose broker lacks what it asks, or that a kill switch
        covers by now, is rejected; a cancel or replace of an order that went nowhere is refused
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from streams.domain.build import evolve, make
from streams.domain.capabilities import Capabilities
from streams.domain.controls import ControlSet
from streams.domain.refusals import Code, refuse
from streams.domain.routing import Leg, Routed, route
from streams.domain.sessions import Calendar, Phase
from streams.models.market import LastPrice
from streams.models.orders import (
    ApprovedOrder,
    EventType,
    OrderEvent,
    Refusal,
    VenueOrder,
)
from streams.ports import Agent, Record, Unit
from streams.topics import ORDERS_EVENTS, VENUE_VIRTUAL_ORDERS, TopicSpec
from tables.routes import Routes

VENUE_TOPICS: dict[str, TopicSpec] = {"virtual": VENUE_VIRTUAL_ORDERS}


@dataclass(frozen=True, slots=True)
class RouterDeps:
    """What the router is given."""

    controls: Callable[[], ControlSet]
    price: Callable[[str], LastPrice | None]
    calendar: Calendar
    brokers: dict[str, Capabilities]


class Router(Agent[Routes]):
    """The router agent."""

    def __init__(self, deps: RouterDeps) -> None:
        self._deps = deps
        self._asked = (-1, 0)
        self._phase: Phase = "closed"

    def step(self, unit: Unit[Routes], record: Record) -> None:
        """Route one approved command; what concerns a child goes where its parent went."""
        order: ApprovedOrder = record.value
        key = f"{order.account}|{order.parent_order_id or order.order_id}"
        known = unit.get(key)
        if order.command == "submit":
            answer = known or self._decide(order, unit.now_ns)
            if known is None:
                unit.put(key, answer)
            self._publish_new(unit, order, answer)
        else:
            self._follow(unit, key, known, order)

    def _decide(self, order: ApprovedOrder, now_ns: int) -> Routes:
        controls = self._deps.controls()
        outcome = route(
            order,
            controls,
            self._deps.brokers,
            _middle(self._deps.price(order.terms.symbol)),
            self._phase_at(now_ns, controls.session_shift_ns()),
        )
        if isinstance(outcome, Refusal):
            return make(Routes, refusal=outcome)
        orders = tuple(_venue_order(order, outcome, leg, now_ns) for leg in outcome.legs)
        return make(Routes, orders=orders, rule=outcome.rule)

    def _phase_at(self, now_ns: int, shift_ns: int) -> Phase:
        """Return the part of the session; looked up once per batch, which has one `now_ns`."""
        if self._asked != (now_ns, shift_ns):
            self._phase = self._deps.calendar.session_at(now_ns, shift_ns).phase(now_ns)
            self._asked = now_ns, shift_ns
        return self._phase

    def _publish_new(self, unit: Unit[Routes], order: ApprovedOrder, answer: Routes) -> None:
        if answer.refusal is not None:
            unit.emit(ORDERS_EVENTS, order.account, _refused(order, answer.refusal, unit.now_ns))
        for sent in answer.orders:
            unit.emit(ORDERS_EVENTS, order.account, _routed(sent, answer.rule))
            _send(unit, sent, self._deps.brokers)

    def _follow(
        self, unit: Unit[Routes], key: str, known: Routes | None, order: ApprovedOrder
    ) -> None:
        """Send a cancel or replace where its order went."""
        if known is None or not known.orders:
            text = "the order was never sent to a broker"
            refusal = refuse(Code.NOT_ROUTED, text, actual=order.order_id)
            unit.emit(ORDERS_EVENTS, order.account, _refused(order, refusal, unit.now_ns))
            return
        if order.request_id not in known.answered:
            answered = (*known.answered[-63:], order.request_id)
            unit.put(key, known.model_copy(update={"answered": answered}))
        for sent in known.orders:
            child = order.parent_order_id is not None
            changed = sent.model_copy(
                update={
                    "client_order_id": order.client_order_id if child else sent.client_order_id,
                    "order_id": order.order_id,
                    "command": order.command,
                    "request_id": order.request_id,
                    "terms": _leg_terms(order, sent),
                    "revision": order.revision,
                    "ts_requested_ns": order.ts_requested_ns,
                    "ts_approved_ns": order.ts_event_ns,
                    "ts_event_ns": order.ts_event_ns,
                }
            )
            _send(unit, changed, self._deps.brokers)


def _venue_order(order: ApprovedOrder, outcome: Routed, leg: Leg, now_ns: int) -> VenueOrder:
    terms = order.terms
    if leg.qty is not None:
        terms = evolve(terms, qty=leg.qty)
    suffix = f"-{leg.name}" if leg.name else ""
    return make(
        VenueOrder,
        command="submit",
        broker=outcome.broker,
        client_order_id=f"{order.account}.{order.client_order_id}{suffix}",
        order_id=order.order_id,
        account=order.account,
        leg=leg.name,
        parent_qty=order.terms.qty if leg.name else None,
        strategy=order.strategy,
        request_id=order.request_id,
        terms=terms,
        revision=order.revision,
        ts_requested_ns=order.ts_requested_ns,
        ts_approved_ns=order.ts_event_ns,
        ts_event_ns=now_ns,
    )


def _leg_terms(order: ApprovedOrder, sent: VenueOrder) -> object:
    """Return a replace's terms for one leg: a new total changes the opening leg alone."""
    if not sent.leg or order.terms.qty is None or sent.parent_qty is None:
        return order.terms
    held = sent.terms.qty or Decimal(0)
    if sent.leg == "close":
        return order.terms.model_copy(update={"qty": held})
    closing = sent.parent_qty - held
    return order.terms.model_copy(update={"qty": max(order.terms.qty - closing, Decimal(0))})


def _send(unit: Unit[Routes], order: VenueOrder, brokers: dict[str, Capabilities]) -> None:
    by_symbol = brokers[order.broker].key == "symbol"
    unit.emit(VENUE_TOPICS[order.broker], order.terms.symbol if by_symbol else order.account, order)


def _routed(sent: VenueOrder, rule: str) -> OrderEvent:
    return make(
        OrderEvent,
        event_id=f"{sent.client_order_id}:routed",
        event=EventType.ROUTED,
        order_id=sent.order_id,
        account=sent.account,
        symbol=sent.terms.symbol,
        client_order_id=sent.client_order_id,
        leg=sent.leg,
        broker=sent.broker,
        strategy=sent.strategy,
        revision=sent.revision,
        terms=sent.terms if sent.leg else None,
        side=sent.terms.side,
        text=f"rule {rule}",
        ts_requested_ns=sent.ts_requested_ns,
        ts_event_ns=sent.ts_event_ns,
        ts_init_ns=sent.ts_event_ns,
    )


_REFUSALS = {
    "submit": EventType.REJECTED,
    "cancel": EventType.CANCEL_REJECTED,
    "replace": EventType.REPLACE_REJECTED,
}


def _refused(order: ApprovedOrder, refusal: Refusal, now_ns: int) -> OrderEvent:
    return make(
        OrderEvent,
        event_id=f"{order.account}.{order.order_id}:{order.request_id}:unrouted",
        event=_REFUSALS[order.command],
        order_id=order.order_id,
        account=order.account,
        symbol=order.terms.symbol,
        strategy=order.strategy,
        request_id=order.request_id,
        revision=order.revision,
        side=order.terms.side,
        terms=order.terms if order.command == "submit" else None,
        refusal=refusal,
        ts_requested_ns=order.ts_requested_ns,
        ts_event_ns=order.ts_event_ns,
        ts_init_ns=now_ns,
    )


def _middle(price: LastPrice | None) -> Decimal | None:
    if price is None:
        return None
    if price.bid is not None and price.ask is not None:
        return (price.bid + price.ask) / 2
    return price.last
