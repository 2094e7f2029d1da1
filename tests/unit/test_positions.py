"""Positions: branches, flips, busts and corrections, money, marks, whatever the order."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.executions import Contradiction, Execution, record_execution
from streams.domain.positions import (
    AccountState,
    Effect,
    PositionState,
    apply_fill,
    book,
    branch_of,
)
from streams.domain.valuation import account_of, buying_power, equity, marked
from streams.models.orders import OrderEvent, Side
from streams.models.positions import Position
from tests.builders import NOW_NS, SECOND, event, fill, last_price

D = Decimal
FLAT = PositionState(account="A1", symbol="AIG")
DAY = 86_400 * SECOND


class Book:
    """A position and its account, with their executions, in memory."""

    def __init__(self) -> None:
        self.known: dict[str, Execution] = {}
        self.position = FLAT
        self.account = AccountState(account="A1")

    def get(self, exec_id: str) -> Execution | None:
        """Return a known execution."""
        return self.known.get(exec_id)

    def put(self, execution: Execution) -> None:
        """Keep an execution."""
        self.known[execution.exec_id] = execution

    def take(self, events: Iterable[OrderEvent]) -> "Book":
        """Book events, as the agent does."""
        for one in events:
            changes = record_execution(self, one)
            assert not isinstance(changes, Contradiction), changes
            if changes is None:
                continue
            booked = book(self.position, self.account, one, changes)
            self.position, self.account = booked.position, booked.account
            for execution in booked.executions:
                self.put(execution)
        return self


def trades(*rows: str, commission: str = "0") -> list[OrderEvent]:
    """Return fills from rows of side, quantity, price; ids e0, e1, … in their order."""
    events = []
    for number, row in enumerate(rows):
        side, qty, price = row.split()
        execution = fill(f"e{number}", qty, price, commission=commission)
        events.append(event("fill", side=side, fill=execution, ts_event_ns=NOW_NS + number))
    return events


def bust(ref: str, after_ns: int = 0) -> OrderEvent:
    """Return the bust of an execution."""
    execution = fill(f"bust-{ref}", "1", ref_exec_id=ref)
    return event("fill_busted", side=None, fill=execution, ts_event_ns=NOW_NS + after_ns)


def correction(exec_id: str, ref: str, row: str) -> OrderEvent:
    """Return a correction of the execution `ref` to side, quantity, price."""
    side, qty, price = row.split()
    return event("fill_corrected", side=side, fill=fill(exec_id, qty, price, ref_exec_id=ref))


def held(events: Iterable[OrderEvent]) -> tuple[str, str, str]:
    """Return quantity, average price and realised profit after the events."""
    position = marked(Book().take(events).position, None)
    return str(position.qty), str(position.avg_entry_px), str(position.realized_pl)


BRANCHES = (
    (0, 5, "open"),
    (0, -5, "open"),
    (5, 1, "increase"),
    (-5, -1, "increase"),
    (5, -4, "reduce"),
    (-5, 4, "reduce"),
    (5, -5, "close"),
    (-5, 5, "close"),
    (5, -6, "flip"),
    (-5, 6, "flip"),
)


@pytest.mark.parametrize(("before", "traded", "expected"), BRANCHES)
def test_branches(before: int, traded: int, expected: str) -> None:
    """Each row: shares held, shares traded, and what that is."""
    assert branch_of(D(before), D(traded)) == expected


ROWS = (
    (["buy 100 10"], ("100", "10", "0")),
    (["buy 100 10", "buy 100 12"], ("200", "11", "0")),  # (1000 + 1200) / 200
    (["buy 100 10", "buy 100 12", "sell 50 13"], ("150", "11", "100")),  # 50 x (13 - 11)
    (["buy 100 10", "sell 100 9"], ("0", "0", "-100")),
    (["sell 100 10", "buy 40 9"], ("-60", "10", "40")),  # 40 x (10 - 9)
    (["buy 100 10", "sell 150 12"], ("-50", "12", "200")),  # closes 100 x 2, opens 50 short
    (["sell 100 10", "buy 150 12"], ("50", "12", "-200")),
    (["buy 1 10", "buy 2 11"], ("3", "10.666666667", "0")),  # 32 / 3, half to even
    (["buy 1 10", "buy 2 11", "sell 1 11"], ("2", "10.666666667", "0.333333333")),
    (["buy 1 10", "buy 2 11", "sell 1 11", "sell 2 11"], ("0", "0", "1")),  # nothing is lost
    (["buy 0.000000001 0.000000001"], ("1E-9", "1E-9", "0")),  # cost has 18 places
)


@pytest.mark.parametrize(("rows", "expected"), ROWS)
def test_average_price_and_realised_profit(rows: list[str], expected: tuple[str, str, str]) -> None:
    """Each row: trades, and the quantity, average price and realised profit they come to."""
    assert held(trades(*rows)) == expected


def test_a_flip_shares_its_commission_by_quantity() -> None:
    """Long 100,000, sold 150,000, bought 50,000: cycles of 17.00 and -6.50, 10.50 in all."""
    position, opened = apply_fill(FLAT, Side.BUY, D(100_000), D("0.75000"), D("1.50"))
    position, flipped = apply_fill(position, Side.SELL, D(150_000), D("0.75020"), D("2.25"))
    short = marked(position, None)
    position, closed = apply_fill(position, Side.BUY, D(50_000), D("0.75030"), D("0.75"))

    assert [(effect.branch, effect.qty) for effect in flipped] == [
        ("close", D(100_000)),
        ("open", D(50_000)),
    ]
    assert [effect.commission for effect in flipped] == [D("1.50"), D("0.75")]
    long_cycle = opened[0], flipped[0]  # 20.00 - 1.50 - 1.50
    short_cycle = flipped[1], closed[0]  # -5.00 - 0.75 - 0.75
    assert [net(long_cycle), net(short_cycle)] == [D("17.00"), D("-6.50")]
    assert (short.qty, short.avg_entry_px) == (D(-50_000), D("0.7502"))
    assert (position.qty, position.cost, position.realized_pl) == (D(0), D(0), D("10.50"))


def net(cycle: tuple[Effect, Effect]) -> Decimal:
    """Return a cycle's realised profit, commissions taken off."""
    return sum((effect.realized - effect.commission for effect in cycle), D(0))


