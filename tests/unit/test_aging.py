"""What is old leaves the tables, and what comes for it later is known for what it is."""

from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.positions import Positions
from agents.router import Router
from agents.tracker import Tracker
from streams.domain.aging import EXECUTION_DAYS, GONE_DAYS, KEEP_DAYS, Gone, Leaving
from streams.domain.exposure import day_of
from streams.domain.exposure_models import RiskAccount
from streams.domain.order_state import OrderState
from streams.models.orders import OrderEvent, OrderTerms
from streams.ports import Agent, Record, Unit
from streams.topics import (
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    POSITIONS_UPDATES,
    VENUE_VIRTUAL_ORDERS,
    TopicSpec,
)
from streams.transport.codec import encode
from streams.web import views
from streams.web.problems import ProblemError
from tables.aging import SWEEP, SWEEP_EVERY_NS, Sweeps, leave_later
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.risk import RISK
from tables.routes import GTC_ROUTE_DAYS, ROUTE_DAYS, ROUTES
from tests.builders import NOW_NS, SECOND, cancel, event, fill, record, submit
from tests.fakes import MemoryUnit
from tests.unit.risk_builders import Desk, verdict_of
from tests.unit.test_positions_agent import Market
from tests.unit.test_router import follow, router
from tests.unit.test_routing import approved

DAY = 24 * 3600 * SECOND
TERMS = OrderTerms(
    symbol="AIG", side="buy", type="limit", qty="10", time_in_force="day", limit_price="50"
)


class Played:
    """An agent over its table, on a clock that jumps days."""

    def __init__(self, agent: Agent[Any], topic: TopicSpec) -> None:
        self.agent = agent
        self.topic = topic
        self.state: dict[str, Any] = {}
        self.now_ns = NOW_NS
        self.offset = 0

    def play(self, *values: Any, redelivered: bool = False) -> MemoryUnit[Any]:
        """Play one batch of new records."""
        unit: MemoryUnit[Any] = MemoryUnit(self.state, self.now_ns)
        for value in values:
            self.agent.step(unit, self.record(value, redelivered))
        self.agent.on_batch_end(unit)
        return unit

    def record(self, value: Any, redelivered: bool) -> Record:
        """Return a record of the next offset, written now."""
        self.offset += 1
        return record(
            value,
            self.topic,
            self.offset,
            redelivered=redelivered,
            timestamp_ms=self.now_ns // 1_000_000,
        )

    def sleep(self, days: int, restarted: bool = False) -> None:
        """Let days pass, and the timer run until nothing more is due."""
        if restarted:
            self.agent.on_revoked(0)
        self.now_ns += days * DAY
        for _ in range(5):
            self.now_ns += SWEEP_EVERY_NS
            self.agent.on_timer(MemoryUnit(self.state, self.now_ns))

    def kind(self, key: str) -> str:
        """Return what kind of record stands under a key."""
        return str(self.state[key].kind)

    def keys(self) -> set[str]:
        """Return the keys of what is there, but for what says when it is due."""
        return {key for key in self.state if not key.startswith("~")}


def codes(unit: MemoryUnit[Any]) -> list[str]:
    """Return the codes of the dead letters."""
    return [letter.code for letter in unit.dead_letters]


def said(unit: MemoryUnit[Any]) -> list[str]:
    """Return the code of each refusal, or the event's name."""
    return [verdict_of(each) for each in unit.values(ORDERS_EVENTS)]


# --- the gate -----------------------------------------------------------------------------------


def rest(desk: Desk, days: int) -> None:
    """Let days pass for a desk."""
    desk.now_ns += days * DAY
    for _ in range(3):
        desk.now_ns += SWEEP_EVERY_NS
        desk.validator.on_timer(MemoryUnit(desk.state, desk.now_ns))


def closed_desk() -> Desk:
    """Return a desk whose one order has been over for long enough to leave."""
    desk = Desk()
    desk.send(submit(), cancel())
    desk.hear(event("canceled"))
    rest(desk, KEEP_DAYS + 1)
    return desk


