"""A kill switch: what it stops at each place, what it cancels and closes, and how often."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.validator import Validator
from streams.domain import enforcement
from streams.domain.enforcement import LOOK_AGAIN_NS, MAX_COMMANDS, MAX_TRIES, TRY_AGAIN_NS
from streams.domain.exposure_models import RiskAccount, RiskOrder, RiskRecord
from streams.models.controls import KillSwitch, TradingState
from streams.models.orders import Cancel, OrderEvent, OrderType, Submit
from streams.topics import ORDERS_APPROVED, ORDERS_EVENTS, ORDERS_REQUESTED
from streams.transport.codec import encode
from tables.risk import RISK
from tests.builders import NOW_NS, SECOND, event, fill, replace, submit
from tests.fakes import MemoryUnit
from tests.unit.matching_world import asks, venue_order
from tests.unit.risk_builders import Desk, FixedCalendar, instrument, limits
from tests.unit.test_gateway import Desk as Venue
from tests.unit.test_gateway import kinds, marked


def switch(scope: str = "account:A1", version: int = 40, **fields: Any) -> KillSwitch:
    """Return an engaged switch."""
    return KillSwitch(scope=scope, version=version, engaged=True, **fields)


# --- the gate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "outcome", "reason"),
    [
        (submit(side="sell", reduce_only=True), "approved", "closes a part"),
        (submit(side="sell", qty="20", reduce_only=True), "approved", "closes all"),
        (submit(side="sell", qty="21", reduce_only=True), "KILL_SWITCH", "would flip"),
        (submit(reduce_only=True), "KILL_SWITCH", "would add"),
        (submit(side="sell"), "KILL_SWITCH", "closes, but does not say so to the broker's side"),
    ],
)
def test_a_switch_that_flattens_lets_pass_what_only_closes(
    order: Submit, outcome: str, reason: str
) -> None:
    """20 are held; one that does not flatten lets nothing pass."""
    desk = Desk()
    desk.hold("20")
    desk.controls = desk.controls.with_records([switch(flatten=True)])
    assert desk.verdict(order) == outcome
    desk.controls = desk.controls.with_records([switch(version=41)])
    assert desk.verdict(order.model_copy(update={"order_id": "o2"})) == "KILL_SWITCH"


def test_of_two_switches_the_stricter_holds() -> None:
    """One of everything that flattens does not open what an account's own has closed."""
    desk = Desk(switch("default", 1, flatten=True), switch("account:A1", 2))
    desk.hold("20")
    assert desk.verdict(submit(side="sell", reduce_only=True)) == "KILL_SWITCH"


# --- right before the venue ---------------------------------------------------------------------

STOPS = [
    (switch("default"), "KILL_SWITCH"),
    (switch("account:A1"), "KILL_SWITCH"),
    (switch("symbol:AIG"), "KILL_SWITCH"),
    (switch("strategy:s"), "KILL_SWITCH"),
    (switch("broker:virtual"), "KILL_SWITCH"),
    (TradingState(scope="A1", version=40, state="halted"), "TRADING_HALTED"),
    (TradingState(version=40, state="halted"), "TRADING_HALTED"),
]
PASSES = [
    switch("account:A2"),
    switch("symbol:IBM"),
    switch("strategy:t"),
    switch("broker:rest"),
    TradingState(scope="A1", version=40, state="reducing"),
]


@pytest.mark.parametrize(("control", "code"), STOPS)
def test_the_gateway_stops_what_had_passed_the_gate(control: Any, code: str) -> None:
    """An event with code and version; the id is taken, also when the switch is off again."""
    venue = Venue()
    venue.controls = venue.controls.with_records([control])
    order = venue_order(strategy="s")
    unit = venue.batch(asks("49.00", "100"), order)
    (told,) = unit.values(ORDERS_EVENTS)
    assert (told.event, told.refusal.code, told.refusal.rules_version) == ("rejected", code, 40)
    assert told.controls_version == 40
    off = KillSwitch(scope=control.scope, version=41)
    active = TradingState(scope=control.scope, version=42)
    venue.controls = venue.controls.with_records([off, active])
    for _ in range(2):
        assert kinds(venue.batch(order)) == ["duplicate"]
        venue.start()
    assert kinds(venue.batch(venue_order("o2", strategy="s"))) == ["accepted", "fill"]


