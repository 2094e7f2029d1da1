"""Every named query and check on rows whose answers were worked out by hand."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from connectors.clickhouse.queries import load
from streams.models.market import Bar, Trade
from streams.models.orders import Order, OrderEvent
from streams.models.positions import Position
from streams.models.reconciliation import Reconciliation
from streams.models.signals import Indicator
from streams.ports import Record
from streams.settings import Settings
from streams.topics import (
    DEAD_LETTERS,
    INDICATORS,
    MARKET_BARS,
    MARKET_LAST,
    MARKET_REFUSED,
    MARKET_TRADES,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    RECONCILIATIONS,
)
from tests.builders import NOW_NS, event, fill, last_price, refused, submit, trade
from tests.stack.history_support import answer, new_database, records, store
from tests.stack.test_market_queries import CASES as MARKET_CASES

MS = 1_000_000
#: Kafka gives a record whole milliseconds; so does this.
T = NOW_NS

LIMIT = {"code": "MAX_ORDER_QTY", "text": "too many", "limit": "1000", "actual": "2000"}
LATE = {"code": "TOO_LATE", "text": "already filled"}
TERMS = {
    "symbol": "AIG", "side": "buy", "type": "limit", "qty": "10", "time_in_force": "day",
    "limit_price": "50.5",
}  # fmt: skip


def step(kind: str, order_id: str, ms: int, **fields: Any) -> OrderEvent:
    """Return an event of an order that was requested at T, written down `ms` later."""
    when = {"ts_event_ns": T + ms * MS, "ts_init_ns": T + ms * MS, "ts_requested_ns": T}
    return event(kind, order_id=order_id, **(when | fields))


def order(order_id: str, status: str, **fields: Any) -> Order:
    """Return an order of 10 AIG as it stands."""
    given = {
        "order_id": order_id, "account": "A1", "status": status, "terms": TERMS, "cum_qty": "0",
        "leaves_qty": "10", "commission": "0", "overfill_qty": "0", "version": 1,
        "ts_updated_ns": T,
    }  # fmt: skip
    return Order.model_validate(given | fields)


def position(account: str, symbol: str, qty: str, version: int, **fields: Any) -> Position:
    """Return a version of a position."""
    given = {
        "account": account, "symbol": symbol, "qty": qty, "version": version, "fills": version,
        "avg_entry_px": "0", "realized_pl": "0", "commission": "0", "buy_qty": "0",
        "sell_qty": "0", "ts_updated_ns": T,
    }  # fmt: skip
    return Position.model_validate(given | fields)


def compared(finding: str, run: int, **fields: Any) -> Reconciliation:
    """Return what a comparison of the broker `rest` found on partition 1."""
    given = {
        "finding": finding, "reconciliation_id": f"{finding}:{fields.get('symbol')}",
        "run_id": f"rest:1:{run:020d}", "broker": "rest", "partition": 1, "ts_event_ns": T,
    }  # fmt: skip
    return Reconciliation.model_validate(given | fields)


def ns(text: str) -> int:
    """Return a UTC time as nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


A2 = {"account": "A2"}

EVENTS = [
    # o1: filled in two executions
    step("approved", "o1", 1, terms=TERMS),
    step("routed", "o1", 2),
    step("accepted", "o1", 4),
    step("fill", "o1", 10, fill=fill("e1", "4", "50", commission="0.02")),
    step("fill", "o1", 20, fill=fill("e2", "6", "50.5", cum_qty="10", commission="0.03")),
    # o2: works
    step("approved", "o2", 3, terms=TERMS),
    step("routed", "o2", 4),
    step("accepted", "o2", 8),
    step("cancel_rejected", "o2", 9, refusal=LATE, request_id="c1"),
    # o3, o4: refused
    step("rejected", "o3", 1, refusal=LIMIT),
    step("rejected", "o4", 2, refusal=LIMIT | {"text": "newest"}, **A2),
    # o5 of A2: one execution busted, one corrected twice
    step("fill", "o5", 30, fill=fill("e3", "3", "9"), side="sell", **A2),
    step("fill_busted", "o5", 31, fill=fill("b3", "3", "9", ref_exec_id="e3"), side="sell", **A2),
    step("fill", "o5", 32, fill=fill("e4", "2", "10"), side="sell", **A2),
    step(
        "fill_corrected", "o5", 33, fill=fill("k1", "2", "11", ref_exec_id="e4"), side="sell", **A2
    ),
    step(
        "fill_corrected", "o5", 34, fill=fill("k2", "2", "12", ref_exec_id="e4"), side="sell", **A2
    ),
]

