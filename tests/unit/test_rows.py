"""Records as Arrow rows: exact numbers, exact times, nulls where something is absent."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from connectors.clickhouse.rows import TABLES, arrow_table
from streams.models.controls import KillSwitch
from streams.models.orders import VenueOrder
from streams.models.positions import Position
from streams.ports import Record
from streams.topics import (
    CONTROLS,
    DEAD_LETTERS,
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    POSITIONS_UPDATES,
    TOPICS,
    TopicSpec,
)
from tests.builders import NOW_NS, cancel, event, fill, quote, record, submit, trade


def row(value: Any, topic: TopicSpec) -> dict[str, Any]:
    """Return the one row of one message."""
    found: dict[str, Any] = arrow_table(topic.name, [record(value, topic)]).to_pylist()[0]
    return found


def column(value: Any, topic: TopicSpec, name: str) -> pa.Array:
    """Return a column of the table of one message."""
    return arrow_table(topic.name, [record(value, topic)]).column(name)


def position(**fields: Any) -> Position:
    """Return a position of 10 AIG at 50."""
    given = {
        "account": "A1", "symbol": "AIG", "qty": "10", "avg_entry_px": "50", "realized_pl": "0",
        "commission": "0", "buy_qty": "10", "sell_qty": "0", "fills": 1, "version": 1,
        "ts_updated_ns": NOW_NS,
    }  # fmt: skip
    return Position.model_validate(given | fields)


def test_every_topic_has_a_table() -> None:
    """No topic is left out of the history; the orders for all brokers share a table."""
    assert set(TABLES) == {topic.name for topic in TOPICS}
    venues = [topic.name for topic in TOPICS if topic.value is VenueOrder]
    assert len({table.name for table in TABLES.values()}) == len(TOPICS) - len(venues) + 1
    assert {TABLES[name].name for name in venues} == {"venue_orders_log"}


@pytest.mark.parametrize(
    ("price", "stored"),
    [
        ("50.00", "50.000000000"),
        ("0.000000001", "0.000000001"),  # the smallest step
        ("1E+3", "1000.000000000"),  # an exponent
        ("-0", "0.000000000"),
        ("1234567890123456789.123456789", "1234567890123456789.123456789"),  # all 28 digits
    ],
)
def test_decimals_are_exact(price: str, stored: str) -> None:
    """Every price a message can hold fits its column without rounding."""
    found = column(trade(price=price), MARKET_TRADES, "price")
    assert (found.type, found[0].as_py()) == (pa.decimal128(38, 9), Decimal(stored))


@pytest.mark.parametrize(
    ("average", "stored"),
    [
        ("33.333333333333333333", "33.333333333333"),  # rounded to 12 places
        ("0.0000000000005", "0"),  # half to even: down
        ("0.0000000000015", "0.000000000002"),  # half to even: up
        ("50.25", "50.25"),
    ],
)
def test_averages_are_rounded_to_twelve_places(average: str, stored: str) -> None:
    """A wide decimal keeps 12 places; `raw` keeps the text with all of them."""
    found = row(position(avg_entry_px=average), POSITIONS_UPDATES)
    assert found["avg_entry_px"] == Decimal(stored)
    assert json.loads(found["raw"])["avg_entry_px"] == str(Decimal(average))


@pytest.mark.parametrize(
    "qty",
    [
        "1E+26",  # one digit too many
        "100000000000000000000000000",  # the same, written out
        "1000000000000000000000000000",  # Arrow takes this text for another number
        "99999999999999999999999999.9999999999999",  # would be rounded up to 27 digits
        "NaN",
    ],
)
def test_a_number_that_does_not_fit_is_refused(qty: str) -> None:
    """More than 26 whole digits raise; nothing is cut off or wrapped around."""
    found = position().model_copy(update={"qty": Decimal(qty)})
    with pytest.raises(pa.ArrowException):
        arrow_table(POSITIONS_UPDATES.name, [record(found, POSITIONS_UPDATES)])


def test_the_largest_number_fits() -> None:
    """26 whole digits and 12 places are the whole width of the column."""
    largest = "-99999999999999999999999999.999999999999"
    assert row(position(qty=largest), POSITIONS_UPDATES)["qty"] == Decimal(largest)


@pytest.mark.parametrize("ns", [0, NOW_NS + 1, 2**63 - 1])
def test_times_keep_every_nanosecond(ns: int) -> None:
    """Times are stored as they came, to the end of the range."""
    found = column(trade(ts_event_ns=ns), MARKET_TRADES, "ts_event")
    assert found.type == pa.timestamp("ns", "UTC")
    assert found.cast(pa.int64())[0].as_py() == ns


def test_an_absent_side_of_a_quote_is_null() -> None:
    """Null says "did not change"; it is not zero."""
    found = row(quote().model_copy(update={"bid": None, "bid_size": None}), MARKET_QUOTES)
    assert [found[name] for name in ("bid", "bid_size", "ask")] == [None, None, Decimal("50.01")]


def test_parts_of_an_event_are_flattened() -> None:
    """A fill's fields are columns; terms and refusal, which it has not, are empty."""
    found = row(event("fill", fill=fill("e1", "4", "50.5", commission="0.02")), ORDERS_EVENTS)
    names = ("event", "side", "exec_id", "last_qty", "last_px", "commission", "ref_exec_id")
    assert [found[name] for name in names] == [
        "fill", "buy", "e1", Decimal(4), Decimal("50.5"), Decimal("0.02"), "",
    ]  # fmt: skip
    absent = ("qty", "limit_price", "type", "refusal_code", "rules_version", "ts_requested")
    assert [found[name] for name in absent] == [None, None, "", "", 0, None]


