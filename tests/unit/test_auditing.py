"""What a venue states is compared with what is tracked; a difference has to be seen twice."""

from decimal import Decimal
from typing import Any

import pytest

from agents.tracker import Tracker
from streams.broker import BrokerOrder
from streams.domain.auditing import LATE_NS, Audit
from streams.domain.order_state import OrderState
from streams.domain.stating import MAX_ORDERS, statements
from streams.models.orders import OrderStatus, OrderTerms
from streams.models.reconciliation import Reconciliation
from streams.models.statements import Statement
from streams.topics import ORDERS_EVENTS, RECONCILIATIONS, STATEMENTS
from tables.orders import OrderRow
from tests.builders import NOW_NS, SECOND, event, fill, record
from tests.fakes import MemoryUnit

EVERY_NS = 60 * SECOND
AT_VENUE = {"order_id": "o1", "client_order_id": "A1.o1", "state": "open", "cum_qty": "4"}
TERMS = OrderTerms(
    symbol="AIG", side="buy", type="limit", qty="10", time_in_force="day", limit_price="50"
)
PART = fill("e1", "4", "50", cum_qty="4")
REST = fill("e2", "6", "50", cum_qty="10")


def tracked(*kinds: str) -> OrderState | None:
    """Return an order of 10 shares after events of these kinds; `part` and `rest` are fills."""
    unit: MemoryUnit[OrderRow] = MemoryUnit()
    tracker = Tracker()
    fills = {"part": PART, "rest": REST}
    for offset, kind in enumerate(("accepted", *kinds)):
        given: dict[str, Any] = {"client_order_id": "A1.o1", "terms": TERMS, "event_id": kind}
        if kind in fills:
            given["fill"] = fills[kind]
        one = event("fill" if kind in fills else kind, **given)
        tracker.step(unit, record(one, ORDERS_EVENTS, offset))
    found = unit.state["A1|o1"]
    assert isinstance(found, OrderState)
    return found


def statement(at_ns: int = NOW_NS, **changed: Any) -> Statement:
    """Return a statement of one order, open with 4 of 10 shares filled."""
    given = {"broker": "virtual", "account": "A1", "symbol": "AIG", "ts_event_ns": at_ns}
    return Statement.model_validate(given | {"orders": (AT_VENUE | changed,)})


def found_in(
    *stated: Statement, ours: OrderState | None, late_ns: int = SECOND
) -> list[Reconciliation]:
    """Return what an audit says of statements, each read a second after it was made."""
    audit = Audit("virtual", 3, EVERY_NS)
    for one in stated:
        audit.take(one, lambda _account, _order: ours, one.ts_event_ns + late_ns)
    return audit.close(stated[-1].ts_event_ns + late_ns + EVERY_NS)


def twice(**changed: Any) -> tuple[Statement, Statement]:
    """Return two statements in a row that say the same."""
    return statement(**changed), statement(NOW_NS + SECOND, **changed)


@pytest.mark.parametrize(
    ("ours", "stated", "finding", "said"),
    [
        (tracked("part"), {}, "", ()),
        (tracked("part", "rest"), {"state": "closed", "cum_qty": "10"}, "", ()),
        (tracked("part", "canceled"), {"state": "closed"}, "", ()),
        (tracked(), {}, "missing_fill", ("0", "4")),
        (tracked("part", "rest"), {}, "extra_fill", ("10", "4")),
        (tracked("part", "canceled"), {}, "open_at_broker", ("canceled", "open")),
        (tracked("part"), {"state": "closed"}, "over_at_broker", ("open", "closed")),
        (None, {}, "unknown_order", ("unknown", "open")),
        (tracked("part"), {"client_order_id": "A1.other"}, "unknown_order", ("unknown", "open")),
    ],
)
def test_what_differs_is_named(
    ours: OrderState | None, stated: dict[str, Any], finding: str, said: tuple[str, ...]
) -> None:
    """The finding, ours and theirs; and a summary that counts."""
    *found, summary = found_in(*twice(**stated), ours=ours)
    assert [(one.finding, (one.ours, one.theirs)) for one in found] == (
        [(finding, said)] if finding else []
    )
    counts = (summary.finding, summary.orders, summary.differences, summary.unmended)
    assert counts == ("summary", 2, len(found), len(found))
    assert {one.run_id for one in found} <= {summary.run_id}
    assert summary.partition == 3


@pytest.mark.parametrize(
    "stated",
    [
        (statement(),),
        (statement(), statement()),  # the same one, delivered twice
        (statement(), statement(NOW_NS + SECOND, cum_qty="5")),  # it moves
        (statement(), statement(NOW_NS + SECOND, cum_qty="0"), statement(NOW_NS + 2 * SECOND)),
    ],
)
def test_once_is_no_difference(stated: tuple[Statement, ...]) -> None:
    """Statements and events come on two topics, and one may be ahead."""
    (summary,) = found_in(*stated, ours=tracked())
    assert summary.finding == "summary"


def test_what_is_read_late_is_passed_over() -> None:
    """Then our side is behind as well, and would differ without being wrong."""
    assert found_in(*twice(), ours=tracked(), late_ns=LATE_NS + 1) == []


def test_the_same_difference_has_the_same_id_in_each_comparison() -> None:
    """So it can be followed; the comparison that it belongs to is another one."""
    audit = Audit("virtual", 0, EVERY_NS)
    runs = []
    for minute in range(3):
        at_ns = NOW_NS + minute * EVERY_NS
        audit.take(statement(at_ns), lambda _account, _order: None, at_ns)
        runs.append(audit.close(at_ns + EVERY_NS))
    (first,), *later = runs
    assert first.finding == "summary"
    assert [run[0].finding for run in later] == ["unknown_order", "unknown_order"]
    assert len({run[0].reconciliation_id for run in later}) == 1
    assert len({run[-1].run_id for run in runs}) == 3


def test_the_tracker_compares_its_own_orders() -> None:
    """A statement changes nothing in the table; a redelivered one is passed over."""
    tracker = Tracker(EVERY_NS)
    unit: MemoryUnit[OrderRow] = MemoryUnit({}, NOW_NS)
    tracker.step(unit, record(event("accepted", client_order_id="A1.o1", terms=TERMS)))
    before = dict(unit.state)
    for offset, one in enumerate(twice()):
        tracker.step(unit, record(one, STATEMENTS, offset))
    tracker.step(unit, record(statement(NOW_NS + 9), STATEMENTS, 9, redelivered=True))
    tracker.on_batch_end(unit)
    assert unit.state == before
    assert unit.values(RECONCILIATIONS) == []

    later: MemoryUnit[OrderRow] = MemoryUnit(unit.state, NOW_NS + EVERY_NS)
    tracker.on_timer(later)
    difference, summary = later.values(RECONCILIATIONS)
    assert (difference.finding, difference.account, summary.orders) == ("missing_fill", "A1", 2)
    assert [each.key for each in later.emitted] == ["A1", "virtual:0"]
    tracker.on_timer(later)
    assert len(later.values(RECONCILIATIONS)) == 2


def test_many_orders_are_several_statements() -> None:
    """Each account has its own, none of them too long."""
    held = [
        BrokerOrder(f"c{number}", f"o{number}", account, OrderStatus.ACCEPTED, None, Decimal(0))
        for number in range(MAX_ORDERS + 1)
        for account in ("A1", "A2")
    ]
    made = list(statements("virtual", "AIG", held, NOW_NS))
    assert [(one.account, len(one.orders)) for one in made] == [
        ("A1", MAX_ORDERS),
        ("A1", 1),
        ("A2", MAX_ORDERS),
        ("A2", 1),
    ]
