"""The prices agent: which ticks move a price, and what is published of them."""

from decimal import Decimal
from typing import Any

import pytest

from agents.prices import Prices
from streams.domain.matching.config import DAY_NS
from streams.models.market import LastPrice, Quote, Trade
from streams.topics import MARKET_LAST, MARKET_REFUSED, MARKET_TRADES
from tests.builders import NOW_NS, quote, record, trade
from tests.fakes import MemoryUnit


def run(*ticks: Trade | Quote, agent: Prices | None = None) -> list[LastPrice]:
    """Play one batch and return the prices that it published."""
    agent = agent or Prices()
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


def test_what_is_known_is_carried_over() -> None:
    """A one-sided quote of a later batch changes its side alone."""
    agent = Prices()
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
    agent = Prices()
    run(trade(price="50.00", seq=1), agent=agent)
    assert run(trade(**{"price": "60", "seq": 2} | fields), agent=agent) == []
    (price,) = run(trade(price="51", seq=3, ts_event_ns=NOW_NS + 1), agent=agent)
    assert price.last == 51


def test_volume_is_that_of_the_prints_that_count() -> None:
    """Sale conditions decide, as in bars; since when is said, and a new worker begins anew."""
    agent = Prices()
    (first,) = run(trade(size="7"), trade(size="5", conditions="@ TI"), agent=agent)
    assert (first.volume, first.volume_since_ns) == (12, NOW_NS)
    close = trade(size="9", conditions="M")  # the official close repeats what was printed
    (second,) = run(close, trade(size="1"), trade(size="0"), quote(), agent=agent)
    assert (second.volume, second.volume_since_ns) == (13, NOW_NS)
    (anew,) = run(trade(size="2"))
    assert anew.volume == 2


def test_a_crossed_quote_leaves_the_newer_side() -> None:
    """The side that the row brings proves the other one outdated."""
    agent = Prices()
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
    agent = Prices()
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