BUSTS = (
    ((trades("buy 100 10"), [bust("e0")]), ("0", "0", "0")),
    ((trades("buy 100 10", "buy 100 12"), [bust("e1")]), ("100", "10", "0")),
    ((trades("buy 100 10", "sell 100 13"), [bust("e1")]), ("100", "10", "0")),  # open again
    ((trades("buy 100 10", "sell 150 12"), [bust("e1")]), ("100", "10", "0")),  # a flip undone
    # The sale of 100 at 13 has earned 200 against the average of 11; flat, the rest is realised:
    # 100 bought at 10 and sold at 13.
    ((trades("buy 100 10", "buy 100 12", "sell 100 13"), [bust("e1")]), ("0", "0", "300")),
    # Sold against an average of 50.5; the cost left, 555.5 - 1000, is no cost of 1 share. The
    # average stays, and the total is right: 1 share at 50.5 and 495 are worth as much as one
    # bought at 1 and 445.5 earned.
    ((trades("buy 10 1", "buy 10 100", "sell 9 50.5"), [bust("e1")]), ("1", "50.5", "495")),
    (([bust("e0")], trades("buy 100 10")), ("0", "0", "0")),  # came before its fill
    ((trades("buy 100 10"), [correction("c1", "e0", "buy 90 11")]), ("90", "11", "0")),
    (([correction("c1", "e0", "buy 90 11")], trades("buy 100 10")), ("90", "11", "0")),
    (
        (
            trades("buy 100 10"),
            [correction("c1", "e0", "buy 90 11"), correction("c2", "c1", "buy 80 12")],
        ),
        ("80", "12", "0"),
    ),
    ((trades("buy 100 10"), [correction("c1", "e0", "buy 90 11"), bust("e0")]), ("0", "0", "0")),
    ((trades("buy 100 10"), [correction("c1", "e0", "buy 90 11"), bust("c1")]), ("0", "0", "0")),
    ((trades("buy 100 10"), [bust("e0"), correction("c1", "e0", "buy 90 11")]), ("0", "0", "0")),
)


@pytest.mark.parametrize(("parts", "expected"), BUSTS)
def test_busts_and_corrections(
    parts: tuple[list[OrderEvent], list[OrderEvent]], expected: tuple[str, str, str]
) -> None:
    """Each row: events, and the quantity, average price and realised profit they come to."""
    assert held([*parts[0], *parts[1]]) == expected


