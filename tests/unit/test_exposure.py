"""Exposure comes back from the events: what is reserved, and what is held."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.decimals import ZERO, plain
from streams.domain.exposure_models import Holding, RiskAccount, RiskOrder
from streams.models.orders import OrderEvent
from streams.topics import ORDERS_APPROVED, ORDERS_EVENTS
from tests.builders import event, fill, replace, submit
from tests.unit.risk_builders import Desk, instrument, limits

LEGS: dict[str, Any] = {
    "take_profit": {"limit_price": "55.00"},
    "stop_loss": {"stop_price": "45.00"},
}


def account_of(desk: Desk) -> RiskAccount:
    """Return account A1."""
    account = desk.state["A1"]
    assert isinstance(account, RiskAccount)
    return account


def held(desk: Desk) -> tuple[str, str, str]:
    """Return position, open buys and open sells of AIG."""
    holding = account_of(desk).holdings.get("AIG", Holding())
    return str(plain(holding.qty)), str(plain(holding.buy_qty)), str(plain(holding.sell_qty))


def test_an_approved_order_reserves_and_fills_turn_it_into_a_position() -> None:
    """10 open; 4 filled leave 6; a cancel leaves none."""
    desk = Desk(limits(starting_cash="1000"))
    desk.send(submit())
    assert (held(desk), account_of(desk).reserved) == (("0", "10", "0"), Decimal(500))
    desk.hear(event("fill", fill=fill(qty="4", price="49", commission="1")))
    assert (held(desk), account_of(desk).reserved) == (("4", "6", "0"), Decimal(300))
    assert account_of(desk).cash == 1000 - 4 * 49 - 1
    desk.hear(event("canceled"))
    assert (held(desk), account_of(desk).reserved) == (("4", "0", "0"), ZERO)
    assert account_of(desk).open_orders == 0


def test_a_rejected_order_reserves_nothing() -> None:
    """Refused here, or at the broker."""
    desk = Desk(limits(max_order_qty="9"))
    desk.send(submit())
    assert account_of(desk).holdings == {}
    desk = Desk()
    desk.send(submit())
    desk.hear(event("rejected"))
    assert account_of(desk).holdings == {}
    assert account_of(desk).open_orders == 0


def test_a_fill_counts_once() -> None:
    """The same execution again, at another offset, changes nothing."""
    desk = Desk()
    desk.send(submit())
    told = event("fill", fill=fill(qty="4"))
    desk.hear(told)
    before = dict(desk.state)
    assert desk.hear(told).dead_letters == []
    assert desk.state == before


def test_a_fill_after_the_cancel_still_moves_the_position() -> None:
    """Money moved; the order stays closed."""
    desk = Desk()
    desk.send(submit())
    desk.hear(event("canceled"), event("fill", fill=fill(qty="4")))
    assert held(desk) == ("4", "0", "0")
    assert account_of(desk).open_orders == 0


def test_a_busted_fill_is_taken_back_and_not_worked_again() -> None:
    """Position, cash and the day's result are as if it had never been, bust first or last."""
    told = [
        event("fill", fill=fill("e1", "10", "50", commission="1")),
        event("fill_busted", fill=fill("e2", "10", "50", ref_exec_id="e1")),
    ]
    for order in (told, told[::-1]):
        desk = Desk(limits(starting_cash="1000"))
        desk.send(submit())
        desk.hear(*order)
        account = account_of(desk)
        assert held(desk) == ("0", "0", "0")
        assert (account.cash, account.realized_day, account.reserved) == (Decimal(1000), ZERO, ZERO)


def test_a_corrected_fill_counts_as_corrected() -> None:
    """10 at 50 corrected to 8 at 49."""
    told = [
        event("fill", fill=fill("e1", "10", "50")),
        event("fill_corrected", fill=fill("e2", "8", "49", ref_exec_id="e1")),
    ]
    for order in (told, told[::-1]):
        desk = Desk(limits(starting_cash="1000"))
        desk.send(submit())
        desk.hear(*order)
        assert held(desk) == ("8", "0", "0")
        assert account_of(desk).cash == 1000 - 8 * 49


def test_what_a_correction_takes_away_is_not_worked_again() -> None:
    """20 ordered, 10 filled and corrected to 8: 10 are still open."""
    desk = Desk()
    desk.send(submit(qty="20"))
    desk.hear(
        event("fill", fill=fill("e1", "10", "50")),
        event("fill_corrected", fill=fill("e2", "8", "49", ref_exec_id="e1")),
    )
    assert held(desk) == ("8", "10", "0")