ORDERS = [
    order("o1", "accepted"),
    order("o2", "accepted"),
    order("o3", "rejected", leaves_qty="0"),
    order("o4", "rejected", leaves_qty="0", **A2),
    order("o5", "partially_filled", cum_qty="2", leaves_qty="8", **A2),
    order("o1", "filled", cum_qty="10", leaves_qty="0", version=2, ts_updated_ns=T + MS),
]

POSITIONS = [
    position("A1", "AIG", "4", 1, unrealized_pl="1"),
    # 23:59 in New York still belongs to the 18th
    position(
        "A1", "AIG", "10", 2, avg_entry_px="50.3", realized_pl="5", unrealized_pl="2",
        commission="0.5", ts_updated_ns=ns("2026-11-19T04:59:59"),
    ),
    position("A1", "BAC", "0", 1, realized_pl="4"),
    position("A2", "BAC", "1", 1, avg_entry_px="9", mark_px="9.5"),
    position(
        "A1", "AIG", "10", 3, avg_entry_px="50.3", realized_pl="8", unrealized_pl="-1",
        commission="0.7", ts_updated_ns=ns("2026-11-19T05:00:00"),
    ),
    position(
        "A2", "AIG", "-2", 1, avg_entry_px="52", realized_pl="-3", commission="0.1",
        ts_updated_ns=ns("2026-11-19T15:00:00"),
    ),
]  # fmt: skip


COMPARED = [
    compared("position", 9, account="A1", symbol="OLD", ours="1", theirs="2"),
    compared("summary", 9, differences=1, unmended=1),
    compared("position", 10, account="A1", symbol="AIG", ours="1", theirs="3"),
    compared("missing_fill", 10, account="A1", symbol="BAC", theirs="4 at 50", mended=True),
    compared("summary", 10, differences=2, unmended=1),
    compared("position", 11, account="A1", symbol="NEW", ours="1", theirs="3"),  # not through yet
]

#: 5 in a minute, told twice while they grew; 1 more counted after a restart; 3 a minute later.
COUNTS = [
    refused(ticks=2),
    refused(ticks=5),
    refused(ticks=1, source_offset=9),
    refused(ticks=3, ts_minute_ns=T + 60_000 * MS, sample='{"price":"61"}'),
    refused("locked", 2, refused=False),
    refused(symbol="IBM"),
]


