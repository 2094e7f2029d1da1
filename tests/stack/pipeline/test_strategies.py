"""Strategies from the outside: bars in by a plain client, signals and targets on the topics.

The program of docs/strategies.md, a strategy beside ours, is run as it stands there.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.controls import publish_controls
from streams.dev.reference import ROOT
from streams.models.controls import StrategyControl
from streams.settings import Settings
from tests.builders import SECOND, bar
from tests.stack.pipeline.running import DEAD, Pipeline, set_up, settings_of
from tests.stack.plain import Raw, produce, query, read, wait_until
from tests.stack.workers import workers_of

BARS = "market.bars.v1"
MINUTE = 60 * SECOND
PAGE = ROOT / "docs" / "strategies.md"
MA = {"implementation": "ma_cross", "symbols": "AIG IBM", "fast": 1, "slow": 2}
STRATEGIES = {
    "ma1": {**MA, "account": "S1", "qty": "100"},
    "other": {"account": "S2", "notional": "10000"},
    "broken": {"implementation": "ma_cross", "fast": "many", "symbols": "AIG"},
}


class Market(Pipeline):
    """A pipeline of the roles market and history, with bars of its own."""

    begin_ns: int
    count: int = 0

    async def bars(self, *closes: str) -> None:
        """Publish a bar of AIG and one of IBM for each close, each a minute after the other."""
        for close in closes:
            start = self.begin_ns + self.count * MINUTE
            self.count += 1
            times = {"ts_start_ns": start, "ts_end_ns": start + MINUTE}
            raw = [
                Raw(bar(symbol=symbol, close=close, **times).model_dump_json().encode(), key)
                for symbol, key in (("AIG", b"AIG"), ("IBM", b"IBM"))
            ]
            await produce(self.settings, BARS, raw)

    async def values(self, topic: str) -> list[dict[str, Any]]:
        """Return the records of a topic, as JSON."""
        return [json.loads(one.value or b"") for one in await read(self.settings, topic)]

    async def have(self, topic: str, many: int) -> list[dict[str, Any]]:
        """Return the different records of a topic when there are so many of them."""

        async def ask() -> list[dict[str, Any]]:
            found = {json.dumps(one, sort_keys=True): one for one in await self.values(topic)}
            return list(found.values())

        return await wait_until(ask, lambda found: len(found) >= many)

    async def stands(self, strategy: str, **fields: Any) -> None:
        """Return when a strategy on AIG was last published to be so."""
        ask = partial(self.values, "strategies.updates.v1")

        def holds(found: list[dict[str, Any]]) -> bool:
            ours = [one for one in found if (one["strategy"], one["symbol"]) == (strategy, "AIG")]
            return bool(ours) and fields.items() <= ours[-1].items()

        await wait_until(ask, holds)


@pytest.fixture
async def market(stack: Settings, tmp_path: Path) -> AsyncIterator[Market]:
    """Yield a market worker and a history worker, both ready."""
    update = {"strategies": STRATEGIES, "signal_max_age_s": 3_600.0}
    settings = settings_of(stack, tmp_path, "strats").model_copy(update=update)
    with workers_of(settings) as workers:
        await set_up(settings)
        workers.start("market")
        workers.start("history")
        await workers.ready()
        market = Market(settings, workers)
        market.begin_ns = time.time_ns() - 30 * MINUTE
        yield market


async def test_bars_become_signals_and_targets(market: Market) -> None:
    """On the topics and in the history; over a kill and a control that is set meanwhile."""
    await market.bars("50", "49", "51")
    assert {one["symbol"] for one in await market.have("signals.v1", 2)} == {"AIG", "IBM"}
    await market.stands("broken", status="failed")
    await market.stands("ma1", status="running", signals=1, strength="1")

    market.workers.running["market-0"].kill()
    market.workers.start("market")
    await market.bars("48")  # below: flat; the state of before the kill is needed to know
    await market.have("signals.v1", 4)

    control = StrategyControl(scope="ma1", params={"short": "true"}, qty=Decimal(7))
    (written,) = (await publish_controls(market.settings, [control])).controls
    await market.stands("ma1", controls_version=written.version, status="running")
    await market.bars("50", "49", "51", "50")  # begun anew: first up, then short
    signals = await market.have("signals.v1", 8)
    asked = await market.have("allocations.requested.v1", 8)
    assert len(signals) == len(asked) == 8
    assert len({one["signal_id"] for one in signals}) == 8
    assert len({one["allocation_id"] for one in asked}) == 8
    assert sorted(int(one["targets"].get("AIG", "-99")) for one in asked) == [
        *(-99, -99, -99, -99),
        *(-7, 0, 7, 100),
    ]
    assert {(one["account"], one["strategy"]) for one in asked} == {("S1", "ma1")}
    assert await read(market.settings, DEAD) == []
    await _in_the_history(market)
    await _another_program(market)


async def _in_the_history(market: Market) -> None:
    rows = "select symbol, strength from signals where strategy = 'ma1' order by symbol, ts_event"
    wanted = [(symbol, Decimal(one)) for symbol in ("AIG", "IBM") for one in (1, 0, 1, -1)]
    await wait_until(partial(query, market.settings, rows), lambda found: found == wanted)
    stands = "select strategy, symbol, status from strategies_now where symbol = 'AIG'"
    await wait_until(
        partial(query, market.settings, stands),
        lambda found: set(found) == {("broken", "AIG", "failed"), ("ma1", "AIG", "running")},
    )


def program() -> str:
    """Return the program of the page."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (text,) = (one for one in found if "aiokafka" in one)
    return text


async def _another_program(market: Market) -> None:
    """The one of the page, beside ours: it reads bars, and its signals are sized like ours."""
    path = market.settings.data_dir / "program.py"
    path.write_text(program())
    addresses = {
        "KAFKA": market.settings.kafka_bootstrap,
        "PREFIX": f"{market.settings.namespace}.",
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(path), env={**os.environ, **addresses}
    )
    try:

        async def sized() -> list[dict[str, Any]]:
            await market.bars("50")  # it reads what comes after its start
            asked = await market.values("allocations.requested.v1")
            return [one for one in asked if one["strategy"] == "other"]

        (first, *_) = await wait_until(sized, bool)
        assert (first["account"], first["targets"]) == ("S2", {"AIG": "200"})
    finally:
        child.kill()
        await child.wait()
