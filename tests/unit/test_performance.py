"""Figures of a run, each against a number that was computed by hand."""

from decimal import Decimal
from math import isclose, sqrt
from typing import Any

import pytest

from streams.domain.performance import (
    Book,
    Traded,
    max_drawdown,
    returns_of,
    sharpe,
    slippage,
    sortino,
    trip_figures,
)

D = Decimal


def fill(qty: str, px: str, **fields: Any) -> Traded:
    """Return a fill of AIG; `at` is its time in seconds."""
    at = fields.pop("at", 0)
    given = {"account": "A1", "symbol": "AIG", "order_id": "o1"} | fields
    return Traded(ts_ns=at * 10**9, qty=D(qty), px=D(px), **given)


def booked(*fills: Traded) -> Book:
    """Return a book of fills."""
    book = Book()
    for one in fills:
        book.take(one)
    return book


def test_profit_is_cash_and_what_is_held() -> None:
    """Bought 10 at 50, sold 4 at 52: cash -292, 6 left at 51 are 306: 14 earned, less 2 paid."""
    book = booked(fill("10", "50", commission=D(1)), fill("-4", "52", commission=D(1)))
    assert book.positions() == {"AIG": D(6)}
    assert book.profit({"AIG": D(51)}) == D(12)
    assert (book.commission, book.traded) == (D(2), D(708))


def test_a_round_trip_is_from_flat_to_flat() -> None:
    """10 at 50 and 10 at 52 out at 53: 20 x 53 - 1,020 = 40, less 3 of commissions."""
    one = D(1)
    book = booked(
        fill("10", "50", at=1, commission=one),
        fill("10", "52", at=2, commission=one),
        fill("-20", "53", at=11, commission=one),
    )
    (trip,) = book.trips
    assert (trip.profit, trip.qty, trip.side) == (D(37), D(20), "long")
    assert (trip.opened_ns, trip.closed_ns) == (10**9, 11 * 10**9)


def test_a_fill_that_turns_a_position_is_two() -> None:
    """Long 10 at 50, sold 30 at 51: 10 earned, less its third of the commission; short 20."""
    book = booked(fill("10", "50"), fill("-30", "51", at=5, commission=D(3)))
    assert [trip.profit for trip in book.trips] == [D(9)]
    assert book.positions() == {"AIG": D(-20)}
    book.take(fill("20", "50", at=9))
    assert [(one.side, one.profit) for one in book.trips] == [("long", D(9)), ("short", D(18))]
    assert book.profit({}) == sum(one.profit for one in book.trips)


def test_accounts_hold_their_own() -> None:
    """One account's sale closes no other's position."""
    book = booked(fill("10", "50"), fill("-10", "51", account="A2"))
    assert book.trips == []
    assert book.positions() == {"AIG": D(0)}
    assert book.profit({"AIG": D(70)}) == D(10)


def test_drawdown_is_the_largest_fall_from_a_peak() -> None:
    """From 110 at 2 to 88 at 4: 22, a fifth; the fall from 120 to 105 is smaller."""
    equity = [(1, D(100)), (2, D(110)), (3, D(99)), (4, D(88)), (5, D(120)), (6, D(105))]
    worst = max_drawdown(equity)
    assert (worst.money, worst.share, worst.peak_ns, worst.trough_ns) == (D(22), 0.2, 2, 4)


def test_no_fall_is_no_drawdown() -> None:
    """Equity that only grows."""
    worst = max_drawdown([(1, D(1)), (2, D(2))])
    assert (worst.money, worst.peak_ns) == (D(0), None)


def test_returns_are_between_samples() -> None:
    """100, 110, 99: a tenth up, a tenth down."""
    assert [round(one, 12) for one in returns_of([D(100), D(110), D(99)])] == [0.1, -0.1]


def test_sharpe_by_hand() -> None:
    """Mean 0.01; deviations 0.01, -0.03, 0.02 give a variance of 0.0014 / 2; four steps a year."""
    found = sharpe([0.02, -0.02, 0.03], 4)
    assert found is not None
    assert isclose(found, 0.01 / sqrt(0.0007) * 2, rel_tol=1e-12)


def test_sortino_by_hand() -> None:
    """Mean 0.01; the one loss of 0.02 gives the root of 0.0004 / 3."""
    found = sortino([0.02, -0.02, 0.03], 4)
    assert found is not None
    assert isclose(found, 0.01 / sqrt(0.0004 / 3) * 2, rel_tol=1e-12)


@pytest.mark.parametrize("returns", [[], [0.1], [0.1, 0.1]])
def test_too_little_gives_no_ratio(returns: list[float]) -> None:
    """Less than two returns, or none that differ, or no loss."""
    assert sharpe(returns, 252) is None
    assert sortino(returns, 252) is None


def test_slippage_is_against_the_price_at_the_decision() -> None:
    """Bought 10 at 50.10 for 50.00, sold 10 at 50.05 for 50.00: 1.00 lost, 0.50 won of 1,000."""
    found = slippage(
        [
            fill("10", "50.10", decided_px=D("50.00")),
            fill("-10", "50.05", decided_px=D("50.00")),
            fill("10", "99"),
        ]
    )
    assert (found.money, found.fills) == (D("0.50"), 2)
    assert found.bps is not None
    assert isclose(found.bps, 5.0)


def test_figures_of_round_trips() -> None:
    """Profits 4, -1, 2 and 0: half are wins, 3 on average; 6 won for 1 lost."""
    trips = []
    for profit in ("4", "-1", "2", "0"):
        book = booked(fill("1", "10"), fill("-1", str(10 + int(profit)), at=3))
        trips += book.trips
    found = trip_figures(trips)
    assert (found.count, found.wins, found.win_rate) == (4, 2, 0.5)
    assert (found.average_win, found.average_loss, found.profit_factor) == (D(3), D(-1), 6.0)
    assert found.average_s == 3.0


def test_no_round_trips() -> None:
    """Nothing is said then."""
    found = trip_figures([])
    assert (found.count, found.win_rate, found.profit_factor) == (0, None, None)
