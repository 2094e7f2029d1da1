"""What keeps the workers of `memory` busy: quotes all the time, and orders at a rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal

from connectors.kafka.producer import batch_producer
from streams.load import LoadRecord
from streams.models.market import Quote
from streams.settings import Settings
from streams.topics import MARKET_QUOTES, ORDERS_REQUESTED, topic_name

#: Symbols and their prices, which do not move; the first controls know these symbols.
PRICES = {"AIG": Decimal("49.05"), "BAC": Decimal("13.91"), "IBM": Decimal("181.90")}
HALF_SPREAD = Decimal("0.01")
QUOTE_EVERY_S = 0.5
SEND_EVERY_S = 0.05


@asynccontextmanager
async def quotes(settings: Settings) -> AsyncIterator[None]:
    """Quote every symbol twice a second meanwhile."""
    quoting = asyncio.create_task(_quote(settings))
    try:
        await asyncio.sleep(2 * QUOTE_EVERY_S)
        yield
    finally:
        quoting.cancel()
        await asyncio.gather(quoting, return_exceptions=True)


async def _quote(settings: Settings) -> None:
    name = topic_name(MARKET_QUOTES, settings.namespace)
    async with batch_producer(settings) as out:
        while True:
            for symbol, price in PRICES.items():
                quote = Quote(
                    symbol=symbol,
                    ts_event_ns=time.time_ns(),
                    bid=price - HALF_SPREAD,
                    bid_size=Decimal(100_000),
                    ask=price + HALF_SPREAD,
                    ask_size=Decimal(100_000),
                )
                await out.send(name, symbol.encode(), quote.model_dump_json().encode())
            await out.flush()
            await asyncio.sleep(QUOTE_EVERY_S)


async def send(settings: Settings, load: Iterable[LoadRecord], rate: float) -> int:
    """Send commands at a rate; return how many new orders were among them."""
    name = topic_name(ORDERS_REQUESTED, settings.namespace)
    began, new = time.monotonic(), 0
    async with batch_producer(settings) as out:
        for number, record in enumerate(load):
            if (ahead_s := number / rate - (time.monotonic() - began)) > SEND_EVERY_S:
                await out.flush()
                await asyncio.sleep(ahead_s)
            await out.send(name, record.key, record.value)
            new += record.expected.new_order
    return new
