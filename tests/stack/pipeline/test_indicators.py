"""Indicators from the outside: trades in by a plain client, values on the topic and in the history.

What they should be is worked out from the bars on the topic in the plainest way.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.clickhouse.queries import user_query
from connectors.kafka.controls import publish_controls
from streams.domain.bars.frames import frame_of
from streams.domain.bars.spans import Spans
from streams.models.controls import SessionShift
from streams.models.market import Bar
from streams.models.signals import Indicator
from streams.settings import Settings
from tests.builders import NOW_NS, SECOND, trade
from tests.stack.pipeline.running import DEAD, set_up, settings_of
from tests.stack.pipeline.test_bars import Market, prints
from tests.stack.pipeline.test_bars import newest as newest_bars
from tests.stack.plain import query, read, wait_until
from tests.stack.workers import workers_of
from tests.unit.bars_world import CALENDAR
from tests.unit.indicators_world import Known, newest, plain

INDICATORS = "indicators.v1"
NAMES = ("sma(5)", "rsi(4)", "atr(4)", "bbands(5,2)", "vwap", "obv")


@pytest.fixture
async def market(stack: Settings, tmp_path: Path) -> AsyncIterator[Market]:
    """Yield a market worker and a history worker, both ready."""
    settings = settings_of(stack, tmp_path, "indicators").model_copy(
        update={"bars": "1s 5s", "indicators": f"1s: {' '.join(NAMES)}; IBM 5s: vwap"}
    )
    with workers_of(settings) as workers:
        await set_up(settings)
        shift = SessionShift(shift_ns=time.time_ns() - NOW_NS)
        await publish_controls(settings, [shift])
        workers.start("market")
        workers.start("history")
        await workers.ready()
        market = Market(settings, workers)
        market.spans, market.sent = Spans(CALENDAR, shift.shift_ns), []
        yield market


async def told(market: Market) -> list[Indicator]:
    """Return all that is on the topic."""
    return [
        Indicator.model_validate_json(one.value or b"")
        for one in await read(market.settings, INDICATORS)
    ]


def wanted(bars: Sequence[Bar]) -> dict[tuple[str, str, str, int], Any]:
    """Return the values of the bars as they stand, worked out in the plainest way."""
    series: dict[tuple[str, str], list[Bar]] = defaultdict(list)
    for one in sorted(newest_bars(bars), key=lambda bar: bar.ts_start_ns):
        series[one.symbol, one.frame].append(one)
    return {
        (symbol, name, frame, bar.ts_start_ns): pytest.approx(list(values), rel=1e-9, abs=1e-6)
        for (symbol, frame), found in series.items()
        for name in (NAMES if frame == "1s" else ("vwap",) if symbol == "IBM" else ())
        for bar, values in zip(found, plain(name, found), strict=True)
        if values is not None
    }


async def settled(market: Market) -> list[Indicator]:
    """Return all that is on the topic when it is as the bars say that were sent for."""
    bars = wanted(await market.settled())

    def holds(found: Sequence[Indicator]) -> bool:
        return {key: list(values.values()) for key, values in newest(found).items()} == bars

    return await wait_until(lambda: told(market), holds)


async def test_indicators_are_true_whatever_happens(market: Market) -> None:
    """A late print restates them with its bar; a kill in between changes nothing."""
    begin = time.time_ns() - 16 * SECOND
    await market.send(*prints(begin, 240, 1))
    first = await settled(market)
    assert {one.rev for one in first} == {1}

    last_ns = market.spans.span(frame_of("1s"), begin + 5 * SECOND).end_ns - 1
    await market.send(trade("AIG", "60.00", ts_event_ns=last_ns, seq=100_000, exchange="N"))
    restated = [one for one in await settled(market) if one.rev > 1]
    assert {one.symbol for one in restated} == {"AIG"}
    assert {one.name for one in restated} == set(NAMES)

    await _killed_while_prints_come(market)
    last = await settled(market)
    assert _say_one_thing(last)
    assert await read(market.settings, DEAD) == []
    await _in_the_history(market, newest(last))


async def _killed_while_prints_come(market: Market) -> None:
    begin = time.time_ns()
    for number in range(4):
        await market.send(*prints(begin + number * 5 * SECOND // 2, 50, 1_000 + number * 50))
        if number in (0, 2):
            await asyncio.sleep(1)
            market.workers.running["market-0"].kill()
            market.workers.start("market")
    await market.workers.running["market-0"].ready()


def _say_one_thing(found: Sequence[Indicator]) -> bool:
    """Return whether what was told twice was the same both times, to the last bit."""
    first: dict[tuple[Any, ...], dict[str, float]] = {}
    return all(first.setdefault((*_place(one), one.rev), one.values) == one.values for one in found)


def _place(one: Indicator) -> tuple[str, str, str, int]:
    return one.symbol, one.name, one.frame, one.ts_start_ns


async def _in_the_history(market: Market, known: Known) -> None:
    """Each value once, that of the newest revision, to the last bit; also by the named query."""
    columns = "select symbol, name, frame, toUnixTimestamp64Nano(ts_start), values from indicators"

    async def ask() -> list[tuple[Any, ...]]:
        return await query(market.settings, columns)

    def holds(rows: list[tuple[Any, ...]]) -> bool:
        return {row[:4]: row[4] for row in rows if row[4]} == known

    rows = await wait_until(ask, holds)
    assert len({row[:4] for row in rows}) == len(rows)
    named = user_query("indicators")
    params = named.bind({"symbol": "AIG", "name": "bbands(5,2)", "frame": "1s"})
    bands = await query(market.settings, named.sql, **params)
    mine = [values for key, values in sorted(known.items()) if key[:2] == ("AIG", "bbands(5,2)")]
    outputs = [(output, values[output]) for values in mine for output in sorted(values)]
    assert [(row[3], row[4]) for row in bands] == outputs
