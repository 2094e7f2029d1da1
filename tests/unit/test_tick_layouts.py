"""Columns and times of tick files: known layouts, given ones, and what is refused by name."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.domain.tick_layouts import AS_IS, LAYOUTS, Reading, plan_for
from streams.domain.tick_times import TimeFormat, time_ns
from streams.models.market import Quote, Trade

NEW_YORK = ZoneInfo("America/New_York")
T = 1_381_152_600_019_000_000  # 2013-10-07 09:30:00.019 in New York

MASSIVE_TRADE = {
    "ticker": "A", "conditions": "12,37", "correction": "0", "exchange": "4",
    "id": "71675222901845", "participant_timestamp": "1789718400814766587",
    "price": "157.350000", "sequence_number": "3372", "sip_timestamp": "1789718400831008119",
    "size": "10.000000", "tape": "1", "trf_id": "202", "trf_timestamp": "1789718400830651291",
}  # fmt: skip
ALPACA_TRADE = {
    "T": "t", "i": 96921, "S": "AAPL", "x": "D", "p": Decimal("126.55"), "s": 1,
    "t": "2021-02-22T15:51:44.208123456Z", "c": ["@", "I"], "z": "C",
}  # fmt: skip
ALPACA_QUOTE = {
    "T": "q", "S": "AAPL", "ax": "Q", "ap": Decimal("126.56"), "as": 2, "bx": "U",
    "bp": Decimal("126.54"), "bs": 1, "t": "2021-02-22T15:51:45Z", "c": ["R"], "z": "C",
}  # fmt: skip


def tick(cells: dict[str, Any], reading: Reading = AS_IS, seq: int = 1) -> Trade | Quote:
    """Return the tick of a file whose first row this is."""
    return plan_for(cells, reading).tick(cells, seq)


def test_massive_flat_files() -> None:
    """Times of the participant, numbers of the tape, conditions as they are."""
    assert plan_for(MASSIVE_TRADE, AS_IS).layout == "massive"
    assert tick(MASSIVE_TRADE) == Trade(
        symbol="A",
        ts_event_ns=1_789_718_400_814_766_587,
        seq=3372,
        exchange="4",
        conditions="12,37",
        price=Decimal("157.35"),
        size=Decimal(10),
    )


def test_alpaca_trades_and_quotes_in_one_file() -> None:
    """The plan of a trade's columns reads a quote too; lists of conditions are joined."""
    plan = plan_for(ALPACA_TRADE, AS_IS)
    assert plan.tick(ALPACA_TRADE, 5) == Trade(
        symbol="AAPL",
        ts_event_ns=1_614_009_104_208_123_456,
        seq=5,
        exchange="D",
        conditions="@,I",
        price=Decimal("126.55"),
        size=Decimal(1),
    )
    assert plan.tick(ALPACA_QUOTE, 6) == Quote(
        symbol="AAPL",
        ts_event_ns=1_614_009_105_000_000_000,
        seq=6,
        conditions="R",
        bid=Decimal("126.54"),
        bid_size=Decimal(1),
        ask=Decimal("126.56"),
        ask_size=Decimal(2),
    )


def test_given_columns() -> None:
    """--map and the fields' own names together make a layout; other columns do not matter."""
    cells = {"time": str(T), "px": "49.05", "size": "100", "symbol": "AIG", "kind": "?"}
    reading = Reading({"ts_event_ns": "time", "price": "px"})
    plan = plan_for(cells, reading)
    assert plan.layout == "given"
    expected = Trade(symbol="AIG", ts_event_ns=T, seq=1, price=Decimal("49.05"), size=Decimal(100))
    assert plan.tick(cells, 1) == expected


def test_given_columns_go_before_a_known_layout() -> None:
    """The rest of the layout stays."""
    reading = Reading({"ts_event_ns": "sip_timestamp"})
    found = tick(MASSIVE_TRADE, reading)
    assert (found.ts_event_ns, found.seq) == (1_789_718_400_831_008_119, 3372)
    own = {"symbol": "AIG", "ts_event_ns": 5, "price": "1", "size": "2", "venue": "Q"}
    assert tick(own, Reading({"exchange": "venue"})) == Trade(
        symbol="AIG", ts_event_ns=5, seq=1, exchange="Q", price=Decimal(1), size=Decimal(2)
    )