def test_of_an_order_that_left_its_id_stays_and_is_refused() -> None:
    """The same again is a duplicate, other content a conflict, as long as any topic keeps it."""
    desk = closed_desk()
    left = desk.state["A1|o1"]
    assert isinstance(left, Gone)
    assert {key for key in desk.state if not key.startswith("~")} == {"A1", "A1|o1"}
    for days in (0, GONE_DAYS - 1):
        rest(desk, days)
        assert said(desk.send(submit(), submit(qty="11"))) == ["duplicate", "CONFLICT"]
    assert desk.state["A1|o1"] == left
    rest(desk, 3)
    assert set(desk.state) == {"A1"}


def test_what_is_asked_of_an_order_that_left_comes_too_late() -> None:
    """The answer goes after a week; what is known of the order stays its time."""
    desk = closed_desk()
    assert said(desk.send(cancel(request_id="c2"))) == ["TOO_LATE"]
    rest(desk, KEEP_DAYS + 1)
    assert {key for key in desk.state if not key.startswith("~")} == {"A1", "A1|o1"}
    assert isinstance(desk.state["A1|o1"], Gone)


def test_a_redelivered_order_that_left_is_never_judged_anew() -> None:
    """Its verdict is gone; nothing is sent."""
    unit = closed_desk().play([record(submit(), redelivered=True)])
    assert (codes(unit), unit.emitted) == (["NO_VERDICT"], [])


@pytest.mark.parametrize(
    ("days", "qty", "reason"),
    [
        (0, 0, "may have been counted with its order"),
        (KEEP_DAYS + 1, 0, "on the day the order left: likewise"),
        (KEEP_DAYS + 2, 4, "happened after the order left: cannot have been counted"),
    ],
)
def test_a_late_execution_counts_if_it_cannot_have_been_counted(
    days: int, qty: int, reason: str
) -> None:
    """What else is booked nobody knows here; the dead letters of the tracker tell."""
    desk = closed_desk()
    desk.now_ns += 3 * DAY
    late = NOW_NS + days * DAY
    desk.hear(event("fill", fill=fill(qty="4"), ts_event_ns=late))
    account = desk.state["A1"]
    assert isinstance(account, RiskAccount)
    assert sum(holding.qty for holding in account.holdings.values()) == qty
    assert said(desk.send(submit()))[0] in ("duplicate", "CONFLICT")


# --- orders -------------------------------------------------------------------------------------


def tracker() -> Played:
    """Return a tracker."""
    return Played(Tracker(), ORDERS_EVENTS)


APPROVED = event("approved", broker="", terms=TERMS)
FILLED = event("fill", client_order_id="c1", fill=fill("e1", "4"))
CANCELED = event("canceled", client_order_id="c1")


@pytest.mark.parametrize("restarted", [False, True])
def test_an_order_that_is_over_leaves_with_its_executions(restarted: bool) -> None:
    """After a week; its id stays for a while, then nothing."""
    played = tracker()
    played.play(APPROVED, FILLED)
    played.sleep(30, restarted)
    assert played.keys() == {"A1|o1", "A1#virtual|e1"}  # it is open
    played.play(CANCELED)
    played.sleep(KEEP_DAYS, restarted)
    assert played.keys() == {"A1|o1", "A1#virtual|e1"}
    assert played.kind("A1|o1") == "order"
    played.sleep(1, restarted)
    assert played.kind("A1|o1") == "gone"
    played.sleep(KEEP_DAYS + 1, restarted)
    assert played.keys() == {"A1|o1"}
    played.sleep(GONE_DAYS, restarted)
    assert played.state == {}


def test_an_event_of_an_order_that_left_is_set_aside() -> None:
    """It makes no order without terms; refused requests and second uses are no news."""
    played = tracker()
    played.play(APPROVED, FILLED, CANCELED)
    played.sleep(KEEP_DAYS + 1)
    left = dict(played.state)
    now = {"ts_event_ns": played.now_ns, "ts_init_ns": played.now_ns}
    late = event("fill", fill=fill("e2", "6"), **now)
    unit = played.play(late, late, FILLED, event("duplicate"), event("cancel_rejected", **now))
    assert codes(unit) == ["ORDER_LEFT"] * 3
    assert (unit.emitted, played.state) == ([], left)


