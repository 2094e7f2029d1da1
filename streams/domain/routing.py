"""Which broker gets an order, and in how many legs.

`route` is a function of the order, the rules and the broker's abilities. The first rule that
matches wins; then the default broker; then the order is refused.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from streams.domain.capabilities import Capabilities
from streams.domain.controls import ControlSet
from streams.domain.refusals import Code, refuse
from streams.domain.sessions import Phase
from streams.domain.switches import lets_pass
from streams.models.controls import Route
from streams.models.orders import ApprovedOrder, OrderClass, OrderTerms, Refusal, Side


@dataclass(frozen=True, slots=True)
class Leg:
    """One order for the broker: all of the approved one, or its closing or opening part."""

    name: Literal["", "close", "open"]
    qty: Decimal | None


@dataclass(frozen=True, slots=True)
class Routed:
    """Where an order goes, by which rule, in which legs."""

    broker: str
    rule: str
    legs: tuple[Leg, ...]


WHOLE = (Leg("", None),)


def route(
    order: ApprovedOrder,
    controls: ControlSet,
    brokers: dict[str, Capabilities],
    price: Decimal | None,
    phase: Phase,
) -> Routed | Refusal:
    """Return where a new order goes, or why it goes nowhere.

    `price` is the last price, for rules on an order's value; without one such a rule does not
    match. `phase` is the part of the session the order arrives in.
    """
    routing = controls.routing()
    instrument = controls.instrument(order.terms.symbol)
    asset_class = instrument.asset_class if instrument else ""
    value = _value(order.terms, price) if routing.routes else None
    for rule in routing.routes:
        if _matches(rule, order, asset_class, value, phase):
            return _checked(order, rule.broker, rule.name, brokers, controls, routing.version)
    if not routing.default_broker:
        return refuse(
            Code.NO_ROUTE,
            "no routing rule matches and there is no default broker",
            limit=f"{len(routing.routes)} rules",
            actual=f"{order.terms.symbol} {order.account}",
            version=routing.version,
        )
    return _checked(order, routing.default_broker, "default", brokers, controls, routing.version)


def _matches(
    rule: Route, order: ApprovedOrder, asset_class: str, value: Decimal | None, phase: Phase
) -> bool:
    listed = (
        (rule.symbols, order.terms.symbol),
        (rule.asset_classes, asset_class),
        (rule.accounts, order.account),
        (rule.sessions, phase),
    )
    return all(not allowed or actual in allowed for allowed, actual in listed) and (
        _within(order.terms.qty, rule.min_qty, rule.max_qty)
        and _within(value, rule.min_value, rule.max_value)
    )


def _within(actual: Decimal | None, low: Decimal | None, high: Decimal | None) -> bool:
    if low is None and high is None:
        return True
    if actual is None:
        return False
    return (low is None or actual >= low) and (high is None or actual <= high)


def _value(terms: OrderTerms, price: Decimal | None) -> Decimal | None:
    if terms.notional is not None:
        return terms.notional
    each = terms.limit_price or terms.stop_price or price
    return None if each is None or terms.qty is None else each * terms.qty


def _checked(
    order: ApprovedOrder,
    broker: str,
    rule: str,
    brokers: dict[str, Capabilities],
    controls: ControlSet,
    rules_version: int,
) -> Routed | Refusal:
    caps = brokers.get(broker)
    if caps is None:
        known = ", ".join(sorted(brokers))
        text = f"rule {rule} names no known broker"
        return refuse(Code.UNKNOWN_BROKER, text, limit=known, actual=broker, version=rules_version)
    switch = controls.kill_switch(order.account, order.terms.symbol, order.strategy, broker=broker)
    if switch is not None and not lets_pass(switch, order.terms):
        text = f"the kill switch of scope {switch.scope} is engaged"
        return refuse(Code.KILL_SWITCH, text, limit="off", actual="on", version=switch.version)
    lacking = _lacking(order.terms, caps)
    if lacking is not None:
        what, limit, actual = lacking
        text = f"broker {broker} does not take this {what}"
        return refuse(
            Code.UNSUPPORTED_BY_BROKER, text, limit=limit, actual=actual, version=rules_version
        )
    return Routed(broker, rule, legs(order, caps))


def _lacking(terms: OrderTerms, caps: Capabilities) -> tuple[str, str, str] | None:
    """Return what the broker lacks for an order: (what, what it takes, what was asked)."""
    fractional = terms.qty is not None and terms.qty != terms.qty.to_integral_value()
    needs: tuple[tuple[str, bool, object, object], ...] = (
        ("order type", terms.type in caps.types, caps.types, terms.type),
        (
            "time in force",
            terms.time_in_force in caps.times_in_force,
            caps.times_in_force,
            terms.time_in_force,
        ),
        ("order class", terms.order_class in caps.classes, caps.classes, terms.order_class),
        ("fractional quantity", caps.fractional or not fractional, "whole shares", terms.qty),
        ("notional order", caps.notional or terms.notional is None, "qty", terms.notional),
        (
            "extended-hours order",
            caps.extended_hours or not terms.extended_hours,
            "regular hours",
            "extended_hours",
        ),
    )
    for what, able, limit, actual in needs:
        if not able:
            shown = ", ".join(sorted(limit)) if isinstance(limit, frozenset) else str(limit)
            return what, shown, str(actual)
    return None


def legs(order: ApprovedOrder, caps: Capabilities) -> tuple[Leg, ...]:
    """Return the legs of an order: two, where it crosses zero and the broker wants that split.

    Only a simple order with a quantity can be split: a bracket belongs to one opening order.
    """
    terms, held = order.terms, order.position_qty
    if not caps.splits_flips or terms.qty is None or terms.order_class is not OrderClass.SIMPLE:
        return WHOLE
    against = held > 0 if terms.side is Side.SELL else held < 0
    if not against or terms.qty <= abs(held):
        return WHOLE
    return Leg("close", abs(held)), Leg("open", terms.qty - abs(held))
