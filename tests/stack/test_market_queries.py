"""The queries on bars as they were known, indicators, signals and decisions, worked out by hand."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streams.models.allocations import Allocation
from streams.models.market import Bar
from streams.models.orders import Order
from streams.models.signals import Indicator, Signal, StrategyState
from streams.settings import Settings
from streams.topics import (
    ALLOCATIONS_UPDATES,
    INDICATORS,
    MARKET_BARS,
    MARKET_LAST,
    MARKET_TRADES,
    ORDERS_UPDATES,
    SIGNALS,
    STRATEGIES_UPDATES,
)
from tests.builders import NOW_NS, SECOND, bar, last_price, trade
from tests.stack.history_support import answer, new_database, records, store

D = Decimal
MINUTE = 60 * SECOND
T = NOW_NS


def minute(number: int, rev: int, close: str, said_s: int) -> Bar:
    """Return the revision of a minute's bar that was published so many seconds after T."""
    return bar(
        ts_start_ns=T + number * MINUTE,
        ts_end_ns=T + (number + 1) * MINUTE,
        rev=rev,
        status="final" if rev == 1 else "revised",
        high="70",
        close=close,
        ts_init_ns=T + said_s * SECOND,
    )


#: The first minute is restated at 100 s and at 200 s, the second one is final at 122 s.
BARS = [
    minute(0, 1, "51", 62),
    minute(0, 2, "52", 100),
    minute(1, 1, "61", 122),
    minute(0, 3, "53", 200),
]


def indicator(number: int, rev: int, value: float) -> Indicator:
    """Return an indicator after a minute's bar."""
    start = T + number * MINUTE
    return Indicator(
        symbol="AIG", frame="1m", name="sma(20)", ts_start_ns=start,
        ts_end_ns=start + MINUTE, rev=rev,
        values={"value": value}, ts_init_ns=start + MINUTE + rev * SECOND,
    )  # fmt: skip


INDICATED = [indicator(0, 1, 50.5), indicator(1, 1, 51.5), indicator(0, 2, 50.75)]


def signal(signal_id: str, at_s: int, strength: str, **fields: Any) -> Signal:
    """Return a decision of `cross` on AIG of so many seconds after T, written down 2 s later."""
    given = {
        "signal_id": signal_id, "strategy": "cross", "symbol": "AIG", "strength": strength,
        "ts_event_ns": T + at_s * SECOND, "ts_init_ns": T + (at_s + 2) * SECOND,
        "reason": signal_id,
    }  # fmt: skip
    return Signal.model_validate(given | fields)


def caused(topic: Any, offset: int) -> dict[str, Any]:
    """Return the fields of a signal that say what it was decided on."""
    return {"cause_topic": topic.name, "cause_partition": 0, "cause_offset": offset}


SIGNALLED = [
    signal("s1", 62, "1", price="51", **caused(MARKET_BARS, 0)),  # its first revision, not later
    signal("s2", 122, "-1", **caused(INDICATORS, 1)),
    signal("s3", 130, "0", symbol="BAC"),  # of a program that names no cause
    signal("s4", 140, "0.5", strategy="tape", **caused(MARKET_TRADES, 0)),
]


def order(order_id: str, sent_s: int, **fields: Any) -> Order:
    """Return an order of AIG for `cross` that was sent so many seconds after T."""
    qty, side = fields.pop("qty", "10"), fields.pop("side", "buy")
    terms = {
        "symbol": "AIG", "side": side, "type": "market", "qty": qty, "time_in_force": "day",
    }  # fmt: skip
    given = {
        "order_id": order_id, "account": "A1", "status": "filled", "terms": terms, "cum_qty": qty,
        "leaves_qty": "0", "commission": "0", "overfill_qty": "0", "version": 1,
        "strategy": "cross", "ts_requested_ns": T + sent_s * SECOND,
        "ts_updated_ns": T + sent_s * SECOND,
    }  # fmt: skip
    return Order.model_validate(given | fields)


REFUSED = {"code": "MAX_ORDER_QTY", "text": "too many"}
ORDERS = [
    order("early", 63),  # before the first decision was known: of none
    order("al:a1:AIG:1", 62, avg_px="50"),  # the allocation has the time of what it was decided on
    order("o2", 64, qty="30", avg_px="52"),
    order("o3", 121, status="rejected", cum_qty="0", refusal=REFUSED),
    order("al:a2:AIG:1", 121, side="sell", avg_px="60"),
    order("al:other:AIG:1", 125),  # of an allocation that nobody knows
    order("mine", 70, strategy=""),
]


def allocation(allocation_id: str, at_s: int, *symbols: str) -> Allocation:
    """Return an allocation of `cross` that was asked for so many seconds after T."""
    lines = [
        {
            "symbol": symbol, "target_qty": "10", "start_qty": "0", "position_qty": "0",
            "open_qty": "0", "state": "working",
        }
        for symbol in symbols
    ]  # fmt: skip
    when = T + at_s * SECOND
    given = {
        "allocation_id": allocation_id, "account": "A1", "strategy": "cross", "status": "working",
        "version": 1, "order_fill": lines, "ts_requested_ns": when, "ts_updated_ns": when,
    }  # fmt: skip
    return Allocation.model_validate(given)