def test_a_redelivered_event_that_was_here_in_time_is_no_dead_letter() -> None:
    """Only what came after the order left was set aside, and is again."""
    played = tracker()
    played.play(APPROVED, FILLED, CANCELED)
    played.sleep(KEEP_DAYS + 1)
    assert codes(played.play(FILLED, redelivered=True)) == []
    late = event("fill", fill=fill("e2", "6"), ts_init_ns=played.now_ns + DAY)
    assert codes(played.play(late, redelivered=True)) == ["ORDER_LEFT"]


def test_what_a_mistyped_request_left_behind_goes_without_a_trace() -> None:
    """It made no order."""
    played = tracker()
    played.play(event("cancel_rejected", request_id="q1"))
    played.sleep(KEEP_DAYS + 1)
    assert played.state == {}


def test_an_order_that_a_bust_opens_again_stays() -> None:
    """What was noted when it was filled says nothing any more."""
    played = tracker()
    filled = event("fill", client_order_id="c1", fill=fill("e1", "10"))
    bust = event("fill_busted", client_order_id="c1", fill=fill("b1", "10", ref_exec_id="e1"))
    played.play(APPROVED, filled)
    played.sleep(2)
    played.play(bust)
    played.sleep(KEEP_DAYS)
    assert played.kind("A1|o1") == "order"
    played.play(CANCELED)
    played.sleep(KEEP_DAYS + 1)
    assert played.kind("A1|o1") == "gone"


EVENTS = [
    APPROVED,
    event("accepted", client_order_id="c1", terms=TERMS),
    FILLED,
    event("fill", client_order_id="c1", fill=fill("e2", "6", cum_qty="10")),
    event("fill_busted", client_order_id="c1", fill=fill("b1", "4", ref_exec_id="e1")),
    event("pending_cancel", request_id="q1", client_order_id="c1"),
    event("approved", order_id="o2", broker="", terms=TERMS),
    event("canceled", order_id="o2", client_order_id="c2"),
    CANCELED,
]


@given(order=st.permutations(EVENTS), cuts=st.lists(st.integers(0, len(EVENTS)), max_size=3))
@settings(max_examples=60, deadline=None)
def test_in_any_order_and_batches_the_same_stays_and_the_same_leaves(
    order: list[OrderEvent], cuts: list[int]
) -> None:
    """Before anything is due the table is what it is without ageing; then the ids are left."""
    whole, parts = tracker(), tracker()
    whole.play(*EVENTS)
    bounds = [0, *sorted(cuts), len(order)]
    for start, end in pairwise(bounds):
        parts.play(*order[start:end], *order[:end])  # and what was there before, again
        parts.now_ns += SECOND
    assert _orders(parts) == _orders(whole)
    for played in (whole, parts):
        played.sleep(KEEP_DAYS + 1)
        played.sleep(KEEP_DAYS + 1)
    assert parts.keys() == whole.keys() == {"A1|o1", "A1|o2"}


def _orders(played: Played) -> dict[str, Any]:
    """Return what is known of each order whatever the order of its events."""
    return {
        key: (row.cum_qty, row.cost, row.fills, row.terms, frozenset(row.seen), row.version)
        for key, row in played.state.items()
        if isinstance(row, OrderState)
    }


async def test_the_view_of_an_order_that_left_names_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """404, with the day and the query that has the order; the list leaves it out."""
    played = tracker()
    played.play(APPROVED, FILLED, CANCELED)
    played.sleep(KEEP_DAYS + 1)
    local = SimpleNamespace(get=played.state.get, scan=MemoryUnit(played.state).scan)
    table: Any = SimpleNamespace(local=local)
    view = SimpleNamespace(app=SimpleNamespace(tables={"orders": table}))

    async def here(*_: object) -> None:
        return None

    monkeypatch.setattr(views, "answered_by_owner", here)
    with pytest.raises(ProblemError) as caught:
        await views._order(view, None, "A1", "o1")
    assert (caught.value.status, caught.value.extra) == (404, {"left": day_of(played.now_ns)})
    assert "./orderflow query orders --param account=A1 --param order_id=o1" in caught.value.detail
    assert list(views._orders_of(table, "A1", "")) == []


