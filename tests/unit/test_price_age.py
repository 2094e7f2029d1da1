"""How old a price is, what is stale, and who says so: gate, positions, views."""

from decimal import Decimal
from typing import Any

import pytest

from streams.domain.bars.rows import BarRow, PrintsRow
from streams.domain.positions import PositionState
from streams.domain.prices import fresh, is_stale, mark_of, mid, told
from streams.models.market import LastPrice
from streams.models.orders import Refusal
from streams.topics import ORDERS_EVENTS
from streams.web.market import newest_first, price_body
from streams.web.views import position_body
from tests.builders import NOW_NS, SECOND, bar, last_price, submit
from tests.unit.risk_builders import Desk, limits

D = Decimal
AGE = D(900)


def priced(last_s: int | None = None, quote_s: int | None = None, **fields: Any) -> LastPrice:
    """Return a last of 50 and a quote of 39 to 41, each that many seconds old; None: not there."""
    times = {"ts_last_ns": last_s, "ts_quote_ns": quote_s}
    given = {name: NOW_NS - s * SECOND for name, s in times.items() if s is not None}
    given["ts_event_ns"] = max(given.values(), default=NOW_NS)
    sides = {} if quote_s is None else {"bid": "39", "ask": "41"}
    return last_price(last=None if last_s is None else "50", **{**given, **sides, **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"bid": "49.98", "ask": "50.03"}, D("50.005")),
        ({"bid": "50", "ask": "50"}, D(50)),
        ({"bid": "50"}, None),
        ({"ask": "50"}, None),
        ({}, None),
    ],
)
def test_the_middle_needs_both_sides(fields: dict[str, str], expected: Decimal | None) -> None:
    """One side alone has none."""
    assert mid(last_price(**fields)) == expected


def test_as_old_as_the_limit_is_not_stale() -> None:
    """Bounds are inclusive, to the nanosecond."""
    assert not is_stale(NOW_NS - 900 * SECOND, NOW_NS, AGE)
    assert is_stale(NOW_NS - 900 * SECOND - 1, NOW_NS, AGE)


@pytest.mark.parametrize(
    ("last_s", "quote_s", "mark"),
    [
        (900, 900, D(50)),
        (901, 900, D(40)),  # quotes go on while nothing trades
        (900, 901, D(50)),
        (901, 901, None),
        (901, None, None),
        (None, 900, D(40)),
        (None, 901, None),
    ],
)
def test_the_stale_part_is_left_out(
    last_s: int | None, quote_s: int | None, mark: Decimal | None
) -> None:
    """The last print counts first, if it is young enough; else the quote."""
    found = fresh(priced(last_s, quote_s), NOW_NS, AGE)
    assert (mark_of(found) if found else None) == mark


def test_a_stale_quote_beside_a_young_print_has_no_sides() -> None:
    """Nothing is valued at a bid or ask of long ago."""
    found = fresh(priced(1, 901), NOW_NS, AGE)
    assert found is not None
    assert (found.last, found.bid, found.ask) == (D(50), None, None)
    assert price_body(priced(1, 901), NOW_NS, AGE)["quote_age_s"] == 901.0


def test_records_of_one_time_are_as_old_as_that() -> None:
    """Those on the topic from before the two times were written."""
    old = last_price(bid="49", ask="51", ts_event_ns=NOW_NS - 901 * SECOND)
    assert fresh(old, NOW_NS, AGE) is None


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (priced(3), "last price 50 (3.0 s old)"),
        (priced(901, 901), "last price 50 (901.0 s old, stale: over 900 s)"),
        (priced(None, 3), "bid and ask's middle 40 (3.0 s old)"),
        (priced(None, 3, ask=None), "bid 39 (3.0 s old)"),
        (priced(None, 3, bid=None), "ask 41 (3.0 s old)"),
        (last_price(ts_event_ns=0), "reference price 50.00"),
    ],
)
def test_a_price_in_words(price: LastPrice, text: str) -> None:
    """What it is, and its age; stale ones say so, with the limit."""
    assert told(price, NOW_NS, AGE) == text


def refused(desk: Desk, **fields: Any) -> Refusal:
    """Return why an order was rejected."""
    unit = desk.send(submit(**fields))
    refusal = unit.values(ORDERS_EVENTS)[0].refusal
    assert refusal is not None
    return refusal