def test_money_is_exact_at_any_size() -> None:
    """28 digits of shares at 28 digits of price: 56 digits of cash, none of them lost."""
    huge = "1234567890123456789.123456789"
    sold = Book().take(trades(f"sell {huge} {huge}"))
    assert Fraction(sold.account.moved) == Fraction(huge) ** 2
    both = sold.take([event("fill", side="buy", fill=fill("z", huge, "0.000000001"))])
    assert Fraction(both.account.moved) == Fraction(huge) ** 2 - Fraction(huge) / 10**9
    assert both.position.realized_pl == both.account.moved


def test_a_bust_gives_the_money_back() -> None:
    """Cash, commission and counts are as if the busted fill had not been."""
    some = trades("buy 100 10", "sell 40 12", commission="1.25")
    without, after = Book().take(some[:1]), Book().take([*some, bust("e1")])
    ignored = {"version", "ts_updated_ns"}
    assert account_of(after.account, D(0)).model_dump(exclude=ignored) == account_of(
        without.account, D(0)
    ).model_dump(exclude=ignored)
    assert marked(after.position, None).model_dump(exclude=ignored) == marked(
        without.position, None
    ).model_dump(exclude=ignored)


def test_the_day_counts_what_was_executed_on_it() -> None:
    """A new day starts at 0; a late fill and a bust of the day before leave it alone."""
    first = [event("fill", side="buy", fill=fill("a", "100", "10", commission="1"))]
    second = [
        event("fill", side="sell", fill=fill("b", "50", "12"), ts_event_ns=NOW_NS + DAY),
        event("fill", side="sell", fill=fill("c", "10", "12"), ts_event_ns=NOW_NS + 1),  # late
    ]
    books = Book().take(first)
    assert (books.account.day, books.account.realized_pl_day) == ("2026-11-18", D(-1))
    books.take(second)
    assert (books.account.day, books.account.realized_pl_day) == ("2026-11-19", D(100))
    books.take([bust("c", DAY)])
    assert (books.account.realized_pl_day, books.account.realized_pl) == (D(100), D(99))


MARKS = (
    ("buy 10 50", {"last": "51"}, "51", "10"),
    ("sell 10 50", {"last": "51"}, "51", "-10"),
    ("buy 10 50", {"last": None, "bid": "49", "ask": "53"}, "49", "-10"),  # what a sale brings
    ("sell 10 50", {"last": None, "bid": "49", "ask": "53"}, "53", "-30"),
    ("buy 10 50", {"last": None, "ask": "53"}, None, None),  # no price it could be sold at
)


@pytest.mark.parametrize(("row", "prices", "mark", "expected"), MARKS)
def test_unrealised_profit(
    row: str, prices: dict[str, Any], mark: str | None, expected: str | None
) -> None:
    """Each row: a trade, the newest prices, the mark, and the unrealised profit at it."""
    position = marked(Book().take(trades(row)).position, last_price(**prices))
    assert position.mark_px == (None if mark is None else D(mark))
    assert position.unrealized_pl == (None if expected is None else D(expected))
    assert position.ts_mark_ns == (None if mark is None else NOW_NS)


def test_without_a_price_or_a_position_there_is_no_mark() -> None:
    """None, never zero and never an old price."""
    one = Book().take(trades("buy 10 50")).position
    assert marked(one, None).unrealized_pl is None
    assert marked(FLAT, last_price()).mark_px is None


def test_buying_power() -> None:
    """Factor times equity, less positions at their marks, less what open orders hold."""
    books = Book().take(trades("buy 100 10"))  # 9,000 of 10,000 left
    account = account_of(books.account, D(10_000))
    long = marked(books.position, last_price(last="12"))  # worth 1,200
    assert account.cash == D(9_000)
    assert equity(account, [long]) == D(10_200)
    assert buying_power(account, [long], D(500), D(1)) == D(8_500)
    assert buying_power(account, [long], D(500), D(2)) == D(18_700)  # 20,400 - 1,200 - 500
    assert buying_power(account, [long], D(9_500), D(1)) == 0


def test_short_sales_buy_nothing() -> None:
    """100 sold short at 10: 11,000 cash, of which 1,000 are owed and 1,000 are at stake."""
    books = Book().take(trades("sell 100 10"))
    short = marked(books.position, None)  # no mark: valued at its cost
    assert buying_power(account_of(books.account, D(10_000)), [short], D(0), D(1)) == D(9_000)


# --- any order, any repetition ----------------------------------------------------------------