@pytest.mark.parametrize("control", PASSES, ids=lambda one: one.scope)
def test_the_gateway_lets_others_pass(control: Any) -> None:
    """What the control does not cover; what only reduces is the gate's business."""
    venue = Venue()
    venue.controls = venue.controls.with_records([control])
    assert kinds(venue.batch(venue_order(strategy="s"))) == ["accepted"]


@pytest.mark.parametrize(
    ("reduce_only", "flatten", "expected"),
    [(True, True, "accepted"), (True, False, "rejected"), (False, True, "rejected")],
)
def test_the_gateway_lets_pass_what_flattens(
    reduce_only: bool, flatten: bool, expected: str
) -> None:
    """`reduce_only` under a switch that flattens; both are needed."""
    venue = Venue()
    venue.controls = venue.controls.with_records([switch(flatten=flatten)])
    assert kinds(venue.batch(venue_order(reduce_only=reduce_only))) == [expected]


def test_what_works_at_the_venue_is_not_touched_and_a_repetition_is_none_of_a_new_order() -> None:
    """The order goes on; its repetition is a `duplicate`, never a rejection; cancels pass."""
    venue = Venue()
    venue.batch(venue_order())
    venue.controls = venue.controls.with_records([switch()])
    assert kinds(venue.batch(venue_order())) == ["duplicate"]
    more = venue_order(command="replace", request_id="r1", qty="11")
    unit = venue.batch(more)
    assert kinds(unit) == ["replace_rejected"]
    assert unit.values(ORDERS_EVENTS)[0].refusal.code == "KILL_SWITCH"
    assert kinds(venue.batch(more)) == ["duplicate"]
    less = venue_order(command="replace", request_id="r2", qty="9")
    assert kinds(venue.batch(less)) == ["pending_replace", "replaced"]
    gone = venue_order(command="cancel", request_id="c1")
    assert kinds(venue.batch(gone)) == ["pending_cancel", "canceled"]


def test_legs_that_come_to_life_under_a_switch_protect_what_was_filled() -> None:
    """The venue was given them with their parent; their stamp is its."""
    venue = Venue()
    venue.controls = venue.controls.with_records([TradingState(version=39)])
    legs: dict[str, Any] = {"take_profit": {"limit_price": "55"}, "stop_loss": {"stop_price": "45"}}
    venue.batch(venue_order(order_class="bracket", **legs))
    venue.controls = venue.controls.with_records([switch()])
    told = venue.batch(asks("49.00", "100")).values(ORDERS_EVENTS)
    assert [each.event for each in told] == ["fill", "accepted", "accepted"]
    assert [each.controls_version for each in told] == [0, 39, 39]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_stamp_is_of_the_sending_and_a_redelivery_keeps_it(restarted: bool) -> None:
    """Also when the order takes effect later, and the controls have changed since."""
    venue = Venue(latency_ns=SECOND)
    venue.controls = venue.controls.with_records([TradingState(version=7)])
    sent = venue.record(venue_order())
    venue.play([sent])
    venue.controls = venue.controls.with_records([TradingState(version=8)])
    if restarted:
        venue.start()
    (accepted,) = venue.timer(NOW_NS + 2 * SECOND).values(ORDERS_EVENTS)
    assert (accepted.event, accepted.controls_version) == ("accepted", 7)

    venue = Venue()
    venue.controls = venue.controls.with_records([TradingState(version=7)])
    sent = venue.record(venue_order())
    first = venue.play([sent])
    venue.controls = venue.controls.with_records([switch()])
    if restarted:
        venue.start()
    assert venue.play([marked(sent)]).emitted == first.emitted
    assert first.values(ORDERS_EVENTS)[0].controls_version == 7


def test_only_a_stamp_is_written() -> None:
    """Events without one look as they did before there was one."""
    assert b"controls_version" not in encode(event("fill"))
    stamped = event("accepted", controls_version=3)
    assert b'"controls_version":3' in encode(stamped)
    assert OrderEvent.model_validate_json(encode(stamped)) == stamped


