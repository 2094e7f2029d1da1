"""The tracker agent: what it keeps, publishes, sets aside, and does on the second delivery."""

from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from agents.tracker import Tracker
from streams.models.orders import OrderEvent, OrderStatus, OrderTerms
from streams.topics import ORDERS_EVENTS, ORDERS_UPDATES
from streams.transport.codec import encode
from tables.orders import ORDERS, OrderRow, order_key
from tests.builders import NOW_NS, event, fill, record
from tests.fakes import MemoryUnit

TERMS = OrderTerms(
    symbol="AIG", side="buy", type="limit", qty="10", time_in_force="day", limit_price="50"
)
APPROVED = event("approved", broker="", terms=TERMS)
FILLED = event("fill", client_order_id="c1", fill=fill("e1", "4"))


def run(
    *events: OrderEvent,
    state: dict[str, OrderRow] | None = None,
    redelivered: bool = False,
    tracker: Tracker | None = None,
) -> MemoryUnit[OrderRow]:
    """Play one batch and return its unit."""
    tracker = tracker or Tracker()
    unit: MemoryUnit[OrderRow] = MemoryUnit({} if state is None else state, NOW_NS)
    for offset, one in enumerate(events):
        tracker.step(unit, record(one, ORDERS_EVENTS, offset, redelivered=redelivered))
    tracker.on_batch_end(unit)
    return unit


def test_an_order_is_published_once_per_batch_on_its_accounts_partition() -> None:
    """Two events, one update: the order after both."""
    unit = run(APPROVED, FILLED)
    (update,) = unit.emitted
    assert (update.topic, update.key, update.partition_key) == (ORDERS_UPDATES.name, "A1|o1", "A1")
    order = update.value
    assert (order.status, order.cum_qty, order.version) == (OrderStatus.PARTIALLY_FILLED, 4, 2)


def test_a_known_event_publishes_nothing() -> None:
    """A repetition at a new offset: no change, no update."""
    state = run(APPROVED, FILLED).state
    kept = dict(state)
    again = run(FILLED, APPROVED, event("duplicate"), state=state)
    assert (again.emitted, again.state) == ([], kept)


def test_a_redelivered_event_publishes_the_order_as_it_now_is() -> None:
    """A crash may have eaten the first update: the same bytes come again, state stays."""
    first = run(APPROVED, FILLED)
    kept = dict(first.state)
    again = run(APPROVED, FILLED, state=first.state, redelivered=True)
    assert again.emitted == first.emitted
    assert again.state == kept


def test_a_redelivered_event_is_never_applied() -> None:
    """Its effect is in the table by definition, whatever the table has forgotten since."""
    unit = run(FILLED, redelivered=True)
    assert (unit.state, unit.emitted) == ({}, [])


def test_a_redelivered_contradiction_is_set_aside_again() -> None:
    """Its dead letter may have been lost too."""
    state = run(APPROVED, FILLED).state
    bad = event("accepted", symbol="IBM", event_id="bad")
    for redelivered in (False, True):
        unit = run(bad, state=state, redelivered=redelivered)
        assert [(each.code, each.record.value) for each in unit.dead_letters] == [
            ("CONTRADICTS_ORDER", bad)
        ]


def test_orders_of_two_accounts_do_not_meet() -> None:
    """The same order and execution ids in two accounts are two orders, two executions."""
    other = FILLED.model_copy(update={"account": "A2"})
    unit = run(FILLED, other)
    assert {each.key: each.value.cum_qty for each in unit.emitted} == {"A1|o1": 4, "A2|o1": 4}


def test_a_batch_of_one_partition_leaves_the_other_alone() -> None:
    """What was touched in partition 0 is published with partition 0."""
    tracker = Tracker()
    first: MemoryUnit[OrderRow] = MemoryUnit(partition=0)
    second: MemoryUnit[OrderRow] = MemoryUnit(partition=1)
    tracker.step(first, record(APPROVED, ORDERS_EVENTS))
    tracker.on_batch_end(second)
    tracker.on_batch_end(first)
    assert (len(first.emitted), len(second.emitted)) == (1, 0)


def test_a_mistyped_request_makes_no_order() -> None:
    """Nothing is published, nothing is set aside."""
    unit = run(event("cancel_rejected", request_id="q1"))
    assert (unit.emitted, unit.dead_letters) == ([], [])


def test_rows_survive_the_table() -> None:
    """Written as JSON without empty fields and read again, every row is the same."""
    unit = run(
        APPROVED,
        FILLED,
        event("pending_cancel", request_id="q1"),
        event("fill_corrected", fill=fill("e2", "5", ref_exec_id="e1"), client_order_id="c1"),
        event("rejected", leg="open", client_order_id="c2"),
    )
    adapter: TypeAdapter[Any] = ORDERS.adapter()
    for row in unit.state.values():
        assert adapter.validate_json(adapter.dump_json(row, exclude_none=True)) == row


def test_a_scan_of_an_account_meets_orders_only() -> None:
    """Executions sort apart."""
    unit = run(APPROVED, FILLED)
    assert [key for key, _ in unit.scan("A1|")] == [order_key("A1", "o1")]
    assert len([key for key in unit.state if not key.startswith("~")]) == 2


def test_an_order_without_terms_can_be_read_from_its_topic() -> None:
    """What nobody has said is left out on the wire, and absent when it is read."""
    (order,) = run(FILLED).values(ORDERS_UPDATES)
    assert ORDERS_UPDATES.adapter.validate_json(encode(order)) == order


def test_an_order_by_money_can_be_read_from_its_topic() -> None:
    """Its terms have no quantity."""
    by_money = TERMS.model_copy(update={"qty": None, "notional": Decimal(1000)})
    (order,) = run(event("approved", terms=by_money)).values(ORDERS_UPDATES)
    assert ORDERS_UPDATES.adapter.validate_json(encode(order)) == order
