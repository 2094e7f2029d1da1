"""The order is a function of the set of its events: not of their order, not of repetitions."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.executions import Contradiction, Execution
from streams.domain.order_state import MAX_SEEN, OrderState, advance
from streams.domain.order_view import order_of, unbooked_qty
from streams.models.orders import EventType, Order, OrderEvent, OrderStatus, OrderTerms, Refusal
from tests.builders import NOW_NS, event, fill

S = OrderStatus


class Known(dict[str, Execution]):
    """Executions in memory."""

    def put(self, execution: Execution) -> None:
        """Keep an execution."""
        self[execution.exec_id] = execution


def terms(qty: str | None = "10", **fields: object) -> OrderTerms:
    """Return terms: by default buy 10 AIG at 50.00."""
    given = {
        "symbol": "AIG",
        "side": "buy",
        "type": "limit",
        "qty": qty,
        "time_in_force": "day",
        "limit_price": "50.00",
    }
    return OrderTerms.model_validate(given | fields)


def approved(
    qty: str | None = "10", *, ts_requested_ns: int | None = None, **fields: object
) -> OrderEvent:
    """Return the validator's approval of these terms."""
    given = {"client_order_id": "mine", "ts_requested_ns": ts_requested_ns}
    return event("approved", broker="", terms=terms(qty, **fields), **given)


def at_venue(kind: str, after_ns: int = 0, **fields: Any) -> OrderEvent:
    """Return an event of the order's one leg, `after_ns` later than the first ones."""
    return event(kind, **({"client_order_id": "c1", "ts_event_ns": NOW_NS + after_ns} | fields))


def a_fill(exec_id: str, qty: str, price: str = "50", **fields: Any) -> OrderEvent:
    """Return a fill of the order's one leg."""
    return at_venue("fill", fill=fill(exec_id, qty, price), **fields)


def a_bust(exec_id: str) -> OrderEvent:
    """Return the bust of an execution."""
    return at_venue("fill_busted", fill=fill(f"bust-{exec_id}", "1", ref_exec_id=exec_id))


def a_correction(exec_id: str, ref: str, qty: str, price: str = "50", ns: int = 0) -> OrderEvent:
    """Return a correction of the execution `ref`."""
    corrected = fill(exec_id, qty, price, ref_exec_id=ref)
    return at_venue("fill_corrected", ns, fill=corrected)


def advanced(events: Iterable[OrderEvent]) -> OrderState | None:
    """Return the state after the events."""
    state, known = None, Known()
    for one in events:
        after = advance(state, one, known)
        assert not isinstance(after, Contradiction), after
        state = after
    return state


def order(*events: OrderEvent) -> Order:
    """Return the order after the events."""
    state = advanced(events)
    assert state is not None
    result = order_of(state)
    assert result is not None
    return result


def outcome(*events: OrderEvent) -> tuple[OrderStatus, str, str, str]:
    """Return status, filled, leaves and overfill after the events."""
    got = order(*events)
    return got.status, str(got.cum_qty), str(got.leaves_qty), str(got.overfill_qty)


def test_five_events_in_any_of_their_120_orders_give_one_order() -> None:
    """Approved, accepted, two fills and a cancel that came too late: filled, whatever came when."""
    events = (
        approved(),
        at_venue("accepted", 1),
        a_fill("e1", "4", "50"),
        a_fill("e2", "6", "51"),
        at_venue("canceled", 9),
    )
    seen = {order(*some).model_dump_json() for some in permutations(events)}
    assert len(seen) == 1
    got = order(*events)
    assert (got.status, got.cum_qty, got.avg_px) == (S.FILLED, Decimal(10), Decimal("50.6"))


ROUTED = at_venue("routed")
ACCEPTED = at_venue("accepted", 1)
CANCELED = at_venue("canceled", 5)
EXPIRED = at_venue("expired", 5)
ASKED = event("pending_cancel", broker="", request_id="q1")
ASKED_REPLACE = event("pending_replace", broker="", request_id="q2")
REFUSED = event("cancel_rejected", request_id="q1")
TO_15 = at_venue("replaced", 3, request_id="q2", revision=1, terms=terms("15"))
TO_4 = at_venue("replaced", 3, request_id="q2", revision=1, terms=terms("4"))
TO_3 = a_correction("e2", "e1", "3")
PAUSED = at_venue("done_for_day", 2)
HALTED = at_venue("suspended", 2)
NO = Refusal(code="NO", text="no")

