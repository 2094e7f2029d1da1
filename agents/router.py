"""Send each approved order to its broker.

In      orders.approved, key account
Out     venue.<broker>.orders, key account, at the virtual venue the symbol; orders.events
State   table `routes`: where each order went, written here only; a route leaves when its order
        must be over
Twice   the stored answer goes out again, with the same ids, whatever the rules say by then; one
        that has left is not made anew: NO_VERDICT
Bad     an order that no rule routes, whose broker lacks what it asks, that a kill switch covers
        by now, or that is so old that its route may have left, is rejected; a cancel or replace
        of an order that went nowhere is refused
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from streams.domain.aging import DAY_NS, day_after
from streams.domain.build import evolve, make
from streams.domain.capabilities import Capabilities
from streams.domain.controls import ControlSet
from streams.domain.exposure import day_of
from streams.domain.refusals import Code, refuse
from streams.domain.routing import Leg, Routed, route
from streams.domain.sessions import Calendar, Phase
from streams.models.market import LastPrice
from streams.models.orders import (
    ApprovedOrder,
    EventType,
    OrderEvent,
    Refusal,
    TimeInForce,
    VenueOrder,
)
from streams.ports import Agent, Record, Unit
from streams.topics import ORDERS_EVENTS, VENUE_REST_ORDERS, VENUE_VIRTUAL_ORDERS, TopicSpec
from tables.aging import Sweeps, leave_later
from tables.routes import GTC_ROUTE_DAYS, ROUTE_DAYS, RouteRow, Routes

VENUE_TOPICS: dict[str, TopicSpec] = {
    "virtual": VENUE_VIRTUAL_ORDERS,
    "rest": VENUE_REST_ORDERS,
}
#: The broker inside the gateway's process: what is routed there is there.
IN_PROCESS = "virtual"


@dataclass(frozen=True, slots=True)
class RouterDeps:
    """What the router is given."""

    controls: Callable[[], ControlSet]
    price: Callable[[str], LastPrice | None]
    calendar: Calendar
    brokers: dict[str, Capabilities]
    send_within_ns: int = 30_000_000_000


class Router(Agent[RouteRow]):
    """The router agent."""

    def __init__(self, deps: RouterDeps) -> None:
        self._deps = deps
        self._kept: dict[int, dict[str, str]] = {}
        self._sweeps = Sweeps()
        self._asked = (-1, 0)
        self._phase: Phase = "closed"

    def step(self, unit: Unit[RouteRow], record: Record) -> None:
        """Route one approved command; what concerns a child goes where its parent went."""
        order: ApprovedOrder = record.value
        key = f"{order.account}|{order.parent_order_id or order.order_id}"
        found = unit.get(key)
        known = found if isinstance(found, Routes) else None
        if order.command != "submit":
            self._follow(unit, key, known, order)
        elif known is None and record.redelivered:
            text = "redelivered, and where it went is not known any more; nothing was done"
            unit.dead_letter(record, "NO_VERDICT", text)
        else:
            answer = known or self._decide(order, unit.now_ns)
            if known is None:
                self._keep(unit, key, answer, order)
            self._publish_new(unit, order, answer)

    def _keep(self, unit: Unit[RouteRow], key: str, routes: Routes, order: ApprovedOrder) -> None:
        """Keep a route until its order must be over; a command that comes later prolongs it."""
        gtc = order.terms.time_in_force is TimeInForce.GTC
        until = day_after(day_of(unit.now_ns), GTC_ROUTE_DAYS if gtc else ROUTE_DAYS)
        if until > routes.until:
            routes = evolve(routes, until=until)
            self._kept.setdefault(unit.partition, {})[key] = until
        unit.put(key, routes)

    def on_batch_end(self, unit: Unit[RouteRow]) -> None:
        """Note when the routes of the batch leave."""
        by_day: dict[str, list[str]] = {}
        for key, day in self._kept.pop(unit.partition, {}).items():
            by_day.setdefault(day, []).append(key)
        for day, keys in by_day.items():
            leave_later(unit, day, keys)

    def on_timer(self, unit: Unit[RouteRow]) -> None:
        """Let routes go whose day has come."""
        today = day_of(unit.now_ns)
        for key in self._sweeps.keys(unit) if self._sweeps.due(unit) else ():
            routes = unit.get(key)
            if isinstance(routes, Routes) and routes.until < today:
                unit.delete(key)

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when the next sweep can find something."""
        del partition
        return self._sweeps.idle_until(ts_ns)

    def on_revoked(self, partition: int) -> None:
        """Forget when the partition was swept."""
        self._sweeps.forget(partition)

    def _decide(self, order: ApprovedOrder, now_ns: int) -> Routes:
        if now_ns - order.ts_event_ns > ROUTE_DAYS * DAY_NS:
            return make(Routes, refusal=_too_old(order, now_ns))
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
        until_ns = self._valid_until(outcome.broker, now_ns)
        orders = tuple(_venue_order(order, outcome, leg, now_ns, until_ns) for leg in outcome.legs)
        return make(Routes, orders=orders, rule=outcome.rule)

    def _phase_at(self, now_ns: int, shift_ns: int) -> Phase:
        """Return the part of the session; looked up once per batch, which has one `now_ns`."""
        if self._asked != (now_ns, shift_ns):
            self._phase = self._deps.calendar.session_at(now_ns, shift_ns).phase(now_ns)
            self._asked = now_ns, shift_ns
        return self._phase

    def _valid_until(self, broker: str, from_ns: int) -> int | None:
        """Return until when a command may be sent to a broker across a network."""
        return None if broker == IN_PROCESS else from_ns + self._deps.send_within_ns

    def _publish_new(self, unit: Unit[RouteRow], order: ApprovedOrder, answer: Routes) -> None:
        if answer.refusal is not None:
            unit.emit(ORDERS_EVENTS, order.account, _refused(order, answer.refusal, unit.now_ns))
        for sent in answer.orders:
            unit.emit(ORDERS_EVENTS, order.account, _routed(sent, answer.rule))
            _send(unit, sent, self._deps.brokers)

    def _follow(
        self, unit: Unit[RouteRow], key: str, known: Routes | None, order: ApprovedOrder
    ) -> None:
        """Send a cancel or replace where its order went."""
        if known is None or not known.orders:
            text = "the order was never sent to a broker, or its route has left"
            refusal = refuse(Code.NOT_ROUTED, text, actual=order.order_id)
            unit.emit(ORDERS_EVENTS, order.account, _refused(order, refusal, unit.now_ns))
            return
        if order.request_id not in known.answered:
            answered = (*known.answered[-63:], order.request_id)
            self._keep(unit, key, evolve(known, answered=answered), order)
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
                    "valid_until_ns": self._valid_until(sent.broker, order.ts_event_ns),
                }
            )
            _send(unit, changed, self._deps.brokers)


def _venue_order(
    order: ApprovedOrder, outcome: Routed, leg: Leg, now_ns: int, until_ns: int | None
) -> VenueOrder:
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
        valid_until_ns=until_ns,
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


def _send(unit: Unit[RouteRow], order: VenueOrder, brokers: dict[str, Capabilities]) -> None:
    caps = brokers.get(order.broker)  # None: it was a broker when the order was routed
    by_symbol = caps is not None and caps.key == "symbol"
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


def _too_old(order: ApprovedOrder, now_ns: int) -> Refusal:
    text = "approved so long ago that it may have been routed and forgotten"
    actual = f"{(now_ns - order.ts_event_ns) // DAY_NS} days"
    return refuse(Code.ORDER_TOO_OLD, text, limit=f"{ROUTE_DAYS} days", actual=actual)


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
