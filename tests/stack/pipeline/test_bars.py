"""Bars from the outside: trades in by a plain client, bars on the topic and in the history."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.controls import publish_controls
from streams.domain.bars.frames import frame_of
from streams.domain.bars.spans import Spans
from streams.models.controls import SessionShift
from streams.models.market import Bar, Trade
from streams.settings import Settings
from tests.builders import NOW_NS, SECOND, trade
from tests.stack.pipeline.running import DEAD, TRADES, Pipeline, set_up, settings_of
from tests.stack.plain import Raw, produce, query, read, wait_until
from tests.stack.workers import workers_of
from tests.unit.bars_world import CALENDAR, said, straight

BARS = "market.bars.v1"
FRAMES = ("1s", "5s")
SYMBOLS = ("AIG", "BAC", "IBM")


class Market(Pipeline):
    """A pipeline of the roles market and history, and what it should have come to."""

    spans: Spans
    sent: list[Trade]

    async def send(self, *prints: Trade) -> None:
        """Put prints on the topic, and expect them in the bars."""
        raw = [
            Raw(one.model_dump_json(exclude_none=True).encode(), one.symbol.encode())
            for one in prints
        ]
        await produce(self.settings, TRADES, raw)
        self.sent += prints

    def wanted(self) -> set[tuple[Any, ...]]:
        """Return the bars of all that was sent."""
        found = set()
        for frame in FRAMES:
            found |= straight(self.sent, frame, self._bounds(frame))
        return found

    def _bounds(self, frame: str) -> Callable[[int], tuple[int, int, str]]:
        def bounds(ts_ns: int) -> tuple[int, int, str]:
            span = self.spans.span(frame_of(frame), ts_ns)
            return span.start_ns, span.end_ns, span.date

        return bounds

    async def bars(self) -> list[Bar]:
        """Return all revisions on the topic."""
        return [
            Bar.model_validate_json(one.value or b"") for one in await read(self.settings, BARS)
        ]

    async def settled(self) -> list[Bar]:
        """Return all revisions when the newest ones are as they should be."""

        def holds(bars: Iterable[Bar]) -> bool:
            return {said(bar) for bar in newest(bars)} == self.wanted()

        return await wait_until(self.bars, holds)


def newest(bars: Iterable[Bar]) -> list[Bar]:
    """Return the newest revision of each bar."""
    found: dict[tuple[str, str, int], Bar] = {}
    for bar in sorted(bars, key=lambda bar: bar.rev):
        found[bar.symbol, bar.frame, bar.ts_start_ns] = bar
    return list(found.values())


@pytest.fixture
async def market(stack: Settings, tmp_path: Path) -> AsyncIterator[Market]:
    """Yield a market worker and a history worker, both ready."""
    settings = settings_of(stack, tmp_path, "bars").model_copy(update={"bars": " ".join(FRAMES)})
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


def prints(begin_ns: int, many: int, first_seq: int, step_ns: int = SECOND // 20) -> list[Trade]:
    """Return prints of three symbols in turn, in order."""
    return [
        trade(
            SYMBOLS[number % 3],
            str(Decimal(5_000 + number * 7 % 41).scaleb(-2)),
            size=str(1 + number % 9),
            ts_event_ns=begin_ns + number * step_ns,
            seq=first_seq + number,
            exchange="N",
        )
        for number in range(many)
    ]


async def test_bars_are_true_whatever_happens(market: Market) -> None:
    """Silence closes them, what is late restates them, a kill in between changes nothing."""
    begin = time.time_ns() - 8 * SECOND
    await market.send(*prints(begin, 120, 1))
    closed = await market.settled()  # nothing comes any more: time alone closes
    assert {bar.rev for bar in closed} == {1}

    late = trade("AIG", "60.00", ts_event_ns=begin + 1, seq=100_000, exchange="N")
    await market.send(late)
    revised = [bar for bar in await market.settled() if bar.rev == 2]
    assert {(bar.frame, bar.status) for bar in revised} == {(one, "revised") for one in FRAMES}
    assert {bar.high for bar in revised} == {Decimal(60)}

    cancel = late.model_copy(update={"seq": 100_001, "correction_of": 100_000, "canceled": True})
    await market.send(cancel)
    del market.sent[-2:]
    assert max(bar.rev for bar in await market.settled()) == 3

    await _killed_while_prints_come(market)
    bars = await market.settled()
    assert all_equal(bars)
    assert await read(market.settings, DEAD) == []
    await _in_the_history(market, bars)


async def _killed_while_prints_come(market: Market) -> None:
    begin = time.time_ns()
    for number in range(4):
        await market.send(*prints(begin + number * 5 * SECOND // 2, 50, 1_000 + number * 50))
        if number in (0, 2):
            await asyncio.sleep(1)
            market.workers.running["market-0"].kill()
            market.workers.start("market")
    await market.workers.running["market-0"].ready()


def all_equal(bars: Iterable[Bar]) -> bool:
    """Return whether a revision that was published twice said the same both times."""
    told: dict[tuple[str, str, int, int], tuple[Any, ...]] = {}
    return all(
        told.setdefault((bar.symbol, bar.frame, bar.ts_start_ns, bar.rev), said(bar)) == said(bar)
        for bar in bars
    )


async def _in_the_history(market: Market, bars: list[Bar]) -> None:
    """Each bar once, as its newest revision says; gaps are filled by a query alone."""
    columns = "select symbol, frame, toUnixTimestamp64Nano(ts_start), rev, close, volume from bars"
    wanted = {
        (bar.symbol, bar.frame, bar.ts_start_ns, bar.rev, bar.close, bar.volume)
        for bar in newest(bars)
    }

    async def ask() -> list[tuple[Any, ...]]:
        return await query(market.settings, columns)

    rows = await wait_until(ask, lambda rows: set(rows) == wanted)
    assert len(rows) == len(wanted)
