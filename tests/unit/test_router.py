"""The router agent: what it sends where, keeps, refuses, and does on the second delivery."""

from dataclasses import replace
from typing import Any

import pytest

from agents.router import Router, RouterDeps
from connectors.calendar import ExchangeCalendar
from streams.domain.capabilities import BROKERS, Capabilities
from streams.domain.controls import ControlSet
from streams.models.controls import AnyControl, KillSwitch, Routing
from streams.models.orders import ApprovedOrder
from streams.topics import (
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
)
from streams.transport.codec import encode
from tables.routes import ROUTES, RouteRow, Routes
from tests.builders import NOW_NS, SECOND, last_price, record
from tests.fakes import MemoryUnit
from tests.unit.test_routing import PLAIN, approved

NOWHERE = Routing(version=3, default_broker="")


def router(*rules: AnyControl, brokers: dict[str, Capabilities] = BROKERS) -> Router:
    """Return a router that sees these controls, and AIG at 50."""
    controls = ControlSet().with_records(rules)
    deps = RouterDeps(lambda: controls, {"AIG": last_price()}.get, ExchangeCalendar(), brokers)
    return Router(deps)


def run(
    agent: Router,
    *orders: ApprovedOrder,
    state: dict[str, RouteRow] | None = None,
    redelivered: bool = False,
    now_ns: int = NOW_NS,
) -> MemoryUnit[RouteRow]:
    """Play one batch and return its unit."""
    unit: MemoryUnit[RouteRow] = MemoryUnit({} if state is None else state, now_ns)
    for offset, order in enumerate(orders):
        agent.step(unit, record(order, ORDERS_APPROVED, offset, redelivered=redelivered))
    return unit


def follow(command: str, **terms: Any) -> ApprovedOrder:
    """Return an approved cancel or replace of order `o1`."""
    update = {"command": command, "request_id": f"{command}-1", "revision": 1}
    return approved(**terms).model_copy(update=update)


def test_an_order_goes_to_its_broker_with_an_id_that_follows_from_it() -> None:
    """On the symbol's partition at the virtual venue, with the times of the hops before."""
    unit = run(router(), approved())
    (sent,) = [each for each in unit.emitted if each.topic == VENUE_VIRTUAL_ORDERS.name]
    assert (sent.key, sent.partition_key) == ("AIG", "AIG")
    order = sent.value
    assert (order.broker, order.client_order_id) == ("virtual", "A1.o1")
    assert (order.terms, order.ts_event_ns) == (approved().terms, NOW_NS)
    (event,) = unit.values(ORDERS_EVENTS)
    assert (event.event_id, event.event) == ("A1.o1:routed", "routed")
    kept = unit.state["A1|o1"]
    assert isinstance(kept, Routes)
    assert kept.orders == (order,)


def test_a_second_delivery_sends_the_stored_answer_whatever_the_rules_say_by_then() -> None:
    """The same bytes, though no rule would route it now and the clock has moved."""
    first = run(router(), approved())
    kept = dict(first.state)
    again = run(router(NOWHERE), approved(), state=first.state, redelivered=True, now_ns=NOW_NS + 9)
    assert [encode(each.value) for each in again.emitted] == [
        encode(each.value) for each in first.emitted
    ]
    assert again.state == kept


def test_a_stored_refusal_is_not_decided_anew() -> None:
    """The order was refused once; it stays refused when a rule would take it."""
    first = run(router(NOWHERE), approved())
    again = run(router(), approved(), state=first.state, redelivered=True)
    assert [event.event_id for event in again.values(ORDERS_EVENTS)] == [
        event.event_id for event in first.values(ORDERS_EVENTS)
    ]
    assert again.values(VENUE_VIRTUAL_ORDERS) == []


REFUSED = [
    ((NOWHERE,), "NO_ROUTE", 3, "no rule and no default broker"),
    (
        (KillSwitch(scope="broker:virtual", engaged=True, version=5),),
        "KILL_SWITCH",
        5,
        "its broker",
    ),
    (
        (KillSwitch(scope="symbol:AIG", engaged=True, version=6),),
        "KILL_SWITCH",
        6,
        "since it passed",
    ),
    ((KillSwitch(engaged=True, version=7),), "KILL_SWITCH", 7, "everything"),
]


@pytest.mark.parametrize(("rules", "code", "version", "reason"), REFUSED)
def test_what_may_not_go_is_rejected(
    rules: tuple[AnyControl, ...], code: str, version: int, reason: str
) -> None:
    """An event with the refusal and the terms; nothing for a broker."""
    unit = run(router(*rules), approved())
    (event,) = unit.values(ORDERS_EVENTS)
    assert (event.event, event.refusal.code) == ("rejected", code)
    assert (event.refusal.rules_version, event.terms) == (version, approved().terms)
    assert unit.values(VENUE_VIRTUAL_ORDERS) == []


