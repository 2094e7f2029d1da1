"""The validator as an agent: what goes in, what comes out, and what a second time changes."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.validator import Validator
from streams.domain.aging import KEEP_DAYS, Gone
from streams.domain.exposure_models import RiskOrder, RiskRecord
from streams.models.orders import ApprovedOrder, OrderEvent
from streams.ports import Malformed, Record
from streams.topics import ORDERS_APPROVED, ORDERS_EVENTS
from tables.aging import SWEEP_EVERY_NS
from tables.risk import RISK
from tests.builders import NOW_NS, SECOND, cancel, event, fill, last_price, record, replace, submit
from tests.fakes import MemoryUnit
from tests.unit.risk_builders import Desk, FixedCalendar, limits, verdict_of

DAY = 24 * 3600 * SECOND


def said(unit: MemoryUnit[RiskRecord]) -> list[str]:
    """Return the code of each refusal, or the event's name."""
    return [verdict_of(each) for each in unit.values(ORDERS_EVENTS)]


def test_an_approved_order_goes_to_the_router_and_into_the_history() -> None:
    """Both records say the same order, at the account's key."""
    unit = Desk().send(submit(strategy="s", ts_event_ns=NOW_NS - 5))
    approved, told = unit.values(ORDERS_APPROVED)[0], unit.values(ORDERS_EVENTS)[0]
    assert [each.key for each in unit.emitted] == ["A1", "A1"]
    assert ApprovedOrder.model_validate_json(approved.model_dump_json()) == approved
    assert OrderEvent.model_validate_json(told.model_dump_json()) == told
    assert approved.model_dump(exclude={"terms"}) == {
        "schema_version": 1,
        "command": "submit",
        "parent_order_id": None,
        "order_id": "o1",
        "account": "A1",
        "client_order_id": "o1",
        "strategy": "s",
        "request_id": "submit",
        "revision": 0,
        "position_qty": 0,
        "rules_version": 7,
        "ts_requested_ns": NOW_NS - 5,
        "ts_event_ns": NOW_NS,
    }
    assert (told.event, told.terms, told.ts_requested_ns) == (
        "approved",
        approved.terms,
        NOW_NS - 5,
    )


def test_a_refused_order_is_an_event_and_nothing_else() -> None:
    """The event has the terms and the refusal; the router hears nothing."""
    unit = Desk().send(submit(qty="1001"))
    assert unit.values(ORDERS_APPROVED) == []
    (told,) = unit.values(ORDERS_EVENTS)
    assert (told.event, told.refusal.code, told.refusal.rules_version) == (
        "rejected",
        "MAX_ORDER_QTY",
        5,
    )
    assert told.terms is not None