async def filled(stack: Settings) -> Settings:
    """Return a database with the rows above; everything was delivered twice."""
    settings = await new_database(stack)
    headers = [
        ("orderflow.code", b"BAD_JSON"),
        ("orderflow.agent", b"validator"),
        ("__streams.errors.topic", b"orders.requested.v1"),
        ("__streams.errors.message", b"not JSON"),
        ("__streams.errors.offset", b"7"),
    ]
    letter = Record(DEAD_LETTERS.name, 0, 0, b"A1", None, b"{", T // MS, headers)
    again = Record(DEAD_LETTERS.name, 0, 1, b"A1", None, b"{", T // MS, headers)
    await store(
        settings,
        records(ORDERS_REQUESTED, [submit(order_id="o1", limit_price="50.5")]),
        records(ORDERS_EVENTS, EVENTS + EVENTS),
        records(ORDERS_UPDATES, ORDERS + ORDERS),
        records(POSITIONS_UPDATES, POSITIONS + POSITIONS),
        records(
            MARKET_LAST,
            [
                last_price("AIG", "49", ts_event_ns=T),
                last_price("AIG", "51", ts_event_ns=T + 1, ts_last_ns=T - 7 * 10**9),
            ],
        ),
        records(RECONCILIATIONS, COMPARED + COMPARED),
        records(MARKET_REFUSED, COUNTS + COUNTS),
        records(MARKET_BARS, BARS + BARS),
        records(INDICATORS, TOLD + TOLD),
        [letter, again],
    )
    return settings


def told(minute: int, name: str, rev: int, **values: float) -> Indicator:
    """Return values of AIG after the bar of a minute after T."""
    start = T + minute * 60_000 * MS
    return Indicator(
        symbol="AIG",
        frame="1m",
        name=name,
        ts_start_ns=start,
        ts_end_ns=start + 60_000 * MS,
        rev=rev,
        values=values,
        ts_init_ns=start + 62_000 * MS,
    )


def bar(minute: int, rev: int, opened: str, closed: str, trades: int) -> Bar:
    """Return a bar of AIG of a minute after T."""
    start = T + minute * 60_000 * MS
    given = {
        "symbol": "AIG", "frame": "1m", "session": "2026-11-18", "ts_start_ns": start,
        "ts_end_ns": start + 60_000 * MS, "status": "final" if rev == 1 else "revised", "rev": rev,
        "open": opened, "high": closed, "low": opened, "close": closed, "volume": str(100 * trades),
        "notional": "1000", "vwap": "10", "trades": trades, "ts_init_ns": start + 62_000 * MS,
    }  # fmt: skip
    return Bar.model_validate(given)


BARS = [bar(0, 1, "10", "11", 1), bar(0, 2, "10", "12", 2), bar(2, 1, "13", "13", 1)]
#: The first of the VWAP is restated, the last one withdrawn.
TOLD = [
    told(0, "vwap", 1, value=10.0),
    told(0, "vwap", 2, value=10.1),
    told(1, "vwap", 1, value=0.1 + 0.2),
    told(2, "vwap", 1, value=11.0),
    told(2, "vwap", 2),
    told(1, "bbands(20,2)", 1, upper=10.5, lower=9.5),
]


def picked(rows: Sequence[dict[str, Any]], names: str) -> list[tuple[Any, ...]]:
    """Return some columns of rows."""
    return [tuple(row[name] for name in names.split()) for row in rows]


D = Decimal

CASES: list[tuple[str, dict[str, str], str, list[tuple[Any, ...]]]] = [
    (
        "orders_by_status", {}, "status orders accounts leaves_qty",
        [
            ("rejected", 2, 2, D(0)),  # o3 of A1, o4 of A2
            ("accepted", 1, 1, D(10)),  # o2; o1 went on
            ("filled", 1, 1, D(0)),
            ("partially_filled", 1, 1, D(8)),
        ],
    ),
    (
        "orders_by_status", {"account": "A2"}, "status orders",
        [("partially_filled", 1), ("rejected", 1)],
    ),
    ("orders", {"status": "filled"}, "order_id cum_qty version", [("o1", D(10), 2)]),
    ("orders", {"account": "A1"}, "order_id", [("o1",), ("o2",), ("o3",)]),  # newest change first
    (
        "fills", {}, "account exec_id side qty px value",
        [
            ("A2", "k2", "sell", D(2), D(12), D(24)),  # in place of e4 and k1; e3 is busted
            ("A1", "e2", "buy", D(6), D("50.5"), D(303)),
            ("A1", "e1", "buy", D(4), D(50), D(200)),
        ],
    ),
    ("fills", {"until": "2026-11-18 15:30:00.020"}, "exec_id", [("e1",)]),  # e2 is at the end: out
    ("fills", {"since": "2026-11-18 15:30:00.020"}, "exec_id", [("k2",), ("e2",)]),  # e2: in
    (
        "rejects_by_code", {}, "code event refusals orders accounts example",
        [
            ("MAX_ORDER_QTY", "rejected", 2, 2, 2, "newest"),
            ("TOO_LATE", "cancel_rejected", 1, 1, 1, "already filled"),
        ],
    ),
    (
        "positions", {}, "account symbol qty mark_px market_value unrealized_pl",
        [
            ("A1", "AIG", D(10), D(51), D(510), D(7)),  # 10 * (51 - 50.3)
            ("A2", "AIG", D(-2), D(51), D(-102), D(2)),  # -2 * (51 - 52)
            ("A2", "BAC", D(1), D("9.5"), D("9.5"), D("0.5")),  # no last price: its own mark
        ],
    ),
    (
        "pnl_by_symbol_day", {}, "day symbol realized_pl unrealized_change total_pl commission",
        [
            (date(2026, 11, 18), "AIG", D(5), D(2), D(7), D("0.5")),
            (date(2026, 11, 18), "BAC", D(4), D(0), D(4), D(0)),
            # A1: 8 - 5 = 3 and -1 - 2 = -3, paid 0.2; A2: -3 and 0, paid 0.1
            (date(2026, 11, 19), "AIG", D(0), D(-3), D(-3), D("0.3")),
        ],
    ),
    (
        "pnl_by_symbol_day", {"since": "2026-11-19"}, "symbol realized_pl total_pl",
        [("AIG", D(0), D(-3))],  # still measured against the day before
    ),
    (
        "order_timeline", {"order_id": "o1"}, "step qty px since_previous_ms since_first_ms",
        [
            ("requested submit", D(10), D("50.5"), 0, 0),
            ("approved", D(10), D("50.5"), 1, 1),
            ("routed", None, None, 1, 2),
            ("accepted", None, None, 2, 4),
            ("fill", D(4), D(50), 6, 10),
            ("fill", D(6), D("50.5"), 10, 20),
        ],
    ),
    ("order_timeline", {"order_id": "o3"}, "step text", [("rejected", "MAX_ORDER_QTY: too many")]),
    (
        "hop_latency", {"account": "A1"}, "name orders p50_ms max_ms",
        [
            ("requested to approved", 2, 3, 3),  # 1 and 3; the exact median of two is the upper
            ("approved to routed", 2, 1, 1),
            ("routed to accepted", 2, 4, 4),  # 2 and 4
            ("accepted to filled", 1, 6, 6),
            ("requested to filled", 1, 10, 10),
        ],
    ),
    (
        "bars", {"symbol": "AIG"}, "open close volume trades rev",
        [
            (D(10), D(12), D(200), 2, 2),  # the second revision
            (D(12), D(12), D(0), 0, 0),  # nothing traded: the close before it
            (D(13), D(13), D(100), 1, 1),
        ],
    ),
    (
        "bar_revisions", {"symbol": "AIG"}, "rev status close trades",
        [(1, "final", D(11), 1), (2, "revised", D(12), 2), (1, "final", D(13), 1)],
    ),
    (
        "indicators", {"symbol": "AIG"}, "name rev output value",
        [
            ("bbands(20,2)", 1, "lower", 9.5),
            ("bbands(20,2)", 1, "upper", 10.5),
            ("vwap", 2, "value", 10.1),  # the second revision; one more was withdrawn
            ("vwap", 1, "value", 0.1 + 0.2),
        ],
    ),
    (
        "positions", {"account": "A2"}, "symbol mark_px ts_mark",
        [
            ("AIG", D(51), datetime.fromtimestamp(T // 10**9 - 7, UTC).replace(tzinfo=None)),
            ("BAC", D("9.5"), None),
        ],
    ),
    ("last_prices", {}, "symbol last", [("AIG", D(51))]),
    (
        "refused_ticks", {"symbol": "AIG"}, "reason refused ticks minutes sample",
        [("far_off", True, 9, 2, '{"price":"61"}'), ("locked", False, 2, 1, '{"price":"60"}')],
    ),
    (
        "dead_letters_by_code", {}, "code agent source_topic records example",
        [("BAD_JSON", "validator", "orders.requested.v1", 1, "not JSON")],
    ),
    (
        "reconciliations_newest", {}, "finding symbol theirs mended differences unmended",
        [
            ("summary", "", "", False, 2, 1),
            ("position", "AIG", "3", False, 0, 0),
            ("missing_fill", "BAC", "4 at 50", True, 0, 0),
        ],
    ),
]  # fmt: skip


def test_named_queries_give_what_was_worked_out_by_hand(stack: Settings) -> None:
    """Every query is right on rows that are all there twice."""

    async def scenario() -> None:
        settings = await filled(stack)
        for name, params, names, expected in CASES:
            found = picked(await answer(settings, name, **params), names)
            assert (name, params, found) == (name, params, expected)

    asyncio.run(scenario())


def test_every_named_query_is_worked_out() -> None:
    """No query is left untested; bars, kill switches and decisions have tests of their own."""
    elsewhere = {"ohlcv", "sent_after_kill_switch", *(case[0] for case in MARKET_CASES)}
    assert {case[0] for case in CASES} | elsewhere == set(load("queries"))


def bars(trades: Sequence[Trade], seconds: int) -> list[tuple[Any, ...]]:
    """Return (start, open, high, low, close, volume, trades, vwap), worked out step by step."""
    buckets: dict[int, list[Trade]] = {}
    for each in sorted(trades, key=lambda each: (each.ts_event_ns, each.seq)):
        start = each.ts_event_ns // 1_000_000_000 // seconds * seconds
        buckets.setdefault(start, []).append(each)
    found = []
    for start, inside in sorted(buckets.items()):
        prices = [each.price for each in inside]
        volume = sum((each.size for each in inside), D(0))
        value = sum((each.price * each.size for each in inside), D(0))
        vwap = (value / volume).quantize(D("1e-9"), ROUND_DOWN)
        begin = datetime.fromtimestamp(start, UTC).replace(tzinfo=None)
        found.append(
            (begin, prices[0], max(prices), min(prices), prices[-1], volume, len(inside), vwap)
        )
    return found


@pytest.mark.parametrize("seconds", [1, 60, 300])
def test_bars_equal_bars_worked_out_in_python(stack: Settings, seconds: int) -> None:
    """Out-of-order, repeated, simultaneous and suspicious prints included."""
    chance = random.Random(7)
    prints = [
        trade(
            "AIG",
            price=str(D(chance.randrange(490_000, 510_000)) / 10_000),
            size=str(D(chance.randrange(1, 100_000)) / 1000),
            ts_event_ns=T + chance.randrange(0, 900_000) * MS,  # some share a millisecond
            seq=number,
            suspicious=chance.random() < 0.05,
        )
        for number in range(1, 3001)
    ]
    sent = prints + chance.sample(prints, 200)  # the source repeats itself
    good = [each for each in prints if not each.suspicious]

    async def scenario() -> None:
        settings = await new_database(stack)
        others = [trade("BAC", seq=number) for number in range(1, 10)]
        await store(settings, records(MARKET_TRADES, sent + others))
        found = await answer(settings, "ohlcv", symbol="AIG", seconds=str(seconds))
        names = "start open high low close volume trades vwap"
        got = [(row[0].replace(tzinfo=None), *row[1:]) for row in picked(found, names)]
        assert got == bars(good, seconds)

    asyncio.run(scenario())


def test_checks_find_nothing_in_rows_that_agree(stack: Settings) -> None:
    """A check returns a row for each thing that is wrong, so none here."""

    async def scenario() -> None:
        settings = await new_database(stack)
        bought = position("A1", "AIG", "10", 1, buy_qty="10")
        await store(
            settings,
            records(ORDERS_EVENTS, EVENTS[:5]),
            records(ORDERS_UPDATES, [ORDERS[-1]]),
            records(POSITIONS_UPDATES, [bought]),
        )
        for name in load("checks"):
            assert (name, await answer(settings, name)) == (name, [])

    asyncio.run(scenario())


def test_checks_find_what_does_not_agree(stack: Settings) -> None:
    """Each check has something to find: an unknown order, a wrong position, a negative rest."""

    async def scenario() -> None:
        settings = await new_database(stack)
        await store(
            settings,
            records(ORDERS_EVENTS, EVENTS[3:5]),
            records(ORDERS_UPDATES, [order("o9", "accepted", leaves_qty="-1")]),
            records(POSITIONS_UPDATES, [position("A1", "AIG", "9", 1)]),
        )
        found = {name: await answer(settings, name) for name in load("checks")}
        assert picked(found["check_fills_without_order"], "order_id") == [("o1",), ("o1",)]
        wrong = picked(found["check_positions_match_fills"], "by_fills by_positions")
        assert wrong == [(D(10), D(9))]
        assert picked(found["check_impossible_quantities"], "order_id id") == [("o9", "accepted")]

    asyncio.run(scenario())