@pytest.mark.parametrize("scope", ["broker:other", "account:A2", "symbol:IBM", "strategy:x"])
def test_a_kill_switch_of_something_else_stops_nothing(scope: str) -> None:
    """Nor does one that is released."""
    rules = (KillSwitch(scope=scope, engaged=True, version=1), KillSwitch(version=2))
    assert len(run(router(*rules), approved()).values(VENUE_VIRTUAL_ORDERS)) == 1


@pytest.mark.parametrize("command", ["cancel", "replace"])
def test_a_cancel_or_replace_follows_its_order(command: str) -> None:
    """To the same broker under the same id, also while a kill switch is engaged."""
    state = run(router(), approved()).state
    stopped = router(KillSwitch(engaged=True, version=1))
    (sent,) = run(stopped, follow(command, limit_price="51"), state=state).values(
        VENUE_VIRTUAL_ORDERS
    )
    assert (sent.command, sent.client_order_id) == (command, "A1.o1")
    assert (sent.request_id, sent.revision) == (f"{command}-1", 1)
    assert sent.terms.limit_price == 51


@pytest.mark.parametrize(
    ("command", "event"), [("cancel", "cancel_rejected"), ("replace", "replace_rejected")]
)
@pytest.mark.parametrize("rejected", [True, False])
def test_a_request_for_an_order_that_went_nowhere_is_refused(
    command: str, event: str, rejected: bool
) -> None:
    """It was rejected here, or never came."""
    state = run(router(NOWHERE), approved()).state if rejected else {}
    (said,) = run(router(), follow(command), state=state).values(ORDERS_EVENTS)
    assert (said.event, said.refusal.code) == (event, "NOT_ROUTED")


def test_a_repeated_request_is_sent_again_and_kept_once() -> None:
    """Redelivered or not: the broker knows it by its request id."""
    state = run(router(), approved()).state
    first = run(router(), follow("cancel"), state=state)
    kept = dict(first.state)
    again = run(router(), follow("cancel"), state=first.state, redelivered=True)
    assert again.emitted == first.emitted
    assert again.state == kept


def test_a_flip_is_sent_as_two_legs_and_its_replace_changes_the_opening_one() -> None:
    """Sell 10 while 4 are held: close 4, open 6; as 15, open 11."""
    agent = router(brokers={"virtual": replace(PLAIN, broker="virtual", key="symbol")})
    unit = run(agent, approved("4", side="sell"))
    legs = unit.values(VENUE_VIRTUAL_ORDERS)
    assert [(leg.leg, leg.terms.qty, leg.client_order_id) for leg in legs] == [
        ("close", 4, "A1.o1-close"),
        ("open", 6, "A1.o1-open"),
    ]
    assert [event.event_id for event in unit.values(ORDERS_EVENTS)] == [
        "A1.o1-close:routed",
        "A1.o1-open:routed",
    ]
    changed = run(agent, follow("replace", side="sell", qty="15"), state=unit.state)
    assert [leg.terms.qty for leg in changed.values(VENUE_VIRTUAL_ORDERS)] == [4, 11]


def test_what_is_kept_can_be_read_again() -> None:
    """As the changelog has it, a refusal and orders alike."""
    for rules in ((), (NOWHERE,)):
        for kept in run(router(*rules), approved()).state.values():
            assert ROUTES.adapter().validate_json(encode(kept)) == kept


def test_an_order_across_a_network_has_a_time_until_which_it_is_sent() -> None:
    """From its routing on; its cancel has one from its approval on. At the virtual venue none."""
    rule = Routing(version=3, default_broker="rest")
    first = run(router(rule), approved())
    (sent,) = [each for each in first.emitted if each.topic == VENUE_REST_ORDERS.name]
    assert (sent.key, sent.value.valid_until_ns) == ("A1", NOW_NS + 30 * SECOND)
    later = run(router(rule), follow("cancel"), state=first.state, now_ns=NOW_NS + 9)
    (cancel,) = later.values(VENUE_REST_ORDERS)
    assert cancel.valid_until_ns == follow("cancel").ts_event_ns + 30 * SECOND
    (virtual,) = run(router(), approved()).values(VENUE_VIRTUAL_ORDERS)
    assert virtual.valid_until_ns is None


def test_a_broker_that_is_not_connected_gets_nothing_new() -> None:
    """Its orders are refused; a cancel of an order that it has goes there all the same."""
    rule = Routing(version=3, default_broker="rest")
    absent = {name: caps for name, caps in BROKERS.items() if name != "rest"}
    (event,) = run(router(rule, brokers=absent), approved()).values(ORDERS_EVENTS)
    assert event.refusal.code == "UNKNOWN_BROKER"
    first = run(router(rule), approved())
    later = run(router(rule, brokers=absent), follow("cancel"), state=first.state)
    assert len(later.values(VENUE_REST_ORDERS)) == 1