CASES = (
    ((approved(),), (S.PENDING_NEW, "0", "10", "0")),
    ((approved(), ROUTED, ACCEPTED), (S.ACCEPTED, "0", "10", "0")),
    ((a_fill("e1", "4"),), (S.PARTIALLY_FILLED, "4", "0", "0")),  # nobody said of how many
    ((a_fill("e1", "4"), approved()), (S.PARTIALLY_FILLED, "4", "6", "0")),
    ((approved(), ACCEPTED, CANCELED), (S.CANCELED, "0", "0", "0")),
    ((approved(), CANCELED, a_fill("e1", "4")), (S.CANCELED, "4", "0", "0")),  # FIX D35
    ((approved(), EXPIRED, a_fill("e1", "4")), (S.EXPIRED, "4", "0", "0")),
    ((approved(), CANCELED, a_fill("e1", "10")), (S.FILLED, "10", "0", "0")),
    ((approved(), CANCELED, a_fill("e1", "10"), a_bust("e1")), (S.CANCELED, "0", "0", "0")),
    ((approved(), a_fill("e1", "12")), (S.FILLED, "12", "0", "2")),  # booked, and flagged
    ((approved(), CANCELED, a_fill("e1", "12")), (S.FILLED, "12", "0", "2")),
    ((approved(), ACCEPTED, ASKED, a_fill("e1", "4")), (S.PENDING_CANCEL, "4", "6", "0")),  # D4
    ((approved(), ASKED_REPLACE, a_fill("e1", "4")), (S.PENDING_REPLACE, "4", "6", "0")),  # D10
    ((approved(), ASKED, ASKED_REPLACE), (S.PENDING_CANCEL, "0", "10", "0")),
    ((approved(), ACCEPTED, ASKED, REFUSED), (S.ACCEPTED, "0", "10", "0")),
    ((approved(), ACCEPTED, REFUSED, ASKED), (S.ACCEPTED, "0", "10", "0")),  # answer came first
    ((approved(), ASKED, a_fill("e1", "10")), (S.FILLED, "10", "0", "0")),
    ((approved(), a_fill("e1", "4"), TO_15), (S.PARTIALLY_FILLED, "4", "11", "0")),
    ((approved(), a_fill("e1", "4"), TO_4), (S.FILLED, "4", "0", "0")),  # FIX D11
    ((TO_15, approved()), (S.PENDING_NEW, "0", "15", "0")),  # the highest revision holds
    ((approved(), a_fill("e1", "10"), a_bust("e1")), (S.PENDING_NEW, "0", "10", "0")),
    ((approved(), a_bust("e1"), a_fill("e1", "10")), (S.PENDING_NEW, "0", "10", "0")),
    ((approved(), TO_3, a_fill("e1", "4")), (S.PARTIALLY_FILLED, "3", "7", "0")),  # came first
    ((approved(), at_venue("rejected", refusal=NO)), (S.REJECTED, "0", "0", "0")),
    ((approved(), at_venue("rejected"), a_fill("e1", "4")), (S.CANCELED, "4", "0", "0")),
    ((approved(), ACCEPTED, PAUSED), (S.DONE_FOR_DAY, "0", "10", "0")),
    ((approved(), PAUSED, at_venue("accepted", 3)), (S.ACCEPTED, "0", "10", "0")),
    (
        (approved(), HALTED, a_fill("e1", "4", ts_event_ns=NOW_NS + 3)),
        (S.PARTIALLY_FILLED, "4", "6", "0"),
    ),
    ((approved(), at_venue("held"), at_venue("accepted")), (S.ACCEPTED, "0", "10", "0")),  # one ns
    (
        (approved(), HALTED, a_fill("e1", "4", ts_event_ns=NOW_NS + 3), a_fill("e2", "1")),
        (S.PARTIALLY_FILLED, "5", "5", "0"),  # the second one was executed before the halt
    ),
    ((approved(), a_fill("e1", "4"), HALTED), (S.SUSPENDED, "4", "6", "0")),
)


