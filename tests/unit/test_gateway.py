"""The gateway agent: orders and ticks in, events and table records out."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agents.gateway import KEEP_NS, STATE_FIRST_NS, Gateway
from connectors.brokers.virtual import VirtualBroker
from streams.domain.controls import ControlSet
from streams.models.controls import SessionShift
from streams.models.orders import VenueOrder
from streams.ports import Record
from streams.topics import (
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_EVENTS,
    STATEMENTS,
    VENUE_VIRTUAL_ORDERS,
    TopicSpec,
)
from tables.venue import VENUE, VenueRecord
from tests.builders import NOW_NS, SECOND, record, trade
from tests.fakes import MemoryUnit
from tests.unit.matching_world import HOUR, EveryDay, asks, config, venue_order

REMEMBER_NS = 600 * SECOND
STATE_EVERY_NS = 60 * SECOND


class Desk:
    """A gateway and its table, over several batches and restarts."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {"follow_clock": True} | settings
        self.state: dict[str, VenueRecord] = {}
        self.controls = ControlSet()
        self.offsets: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """Start a gateway on the table as it is, as JSON kept it."""
        adapter = VENUE.adapter()
        self.state = {
            key: adapter.validate_json(adapter.dump_json(value))
            for key, value in self.state.items()
        }
        broker = VirtualBroker(config(**self.settings), EveryDay())
        self.gateway = Gateway(broker, lambda: self.controls, REMEMBER_NS, STATE_EVERY_NS)
        self.gateway.on_assigned(0, self.state.items())

    def batch(self, *values: Any, now_ns: int = NOW_NS) -> MemoryUnit[VenueRecord]:
        """Play one batch of values, each as a new record."""
        return self.play([self.record(value) for value in values], now_ns)

    def record(self, value: Any) -> Record:
        """Return a new record of a value's topic."""
        topic = _topic(value)
        offset = self.offsets.get(topic.name, 0)
        self.offsets[topic.name] = offset + 1
        return record(value, topic, offset, key="AIG")

    def play(self, records: list[Record], now_ns: int = NOW_NS) -> MemoryUnit[VenueRecord]:
        """Play one batch of records."""
        unit: MemoryUnit[VenueRecord] = MemoryUnit(state=self.state, now_ns=now_ns)
        for each in records:
            self.gateway.step(unit, each)
        self.gateway.on_batch_end(unit)
        return unit

    def timer(self, now_ns: int) -> MemoryUnit[VenueRecord]:
        """Let the timer run."""
        unit: MemoryUnit[VenueRecord] = MemoryUnit(state=self.state, now_ns=now_ns)
        self.gateway.on_timer(unit)
        return unit


def stated(unit: MemoryUnit[VenueRecord]) -> list[tuple[str, str, Decimal]]:
    """Return what a unit states: the order, how it is, and what it has executed."""
    orders = [order for one in unit.values(STATEMENTS) for order in one.orders]
    return [(one.order_id, one.state, one.cum_qty) for one in orders]


def test_what_the_venue_has_is_stated_now_and_then() -> None:
    """Open orders each time; what closed is stated for three intervals, then no more."""
    desk = Desk()
    desk.batch(asks("50.00", "10"), venue_order(qty="10"), venue_order("o2", limit_price="40"))
    assert stated(desk.timer(NOW_NS + SECOND)) == []
    soon = desk.timer(NOW_NS + STATE_FIRST_NS)
    assert stated(soon) == [("o2", "open", Decimal(0)), ("o1", "closed", Decimal(10))]
    assert {(each.key, each.value.symbol) for each in soon.emitted} == {("A1", "AIG")}
    seen = []
    for interval in range(1, 4):
        at_ns = NOW_NS + STATE_FIRST_NS + interval * STATE_EVERY_NS
        seen += [len(stated(desk.timer(at_ns - 1))), len(stated(desk.timer(at_ns)))]
    assert seen == [0, 2, 0, 2, 0, 1]


def _topic(value: Any) -> TopicSpec:
    if isinstance(value, VenueOrder):
        return VENUE_VIRTUAL_ORDERS
    return MARKET_TRADES if hasattr(value, "price") else MARKET_QUOTES


