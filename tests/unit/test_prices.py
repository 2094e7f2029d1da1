"""The prices agent: which ticks move a price, and what is published of them."""

from decimal import Decimal
from typing import Any

import pytest

from agents.prices import Prices
from streams.domain.matching.config import DAY_NS
from streams.models.market import LastPrice, Quote, Trade
from streams.topics import MARKET_LAST, MARKET_REFUSED, MARKET_TRADES
from tests.builders import NOW_NS, last_price, quote, record, trade
from tests.fakes import MemoryUnit


def nothing(symbol: str) -> None:
    """Nothing was published before."""


def run(*ticks: Trade | Quote, agent: Prices | None = None) -> list[LastPrice]:
    """Play one batch and return the prices that it published."""
    agent = agent or Prices(nothing)
    unit: MemoryUnit[None] = MemoryUnit(now_ns=NOW_NS)
    for offset, tick in enumerate(ticks):
        agent.step(unit, record(tick, MARKET_TRADES, offset))
    agent.on_batch_end(unit)
    assert all(each.key == each.value.symbol for each in unit.emitted)
    return unit.values(MARKET_LAST)


def numbers(price: LastPrice) -> tuple[Decimal | None, ...]:
    """Return last, bid and ask."""
    return price.last, price.bid, price.ask


def test_a_symbol_is_published_once_per_batch() -> None:
    """Its newest trade and both sides of its newest quote."""
    found = run(
        trade(price="50.00"),
        quote(bid="49.98", ask="50.02"),
        trade(price="50.01", ts_event_ns=NOW_NS + 1),
        trade("IBM", "180"),
    )
    assert [(price.symbol, *numbers(price)) for price in found] == [
        ("AIG", Decimal("50.01"), Decimal("49.98"), Decimal("50.02")),
        ("IBM", Decimal(180), None, None),
    ]
    assert (found[0].ts_event_ns, found[0].ts_init_ns) == (NOW_NS + 1, NOW_NS)


def times(price: LastPrice) -> tuple[int | None, ...]:
    """Return the times of print, quote and price, counted from NOW_NS."""
    found = (price.ts_last_ns, price.ts_quote_ns, price.ts_event_ns)
    return tuple(None if ts is None else ts - NOW_NS for ts in found)


def test_print_and_quote_have_times_of_their_own() -> None:
    """One goes on while the other grows old; the newer of the two is the price's."""
    agent = Prices(nothing)
    (price,) = run(trade(), agent=agent)
    assert times(price) == (0, None, 0)
    (price,) = run(quote(ts_event_ns=NOW_NS + 5), agent=agent)
    assert times(price) == (0, 5, 5)
    one_side = Quote(symbol="AIG", ts_event_ns=NOW_NS + 6, ask="50.02", ask_size="1")
    (price,) = run(one_side, agent=agent)
    assert times(price) == (0, 6, 6)
    (price,) = run(trade(ts_event_ns=NOW_NS + 7, seq=1), agent=agent)
    assert times(price) == (7, 6, 7)