# --- positions ----------------------------------------------------------------------------------


def positions() -> Played:
    """Return a positions agent without prices."""
    agent: Positions = Market().agent()
    return Played(agent, ORDERS_EVENTS)


def pass_days(played: Played, days: int) -> None:
    """Let days pass, with a record at their end."""
    played.now_ns += days * DAY
    played.play(event("accepted"))
    played.sleep(0)


def test_executions_leave_after_their_time_and_the_position_stays() -> None:
    """As long as one is known its repetition changes nothing; then it is too old to be booked."""
    played = positions()
    bought = event("fill", fill=fill("e1", "10", "50"))
    played.play(bought)
    position = played.state["A1|AIG"]
    pass_days(played, EXECUTION_DAYS)
    assert "A1#virtual|e1" in played.state
    assert codes(played.play(bought)) == []
    pass_days(played, 2)
    assert played.state == {"A1|AIG": position, "A1": played.state["A1"]}
    again = played.play(bought)
    assert (codes(again), again.emitted) == (["EXECUTION_TOO_OLD"], [])
    assert played.state["A1|AIG"] == position


def test_an_unknown_execution_is_booked_up_to_a_bound() -> None:
    """At the bound it still is; a nanosecond older it is not."""
    bound = NOW_NS - EXECUTION_DAYS * DAY
    for at_ns, expected in ((bound, []), (bound - 1, ["EXECUTION_TOO_OLD"])):
        unit = positions().play(event("fill", fill=fill("e1"), ts_event_ns=at_ns))
        assert codes(unit) == expected
        assert len(unit.values(POSITIONS_UPDATES)) == (0 if expected else 1)


@pytest.mark.parametrize("kind", ["fill_busted", "fill_corrected"])
def test_a_change_of_an_execution_that_left_is_set_aside(kind: str) -> None:
    """Of an order as old as that; of a younger order, the execution is still to come."""
    played = positions()
    asked = NOW_NS
    played.play(event("fill", fill=fill("e1", "10", "50"), ts_requested_ns=asked))
    pass_days(played, EXECUTION_DAYS + 2)
    state = dict(played.state)
    now: dict[str, Any] = {"ts_event_ns": played.now_ns, "ts_init_ns": played.now_ns}
    change = fill("x1", "9", "50", ref_exec_id="e1")
    unit = played.play(event(kind, fill=change, ts_requested_ns=asked, **now))
    assert (codes(unit), played.state) == (["EXECUTION_TOO_OLD"], state)
    early = fill("x2", "9", "50", ref_exec_id="e9")
    assert codes(played.play(event(kind, fill=early, ts_requested_ns=played.now_ns, **now))) == []


def test_a_redelivered_execution_that_was_booked_in_time_is_no_dead_letter() -> None:
    """Its record is as old as itself; one that was too old when it came is set aside again."""
    played = positions()
    bought = event("fill", fill=fill("e1"))
    played.now_ns = NOW_NS
    first = played.record(bought, redelivered=True)
    pass_days(played, EXECUTION_DAYS + 2)
    unit: MemoryUnit[Any] = MemoryUnit(played.state, played.now_ns)
    played.agent.step(unit, first)
    assert codes(unit) == []
    assert codes(played.play(bought, redelivered=True)) == ["EXECUTION_TOO_OLD"]