SIZES = st.decimals("0.000000001", "100000", places=9)
PRICES = st.decimals("0.0001", "9999", places=4)
FEES = st.decimals("0", "5", places=6)


@st.composite
def histories(draw: st.DrawFn) -> list[OrderEvent]:
    """Return fills, busts and corrections of one symbol, in the order they happened."""
    events: list[OrderEvent] = []
    executions: list[tuple[str, str]] = []
    for number in range(draw(st.integers(1, 14))):
        kinds = ["fill", "fill", "fill", "fill_busted", "fill_corrected"]
        kind = draw(st.sampled_from(kinds if executions else ["fill"]))
        ref, side = draw(st.sampled_from(executions)) if executions else ("", "")
        if kind == "fill":
            ref, side = "", draw(st.sampled_from(["buy", "sell"]))
        execution = fill(
            f"x{number}",
            str(draw(SIZES)),
            str(draw(PRICES)),
            commission=str(draw(FEES)),
            ref_exec_id=ref or None,
        )
        at = NOW_NS + number * DAY // 5
        events.append(event(kind, side=side, fill=execution, ts_event_ns=at, ts_init_ns=at))
        if kind != "fill_busted":
            executions.append((f"x{number}", side))
    return events


def standing(events: list[OrderEvent]) -> list[OrderEvent]:
    """Return the executions that count, found the slow way: by who refers to whom."""
    by_id = {one.fill.exec_id: one for one in events if one.fill}
    busted = {one.fill.ref_exec_id for one in events if one.fill and one.event == "fill_busted"}
    newest: dict[str, str] = {}
    for one in events:
        if one.fill and one.fill.ref_exec_id and one.event == "fill_corrected":
            newest[one.fill.ref_exec_id] = one.fill.exec_id  # later ones overwrite

    def stands(exec_id: str) -> bool:
        execution = by_id[exec_id].fill
        ref = execution.ref_exec_id if execution else None
        if exec_id in busted:
            return False
        return ref is None or (newest[ref] == exec_id and stands(ref))

    return [
        one
        for exec_id, one in by_id.items()
        if one.event != "fill_busted" and exec_id not in newest and stands(exec_id)
    ]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_and_any_repetition_give_the_sums_of_what_stands(data: st.DataObject) -> None:
    """Quantity, cash and commission are those of the distinct executions, to the last digit."""
    history = data.draw(histories())
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=6))
    books = Book().take(data.draw(st.permutations([*history, *repeated])))
    qty = moved = commission = D(0)
    for one in standing(history):
        assert one.fill is not None
        signed = one.fill.last_qty if one.side is Side.BUY else -one.fill.last_qty
        qty += signed
        moved -= signed * one.fill.last_px + one.fill.commission
        commission += one.fill.commission
    position, account = books.position, books.account
    assert (position.qty, account.moved, account.commission) == (qty, moved, commission)
    assert position.qty == position.buy_qty - position.sell_qty
    assert (position.version, position.fills) == (len(history), len(standing(history)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_value_is_made_or_lost(data: st.DataObject) -> None:
    """After every event: cash moved + cost = realised; flat means no cost; averages above 0."""
    books = Book()
    for one in data.draw(histories().flatmap(st.permutations)):
        books.take([one])
        position, account = books.position, books.account
        worth = Fraction(account.moved) + Fraction(position.cost)
        assert worth == Fraction(position.realized_pl) == Fraction(account.realized_pl)
        assert (position.qty > 0) is (position.cost > 0)
        assert (position.qty < 0) is (position.cost < 0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_redelivering_any_stretch_changes_nothing(data: st.DataObject) -> None:
    """A repeated execution, bust or correction leaves everything as it is."""
    history = data.draw(histories())
    books = Book().take(history)
    before = books.position, books.account, dict(books.known)
    books.take(history[data.draw(st.integers(0, len(history))) :])
    assert (books.position, books.account, books.known) == before


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Side), SIZES, PRICES, FEES), min_size=1, max_size=12))
def test_effects_add_up(rows: list[tuple[Side, Decimal, Decimal, Decimal]]) -> None:
    """The halves of a flip have all of its quantity and commission."""
    position = FLAT
    for side, qty, px, commission in rows:
        position, effects = apply_fill(position, side, qty, px, commission)
        assert sum((effect.qty for effect in effects), D(0)) == qty
        assert sum((Fraction(effect.commission) for effect in effects), Fraction()) == commission
    assert isinstance(marked(position, None), Position)