# --- what is open -------------------------------------------------------------------------------


class Enforced(Desk):
    """A validator whose timer runs, and whose commands come back to it."""

    def tick(self, later_ns: int = SECOND) -> list[Any]:
        """Let time pass; return what the timer commands."""
        self.now_ns += later_ns
        unit: MemoryUnit[RiskRecord] = MemoryUnit(self.state, self.now_ns)
        self.validator.on_timer(unit)
        return unit.values(ORDERS_REQUESTED)

    def restart(self) -> None:
        """Start again on the table, as its JSON has it."""
        adapter = RISK.adapter()
        encoded = {key: encode(value) for key, value in self.state.items()}
        self.state = {key: adapter.validate_json(raw) for key, raw in encoded.items()}
        self.validator = Validator(
            lambda: self.controls, self._priced, FixedCalendar(), lambda _: 0
        )
        needed = [key for key, raw in encoded.items() if self.validator.needs in raw]
        self.validator.on_assigned(0, [(key, self.state[key]) for key in needed])


def desk_with(*orders: Submit, **fields: Any) -> Enforced:
    """Return a desk with working orders, and a switch engaged after them."""
    desk = Enforced()
    desk.send(*orders)
    desk.controls = desk.controls.with_records([switch(**fields)])
    return desk


def test_open_orders_are_canceled_once_each() -> None:
    """By commands of their own id on the account's partition; nothing is repeated."""
    desk = desk_with(submit(), submit(order_id="o2", qty="11"), cancel_open=True)
    asked = desk.tick()
    assert [(each.order_id, each.request_id) for each in asked] == [
        ("o1", "kill:40"),
        ("o2", "kill:40"),
    ]
    assert Cancel.model_validate_json(encode(asked[0])) == asked[0]
    passed = desk.send(*asked).values(ORDERS_APPROVED)
    assert [(each.command, each.request_id) for each in passed] == [("cancel", "kill:40")] * 2
    assert desk.tick() == []
    assert desk.tick(LOOK_AGAIN_NS) == []


def test_a_restart_neither_forgets_nor_repeats() -> None:
    """What was judged is known from the table; what was lost on its way is asked again."""
    desk = desk_with(submit(), submit(order_id="o2", qty="11"), cancel_open=True)
    first, _lost = desk.tick()
    desk.send(first)
    desk.restart()
    again = desk.tick()
    assert [(each.order_id, each.request_id) for each in again] == [("o2", "kill:40")]


def test_what_is_lost_without_a_restart_is_asked_again_later() -> None:
    """After a while, under the same id."""
    desk = desk_with(submit(), cancel_open=True)
    first = desk.tick()
    assert desk.tick() == []
    assert desk.tick(LOOK_AGAIN_NS) == first


def test_a_cancel_that_the_broker_refuses_is_tried_anew_a_few_times() -> None:
    """Under new ids, and not for ever."""
    desk = desk_with(submit(), cancel_open=True)
    seen = []
    for _ in range(MAX_TRIES + 2):
        for asked in desk.tick(LOOK_AGAIN_NS):
            desk.send(asked)
            refused = f"{asked.request_id}:no"
            desk.hear(event("cancel_rejected", request_id=asked.request_id, event_id=refused))
            seen.append(asked.request_id)
    assert seen == ["kill:40", "kill:40:2", "kill:40:3"]


@pytest.mark.parametrize(
    ("scope", "canceled"),
    [
        ("default", {"o1", "o2", "o3"}),
        ("account:A1", {"o1", "o3"}),
        ("symbol:AIG", {"o1", "o2"}),
        ("strategy:s", {"o3"}),
        ("broker:virtual", set()),
        ("account:A", set()),
    ],
)
def test_a_switch_cancels_what_it_covers(scope: str, canceled: set[str]) -> None:
    """And without `cancel_open`, nothing."""
    desk = Enforced()
    desk.controls = desk.controls.with_records([instrument("IBM", version=30)])
    desk.send(
        submit(),
        submit(order_id="o2", account="A2"),
        submit(order_id="o3", symbol="IBM", strategy="s"),
    )
    for version, cancel_open in ((40, False), (41, True)):
        desk.controls = desk.controls.with_records(
            [switch(scope, version, cancel_open=cancel_open)]
        )
        asked = {each.order_id for each in desk.tick()}
        assert asked == (canceled if cancel_open else set())


