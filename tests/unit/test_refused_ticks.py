"""Counts of refused ticks: few records however many ticks, and nothing counted twice."""

from streams.domain.refused_ticks import EVERY_NS, MINUTE_NS, Place, RefusedCounts
from streams.models.market import RefusedTicks, TickReason
from tests.builders import NOW_NS, trade

START = NOW_NS - NOW_NS % MINUTE_NS
FAR = TickReason.FAR_OFF


def at(offset: int, partition: int = 0) -> Place:
    """Return a place of the trades."""
    return Place("market.trades.v1", partition, offset)


def test_a_flood_is_a_record_every_five_seconds() -> None:
    """10,000 bad ticks in a minute are 13 records, the last of which has them all."""
    counts, sent = RefusedCounts(), []
    for n in range(10_000):
        now = START + n * MINUTE_NS // 10_000
        counts.add(trade(price=f"{n}"), FAR, at(n), now)
        sent += counts.due(0, now)
    sent += counts.due(0, START + MINUTE_NS)
    assert len(sent) == 13
    assert sent[-1] == RefusedTicks(
        symbol="AIG",
        reason=FAR,
        refused=True,
        ticks=10_000,
        ts_minute_ns=START,
        source_topic="market.trades.v1",
        source_partition=0,
        source_offset=0,
        sample='{"symbol":"AIG","ts_event_ns":1795015800000000000,"price":"0","size":"100"}',
        ts_event_ns=NOW_NS,
        ts_init_ns=START + MINUTE_NS,
    )
    assert counts.due(0, START + 2 * MINUTE_NS) == []


def test_each_symbol_reason_topic_and_minute_has_its_own() -> None:
    """And what was noted only says so."""
    counts = RefusedCounts()
    counts.add(trade(), FAR, at(1), START)
    counts.add(trade("IBM"), FAR, at(2), START)
    counts.add(trade(), TickReason.UNKNOWN_CONDITION, at(3), START)
    counts.add(trade(), FAR, Place("market.quotes.v1", 0, 1), START)
    counts.add(trade(), FAR, at(4), START + MINUTE_NS)
    found = counts.due(0, START + MINUTE_NS)
    assert [count.ticks for count in found] == [1] * 5
    assert [count.refused for count in found] == [True, True, False, True, True]


def test_a_count_that_does_not_grow_is_silent() -> None:
    """It goes out once, and again only with something new."""
    counts = RefusedCounts()
    counts.add(trade(), FAR, at(1), START)
    assert len(counts.due(0, START)) == 1
    assert counts.due(0, START + EVERY_NS) == []
    counts.add(trade(), FAR, at(2), START + EVERY_NS)
    assert [(c.ticks, c.source_offset) for c in counts.due(0, START + EVERY_NS)] == [(2, 1)]


def test_a_partition_has_its_own_counts() -> None:
    """What was counted for a partition that was given up is forgotten in the end."""
    counts = RefusedCounts()
    counts.add(trade(), FAR, at(1, partition=1), START)
    assert counts.due(0, START) == []
    assert len(counts.due(1, START)) == 1
    counts.due(0, START + 10 * MINUTE_NS)
    assert counts._counts == {}