@pytest.mark.parametrize(
    ("tick", "prices", "expected"),
    [
        (trade(price="51"), (51, 40, 42), (0, -8, 0)),
        (quote(bid="50", ask="52"), (41, 50, 52), (-9, 0, 0)),
        # told again after a kill: what was published of later ticks stands
        (trade(price="51", ts_event_ns=NOW_NS - 10), (41, 40, 42), (-9, -8, -8)),
        (quote(bid="50", ask="52", ts_event_ns=NOW_NS - 10), (41, 40, 42), (-9, -8, -8)),
    ],
)
def test_a_worker_that_starts_goes_on_from_what_was_published(
    tick: Trade | Quote, prices: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """The part that no tick has said stays, with its time."""
    sides = {"bid": "40", "ask": "42", "ts_quote_ns": NOW_NS - 8}
    known = last_price(last="41", ts_last_ns=NOW_NS - 9, ts_event_ns=NOW_NS - 8, **sides)
    (price,) = run(tick, agent=Prices({"AIG": known}.get))
    assert (numbers(price), times(price)) == (prices, expected)


def test_sides_that_were_taken_away_stay_away() -> None:
    """The newer quote says that there are none."""
    known = last_price(last=None, bid="40", ask="42", ts_quote_ns=NOW_NS - 1)
    none = Quote(symbol="AIG", ts_event_ns=NOW_NS, bid="0", bid_size="0", ask="0", ask_size="0")
    (price,) = run(none, agent=Prices({"AIG": known}.get))
    assert (numbers(price), times(price)) == ((None, None, None), (None, 0, 0))


def test_what_is_known_is_carried_over() -> None:
    """A one-sided quote of a later batch changes its side alone."""
    agent = Prices(nothing)
    run(trade(), quote(), agent=agent)
    later = Quote(symbol="AIG", ts_event_ns=NOW_NS + 1, bid="49.50", bid_size="1")
    (price,) = run(later, agent=agent)
    assert numbers(price) == (50, Decimal("49.50"), Decimal("50.01"))


STILL: list[tuple[dict[str, Any], str]] = [
    ({"price": "-1"}, "a negative price"),
    ({"price": "0"}, "no price"),
    ({"size": "0"}, "no size"),
    ({"suspicious": True}, "the source's own mark"),
    ({"ts_event_ns": NOW_NS - 1}, "older than the one before"),
    ({"seq": 1}, "a repetition of what the source numbers"),
    ({"ts_event_ns": NOW_NS + DAY_NS + 1}, "of the day after tomorrow: a broken clock"),
]


@pytest.mark.parametrize(("fields", "reason"), STILL, ids=[row[1] for row in STILL])
def test_a_bad_trade_moves_no_price(fields: dict[str, Any], reason: str) -> None:
    """Nothing is published, and the next good one does move it."""
    agent = Prices(nothing)
    run(trade(price="50.00", seq=1), agent=agent)
    assert run(trade(**{"price": "60", "seq": 2} | fields), agent=agent) == []
    (price,) = run(trade(price="51", seq=3, ts_event_ns=NOW_NS + 1), agent=agent)
    assert price.last == 51


def test_volume_is_that_of_the_prints_that_count() -> None:
    """Sale conditions decide, as in bars; since when is said, and a new worker begins anew."""
    agent = Prices(nothing)
    (first,) = run(trade(size="7"), trade(size="5", conditions="@ TI"), agent=agent)
    assert (first.volume, first.volume_since_ns) == (12, NOW_NS)
    close = trade(size="9", conditions="M")  # the official close repeats what was printed
    (second,) = run(close, trade(size="1"), trade(size="0"), quote(), agent=agent)
    assert (second.volume, second.volume_since_ns) == (13, NOW_NS)
    (anew,) = run(trade(size="2"))
    assert anew.volume == 2


def test_a_crossed_quote_leaves_the_newer_side() -> None:
    """The side that the row brings proves the other one outdated."""
    agent = Prices(nothing)
    run(quote(bid="49.99", ask="50.01"), agent=agent)
    higher = Quote(symbol="AIG", ts_event_ns=NOW_NS + 1, bid="50.05", bid_size="1")
    (price,) = run(higher, agent=agent)
    assert numbers(price) == (None, Decimal("50.05"), None)


def test_the_same_ticks_give_the_same_prices() -> None:
    """A worker that starts anew publishes what the one before did."""
    ticks = (trade(), quote(), trade("IBM", "180"))
    assert run(*ticks) == run(*ticks)


def test_refused_ticks_are_counted_by_reason() -> None:
    """Nothing for each tick; the timer publishes the counts, with the first one as sample."""
    agent = Prices(nothing)
    unit: MemoryUnit[None] = MemoryUnit(now_ns=NOW_NS)
    ticks = [
        trade(price="50.00"),
        trade(price="60.00", ts_event_ns=NOW_NS + 1),
        trade(price="0"),
        trade(price="70.00", ts_event_ns=NOW_NS + 2),
        trade(ts_event_ns=NOW_NS + DAY_NS + 1),
        quote(bid="51", ask="50"),
    ]
    for offset, tick in enumerate(ticks):
        agent.step(unit, record(tick, MARKET_TRADES, offset))
    agent.on_batch_end(unit)
    assert unit.values(MARKET_REFUSED) == []
    agent.on_timer(unit)
    counts = unit.values(MARKET_REFUSED)
    found = {count.reason: (count.ticks, count.source_offset) for count in counts}
    assert found == {"far_off": (2, 1), "out_of_order": (1, 2), "ahead": (1, 4), "crossed": (1, 5)}
    assert '"price":"60.00"' in counts[0].sample
    (last,) = unit.values(MARKET_LAST)
    assert (last.last, last.bid, last.ask) == (50, None, None)