def test_many_orders_are_canceled_in_turns() -> None:
    """A bounded number in one run of the timer, the others in the next."""
    count = MAX_COMMANDS + 7
    desk = Enforced(limits(max_same_content=10_000))
    desk.send(*(submit(order_id=f"o{number}", qty="1") for number in range(count)))
    desk.controls = desk.controls.with_records([switch(cancel_open=True)])
    runs = [[each.order_id for each in desk.tick()] for _ in range(3)]
    assert [len(run) for run in runs] == [MAX_COMMANDS, 7, 0]
    assert len({*runs[0], *runs[1]}) == count


def test_orders_that_stay_open_do_not_keep_others_from_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a broker does not answer, more are open than are looked at until the first are due."""
    monkeypatch.setattr(enforcement, "MAX_COMMANDS", 2)
    desk = Enforced(limits(max_same_content=100))
    desk.send(*(submit(order_id=f"o{number}", qty="1") for number in range(30)))
    desk.controls = desk.controls.with_records([switch(cancel_open=True)])
    asked = {each.order_id for _ in range(20) for each in desk.tick()}
    assert len(asked) == 30


# --- positions ----------------------------------------------------------------------------------


def fill_all(desk: Enforced, order: Submit) -> None:
    """Let the venue fill an order of the desk whole."""
    executed = fill(f"x-{order.order_id}", str(order.qty))
    side = order.side.value
    desk.hear(event("fill", order_id=order.order_id, side=side, fill=executed))


@pytest.mark.parametrize(("held", "side"), [("20", "sell"), ("-20", "buy")])
def test_positions_are_closed_once_nothing_is_open(held: str, side: str) -> None:
    """First the cancels, then one market order, which passes the gate; then nothing more."""
    desk = Enforced()
    desk.hold(held)
    desk.send(submit())
    desk.controls = desk.controls.with_records([switch(flatten=True)])
    (cancel,) = desk.tick()
    desk.send(cancel)
    assert desk.tick() == []
    desk.hear(event("canceled"))
    (close,) = desk.tick()
    assert (close.order_id, close.side, close.qty, close.type, close.reduce_only) == (
        "kill:40:AIG",
        side,
        20,
        "market",
        True,
    )
    assert Submit.model_validate_json(encode(close)) == close
    assert desk.verdict(close) == "approved"
    assert desk.tick() == []
    fill_all(desk, close)
    assert [desk.tick(LOOK_AGAIN_NS) for _ in range(3)] == [[], [], []]


def test_a_restart_between_the_steps_of_closing_repeats_none() -> None:
    """What was judged before it is known after it."""
    desk = Enforced()
    desk.hold("20")
    desk.controls = desk.controls.with_records([switch(flatten=True)])
    desk.restart()
    (close,) = desk.tick()
    desk.send(close)
    desk.restart()
    assert desk.tick() == []
    fill_all(desk, close)
    desk.restart()
    assert desk.tick() == []


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        ({"max_order_qty": "15"}, [15, 15, 10]),
        ({"max_order_value": "1000"}, [18, 18, 4]),  # nine tenths of the value, at 50
        ({}, [40]),
    ],
)
def test_a_large_position_is_closed_in_parts(limit: dict[str, str], parts: list[int]) -> None:
    """One after the other, each within the limits of one order."""
    desk = Enforced()
    desk.hold("40")
    desk.controls = desk.controls.with_records([limits(**limit, version=39), switch(flatten=True)])
    closed = []
    for _ in range(len(parts) + 1):
        for close in desk.tick():
            assert desk.verdict(close) == "approved"
            fill_all(desk, close)
            closed.append(int(close.qty))
    assert closed == parts


def test_a_position_that_cannot_be_closed_is_tried_a_few_times() -> None:
    """Here trading is halted besides; each try is a rejected order that says so."""
    desk = Enforced()
    desk.hold("20")
    halted = TradingState(version=39, state="halted")
    desk.controls = desk.controls.with_records([halted, switch(flatten=True)])
    said = []
    for _ in range(3 * MAX_TRIES):
        said += [desk.verdict(each) for each in desk.tick(TRY_AGAIN_NS)]
    assert said == ["TRADING_HALTED"] * MAX_TRIES
    desk.controls = desk.controls.with_records([TradingState(version=41), switch(version=42)])
    desk.controls = desk.controls.with_records([switch(version=43, flatten=True)])
    assert [each.order_id for each in desk.tick()] == ["kill:43:AIG"]


def test_another_order_of_its_id_does_not_keep_a_position_open() -> None:
    """Whoever took the id: the next one is used."""
    desk = Enforced()
    desk.hold("20")
    desk.send(submit(order_id="kill:40:AIG", qty="1001"))
    desk.controls = desk.controls.with_records([switch(flatten=True)])
    assert [each.order_id for each in desk.tick()] == ["kill:40:AIG:2"]


def test_another_request_of_its_id_does_not_keep_an_order_open() -> None:
    """Nor does a replace that took the id of the cancel."""
    desk = desk_with(submit(), cancel_open=True)
    desk.controls = desk.controls.with_records([KillSwitch(scope="account:A1", version=41)])
    desk.send(replace(request_id="kill:42", qty="9"))
    desk.controls = desk.controls.with_records([switch(version=42, cancel_open=True)])
    assert [each.request_id for each in desk.tick()] == ["kill:42:2"]


def test_a_switch_that_is_off_commands_nothing() -> None:
    """Whatever it would do."""
    desk = Enforced()
    desk.hold("20")
    desk.send(submit())
    off = KillSwitch(scope="account:A1", version=40, cancel_open=True, flatten=True)
    desk.controls = desk.controls.with_records([off])
    assert desk.tick() == []


STEPS: list[Callable[[Enforced], object]] = [
    lambda desk: desk.send(submit(order_id=f"n{desk.offset}", qty=str(1 + desk.offset % 7))),
    lambda desk: desk.send(replace(order_id="n0", qty="2")),
    lambda desk: desk.restart(),
    lambda desk: desk.tick(TRY_AGAIN_NS),
    lambda desk: desk.send(*desk.tick(LOOK_AGAIN_NS)),
]


def engage(desk: Enforced) -> None:
    """Engage the switch."""
    desk.controls = desk.controls.with_records([switch(flatten=True)])


def answer_all(desk: Enforced) -> None:
    """Let the venue cancel what it was told to cancel, and fill market orders."""
    for name, known in list(desk.state.items()):
        if not isinstance(known, RiskOrder) or not known.live:
            continue
        if known.submitted is not None and known.submitted.type is OrderType.MARKET:
            executed = fill(f"x-{known.order_id}", str(known.submitted.qty))
            said = event("fill", order_id=known.order_id, side=known.side.value, fill=executed)
        elif f"{name}|kill:40" in desk.state:
            said = event("canceled", order_id=known.order_id)
        else:
            continue
        desk.hear(said)


@given(steps=st.lists(st.sampled_from(STEPS), max_size=12), at=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_whatever_came_before_a_switch_ends_flat_with_nothing_open(
    steps: list[Any], at: int
) -> None:
    """Orders, restarts and lost commands in any order; then a venue that does as it is told."""
    desk = Enforced()
    desk.hold("20")
    for step in [*steps[:at], engage, *steps[at:]]:
        step(desk)
    for _ in range(4):
        desk.send(*desk.tick(TRY_AGAIN_NS))
        answer_all(desk)
    account = desk.state["A1"]
    assert isinstance(account, RiskAccount)
    assert (account.open_orders, account.holdings) == (0, {})


def test_a_record_with_these_fields_can_be_read_from_its_topic() -> None:
    """And one without them, of an older Orderflow, too."""
    old = '{"kind":"kill-switch","scope":"default","version":3,"engaged":true}'
    assert KillSwitch.model_validate_json(old) == KillSwitch(version=3, engaged=True)
