"""Rows of tick files: exact prices, both layouts, text cells, and moved times."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import streams
from streams.domain.ticks import price_of_e4, shifted, tick_of_row
from streams.models.market import Quote, Trade
from tests.builders import submit

SAMPLE = Path(streams.__file__).parent / "data" / "ticks_sample.parquet"

TRADE_ROW: dict[str, Any] = {
    "ts_event_ns": 1_381_152_600_019_000_000,
    "symbol": "BAC",
    "kind": "trade",
    "price_e4": 139_100,
    "size": 2000,
    "bid_e4": None,
    "bid_size": None,
    "ask_e4": None,
    "ask_size": None,
    "exchange": "Z",
    "conditions": "1",
    "suspicious": True,
}
QUOTE_ROW = TRADE_ROW | {
    "kind": "quote", "price_e4": None, "size": None, "ask_e4": 139_150, "ask_size": 700,
}  # fmt: skip


@pytest.mark.parametrize(
    ("price_e4", "price"),
    [
        (139_100, "13.91"),  # whole cents
        (139_150, "13.9150"),  # half a cent, midpoint print
        (139_101, "13.9101"),  # smallest step of the source
        (0, "0.00"),
        (1_819_000, "181.90"),
    ],
)
def test_price_of_e4_is_exact(price_e4: int, price: str) -> None:
    """An integer of 1/10,000 becomes the decimal of the same digits, in cents where it fits."""
    assert str(price_of_e4(price_e4)) == price


def test_trade_row_of_the_sample_layout() -> None:
    """A trade keeps price, size, exchange, conditions, the mark, and its row as seq."""
    assert tick_of_row(TRADE_ROW, 17) == Trade(
        symbol="BAC",
        ts_event_ns=1_381_152_600_019_000_000,
        seq=17,
        exchange="Z",
        conditions="1",
        price=Decimal("13.91"),
        size=Decimal(2000),
        suspicious=True,
    )


def test_quote_row_of_the_sample_layout_leaves_the_other_side_unset() -> None:
    """One side of a quote does not say anything about the other."""
    assert tick_of_row(QUOTE_ROW, 3) == Quote(
        symbol="BAC",
        ts_event_ns=1_381_152_600_019_000_000,
        seq=3,
        exchange="Z",
        conditions="1",
        ask=Decimal("13.9150"),
        ask_size=Decimal(700),
    )


def test_text_cells_give_the_same_ticks() -> None:
    """A CSV row, all text and empty where absent, is the same tick as the Parquet row."""
    for row in (TRADE_ROW, QUOTE_ROW):
        text = {name: "" if value is None else str(value) for name, value in row.items()}
        assert tick_of_row(text, 5) == tick_of_row(row, 5)


def test_rows_in_the_models_own_fields() -> None:
    """The fields of Trade and Quote are taken as they are; their own seq goes before the row's."""
    trade = {"symbol": "AIG", "ts_event_ns": "5", "price": "49.05", "size": "100", "seq": "9"}
    assert tick_of_row(trade, 1) == Trade(
        symbol="AIG", ts_event_ns=5, seq=9, price=Decimal("49.05"), size=Decimal(100)
    )
    quote = {"symbol": "AIG", "ts_event_ns": 5, "bid": "49.05", "bid_size": 100}
    assert tick_of_row(quote, 1) == Quote(
        symbol="AIG", ts_event_ns=5, seq=1, bid=Decimal("49.05"), bid_size=Decimal(100)
    )


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"symbol": "AIG", "ts_event_ns": 5},  # neither trade nor quote
        TRADE_ROW | {"kind": "bar"},
        TRADE_ROW | {"price_e4": None},  # a trade without a price
        TRADE_ROW | {"symbol": "aig"},
        {"symbol": "AIG", "ts_event_ns": 5, "price": 49.05, "size": "1"},  # a float has lost digits
        {"symbol": "AIG", "ts_event_ns": "soon", "price": "49.05", "size": "1"},
    ],
)
def test_a_row_that_is_no_tick_is_a_value_error(row: dict[str, Any]) -> None:
    """What is no tick raises ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"."):
        tick_of_row(row, 1)


def test_shifted_moves_the_time_and_nothing_else() -> None:
    """A shift of two years and back gives the tick again; 0 gives the very same object."""
    tick = tick_of_row(TRADE_ROW, 1)
    moved = shifted(tick, 10**17)
    assert moved.ts_event_ns == tick.ts_event_ns + 10**17
    assert shifted(moved, -(10**17)) == tick
    assert shifted(tick, 0) is tick


def test_shifted_leaves_an_order_without_a_time_alone() -> None:
    """An order whose time is Kafka's timestamp has nothing to move."""
    assert shifted(submit(), 5) == submit()
    assert shifted(submit(ts_event_ns=7), 5) == submit(ts_event_ns=12)


@pytest.mark.parametrize("shift_ns", [-(2**62), 2**63 - 1])
def test_shifted_refuses_what_no_message_can_hold(shift_ns: int) -> None:
    """A time before 1970 or after 2262 is refused."""
    with pytest.raises(ValueError, match="out of range"):
        shifted(tick_of_row(TRADE_ROW, 1), shift_ns)


def test_every_row_of_the_shipped_sample_is_a_tick() -> None:
    """The sample is what its README says: its rows, symbols, ten minutes, in time order."""
    rows = pq.read_table(SAMPLE).to_pylist()
    ticks = [tick_of_row(row, number) for number, row in enumerate(rows)]
    times = [tick.ts_event_ns for tick in ticks]
    opening = 1_381_152_600 * 10**9  # 2013-10-07 13:30 UTC
    assert len(ticks) == 36_557
    assert {tick.symbol for tick in ticks} == {"AIG", "BAC", "IBM"}
    assert times == sorted(times)
    assert opening <= times[0] <= times[-1] < opening + 600 * 10**9
    assert SAMPLE.stat().st_size < 300_000
