"""Every record of a demo is accounted for, and what is missing is named."""

from decimal import Decimal
from typing import Any

import pytest

from streams.demo.accounting import Tally
from streams.load import Expected, Kind, LoadRecord
from streams.models.orders import Order, Refusal, Side
from streams.models.positions import Position
from tests.builders import NOW_NS, event, fill

REFUSED = Refusal(code="CONFLICT", text="other content")


def sent(kind: Kind, order_id: str | None = "o1", value: bytes = b"{}") -> LoadRecord:
    """Return a record of account A1."""
    return LoadRecord(b"A1", value, Expected(kind, "A1", order_id))


def tally(*kinds: Kind) -> Tally:
    """Return a tally that expects records of these kinds, all about order o1."""
    found = Tally()
    for kind in kinds:
        found.expect(sent(kind, None if kind == "garbage" else "o1"))
    return found


def order(status: str, version: int = 1, **fields: Any) -> Order:
    """Return order o1 of A1."""
    given = {"cum_qty": "0", "leaves_qty": "0", "commission": "0", "overfill_qty": "0"}
    given |= {"order_id": "o1", "account": "A1", "status": status, "version": version}
    return Order.model_validate(given | {"ts_updated_ns": NOW_NS} | fields)


def position(qty: str, version: int = 1) -> Position:
    """Return a position of A1 in AIG."""
    money = dict.fromkeys(("avg_entry_px", "realized_pl", "commission", "buy_qty", "sell_qty"), "0")
    given = {"account": "A1", "symbol": "AIG", "qty": qty, "fills": 1, "version": version}
    return Position.model_validate({**money, **given, "ts_updated_ns": NOW_NS})


def letter(found: Tally, value: bytes = b"{}", offset: int = 5) -> None:
    """Show a dead letter of a record of A1."""
    headers = {"__streams.errors.offset": b"%d" % offset, "orderflow.code": b"NOT_JSON"}
    found.saw_dead_letter(b"A1", value, headers)


@pytest.mark.parametrize(
    ("kind", "status", "settled"),
    [
        ("submit", "filled", True),  # ended
        ("submit", "rejected", True),  # a valid order may run into a limit
        ("submit", "canceled", True),
        ("submit", "expired", True),
        ("submit", "accepted", True),  # open at the venue
        ("submit", "partially_filled", True),
        ("submit", "held", True),
        ("submit", "pending_new", False),  # the venue has not answered
        ("submit", "pending_cancel", False),  # a request has no answer
        ("submit", "pending_replace", False),
        ("invalid", "rejected", True),
        ("invalid", "accepted", False),  # a check let it through
        ("invalid", "filled", False),
    ],
)
def test_an_order_is_settled_by_its_status(kind: Kind, status: str, settled: bool) -> None:
    """Ended or open for a valid order, rejected for an invalid one."""
    found = tally(kind)
    assert not found.settled()
    found.saw_order(order(status))
    assert found.settled() is settled


def test_the_newest_version_of_an_order_holds() -> None:
    """Updates may come twice and late; the counts follow the newest."""
    found = tally("submit")
    for update in (order("accepted", 2), order("filled", 3), order("accepted", 2)):
        found.saw_order(update)
    counts = found.counts()
    assert (counts.sent, counts.filled, counts.open, counts.unknown) == (1, 1, 0, 0)


def test_an_order_that_nobody_sent_is_named() -> None:
    """An id out of nowhere is a fault, a bracket's child is none."""
    found = Tally()
    found.saw_order(order("filled", order_id="o1.tp", parent_order_id="o1"))
    assert (found.missing(), found.counts().children) == ([], 1)
    found.saw_order(order("filled"))
    assert found.missing() == ["order o1 of A1 stands filled; nobody sent it"]


@pytest.mark.parametrize(
    ("kind", "answer", "fields", "settled"),
    [
        ("cancel", "canceled", {}, True),
        ("cancel", "cancel_rejected", {}, True),
        ("cancel", "pending_cancel", {}, False),  # passed on, not answered
        ("cancel", "replaced", {}, False),  # the answer to something else
        ("replace", "replaced", {}, True),
        ("replace", "replace_rejected", {}, True),
        ("duplicate", "duplicate", {}, True),
        ("duplicate", "duplicate", {"refusal": REFUSED}, False),  # equal content is no conflict
        ("conflict", "duplicate", {"refusal": REFUSED}, True),
        ("conflict", "duplicate", {}, False),  # other content was taken for equal
    ],
)
def test_every_change_and_repetition_is_answered(
    kind: Kind, answer: str, fields: dict[str, Any], settled: bool
) -> None:
    """By the event that belongs to it, from the validator where the broker never hears of it."""
    found = tally(kind)
    fields = {"broker": ""} | fields
    assert not found.saw_event(event(answer, **fields))
    assert found.settled() is settled


def test_two_repetitions_need_two_answers() -> None:
    """One answer that comes twice is one answer; the broker's own duplicates answer nobody."""
    found = tally("duplicate", "duplicate")
    for event_id, broker in (("a", ""), ("a", ""), ("b", "virtual")):
        found.saw_event(event("duplicate", event_id=event_id, broker=broker))
    assert found.missing() == ["duplicate of order o1 of A1: 2 sent, 1 answered"]
    found.saw_event(event("duplicate", event_id="b", broker=""))
    assert found.settled()


def test_garbage_is_one_dead_letter_each() -> None:
    """The bytes are compared; a letter that comes twice is one, a letter of an order is a fault."""
    found = tally("garbage", "garbage")
    letter(found)
    letter(found)
    missing = ["record b'{}' of A1: 2 sent that are no orders, 1 dead letters NOT_JSON"]
    assert found.missing() == missing
    letter(found, offset=6)
    assert (found.settled(), found.counts().dead_letters) == (True, 2)
    letter(found, b"an order", offset=7)
    missing = ["record b'an order' of A1: 0 sent that are no orders, 1 dead letters NOT_JSON"]
    assert found.missing() == missing


def test_positions_are_the_sum_of_distinct_fills() -> None:
    """A fill that comes twice counts once; buys add, sales take off."""
    found = Tally()
    bought = event("fill", fill=fill("e1", "10"))
    assert found.saw_event(bought)
    assert not found.saw_event(bought)
    assert found.saw_event(event("fill", fill=fill("e2", "4"), side=Side.SELL))
    missing = ["position AIG of A1: fills come to 6, the position is 0"]
    assert found.missing() == missing
    found.saw_position(position("6", 2))
    found.saw_position(position("10", 1))
    assert found.settled()
    assert found.fill_qty == {("A1", "AIG"): Decimal(6)}
    assert found.counts().fills == 2


def test_everything_in_any_order() -> None:
    """What was observed before it was expected counts as well."""
    found = Tally()
    found.saw_order(order("canceled"))
    found.saw_event(event("canceled"))
    letter(found)
    for kind in ("submit", "cancel"):
        found.expect(sent(kind))
    found.expect(sent("garbage", None))
    assert found.missing() == []