@pytest.mark.parametrize(("events", "expected"), CASES)
def test_status_and_quantities(
    events: Sequence[OrderEvent], expected: tuple[OrderStatus, str, str, str]
) -> None:
    """Each row: events, and the status, filled, leaves and overfill that they come to."""
    assert outcome(*events) == expected
    assert outcome(*reversed(events)) == expected


CLOSE = {"client_order_id": "c1-close", "leg": "close"}
OPEN = {"client_order_id": "c1-open", "leg": "open"}
SPLIT = (
    approved("15"),
    event("routed", terms=terms("5"), **CLOSE),
    event("routed", terms=terms("10"), **OPEN),
)


def leg_fill(leg: dict[str, str], qty: str) -> OrderEvent:
    """Return a fill of one leg."""
    return event("fill", fill=fill(f"e-{leg['leg']}", qty), **leg)


LEG_CASES = (
    ((leg_fill(CLOSE, "5"),), (S.PARTIALLY_FILLED, "5", "10", "0")),
    ((leg_fill(CLOSE, "5"), leg_fill(OPEN, "10")), (S.FILLED, "15", "0", "0")),
    ((event("canceled", **CLOSE),), (S.PENDING_NEW, "0", "15", "0")),  # the other one works on
    ((event("canceled", **CLOSE), event("canceled", **OPEN)), (S.CANCELED, "0", "0", "0")),
    ((leg_fill(CLOSE, "5"), event("expired", **OPEN)), (S.EXPIRED, "5", "0", "0")),
    ((leg_fill(CLOSE, "5"), event("rejected", refusal=NO, **OPEN)), (S.CANCELED, "5", "0", "0")),
    ((event("rejected", **CLOSE), event("rejected", **OPEN)), (S.REJECTED, "0", "0", "0")),
    ((event("rejected", **CLOSE), event("expired", **OPEN)), (S.EXPIRED, "0", "0", "0")),
)


@pytest.mark.parametrize(("events", "expected"), LEG_CASES)
def test_a_split_order_ends_when_all_its_legs_have(
    events: Sequence[OrderEvent], expected: tuple[OrderStatus, str, str, str]
) -> None:
    """Each row: what happened to the legs of 5 and 10, and what the order of 15 comes to."""
    assert outcome(*SPLIT, *events) == expected
    assert outcome(*reversed((*SPLIT, *events))) == expected


def test_a_rejected_leg_beside_a_filled_one_leaves_its_reason() -> None:
    """Canceled with the refusal of the leg that was refused."""
    got = order(*SPLIT, leg_fill(CLOSE, "5"), event("rejected", refusal=NO, **OPEN))
    assert got.refusal == NO


def test_of_several_refusals_the_earliest_is_shown() -> None:
    """In whichever order they came."""
    first = event("rejected", refusal=NO, ts_event_ns=NOW_NS + 1, **CLOSE)
    later = Refusal(code="LATER", text="no")
    second = event("rejected", refusal=later, ts_event_ns=NOW_NS + 2, **OPEN)
    assert order(*SPLIT, first, second).refusal == order(*SPLIT, second, first).refusal == NO


def test_a_replaced_split_has_the_prices_of_its_legs_and_the_sum_of_their_quantities() -> None:
    """The close keeps its 5, the open becomes 20: an order for 25 at the new price."""
    changed = [
        event("replaced", revision=1, terms=terms(qty, limit_price="49"), **leg)
        for leg, qty in ((CLOSE, "5"), (OPEN, "20"))
    ]
    got = order(*SPLIT, *changed)
    assert got.terms is not None
    assert (got.terms.qty, got.terms.limit_price, got.revision) == (Decimal(25), Decimal(49), 1)
    assert got.leaves_qty == Decimal(25)


def test_a_leg_of_a_pair_shrinks_as_the_other_one_fills() -> None:
    """Two reductions at the same time and revision: the smaller quantity is the later one."""
    to_7 = at_venue("replaced", 2, event_id="r7", terms=terms("7"))
    to_3 = at_venue("replaced", 2, event_id="r3", terms=terms("3"))
    child = at_venue("accepted", 1, terms=terms("10"), parent_order_id="o0")
    for events in permutations((child, to_7, to_3)):
        assert order(*events).leaves_qty == Decimal(3)