WORSE = "limit_price is more than 10 % worse than the"
REFUSALS: list[tuple[LastPrice, dict[str, Any], tuple[str, str, str | None, str | None]]] = [
    (
        priced(2),
        {"limit_price": "55.01"},
        (
            "PRICE_COLLAR",
            f"{WORSE} last price 50 (2.0 s old)",
            "55",
            "55.01",
        ),
    ),
    (
        priced(1000),
        {"limit_price": "55.01"},
        (
            "PRICE_COLLAR",
            f"{WORSE} last price 50 (1000.0 s old, stale: over 900 s)",
            "55",
            "55.01",
        ),
    ),
    (
        priced(1000, 2),  # the collar goes by the middle then
        {"limit_price": "44.01"},
        (
            "PRICE_COLLAR",
            f"{WORSE} bid and ask's middle 40 (2.0 s old)",
            "44",
            "44.01",
        ),
    ),
    (
        priced(1000, 901),
        {"type": "market"},
        (
            "NO_REFERENCE_PRICE",
            "no price of AIG younger than 900 s: the newest is 901.0 s old",
            "900",
            "901.0 s",
        ),
    ),
]


@pytest.mark.parametrize(("price", "order", "expected"), REFUSALS)
def test_refusals_name_age_and_limit(
    price: LastPrice, order: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """A stale price is called stale."""
    desk = Desk(limits(), price=lambda _: price)
    refusal = refused(desk, **order)
    assert (refusal.code, refusal.text, refusal.limit, refusal.actual) == expected


def test_no_price_at_all_has_no_age() -> None:
    """The text says what is missing."""
    refusal = refused(Desk(limits(), price=lambda _: None), type="market")
    assert (refusal.text, refusal.actual) == ("no price of AIG younger than 900 s", None)


def test_the_view_of_a_price() -> None:
    """Each price with its age; `price` is what the gate goes by."""
    assert price_body(priced(1000, 2), NOW_NS, AGE) == {
        "symbol": "AIG", "last": "50", "bid": "39", "ask": "41", "mid": "40", "price": "40",
        "age_s": 2.0, "stale": False, "max_price_age_s": "900", "last_age_s": 1000.0,
        "quote_age_s": 2.0, "ts_last_ns": NOW_NS - 1000 * SECOND,
        "ts_quote_ns": NOW_NS - 2 * SECOND, "ts_event_ns": NOW_NS - 2 * SECOND,
        "ts_init_ns": NOW_NS, "schema_version": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (priced(900), ("50", 900.0, False)),
        (priced(901), ("50", 901.0, True)),
        (priced(), (None, None, True)),  # both sides were taken away, and nothing traded
    ],
)
def test_the_view_says_stale(price: LastPrice, expected: tuple[Any, ...]) -> None:
    """Then `price` is what there was."""
    body = price_body(price, NOW_NS, AGE)
    assert (body.get("price"), body.get("age_s"), body["stale"]) == expected


def held(qty: str) -> PositionState:
    """Return a position that cost 45 a share."""
    return PositionState(account="A1", symbol="AIG", qty=D(qty), cost=D(qty) * 45, version=1)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (priced(900, 1), ("50", 900.0, False, "40", "50")),
        (priced(901, 1), ("50", 901.0, True, "40", "50")),  # the mark is stale, quotes are not
        (priced(None, 901), ("39", 901.0, True, "40", "-60")),
        (None, (None, None, None, None, None)),
    ],
)
def test_the_view_of_a_position_says_how_old_its_mark_is(
    price: LastPrice | None, expected: tuple[Any, ...]
) -> None:
    """The age is that of the print or quote that it is valued at, not of the newest tick."""
    body = position_body(held("10"), price, NOW_NS, AGE)
    names = ("mark_px", "mark_age_s", "stale", "mid", "unrealized_pl")
    assert tuple(body.get(name) for name in names) == expected


def test_recent_bars_come_newest_first() -> None:
    """Bars in which nothing counted are none."""
    bars = [bar(ts_start_ns=NOW_NS + number) for number in range(3)]
    rows = [(str(number), BarRow(bar=one, drop_ns=0)) for number, one in enumerate(bars)]
    rows.insert(1, ("0", BarRow(drop_ns=0)))
    assert newest_first(rows, 2) == [bars[2], bars[1]]
    assert newest_first([("x", PrintsRow(end_ns=0, prints=""))], 2) == []
