"""One order at a broker across a network: each thing is published once, whoever tells it."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from streams.domain import sending
from streams.domain.refusals import Code, refuse
from streams.domain.sending import Now, Sending, Step
from streams.models.orders import EventType, OrderEvent, VenueOrder
from tests.builders import NOW_NS, event, fill
from tests.unit.matching_world import venue_order

NOW = Now(NOW_NS)
D = Decimal


def order(**fields: Any) -> VenueOrder:
    """Return an order for the broker: buy 10 AIG at 50.00."""
    return venue_order(broker="rest", **fields)


def news(kind: str, **fields: Any) -> OrderEvent:
    """Return what the broker's stream tells of the order, with the id that the adapter gives."""
    made = fields.get("fill")
    suffix = (
        (made.exec_id,) if made else ((fields["request_id"],) if "request_id" in fields else ())
    )
    told = sending.event_id("A1.o1", EventType(kind), *suffix)
    return event(kind, client_order_id="A1.o1", broker="rest", event_id=told, **fields)


def taken(*orders: VenueOrder) -> Sending:
    """Return what is known of an order whose commands came."""
    state: Sending | None = None
    for offset, one in enumerate(orders or (order(),)):
        state = sending.take(state, one, offset, NOW).state
    assert state is not None
    return state


def kinds(*steps: Step) -> list[str]:
    """Return the events of steps."""
    return [event.event.value for step in steps for event in step.events]


def test_a_command_is_called_once() -> None:
    """The same record again says again what was said; as a new record it is a duplicate."""
    first = sending.take(None, order(), 7, NOW)
    assert (first.call, first.events) == (True, ())
    answered = sending.answered(first.state, order(), NOW)
    again = sending.take(answered.state, order(), 7, NOW)
    assert (again.call, again.state, again.events) == (False, answered.state, answered.events)
    other = sending.take(answered.state, order(), 9, NOW)
    assert (other.call, kinds(other)) == (False, ["duplicate"])
    assert sending.take(other.state, order(), 9, NOW) == other


def test_an_id_of_another_order_is_refused() -> None:
    """And the order that has it goes on."""
    state = taken()
    step = sending.take(state, order(order_id="o2", client_order_id="A1.o1"), 1, NOW)
    assert step.state is state
    assert (step.call, bool(step.conflict), kinds(step)) == (False, True, ["rejected"])
    assert step.events[0].order_id == "o2"
    assert step.events[0].refusal is not None
    assert step.events[0].refusal.code == Code.CONFLICT


def test_the_answer_and_the_stream_make_one_event() -> None:
    """In either order."""
    answer = sending.answered(taken(), order(), NOW)
    assert kinds(answer, sending.told(answer.state, news("accepted"), NOW)) == ["accepted"]
    stream = sending.told(taken(), news("accepted"), NOW)
    assert list(sending.waiting(stream.state)) == []
    assert kinds(stream, sending.answered(stream.state, order(), NOW)) == ["accepted"]
    assert answer.events[0].event_id == stream.events[0].event_id == "A1.o1:accepted"


def test_a_fill_before_the_answer_counts() -> None:
    """It proves that the broker has the order; the answer that follows is no news."""
    early = sending.told(taken(), news("fill", fill=fill("x1")), NOW)
    assert (kinds(early), early.state.over) == (["fill"], True)
    late = sending.answered(early.state, order(), NOW)
    assert kinds(late) == ["accepted"]
    assert list(sending.waiting(late.state)) == []


EVENTS = [
    news("accepted"),
    news("fill", fill=fill("x1", "4", cum_qty="4")),
    news("fill", fill=fill("x2", "6", cum_qty="10")),
    news("fill", fill=fill("copy", "6", cum_qty="10")),
    news("fill", fill=fill("x1", "4", cum_qty="4")),
]


@pytest.mark.parametrize("turn", list(itertools.permutations(range(5)))[::7])
def test_events_in_any_order_come_to_the_same(turn: tuple[int, ...]) -> None:
    """The same quantity, the same position, over, whatever came first."""
    state = taken()
    published: list[OrderEvent] = []
    for number in turn:
        step = sending.told(state, EVENTS[number], NOW)
        state, published = step.state, [*published, *step.events]
    assert (state.covered.qty, sending.bought(published), state.over) == (D(10), D(10), True)
    assert len({one.event_id for one in published}) == len(published)