def test_an_older_replace_that_is_answered_late_changes_nothing() -> None:
    """Revision 2 stands when the answer to revision 1 comes after it."""
    desk = Desk()
    replaces = replace(request_id="r1", qty="30"), replace(request_id="r2", qty="20")
    asked = desk.send(submit(), *replaces).values(ORDERS_APPROVED)
    desk.hear(
        event("replaced", request_id="r2", revision=2),
        event("replaced", request_id="r1", revision=1, terms=asked[1].terms, event_id="late"),
    )
    assert held(desk) == ("0", "20", "0")


def test_realised_results_of_a_flip() -> None:
    """Buy 10 at 50, sell 15 at 52: 20 earned, 5 short at 52; buying 5 at 53 loses 5."""
    desk = Desk()
    desk.hold("10", "50", "a")
    desk.hold("-15", "52", "b")
    assert held(desk)[0] == "-5"
    assert account_of(desk).holdings["AIG"].avg_px == 52
    assert account_of(desk).realized_day == 20
    desk.hold("5", "53", "c")
    assert account_of(desk).realized_day == 15


def test_an_order_from_elsewhere_counts() -> None:
    """A fill of an order that never passed here moves the position."""
    desk = Desk()
    desk.hear(event("fill", order_id="manual", side="sell", fill=fill(qty="3")))
    assert held(desk) == ("-3", "0", "0")


def test_a_fill_that_contradicts_is_set_aside() -> None:
    """One execution id with two contents."""
    desk = Desk()
    desk.send(submit())
    unit = desk.hear(
        event("fill", fill=fill("e1", "4")),
        event("fill_corrected", side="sell", fill=fill("e2", "4", ref_exec_id="e1")),
    )
    assert [letter.code for letter in unit.dead_letters] == ["EXECUTION_CONFLICT"]
    assert held(desk)[0] == "4"


def test_a_replace_reserves_the_worse_of_both_until_it_is_answered() -> None:
    """10 at 50 to 4 at 54: 10 shares and 500 of money stay; then 4 and 216."""
    for answer, expected in (
        ("replaced", ("4", Decimal(216))),
        ("replace_rejected", ("10", Decimal(500))),
    ):
        desk = Desk()
        desk.send(submit(), replace(request_id="r1", qty="4", limit_price="54"))
        assert held(desk) == ("0", "10", "0")
        assert account_of(desk).reserved == 500
        pending = desk.state["A1|o1"]
        assert isinstance(pending, RiskOrder)
        terms = pending.pending[0].terms if answer == "replaced" else None
        desk.hear(event(answer, request_id="r1", revision=1, terms=terms))
        assert (held(desk)[1], account_of(desk).reserved) == expected


def test_split_legs_sum_to_one_order() -> None:
    """5 long, sell 15: closing 5 and opening 10; the open leg is cancelled after 4."""
    desk = Desk()
    desk.hold("5")
    desk.send(submit(side="sell", qty="15"))
    order = desk.state["A1|o1"]
    assert isinstance(order, RiskOrder)
    assert order.terms is not None

    def leg(kind: str, name: str, qty: str, **fields: Any) -> OrderEvent:
        terms = order.terms.model_copy(update={"qty": Decimal(qty)})  # type: ignore[union-attr]
        return event(kind, leg=name, side="sell", terms=terms, **fields)

    told = [
        leg("routed", "close", "5"),
        event("fill", leg="close", side="sell", fill=fill("e1", "5")),
        leg("routed", "open", "10"),
        event("fill", leg="open", side="sell", fill=fill("e2", "4")),
    ]
    desk.hear(*told)
    assert held(desk) == ("-4", "0", "6")
    desk.hear(event("canceled", leg="open", side="sell"))
    assert held(desk) == ("-4", "0", "0")
    assert account_of(desk).open_orders == 0