ALLOCATED = [allocation("a1", 62, "AIG", "BAC"), allocation("a2", 122, "AIG")]
STATES = [
    StrategyState(
        strategy="cross", symbol="AIG", implementation="ma_cross", status="running",
        version=version, signals=version, ts_updated_ns=T + version,
    )
    for version in (1, 2)
]  # fmt: skip


async def filled(stack: Settings) -> Settings:
    """Return a database with the rows above; what agents write was delivered twice."""
    settings = await new_database(stack)
    await store(
        settings,
        records(MARKET_BARS, BARS + BARS),
        records(INDICATORS, INDICATED + INDICATED),
        records(SIGNALS, SIGNALLED + SIGNALLED),
        records(STRATEGIES_UPDATES, STATES + STATES),
        records(MARKET_TRADES, [trade(seq=7)]),
        records(ORDERS_UPDATES, ORDERS + ORDERS),
        records(ALLOCATIONS_UPDATES, ALLOCATED + ALLOCATED),
        records(
            MARKET_LAST,
            [last_price(bid="49", ask="50", ts_last_ns=T - 7, ts_quote_ns=T), last_price("BAC")],
        ),
    )
    return settings


def at(seconds: int) -> str:
    """Return a time so many seconds after T as queries take it."""
    return datetime.fromtimestamp(T // SECOND + seconds, UTC).isoformat()


CASES: list[tuple[str, dict[str, str], str, list[tuple[Any, ...]]]] = [
    ("bars_as_of", {"as_of": at(61)}, "close", []),
    ("bars_as_of", {"as_of": at(62)}, "close rev newest_rev", [(D(51), 1, 3)]),
    ("bars_as_of", {"as_of": at(150)}, "close rev newest_rev", [(D(52), 2, 3), (D(61), 1, 1)]),
    ("bars_as_of", {}, "close rev newest_rev", [(D(53), 3, 3), (D(61), 1, 1)]),
    ("bars_as_of", {"newest": "1"}, "close", [(D(61),)]),
    ("bars_as_of", {"until": at(60)}, "close", [(D(53),)]),  # right-open
    ("bars_as_of", {"since": at(60)}, "close", [(D(61),)]),
    ("bars_as_of", {"frame": "5m"}, "close", []),
    ("bar_spans", {}, "symbol frame bars", [("AIG", "1m", 2)]),
    ("bar_spans", {"symbol": "IBM"}, "symbol", []),
    ("signals", {}, "signal_id", [("s4",), ("s3",), ("s2",), ("s1",)]),
    ("signals", {"strategy": "cross", "symbol": "AIG"}, "signal_id", [("s2",), ("s1",)]),
    ("signals", {"until": at(122)}, "signal_id cause_topic", [("s1", MARKET_BARS.name)]),
    ("strategies", {}, "strategy status signals version", [("cross", "running", 2, 2)]),
    ("strategies", {"symbol": "BAC"}, "strategy", []),
    (
        "decisions", {}, "signal_id cause",
        [
            ("s4", "print 2026-11-18 15:30:00.000000000 100 at 50"),
            ("s3", ""),
            ("s2", "sma(20) 1m 2026-11-18 15:31:00.000000000 rev 1 {'value':51.5}"),
            ("s1", "bar 1m 2026-11-18 15:30:00.000000000 rev 1 open 50 high 70 low 50 close 51"),
        ],
    ),
    (
        "decisions", {"strategy": "cross"},
        "signal_id allocations orders refusals filled_qty avg_px",
        [
            ("s3", [], [], [], D(0), None),
            ("s2", ["A1|a2"], ["A1|al:a2:AIG:1"], [], D(-10), D(60)),
            # 10 at 50 and 30 at 52; BAC had no decision when a1 was asked for
            (
                "s1", ["A1|a1"], ["A1|al:a1:AIG:1", "A1|o2", "A1|o3"], ["MAX_ORDER_QTY"], D(40),
                D("51.5"),
            ),
        ],
    ),
    # what is left out by time still ends what counts for the decision before it
    ("decisions", {"until": at(122)}, "signal_id filled_qty", [("s1", D(40))]),
    (
        "last_prices", {}, "symbol last mid bid ask",
        [("AIG", D(50), D("49.5"), D(49), D(50)), ("BAC", D(50), None, None, None)],
    ),
]  # fmt: skip

TAKES_SYMBOL = {"bars_as_of"}


def test_what_is_read_out_of_the_market(stack: Settings) -> None:
    """Every query is right on rows that are all there twice."""

    async def scenario() -> None:
        settings = await filled(stack)
        for name, params, names, expected in CASES:
            given = ({"symbol": "AIG"} if name in TAKES_SYMBOL else {}) | params
            rows = await answer(settings, name, **given)
            found = [tuple(row[column] for column in names.split()) for row in rows]
            assert (name, params, found) == (name, params, expected)

    asyncio.run(scenario())
