"""Ticks out of ClickHouse and out of the live topics, read only, in the order of the market.

The order is by time, then by the source's number, then trades before quotes: that of the file
which they were imported from. So a replay gives the same from a file as from the history of its
import. A source that does not number its ticks is read in the order of its partitions.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from connectors.clickhouse.client import connect
from connectors.clickhouse.queries import load, run
from connectors.kafka.reader import SinceTime, read_topic
from streams.domain.ticks import Tick
from streams.models.market import Quote, Trade
from streams.settings import Settings
from streams.topics import MARKET_QUOTES, MARKET_TRADES, topic_name

HOUR_NS = 3_600 * 10**9
#: After this, in 2262, there is no time in nanoseconds.
LATEST_NS = 2**63 - 1
_CENT, _TENTH = Decimal("0.01"), Decimal("0.0001")
_PRICES, _SIZES = ("price", "bid", "ask"), ("size", "bid_size", "ask_size")


def in_order(tick: Tick) -> tuple[int, int, bool]:
    """Return what ticks of different topics are sorted by."""
    return tick.ts_event_ns, tick.seq, isinstance(tick, Quote)


def clickhouse_ticks(
    settings: Settings, from_ns: int, to_ns: int, symbols: tuple[str, ...]
) -> Iterator[Tick]:
    """Yield the ticks of the history, an hour at a time; `symbols` empty: all."""
    queries = load("internal")

    async def ask(name: str, first_ns: int, last_ns: int) -> list[Any]:
        params = {"from": str(first_ns), "to": str(last_ns), "symbols": ",".join(symbols)}
        client = await connect(settings)
        try:
            found = await run(client, queries[name], params)
            return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]
        finally:
            await client.close()

    with asyncio.Runner() as runner:
        for row in runner.run(ask("replay_hours", from_ns, to_ns)):
            hour_ns = int(row["hour"]) * 10**9
            span = max(from_ns, hour_ns), min(to_ns, hour_ns + HOUR_NS)
            rows = runner.run(ask("replay_ticks", *span))
            yield from sorted(map(_tick, rows), key=in_order)


def _tick(row: dict[str, Any]) -> Tick:
    """Return a row's tick, its numbers written as an import writes them."""
    cells = {name: value for name, value in row.items() if value is not None}
    for name in _PRICES:
        if name in cells:
            cells[name] = _price(cells[name])
    for name in _SIZES:
        if name in cells:
            cells[name] = _short(cells[name])
    if "price" not in cells:
        return Quote.model_validate(cells)
    cells["correction_of"] = cells["correction_of"] or None
    return Trade.model_validate(cells)


def _price(value: Decimal) -> Decimal:
    """Return a price with two places, four or more where it needs them."""
    for places in (_CENT, _TENTH):
        if value == value.quantize(places):
            return value.quantize(places)
    return value.normalize()


def _short(value: Decimal) -> Decimal:
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


def kafka_ticks(
    settings: Settings, from_ns: int, to_ns: int, symbols: tuple[str, ...]
) -> Iterator[Tick]:
    """Yield the ticks that are on the live topics now, by venue time.

    Reading begins at records that Kafka got at `from_ns` or later: no tick gets there before it
    happened. All of them are held in memory, since partitions have no common order.
    """
    yield from sorted(asyncio.run(_read(settings, from_ns, to_ns, symbols)), key=in_order)


async def _read(
    settings: Settings, from_ns: int, to_ns: int, symbols: tuple[str, ...]
) -> list[Tick]:
    found: list[Tick] = []
    for topic in (MARKET_TRADES, MARKET_QUOTES):
        name = topic_name(topic, settings.namespace)
        async for record in read_topic(settings, name, start=SinceTime(from_ns // 1_000_000)):
            try:
                tick = topic.adapter.validate_json(record.value or b"")
            except ValidationError:  # live it is in the dead letters
                continue
            if from_ns <= tick.ts_event_ns < to_ns and (not symbols or tick.symbol in symbols):
                found.append(tick)
    return found