def test_the_symbol_of_an_event_is_its_own_or_that_of_its_terms() -> None:
    """Analytics filter on symbol and side wherever they stand."""
    terms = {
        "symbol": "BAC", "side": "sell", "type": "limit", "qty": "1", "time_in_force": "day",
        "limit_price": "9", "take_profit": {"limit_price": "8"}, "order_class": "bracket",
    }  # fmt: skip
    found = row(event("approved", symbol=None, side=None, terms=terms), ORDERS_EVENTS)
    names = ("symbol", "side", "qty", "take_profit_limit_price", "stop_loss_stop_price")
    assert [found[name] for name in names] == ["BAC", "sell", Decimal(1), Decimal(8), None]


def test_commands_of_one_topic_share_a_table() -> None:
    """A cancel has none of a submit's fields; the two stand in one block."""
    records = [record(submit(), ORDERS_REQUESTED), record(cancel(), ORDERS_REQUESTED, 1)]
    rows = arrow_table(ORDERS_REQUESTED.name, records).to_pylist()
    assert [(found["command"], found["symbol"], found["qty"]) for found in rows] == [
        ("submit", "AIG", Decimal(10)),
        ("cancel", "", None),
    ]


def test_every_row_says_where_it_stood_on_kafka() -> None:
    """Topic, partition, offset, key and Kafka's timestamp come from the record."""
    sent = record(trade(), MARKET_TRADES, 41, partition=3, key=None, timestamp_ms=1_700_000_000_123)
    found = arrow_table(MARKET_TRADES.name, [sent])
    names = ("_topic", "_partition", "_offset", "_key")
    assert [found[name][0].as_py() for name in names] == ["market.trades.v1", 3, 41, b""]
    assert found["_timestamp"].cast(pa.int64())[0].as_py() == 1_700_000_000_123


def test_raw_is_the_message_byte_for_byte() -> None:
    """What is not flattened can still be read."""
    sent = record(KillSwitch(scope="account:A1", engaged=True, version=4), CONTROLS)
    found = arrow_table(CONTROLS.name, [sent]).to_pylist()[0]
    assert (found["raw"], found["kind"], found["version"]) == (sent.raw, "kill-switch", 4)


def test_a_dead_letter_keeps_its_bytes_and_headers() -> None:
    """Neither has to be text; an absent value is empty."""
    headers = [("orderflow.code", b"BAD_JSON"), ("x", b"\xff")]
    bad = Record(DEAD_LETTERS.name, 0, 0, None, None, b"\x00\xff{", 0, headers)
    empty = Record(DEAD_LETTERS.name, 0, 1, b"k", None, None, 0)
    rows = arrow_table(DEAD_LETTERS.name, [bad, empty]).to_pylist()
    assert [(found["value"], found["headers"]) for found in rows] == [
        (b"\x00\xff{", headers),
        (b"", []),
    ]