def test_legs_of_a_bracket_reserve_one_exit() -> None:
    """Take profit and stop loss of 10 each can sell 10, not 20; one filled, the other goes."""
    desk = Desk()
    desk.send(submit(order_class="bracket", **LEGS))
    desk.hear(event("fill", fill=fill("e0", "10")))
    profit = submit(order_id="tp", side="sell", limit_price="55.00")
    loss = submit(order_id="sl", side="sell", type="stop", stop_price="45.00")

    def child(kind: str, name: str, **fields: Any) -> OrderEvent:
        return event(kind, order_id=name, parent_order_id="o1", side="sell", **fields)

    for command in (profit, loss):
        fields = command.model_dump(include={"symbol", "side", "type", "qty", "time_in_force"})
        fields |= {"limit_price": command.limit_price, "stop_price": command.stop_price}
        desk.hear(child("accepted", command.order_id, terms=fields))
    assert held(desk) == ("10", "0", "10")
    assert account_of(desk).reserved == 0
    desk.hear(child("fill", "tp", fill=fill("e1", "10")), child("canceled", "sl"))
    assert held(desk) == ("0", "0", "0")


def test_an_order_by_notional_gets_its_shares_from_the_router() -> None:
    """1,000 at 50 is about 20 shares until a `routed` event says 19.5."""
    desk = Desk(instrument(fractionable=True))
    desk.send(submit(type="market", notional="1000"))
    assert held(desk) == ("0", "20", "0")
    order = desk.state["A1|o1"]
    assert isinstance(order, RiskOrder)
    assert order.terms is not None
    terms = order.terms.model_copy(update={"qty": Decimal("19.5"), "notional": None})
    desk.hear(event("routed", terms=terms))
    assert held(desk) == ("0", "19.5", "0")
    desk.hear(event("fill", fill=fill("e1", "19.5")))
    assert held(desk) == ("19.5", "0", "0")


# --- whatever the order -------------------------------------------------------------------------

ORDERS = [
    submit(order_id="a", qty="10"),
    submit(order_id="b", qty="7", limit_price="48.00"),
    submit(order_id="c", side="sell", qty="5", limit_price="52.00"),
]


def _life(order_id: str, side: str, qty: int, fills: list[int], end: str) -> list[OrderEvent]:
    """Return what happens to one order: some fills, and an end if they leave something."""
    told, done = [event("accepted", order_id=order_id, side=side)], 0
    for number, drawn in enumerate(fills):
        size = min(drawn, qty - done)
        if size:
            done += size
            each = fill(f"{order_id}{number}", str(size), "50", cum_qty=str(done))
            told.append(event("fill", order_id=order_id, side=side, fill=each))
    if done < qty:
        told.append(event(end, order_id=order_id, side=side))
    return told


@st.composite
def lives(draw: st.DrawFn) -> list[OrderEvent]:
    """Draw the events of the three orders, all of which end."""
    told = []
    for order in ORDERS:
        fills = draw(st.lists(st.integers(1, 10), max_size=3))
        end = draw(st.sampled_from(["canceled", "expired", "rejected"]))
        assert order.qty is not None
        told += _life(order.order_id, order.side.value, int(order.qty), fills, end)
    return told


@given(told=lives(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_repeated_and_shuffled_events_converge(told: list[OrderEvent], data: st.DataObject) -> None:
    """Reservations are never negative, sum to those of the orders, and end at none."""
    straight, mixed = Desk(), Desk()
    straight.send(*ORDERS)
    mixed.send(*ORDERS)
    straight.hear(*told)
    for each in data.draw(st.permutations(told + told[: len(told) // 2])):
        mixed.hear(each)
        account = account_of(mixed)
        orders = [value for value in mixed.state.values() if isinstance(value, RiskOrder)]
        holding = account.holdings.get("AIG", Holding())
        assert min(holding.buy_qty, holding.sell_qty, account.reserved) >= 0
        assert holding.buy_qty == sum(order.reserved_buy for order in orders)
        assert holding.sell_qty == sum(order.reserved_sell for order in orders)
        assert account.reserved == sum(order.reserved_value for order in orders)
        assert account.open_orders == sum(order.live for order in orders)
    one, other = account_of(straight), account_of(mixed)
    assert held(straight) == held(mixed)
    assert (one.cash, one.reserved, one.open_orders) == (other.cash, ZERO, 0)
    assert held(mixed)[1:] == ("0", "0")


def test_what_the_validator_said_itself_changes_nothing() -> None:
    """Its own events come back on the topic that it reads."""
    desk = Desk()
    said = desk.send(submit(), submit(qty="11"), submit(order_id="o2", qty="0"))
    before = dict(desk.state)
    desk.hear(*said.values(ORDERS_EVENTS))
    assert desk.state == before