def test_an_amount_of_money_is_filled_when_the_rest_buys_nothing() -> None:
    """1,000 at 3: 333.333333333 shares leave less than the smallest size."""
    asked = approved(None, notional="1000", type="market", limit_price=None)
    assert outcome(asked, a_fill("e1", "333.333333333", "3"))[0] is S.FILLED
    assert outcome(asked, a_fill("e1", "333.333333332", "3"))[0] is S.PARTIALLY_FILLED


def test_a_second_use_of_the_id_changes_nothing() -> None:
    """A duplicate, and a rejection because the id is taken, leave the very same state."""
    state = advanced((approved(), ACCEPTED))
    taken = Refusal(code="CONFLICT", text="the id is taken")
    for second in (
        event("duplicate"),
        event("rejected", broker="", refusal=taken, terms=terms("99"), symbol="IBM"),
    ):
        assert advance(state, second, Known()) is state
        assert advance(None, second, Known()) is None


def test_a_refusal_before_any_venue_ends_the_order() -> None:
    """The validator's or router's rejection: terms and reason are shown."""
    refused = event("rejected", broker="", terms=terms(), refusal=NO)
    got = order(refused)
    assert (got.status, got.refusal, got.terms) == (S.REJECTED, NO, terms())
    assert order(refused, approved()).status is S.REJECTED  # the router found no route


def test_a_refused_request_for_an_unknown_order_makes_no_order() -> None:
    """Somebody mistyped an id: nothing to see, until an event proves that the order exists."""
    mistyped = event("cancel_rejected", request_id="q1")
    state = advanced((mistyped,))
    assert state is not None
    assert order_of(state) is None
    assert order(mistyped, approved()).status is S.PENDING_NEW


def test_an_event_of_an_unknown_order_is_seen_without_terms() -> None:
    """Parked, and visible: pending_new, no terms, nothing to fill."""
    got = order(ROUTED)
    assert (got.status, got.terms, got.version) == (S.PENDING_NEW, None, 1)
    assert got.leaves_qty == 0


CONTRADICTIONS = (
    (a_fill("e2", "1", symbol="IBM"), "CONTRADICTS_ORDER"),
    (a_fill("e2", "1", side="sell"), "CONTRADICTS_ORDER"),
    (event("approved", terms=terms(symbol="IBM"), event_id="z"), "CONTRADICTS_ORDER"),
    (a_fill("e1", "5"), "EXECUTION_CONFLICT"),  # it was 4
    (a_fill("e1", "4", "49"), "EXECUTION_CONFLICT"),  # it was at 50
    (a_fill("e2", "0"), "BAD_FILL"),
    (a_fill("e2", "1", "-1"), "BAD_FILL"),
    (a_fill("e2", "1", side=None), "BAD_FILL"),
    (a_fill("e2", "1", symbol=None), "BAD_FILL"),
    (at_venue("fill"), "BAD_FILL"),  # no block
    (at_venue("fill_busted", fill=fill("b1", "4")), "BAD_FILL"),  # of what
    (at_venue("fill_busted", fill=fill("b1", "4", ref_exec_id="b1")), "BAD_FILL"),  # of itself
)


@pytest.mark.parametrize(("bad", "code"), CONTRADICTIONS)
def test_what_contradicts_the_order_is_refused(bad: OrderEvent, code: str) -> None:
    """Each row: an event that cannot be true of buy 10 AIG with 4 filled at 50, and its code."""
    known = Known()
    state: OrderState | None = None
    for one in (approved(), a_fill("e1", "4")):
        after = advance(state, one, known)
        assert isinstance(after, OrderState)
        state = after
    before = dict(known)
    got = advance(state, bad, known)
    assert isinstance(got, Contradiction)
    assert got.code == code
    assert known == before


def test_the_venues_own_sum_shows_a_missed_fill() -> None:
    """The second fill says 9 in all, 4 + 3 came: 2 are missing."""
    state = advanced((a_fill("e1", "4"), at_venue("fill", 1, fill=fill("e3", "3", cum_qty="9"))))
    assert state is not None
    assert unbooked_qty(state) == Decimal(2)