@given(gaps=st.lists(st.integers(0, 40), min_size=1, max_size=6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_replay_on_a_late_clock_books_what_was_booked(
    gaps: list[int], data: st.DataObject
) -> None:
    """Fills over months, some twice: read again all at once, or after a long pause, all the same.

    What is too old follows from the records, and nothing is counted twice.
    """
    live, again = positions(), positions()
    records: list[Record] = []
    seen: list[OrderEvent] = []
    for number, gap in enumerate(gaps):
        pass_days(live, gap)
        times = {"ts_event_ns": live.now_ns, "ts_init_ns": live.now_ns}
        bought = event("fill", fill=fill(f"e{number}", "1", "50"), **times)
        seen.append(bought)
        for one in (bought, data.draw(st.sampled_from(seen))):
            records.append(live.record(one, redelivered=False))
            _play(live, records[-1:])
    pause = data.draw(st.integers(0, len(records)))
    again.now_ns = live.now_ns + 100 * DAY
    _play(again, records[:pause])
    again.sleep(0)
    again.agent.on_revoked(0)
    again.sleep(50)
    _play(again, records[pause:])
    assert again.state["A1|AIG"].qty == live.state["A1|AIG"].qty == len(gaps)


def _play(played: Played, records: Iterable[Record]) -> None:
    unit: MemoryUnit[Any] = MemoryUnit(played.state, played.now_ns)
    for each in records:
        played.agent.step(unit, each)
    played.agent.on_batch_end(unit)


# --- routes -------------------------------------------------------------------------------------


def routed(**terms: Any) -> Played:
    """Return a router that has routed order `o1`."""
    agent: Router = router()
    played = Played(agent, ORDERS_APPROVED)
    played.play(approved(**terms))
    return played


@pytest.mark.parametrize(
    ("terms", "days"), [({}, ROUTE_DAYS), ({"time_in_force": "gtc"}, GTC_ROUTE_DAYS)]
)
def test_routes_leave_when_their_order_must_be_over(terms: dict[str, Any], days: int) -> None:
    """A cancel finds its way till then; afterwards it is refused."""
    played = routed(**terms)
    played.sleep(days)
    assert played.keys() == {"A1|o1"}
    played.sleep(1)
    assert played.state == {}
    assert said(played.play(follow("cancel"))) == ["NOT_ROUTED"]


def test_a_command_prolongs_a_route() -> None:
    """As one that makes an order good till canceled."""
    played = routed()
    played.sleep(ROUTE_DAYS - 1)
    played.play(follow("replace", time_in_force="gtc", limit_price="51"))
    played.sleep(GTC_ROUTE_DAYS)
    assert played.keys() == {"A1|o1"}
    played.sleep(1)
    assert played.state == {}


def test_an_order_whose_route_may_have_left_is_not_routed_again() -> None:
    """As a new record it is rejected, redelivered it is set aside: nothing reaches a broker."""
    played = routed()
    played.sleep(ROUTE_DAYS + 1)
    again = played.play(approved())
    assert (said(again), again.values(VENUE_VIRTUAL_ORDERS)) == (["ORDER_TOO_OLD"], [])
    lost = routed()
    lost.state.clear()
    unit = lost.play(approved(), redelivered=True)
    assert (codes(unit), unit.emitted) == (["NO_VERDICT"], [])


# --- all ----------------------------------------------------------------------------------------


def test_a_sweep_takes_a_bounded_number() -> None:
    """Of one record that names more, the rest the next time; what is not due stays."""
    state: dict[str, Any] = {}
    keys = [f"A1|o{number}" for number in range(SWEEP + 3)]
    unit: Unit[Any] = MemoryUnit(state, NOW_NS)
    leave_later(unit, day_of(NOW_NS - DAY), keys)
    leave_later(unit, day_of(NOW_NS), ["A1|later"])
    sweeps = Sweeps()
    assert [sweeps.keys(unit) for _ in range(3)] == [keys[:SWEEP], keys[SWEEP:], []]
    assert [value.keys for value in state.values()] == [("A1|later",)]


def rows() -> Iterable[tuple[Any, dict[str, Any]]]:
    """Return each table with a state that holds what ageing adds."""
    orders = tracker()
    orders.play(APPROVED, FILLED, CANCELED, event("approved", order_id="o2", terms=TERMS))
    orders.sleep(KEEP_DAYS + 1)
    held = positions()
    held.play(event("fill", fill=fill()))
    return (
        (ORDERS, orders.state),
        (POSITIONS, held.state),
        (ROUTES, routed().state),
        (RISK, dict[str, Any](closed_desk().state)),
    )


def test_what_ageing_adds_survives_the_tables() -> None:
    """Written as JSON and read again, every row is the same; what is left of an order is small."""
    kinds: set[type] = set()
    for table, state in rows():
        for key, row in state.items():
            kinds.add(type(row))
            assert table.adapter().validate_json(encode(row)) == row
            if isinstance(row, Gone):
                assert len(key) + len(encode(row)) <= 100
    assert {Gone, Leaving} <= kinds