def kinds(unit: MemoryUnit[VenueRecord]) -> list[str]:
    """Return the kinds of the events a unit published."""
    return [event.event.value for event in unit.values(ORDERS_EVENTS)]


def marked(each: Record) -> Record:
    """Return the record as the transport delivers it again."""
    each.redelivered = True
    return each


def test_an_order_is_accepted_and_filled_under_its_account() -> None:
    """Events go out keyed by account; table keys begin with the symbol."""
    desk = Desk()
    unit = desk.batch(asks("50.00", "100"), venue_order())
    assert kinds(unit) == ["accepted", "fill"]
    assert {each.key for each in unit.emitted} == {"A1"}
    orders = f"AIG#{VENUE_VIRTUAL_ORDERS.name}#{0:020d}"
    assert sorted(desk.state) == ["AIG", orders, "AIG|A1.o1"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_redelivered_record_publishes_the_same_again(restarted: bool) -> None:
    """The same events with the same ids and times; table and venue stay as they are."""
    desk = Desk()
    records = [desk.record(each) for each in (asks("50.00", "4"), venue_order(), trade(price="49"))]
    first = desk.play(records)
    if restarted:
        desk.start()
    before = dict(desk.state)
    again = desk.play([marked(each) for each in records], NOW_NS + SECOND)
    assert again.emitted == first.emitted
    assert kinds(first) == ["accepted", "fill", "fill"]
    assert desk.state == before


def test_an_id_that_comes_again_executes_once() -> None:
    """As an open order or a closed one, before and after a restart: a `duplicate`, no fill."""
    desk = Desk()
    desk.batch(venue_order())
    assert kinds(desk.batch(venue_order())) == ["duplicate"]
    assert kinds(desk.batch(asks("49.00", "100"))) == ["fill"]
    assert kinds(desk.batch(venue_order())) == ["duplicate"]
    desk.start()
    assert kinds(desk.batch(venue_order())) == ["duplicate"]


def test_a_taken_id_is_a_dead_letter() -> None:
    """An id with other content changes nothing."""
    desk = Desk()
    desk.batch(venue_order())
    unit = desk.batch(venue_order(qty="11"))
    assert [each.code for each in unit.dead_letters] == ["CONFLICT"]
    assert kinds(unit) == []


def test_an_order_for_another_broker_is_a_dead_letter() -> None:
    """It is not executed here."""
    unit = Desk().batch(asks("49.00", "100"), venue_order(broker="alpaca"))
    assert [each.code for each in unit.dead_letters] == ["WRONG_BROKER"]
    assert kinds(unit) == []


@pytest.mark.parametrize(
    ("before", "command", "expected"),
    [
        ([], "cancel", ["cancel_rejected"]),
        ([venue_order()], "cancel", ["pending_cancel", "canceled"]),
        ([venue_order()], "replace", ["pending_replace", "replaced"]),
        ([asks("49.00", "100"), venue_order()], "cancel", ["cancel_rejected"]),
        ([asks("49.00", "100"), venue_order()], "replace", ["replace_rejected"]),
    ],
)
def test_changes(before: list[Any], command: str, expected: list[str]) -> None:
    """Unknown or closed: refused. Open: done. The same request again: `duplicate`."""
    desk = Desk()
    desk.batch(*before)
    change = venue_order(command=command, request_id="r1")
    assert kinds(desk.batch(change)) == expected
    if "rejected" not in expected[0]:
        assert kinds(desk.batch(change)) == ["duplicate"]


def test_a_restart_goes_on_with_the_same_market_and_orders() -> None:
    """An open order fills after a restart as it would have before it, off what was left."""
    desk = Desk()
    desk.batch(asks("50.00", "12"), venue_order("o1"), venue_order("o2"))
    desk.start()
    unit = desk.batch(venue_order("o3"), asks("49.90", "100"))
    fills = [(e.order_id, str(e.fill.last_qty)) for e in unit.values(ORDERS_EVENTS) if e.fill]
    assert fills == [("o2", "8"), ("o3", "10")]


def test_latency_that_our_time_has_passed_is_over_at_once() -> None:
    """An order that was on the way longer than its latency takes effect when it comes."""
    desk = Desk(latency_ns=SECOND)
    assert kinds(desk.batch(venue_order())) == []
    assert kinds(desk.timer(NOW_NS + 2 * SECOND)) == ["accepted"]
    assert kinds(desk.batch(venue_order("o2"), now_ns=NOW_NS + 2 * SECOND)) == ["accepted"]


def test_time_expires_orders_and_says_so_again_after_a_crash() -> None:
    """What the timer published may be lost with a crash: the next start publishes it again."""
    desk = Desk()
    desk.batch(venue_order())
    close = NOW_NS + 5 * HOUR + HOUR // 2
    first = desk.timer(close)
    assert kinds(first) == ["expired"]
    desk.start()
    assert desk.timer(close + SECOND).values(ORDERS_EVENTS) == first.values(ORDERS_EVENTS)
    assert kinds(desk.timer(close + 2 * SECOND)) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_old_is_forgotten(restarted: bool) -> None:
    """Events after a minute, closed orders after ten; markets and open orders stay."""
    desk = Desk()
    desk.batch(asks("50.00", "10"), venue_order("o1"), venue_order("o2", time_in_force="gtc"))
    if restarted:
        desk.start()
        desk.timer(NOW_NS)
    desk.timer(NOW_NS + KEEP_NS)
    assert sorted(desk.state) == ["AIG", "AIG|A1.o1", "AIG|A1.o2"]
    desk.timer(NOW_NS + REMEMBER_NS)
    assert sorted(desk.state) == ["AIG", "AIG|A1.o2"]


@pytest.mark.parametrize("first", ["tick", "timer"])
def test_what_was_published_outlasts_a_long_absence(first: str) -> None:
    """The worker died before a fill got out, and was away for longer than events are kept.

    What came meanwhile must not make it forget the fill before its record is delivered again.
    """
    desk = Desk()
    order = desk.record(venue_order())
    lost = kinds(desk.play([desk.record(asks("50.00", "10")), order]))
    assert "fill" in lost
    desk.start()
    back_ns = NOW_NS + 2 * KEEP_NS
    if first == "tick":
        desk.batch(asks("50.00", "10"), now_ns=back_ns)
    else:
        desk.timer(back_ns)
    assert kinds(desk.play([replace(order, redelivered=True)], back_ns + SECOND)) == lost
    desk.timer(back_ns + SECOND + KEEP_NS)
    assert [key for key in desk.state if "#venue" in key] == []


def test_a_revoked_partition_is_forgotten() -> None:
    """Its orders work elsewhere: what comes here later finds no trace of them."""
    desk = Desk()
    desk.batch(asks("50.00", "4"), venue_order())
    desk.gateway.on_revoked(0)
    desk.state.clear()
    assert kinds(desk.batch(asks("49.00", "100"))) == []


def test_a_step_that_is_taken_back_loses_no_earlier_order() -> None:
    """The runner rebuilds the agent from the table after a step that raised."""
    desk = Desk(latency_ns=SECOND)
    unit: MemoryUnit[VenueRecord] = MemoryUnit(state=desk.state, now_ns=NOW_NS)
    desk.gateway.step(unit, desk.record(venue_order()))
    desk.gateway.on_revoked(0)
    desk.gateway.on_assigned(0, list(desk.state.items()))
    desk.gateway.on_batch_end(unit)
    assert kinds(desk.timer(NOW_NS + 2 * SECOND)) == ["accepted"]


def test_sessions_follow_the_shift_control() -> None:
    """With the session shifted away, a regular order waits."""
    desk = Desk()
    shift = SessionShift(version=1, shift_ns=12 * HOUR)
    desk.controls = ControlSet().with_records([shift])
    assert kinds(desk.batch(asks("49.00", "100"), venue_order())) == ["accepted"]


def test_what_a_batch_end_brings_is_published_again_with_its_last_record() -> None:
    """The last record's own events and those of the batch's end, in that order."""
    desk = Desk()
    desk.batch(venue_order("o1"))
    close = NOW_NS + 5 * HOUR + HOUR // 2
    last = desk.record(venue_order("o2", time_in_force="gtc", ts_approved_ns=close))
    first = desk.play([last], close)
    assert kinds(first) == ["accepted", "expired"]
    desk.start()
    assert desk.play([marked(last)], close).emitted == first.emitted