def test_what_is_remembered_of_an_order_has_a_bound() -> None:
    """However many events come, MAX_SEEN of them are told from repetitions."""
    state: OrderState | None = None
    for number in range(MAX_SEEN + 50):
        asked = {"event_id": f"e{number}", "request_id": f"q{number}"}
        after = advance(state, event("pending_replace", **asked), Known())
        assert isinstance(after, OrderState)
        state = after
    assert state is not None
    assert (len(state.seen), len(state.replaces)) == (MAX_SEEN, MAX_SEEN)
    assert state.version == MAX_SEEN + 50


# --- any order, any repetition ----------------------------------------------------------------


def happening(kind: str, number: int, ref: str, qty: str, price: str) -> dict[str, object]:
    """Return what an event says: it is the `number`-th, `ref` is an execution before it."""
    rows: dict[str, dict[str, object]] = {
        "fill": {"fill": fill(f"e{number}", qty, price, commission="0.35")},
        "fill_busted": {"fill": fill(f"b{number}", "1", ref_exec_id=ref)},
        "fill_corrected": {"fill": fill(f"e{number}", qty, price, ref_exec_id=ref)},
        "pending_cancel": {"broker": "", "request_id": f"q{number}"},
        "pending_replace": {"broker": "", "request_id": f"q{number}"},
        "cancel_rejected": {"request_id": f"q{number - 1}"},
        "replace_rejected": {"request_id": f"q{number - 1}"},
        "replaced": {
            "request_id": f"q{number - 1}",
            "revision": number,
            "terms": terms(qty, limit_price=price),
        },
        "rejected": {"refusal": Refusal(code=f"N{number}", text="no")},
    }
    return rows.get(kind, {})


#: What may happen to an order that was routed; fills more often than the rest.
KINDS = sorted(set(EventType) - {EventType.APPROVED, EventType.ROUTED, EventType.DUPLICATE})
KINDS += [EventType.FILL] * 4


@st.composite
def histories(draw: st.DrawFn) -> list[OrderEvent]:
    """Return what may happen to one order, in one or two legs, in the order it happened."""
    legs = draw(st.sampled_from(([{"client_order_id": "c1"}], [CLOSE, OPEN])))
    events = [approved("30", ts_requested_ns=NOW_NS)]
    events += [event("routed", terms=terms(str(30 // len(legs))), **leg) for leg in legs]
    executions = ["late"]
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=14)):
        number = len(events)
        ref = draw(st.sampled_from(executions))
        qty, price = str(draw(st.integers(1, 12))), str(draw(st.integers(40, 60)))
        told = happening(kind, number, ref, qty, price)
        at = NOW_NS + number + draw(st.integers(-2, 2))  # clocks differ
        events.append(
            event(
                kind,
                event_id=f"x{number}",
                **(draw(st.sampled_from(legs)) | {"ts_event_ns": at, "ts_init_ns": at} | told),
            )
        )
        if kind in ("fill", "fill_corrected"):
            executions.append(f"e{number}")
    return events


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_and_any_repetition_give_the_same_order(data: st.DataObject) -> None:
    """Shuffled and doubled, a history ends in the same order, to the byte."""
    history = data.draw(histories())
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=8))
    shuffled = data.draw(st.permutations([*history, *repeated]))
    assert order(*shuffled).model_dump_json() == order(*history).model_dump_json()


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_redelivering_any_stretch_changes_nothing(data: st.DataObject) -> None:
    """Every repeated event leaves the very same state object."""
    history = data.draw(histories())
    known = Known()
    state: OrderState | None = None
    for one in history:
        after = advance(state, one, known)
        assert isinstance(after, OrderState)
        state = after
    kept = dict(known)
    for one in history[data.draw(st.integers(0, len(history))) :]:
        assert advance(state, one, known) is state
    assert known == kept


@settings(max_examples=80, deadline=None)
@given(histories())
def test_invariants(history: list[OrderEvent]) -> None:
    """Leaves are never negative, 0 when terminal; version counts the distinct events."""
    got = order(*history)
    assert got.leaves_qty >= 0
    assert got.version == len(history)
    if got.status in (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED):
        assert got.leaves_qty == 0
    if got.status is S.FILLED and got.terms is not None and got.terms.qty is not None:
        assert got.cum_qty >= got.terms.qty