def test_what_is_found_makes_up_for_what_was_missed() -> None:
    """Accepted, filled in part at the average price, over; then the stream adds the rest."""
    step = sending.found(taken(), NOW, cum_qty=fill(qty="4").last_qty, avg_px=fill().last_px)
    assert kinds(step) == ["accepted", "fill"]
    assert step.events[1].fill is not None
    assert step.events[1].fill.exec_id == "A1.o1:cum:4"
    late = sending.told(step.state, news("fill", fill=fill("x1", "4", cum_qty="4")), NOW)
    assert kinds(late) == []
    assert list(sending.waiting(step.state)) == []
    end = sending.found(
        late.state, NOW, cum_qty=fill(qty="4").last_qty, avg_px=None, end=EventType.CANCELED
    )
    assert (kinds(end), end.state.over) == (["canceled"], True)


def test_a_partly_known_execution_counts_for_its_rest() -> None:
    """With its own id, and with its share of the commission."""
    known = sending.found(taken(), NOW, cum_qty=fill(qty="4").last_qty, avg_px=fill().last_px)
    whole = fill("x1", "10", cum_qty="10", commission="1")
    step = sending.told(known.state, news("fill", fill=whole), NOW)
    counted = step.events[0].fill
    assert counted is not None
    assert (str(counted.last_qty), str(counted.commission)) == ("6", "0.6")


def test_a_bust_passes_and_moves_the_position_back() -> None:
    """Once; and the executions after it count by their ids."""
    state = sending.told(taken(), news("fill", fill=fill("x1")), NOW).state
    bust = news("fill_busted", fill=fill("b1", cum_qty="0", ref_exec_id="x1"))
    step = sending.told(state, bust, NOW)
    assert (kinds(step), sending.bought(step.events)) == (["fill_busted"], D(-10))
    assert kinds(sending.told(step.state, bust, NOW)) == []
    assert kinds(sending.told(step.state, news("fill", fill=fill("x2")), NOW)) == ["fill"]
    assert kinds(sending.told(step.state, news("fill", fill=fill("x1")), NOW)) == []


def test_a_refusal_of_ours_says_that_it_never_went_out() -> None:
    """Until the broker says otherwise: then its word holds."""
    why = refuse(Code.EXPIRED_UNSENT, "late")
    step = sending.refused(taken(), order(), why, NOW, 4)
    assert (kinds(step), step.state.over, step.state.unsent) == (["rejected"], True, True)
    assert (step.events[0].refusal, step.events[0].controls_version) == (why, 4)
    late = sending.told(step.state, news("accepted"), NOW)
    assert (kinds(late), late.state.over, late.state.unsent) == (["accepted"], False, False)


def test_a_replace_brings_the_terms_that_we_asked_for() -> None:
    """And the order is over when those are filled."""
    change = order(command="replace", request_id="r1", qty="4", revision=1)
    state = taken(order(), change)
    pending = sending.answered(state, change, NOW)
    assert kinds(pending) == ["pending_replace"]
    done = sending.told(pending.state, news("replaced", request_id="r1"), NOW)
    assert (done.events[0].revision, str(done.events[0].terms and done.events[0].terms.qty)) == (
        1,
        "4",
    )
    filled = sending.told(done.state, news("fill", fill=fill("x1", "4", cum_qty="4")), NOW)
    assert filled.state.over


@pytest.mark.parametrize("command", ["cancel", "replace"])
def test_a_refused_change_leaves_the_order(command: str) -> None:
    """The event names the request, and comes once, by answer and stream."""
    change = order(command=command, request_id="r1")
    state = taken(order(), change)
    step = sending.answered(state, change, NOW, refuse(Code.TOO_LATE, "filled"))
    assert (kinds(step), step.state.over) == ([f"{command}_rejected"], False)
    assert step.events[0].event_id == f"A1.o1:{command}_rejected:r1"
    assert kinds(sending.told(step.state, news(f"{command}_rejected", request_id="r1"), NOW)) == []


def test_what_is_acknowledged_leaves_the_outbox() -> None:
    """The others are published again by whoever takes the partition over."""
    first = sending.answered(taken(), order(), NOW)
    later = Now(NOW_NS + 5, settled_ns=NOW_NS + 1)
    step = sending.told(first.state, news("fill", fill=fill("x1", "4", cum_qty="4")), later)
    assert step.state.outbox == step.events
    unsure = sending.told(first.state, news("canceled"), Now(NOW_NS + 5, settled_ns=NOW_NS))
    assert len(unsure.state.outbox) == 2


def test_what_is_remembered_is_bounded() -> None:
    """Answered requests go, the oldest first; those that wait stay."""
    state = taken()
    for number in range(200):
        change = order(command="cancel", request_id=f"c{number}")
        state = sending.take(state, change, number + 1, NOW).state
        state = sending.answered(state, change, NOW, refuse(Code.TOO_LATE, "no")).state
        state = sending.told(state, news("accepted"), Now(NOW_NS, NOW_NS + 1)).state
    assert len(state.requests) == sending.MAX_KNOWN
    assert len(state.said) == sending.MAX_KNOWN
    assert sending.request_of(state, "submit") is not None