def test_the_records_timestamp_stands_in_for_the_senders() -> None:
    """Without a time of its own, a command was given when its record was written."""
    unit = Desk().play([record(submit(), timestamp_ms=NOW_NS // 1_000_000 - 7)])
    assert unit.values(ORDERS_EVENTS)[0].ts_requested_ns == NOW_NS - 7_000_000


@pytest.mark.parametrize(
    ("ahead_ns", "outcome"),
    [(5 * SECOND, "approved"), (5 * SECOND + 1, "CLOCK_SKEW")],
)
def test_commands_from_the_future_are_refused(ahead_ns: int, outcome: str) -> None:
    """Five seconds of skew pass."""
    assert Desk().verdict(submit(ts_event_ns=NOW_NS + ahead_ns)) == outcome


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (record(None, key=b"A1"), "TOMBSTONE"),
        (record(submit(), key=None), "NO_KEY"),
        (record(submit(), key=b"A2"), "KEY_MISMATCH"),
        (record(submit(), key=b"\xff"), "KEY_MISMATCH"),
        (record(submit(), partition=1), "WRONG_PARTITION"),
        (record(event("accepted"), ORDERS_EVENTS, key=b"A2"), "KEY_MISMATCH"),
        (Record("t", 0, 0, b"A1", Malformed("BAD_JSON", "x"), b"{", 0), "BAD_JSON"),
    ],
)
def test_records_that_cannot_be_trusted_are_set_aside(bad: Record, code: str) -> None:
    """A dead letter, no event, no change."""
    desk = Desk()
    unit = desk.play([bad])
    assert [letter.code for letter in unit.dead_letters] == [code]
    assert (unit.emitted, desk.state) == ([], {})


def test_a_known_id_is_a_duplicate_or_a_conflict_and_the_first_stands() -> None:
    """Neither reaches the router; a conflict is no rejection of the first order."""
    desk = Desk()
    desk.send(submit())
    before = dict(desk.state)
    unit = desk.send(submit(), submit(qty="10.0"), submit(qty="11"))
    assert unit.values(ORDERS_APPROVED) == []
    told = unit.values(ORDERS_EVENTS)
    assert [each.event for each in told] == ["duplicate"] * 3
    assert said(unit) == ["duplicate", "duplicate", "CONFLICT"]
    assert len({each.event_id for each in told}) == 3
    assert desk.state == before


def test_a_refused_id_stays_refused() -> None:
    """The id of a rejected order is taken as well."""
    desk = Desk()
    assert said(desk.send(submit(qty="1001"), submit(qty="1001"), submit())) == [
        "MAX_ORDER_QTY",
        "duplicate",
        "CONFLICT",
    ]


def test_the_same_id_in_another_account_is_another_order() -> None:
    """Ids are unique within an account."""
    assert said(Desk().send(submit(), submit(account="A2"))) == ["approved", "approved"]


def test_cancel_and_replace_need_a_working_order() -> None:
    """Unknown, rejected, closed: each is told apart."""
    desk = Desk()
    assert said(desk.send(cancel(), replace(qty="5"))) == ["UNKNOWN_ORDER", "UNKNOWN_ORDER"]
    desk.send(submit(qty="1001"))
    assert said(desk.send(cancel())) == ["TOO_LATE"]
    desk.send(submit(order_id="o2"))
    desk.hear(event("fill", order_id="o2", fill=fill(qty="10")))
    assert said(desk.send(cancel(order_id="o2"), replace(order_id="o2", qty="11"))) == [
        "TOO_LATE",
        "TOO_LATE",
    ]


def test_a_cancel_passes_once() -> None:
    """The second one without a request id is its repetition, until the venue has refused it."""
    desk = Desk()
    desk.send(submit())
    unit = desk.send(cancel(), cancel(), cancel(request_id="again"))
    assert said(unit) == ["pending_cancel", "duplicate", "pending_cancel"]
    passed = unit.values(ORDERS_APPROVED)
    assert [(each.command, each.request_id) for each in passed] == [
        ("cancel", "cancel"),
        ("cancel", "again"),
    ]
    desk.hear(event("cancel_rejected", request_id="cancel"))
    unit = desk.send(cancel())
    assert said(unit) == ["pending_cancel"]
    assert unit.values(ORDERS_APPROVED)[0].request_id == f"cancel@{desk.offset - 1}"


def test_a_cancel_refused_too_early_passes_later() -> None:
    """A cancel that overtook its order does not shadow the next one."""
    desk = Desk()
    assert said(desk.send(cancel(), submit(), cancel())) == [
        "UNKNOWN_ORDER",
        "approved",
        "pending_cancel",
    ]


def test_replaces_number_their_revisions_and_carry_whole_terms() -> None:
    """Each builds on the one before, answered or not; the same again is its repetition."""
    desk = Desk()
    desk.send(submit())
    changes: list[dict[str, Any]] = [{"qty": "12"}, {"limit_price": "49"}, {"limit_price": "49"}]
    unit = desk.send(*(replace(**change) for change in changes))
    assert said(unit) == ["pending_replace", "pending_replace", "duplicate"]
    passed = unit.values(ORDERS_APPROVED)
    assert [(each.revision, each.terms.qty, each.terms.limit_price) for each in passed] == [
        (1, 12, 50),
        (2, 12, 49),
    ]
    conflict = [replace(request_id="r", qty="8"), replace(request_id="r", qty="9")]
    assert said(desk.send(*conflict)) == ["pending_replace", "CONFLICT"]


def test_a_redelivered_repetition_stays_one_after_the_venue_answered() -> None:
    """What was a duplicate when it came is no new attempt when it comes again."""
    desk = Desk()
    desk.send(submit(), cancel(), cancel())
    desk.hear(event("cancel_rejected", request_id="cancel"))
    unit = desk.play([record(cancel(), offset=2, redelivered=True)])
    assert (said(unit), unit.values(ORDERS_APPROVED)) == (["duplicate"], [])


COMMANDS = [
    cancel(),
    submit(),
    submit(qty="11"),
    submit(),
    cancel(),
    cancel(),
    replace(qty="12"),
    replace(limit_price="49.00"),
    replace(qty="3000"),
    replace(qty="12"),
    submit(order_id="o2", qty="1001"),
    cancel(order_id="o2"),
    submit(order_id="o3", side="sell", limit_price="50.00"),
]


@given(commands=st.lists(st.sampled_from(COMMANDS), max_size=12), data=st.data())
@settings(max_examples=80, deadline=None)
def test_redelivery_answers_alike_and_changes_nothing(
    commands: list[Any], data: st.DataObject
) -> None:
    """Any stretch once more, later and under other rules: equal outputs, equal state."""
    desk = Desk()
    records = [record(command, offset=n) for n, command in enumerate(commands)]
    first = desk.play(records)
    state = dict(desk.state)
    start = data.draw(st.integers(0, len(records)))
    desk.now_ns += 3600 * SECOND
    desk.controls = desk.controls.with_records([limits(max_order_qty="1", version=99)])
    again: list[Record] = records[start:]
    for each in again:
        each.redelivered = True
    second = desk.play(again)
    assert desk.state == state
    assert second.dead_letters == []
    outputs = [_timeless(each.value) for each in first.emitted]
    repeated = [_timeless(each.value) for each in second.emitted]
    assert repeated == outputs[len(outputs) - len(repeated) :]
    assert len({each["event_id"] for each in outputs if "event_id" in each}) == len(commands)


def _timeless(value: Any) -> dict[str, Any]:
    """Return a message; a duplicate's own times are those of its delivery."""
    message: dict[str, Any] = value.model_dump()
    if message.get("event") == "duplicate":
        message |= {"ts_event_ns": 0, "ts_init_ns": 0}
    return message


def test_a_redelivered_fill_counts_once() -> None:
    """The table has its effect already."""
    desk = Desk()
    desk.send(submit())
    told = record(event("fill", fill=fill(qty="4")), ORDERS_EVENTS, offset=1)
    desk.play([told])
    before = dict(desk.state)
    told.redelivered = True
    desk.play([told])
    assert desk.state == before


def test_a_redelivered_command_without_a_verdict_is_never_judged_anew() -> None:
    """It is set aside, visibly."""
    desk = Desk()
    unit = desk.play([record(submit(), redelivered=True), record(cancel(), redelivered=True)])
    assert [letter.code for letter in unit.dead_letters] == ["NO_VERDICT", "NO_VERDICT"]
    assert (unit.emitted, desk.state) == ([], {})


def test_what_the_table_holds_survives_its_encoding() -> None:
    """Records are built without validation; each must pass it, and come back equal."""
    desk = Desk()
    legs = {"take_profit": {"limit_price": "55"}, "stop_loss": {"stop_price": "45"}}
    desk.send(submit(), replace(qty="12"), cancel(), submit(order_id="o2", qty="0"))
    desk.send(submit(order_id="o3", order_class="bracket", **legs), cancel(order_id="none"))
    desk.hear(event("fill", fill=fill(qty="4")), event("canceled", leg="close"))
    adapter = RISK.adapter()
    assert {type(value).__name__ for value in desk.state.values()} == {
        "RiskAccount",
        "RiskOrder",
        "RiskRequest",
        "Expiry",
    }
    for value in desk.state.values():
        assert adapter.validate_json(value.model_dump_json(exclude_none=True)) == value


def test_closed_orders_go_after_their_time_and_open_ones_stay() -> None:
    """With their requests, but for their ids; an open order is looked at again later."""
    desk = Desk()
    desk.send(submit(), cancel(), submit(order_id="o2", qty="11"))
    desk.hear(event("canceled"))

    def tick(now_ns: int) -> set[str]:
        desk.validator.on_timer(MemoryUnit(desk.state, now_ns))
        return {
            key
            for key, value in desk.state.items()
            if not (key.startswith("~") or isinstance(value, Gone))
        }

    everything = {"A1", "A1|o1", "A1|o1|cancel", "A1|o2"}
    assert tick(NOW_NS + KEEP_DAYS * DAY) == everything
    assert tick(NOW_NS + (KEEP_DAYS + 1) * DAY) == {"A1", "A1|o2"}
    desk.hear(event("canceled", order_id="o2"))
    later = NOW_NS + (2 * KEEP_DAYS + 2) * DAY
    assert tick(later - 9 * DAY) == {"A1", "A1|o2"}
    assert tick(later + SWEEP_EVERY_NS) == {"A1"}


def test_partitions_are_apart() -> None:
    """What rests on one partition is forgotten with it, and built again from its table."""
    state: dict[str, RiskRecord] = {}
    desk = Desk(starting=state)
    desk.send(submit(side="sell", limit_price="51.00"))
    desk.validator.on_revoked(0)
    desk.validator.on_assigned(0, state.items())
    assert desk.verdict(submit(order_id="o2", limit_price="51.00")) == "SELF_TRADE"


def test_the_account_decides_the_partition() -> None:
    """The partitioner is asked with the account."""
    validator = Validator(Desk().controls.with_records, last_price, FixedCalendar(), len)  # type: ignore[arg-type]
    unit: MemoryUnit[RiskRecord] = MemoryUnit(now_ns=NOW_NS)
    validator.step(unit, record(submit(), partition=3))
    assert [letter.code for letter in unit.dead_letters] == ["WRONG_PARTITION"]


def test_the_verdict_and_its_reservation_are_one_change() -> None:
    """Whoever sees the order approved sees its account with the order reserved."""
    desk = Desk()
    desk.send(submit())
    order = desk.state["A1|o1"]
    assert isinstance(order, RiskOrder)
    assert order.verdict == "approved"
    assert order.reserved_buy == 10