def test_a_symbol_for_rows_without_one() -> None:
    """The row's own goes before it."""
    row = {"t": "2021-02-22T15:51:44Z", "p": "1", "s": "1"}
    assert tick(row, Reading({}, symbol="AIG")).symbol == "AIG"
    assert tick(row | {"S": "BAC"}, Reading({}, symbol="AIG")).symbol == "BAC"


def test_floats_are_taken_only_when_told_how() -> None:
    """A Parquet file of doubles says nothing about its digits; the user has to."""
    row = {"symbol": "AIG", "ts_event_ns": T, "price": 49.1 + 1e-9, "size": 100}
    with pytest.raises(ValueError, match=r"price: a float is not exact; --decimals 4"):
        tick(row, Reading({}, zone=UTC))
    found = tick(row, Reading({}, decimals=4))
    assert isinstance(found, Trade)
    assert str(found.price) == "49.1000"


@pytest.mark.parametrize(
    ("columns", "reading", "message"),
    [
        ("a b c", AS_IS, "columns a, b, c are no known layout"),
        ("time price size", AS_IS, "are no known layout"),  # no time of a name we know
        ("ts_event_ns symbol", AS_IS, "are no known layout"),  # no price
        ("ticker price", Reading({"price": "px"}), "there is no column px, only price, ticker"),
    ],
)
def test_unknown_columns_are_named(columns: str, reading: Reading, message: str) -> None:
    """The message lists what there is and says what to do."""
    with pytest.raises(ValueError, match=message):
        plan_for(columns.split(), reading)


def test_every_layout_tells_itself() -> None:
    """No layout is hidden by one before it."""
    for layout in LAYOUTS:
        for signs in layout.signs:
            assert plan_for(signs, AS_IS).layout == layout.name


TIMES: list[tuple[Any, TimeFormat, int]] = [
    (T, "auto", T),
    (str(T), "auto", T),
    (str(T), "ns", T),
    (T // 10**3, "auto", T),
    (T // 10**6, "auto", T),
    ("1381152600.019", "auto", T),
    ("1381152600.019000001", "s", T + 1),  # exact, no float in between
    (Decimal("1381152600.019"), "auto", T),
    (1381152600.019, "auto", T),
    (1_381_152_600, "auto", T - 19_000_000),
    (5, "s", 5_000_000_000),
    (5, "ns", 5),
    ("2013-10-07T13:30:00.019Z", "auto", T),
    ("2013-10-07T13:30:00.019000001+00:00", "iso", T + 1),
    ("2013-10-07 09:30:00.019-04:00", "iso", T),
    ("2013-10-07 09:30:00,019 -0400", "iso", T),
    ("2013-10-07 09:30:00.019", "iso", T),  # in the zone that is given
    ("2013-10-07T09:30", "auto", T - 19_000_000),
]


@pytest.mark.parametrize(("value", "form", "ns"), TIMES)
def test_times(value: Any, form: TimeFormat, ns: int) -> None:
    """Whatever the notation, the same nanosecond."""
    assert time_ns(value, form, NEW_YORK) == ns


@pytest.mark.parametrize(
    ("value", "form", "message"),
    [
        ("soon", "auto", "is no time"),
        ("", "auto", "is no time"),
        (True, "auto", "boolean"),
        ("2013-10-07T09:30:00Z", "ms", "no number of ms"),
        (5, "iso", "is no time"),
        ("-5", "auto", "is no time"),
        ("nan", "s", "no number"),
        ("2013-10-07T09:30:00", "auto", "names no zone"),
        ("2013-13-07T09:30:00Z", "auto", "month"),
    ],
)
def test_what_is_no_time(value: Any, form: TimeFormat, message: str) -> None:
    """A ValueError says why."""
    with pytest.raises(ValueError, match=message):
        time_ns(value, form)


@given(
    st.integers(0, 4_102_444_800 * 10**9),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_iso_times_come_back(ns: int, zone: timezone) -> None:
    """Any nanosecond until 2100, written in any offset."""
    seconds, rest = divmod(ns, 10**9)
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)
    written = text.strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}" + text.strftime("%z")
    assert time_ns(written, "iso") == ns
