"""Every status with every event: what the state machine does is what the table says."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count

from streams.domain.executions import Execution
from streams.domain.order_state import OrderState, advance
from streams.domain.order_table import STATUS_RULES
from streams.domain.order_transitions import TRANSITIONS
from streams.domain.order_view import order_of
from streams.models.orders import EventType, OrderEvent, OrderStatus, OrderTerms
from tests.builders import NOW_NS, event, fill

TERMS = OrderTerms(
    symbol="AIG", side="buy", type="limit", qty="10", time_in_force="day", limit_price="50"
)
NUMBER = count(1)

Made = Callable[[], OrderEvent]


class Known(dict[str, Execution]):
    """Executions in memory."""

    def put(self, execution: Execution) -> None:
        """Keep an execution."""
        self[execution.exec_id] = execution


def made(kind: str, **fields: object) -> Made:
    """Return a builder of an event with an id and a time of its own."""

    def make() -> OrderEvent:
        number = next(NUMBER)
        given = {"client_order_id": "c1", "event_id": f"x{number}", "ts_event_ns": NOW_NS + number}
        return event(kind, **(given | fields))

    return make


def filled(exec_id: str, qty: str) -> Made:
    """Return a builder of a fill."""
    return made("fill", fill=fill(exec_id, qty))


def busted(exec_id: str) -> Made:
    """Return a builder of a bust."""
    return made("fill_busted", fill=fill(f"bust-{exec_id}", "4", ref_exec_id=exec_id))


def corrected(exec_id: str, qty: str) -> Made:
    """Return a builder of a correction."""
    return made("fill_corrected", fill=fill(f"correct-{exec_id}", qty, ref_exec_id=exec_id))


APPROVED = made("approved", broker="", terms=TERMS)
ROUTED = made("routed")
PENDING_CANCEL = made("pending_cancel", request_id="q1")
PENDING_REPLACE = made("pending_replace", request_id="q2")

#: Ways to be at work, as the events that lead there.
WORKING: tuple[tuple[Made, ...], ...] = tuple(
    (APPROVED, ROUTED, *more)
    for booked in ((), (made("held"),), (made("accepted"),), (made("accepted"), made("triggered")))
    for paused in ((), (made("done_for_day"),), (made("suspended"),))
    for more in (
        (*booked, *paused),
        (*booked, filled("f1", "4"), *paused),
        (*booked, *paused, filled("f1", "4")),
        (*booked, *paused, filled("f1", "4"), busted("f1")),
    )
)


def histories() -> Iterator[tuple[Made, ...]]:
    """Yield ways into every status."""
    for way in ((APPROVED,), (ROUTED,), *WORKING):
        for asked in ((), (PENDING_REPLACE,), (PENDING_CANCEL,), (PENDING_REPLACE, PENDING_CANCEL)):
            yield (*way, *asked)
            yield (*way, *asked, filled("f2", "10"))
        for end in ("canceled", "expired", "rejected"):
            yield (*way, made(end))
            yield (*way, made(end), filled("f2", "10"))
    yield (made("rejected", broker="", terms=TERMS),)


def variants(kind: EventType) -> tuple[Made, ...]:
    """Return what an event of a kind may say, as far as it matters to the status."""
    amended = [
        made("replaced", request_id="q2", revision=1, terms=TERMS.model_copy(update={"qty": qty}))
        for qty in (Decimal(4), Decimal(20))
    ]
    said: dict[EventType, tuple[Made, ...]] = {
        EventType.APPROVED: (APPROVED,),
        EventType.FILL: (filled("n1", "1"), filled("n1", "10")),
        EventType.FILL_BUSTED: (busted("f1"), busted("f2")),
        EventType.FILL_CORRECTED: tuple(
            corrected(ref, qty) for ref in ("f1", "f2") for qty in ("1", "10")
        ),
        EventType.PENDING_CANCEL: (made("pending_cancel", request_id="q9"),),
        EventType.PENDING_REPLACE: (made("pending_replace", request_id="q9"),),
        EventType.CANCEL_REJECTED: (made("cancel_rejected", request_id="q1"),),
        EventType.REPLACE_REJECTED: (made("replace_rejected", request_id="q2"),),
        EventType.REPLACED: tuple(amended),
    }
    return said.get(kind, (made(kind.value),))


def moved(state: OrderState | None, event_of: Made, known: Known) -> OrderState:
    """Return the state after one more event."""
    after = advance(state, event_of(), known)
    assert isinstance(after, OrderState)
    return after


def status(state: OrderState) -> OrderStatus:
    """Return the status of the order."""
    order = order_of(state)
    assert order is not None
    return order.status


def test_the_machine_does_what_the_table_says() -> None:
    """Each cell has exactly the outcomes that histories of that status can show."""
    seen: dict[tuple[OrderStatus, EventType], set[OrderStatus]] = defaultdict(set)
    cases = [(kind, one) for kind in EventType for one in variants(kind)]
    for history in sorted(set(histories()), key=len):
        known = Known()
        state = moved(None, history[0], known)
        for one in history[1:]:
            state = moved(state, one, known)
        for kind, one in cases:
            after = moved(state, one, Known(known))
            seen[status(state), kind].add(status(after))
    assert {cell: set(row.to) for cell, row in TRANSITIONS.items()} == dict(seen)


def test_the_table_has_every_cell() -> None:
    """13 statuses by 19 events, each with a note."""
    assert set(TRANSITIONS) == {(status, kind) for status in OrderStatus for kind in EventType}
    assert all(row.note for row in TRANSITIONS.values())


def test_every_status_has_its_rule() -> None:
    """Each status follows from one row, and the last row holds whatever the facts."""
    assert sorted(rule.status for rule in STATUS_RULES) == sorted(OrderStatus)
    assert all(rule.why for rule in STATUS_RULES)
