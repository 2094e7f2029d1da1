"""From ticks on a topic to ticks and bars as rows in ClickHouse: two workers, ours and history.

Both have made a first bar and stored it, and are held with SIGSTOP while the ticks go on the
topic. Measured is the time from their SIGCONT until ClickHouse counts all ticks, and all bars.
They share the machine with Kafka and ClickHouse. The bars in ClickHouse must be the right ones.
"""

import asyncio
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from clickhouse_connect.driver.client import Client

from benchmarks import bars_job, contenders
from benchmarks.bars_job import SYMBOLS, Input
from benchmarks.changelog import Row, fill
from benchmarks.contenders import Contender, Running
from benchmarks.harness import Plan
from benchmarks.job import PARTITIONS
from benchmarks.processes import Measured, processes
from benchmarks.ticks_at_rest import MADE, Wanted, check, client_of
from connectors.clickhouse.migrate import migrate
from connectors.clickhouse.rows import TABLES
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import seed_controls
from streams.domain.build import evolve
from streams.models.market import Trade
from streams.settings import Settings
from streams.topics import MARKET_BARS, MARKET_TRADES, topic_name
from tables.registry import TABLES as STATE

BOUND_S = 180.0
#: Workers that are held must still be members of their groups afterwards.
SESSION_S = 120.0
COUNT = "select count() from {table:Identifier}"
#: Before those of the ticks in the alphabet and in time.
FIRST = "FIRST"
DAY_NS = 86_400_000_000_000

Counts = Mapping[str, int]


def measure(plan: Plan, contender: Contender, given: Input, wanted: Wanted) -> dict[str, Any]:
    """Let both workers loose on the ticks; return seconds and rows per second."""
    folder = plan.settings.data_dir / "ticks-history"
    changed = {"namespace": "ticks", "data_dir": folder, "session_timeout_s": SESSION_S}
    settings = plan.settings.model_copy(update={**changed, "partitions": PARTITIONS})
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_set_up(settings))
    trades, bars = (topic_name(spec, settings.namespace) for spec in (MARKET_TRADES, MARKET_BARS))
    with ExitStack() as stack:
        chain = stack.enter_context(
            contenders.fresh_chain(plan, contender, 1, source=trades, session_s=SESSION_S)
        )
        chain = replace(chain, topics=(trades, bars))
        ours = stack.enter_context(contenders.running(plan, contender, chain))
        history = stack.enter_context(processes()).worker(settings, "history")
        client = stack.enter_context(client_of(settings))
        first = list(_first())
        asyncio.run(fill(settings, trades, _rows(first)))
        _until(client, {MARKET_TRADES.name: len(first), MARKET_BARS.name: 1}, ours, history)
        _signal(signal.SIGSTOP, ours, history)
        asyncio.run(fill(settings, trades, _rows(bars_job.ticks(given))))
        ticks = given.ticks + SYMBOLS
        rows = {MARKET_TRADES.name: len(first) + ticks, MARKET_BARS.name: 1 + len(wanted)}
        _signal(signal.SIGCONT, ours, history)
        took = _until(client, rows, ours, history)
        made = client.query(MADE, parameters={"table": TABLES[MARKET_BARS.name].name}).result_rows
        check("bars in ClickHouse", (row for row in made if row[0] != FIRST), wanted)
    ticks_s, bars_s = took[MARKET_TRADES.name], took[MARKET_BARS.name]
    return {
        "ticks": ticks,
        "bars": len(wanted),
        "ticks_after_s": round(ticks_s, 2),
        "bars_after_s": round(bars_s, 2),
        "ticks_per_s": round(ticks / max(ticks_s, bars_s)),
    }


async def _set_up(settings: Settings) -> None:
    await apply_topics(settings, STATE)
    await seed_controls(settings)
    await migrate(settings)


def _first() -> Iterable[Trade]:
    """Return what makes one bar of a symbol of its own, a day before."""
    for tick in bars_job.ticks(Input(1, SYMBOLS)):
        if tick.symbol == bars_job.symbol(0):
            yield evolve(tick, symbol=FIRST, ts_event_ns=tick.ts_event_ns - DAY_NS)


def _rows(ticks: Iterable[Trade]) -> Iterable[Row]:
    for tick in ticks:
        key = tick.symbol.encode()
        yield Row(key, key, bars_job.sent(tick))


def _signal(number: signal.Signals, ours: Running, history: Measured) -> None:
    for child in (ours.child, history.child):
        child.process.send_signal(number)


def _until(client: Client, rows: Counts, ours: Running, history: Measured) -> dict[str, float]:
    """Return after how many seconds the table of each topic had so many rows."""
    began = time.monotonic()
    took: dict[str, float] = {}

    def look() -> bool | None:
        ours.check()
        for topic, many in rows.items():
            parameters = {"table": TABLES[topic].name}
            if topic not in took and client.query(COUNT, parameters).result_rows[0][0] >= many:
                took[topic] = time.monotonic() - began
        return len(took) == len(rows) or None

    history.wait("last row", look, BOUND_S)
    return took
