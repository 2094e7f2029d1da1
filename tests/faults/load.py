"""A steady load: numbered orders whose fate is known beforehand, and the ticks that fill them.

The orders are those of `streams.load`: most are good, some are wrong on purpose, some come
twice, some are changed or canceled, some are no orders at all. Each group of them has accounts
of its own, so that no account runs into its limits. What Kafka acknowledged is kept, with its
place, for the verifier.
"""

import asyncio
import time
from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.load import GARBAGE, Expected, Kind, LoadRecord, mixed_orders
from streams.settings import Settings
from streams.topics import MARKET_QUOTES, MARKET_TRADES, ORDERS_REQUESTED
from tests.faults.facts import Name, Sent
from tests.stack.pipeline.running import tick_of
from tests.stack.plain import Raw

PRICES = {
    "AIG": Decimal("49.05"),
    "BAC": Decimal("13.91"),
    "IBM": Decimal("181.90"),
    "MSFT": Decimal("33.20"),
    "GE": Decimal("24.10"),
    "XOM": Decimal("85.80"),
    "KO": Decimal("50.00"),
    "PG": Decimal("50.00"),
}
#: What is traded at the broker across the network, where every symbol stands at 50.
REST_SYMBOLS = ("KO", "PG")
GROUP = 200
ACCOUNTS = 40
#: Ids of a seed's groups begin where those of the one before end.
GROUPS = 10_000
TICKS_EVERY_S = 0.25
BEAT_S = 0.1
#: Kafka may be away for so long; a record that it takes until then is not sent again.
PATIENCE_MS = 240_000
CENT = Decimal("0.01")


class Load:
    """Sends orders and ticks while its tasks run; `sent` and `expected` are for the verifier."""

    def __init__(self, settings: Settings, seed: int, rate: float) -> None:
        """`rate` is in records a second, those that are no new orders included."""
        self.sent: list[Sent] = []
        self.expected: dict[Name, Kind] = {}
        self.kinds: Counter[str] = Counter()
        self.failed = 0
        self._settings = settings
        self._seed = seed
        self._rate = rate
        self._random = Random(seed)
        self._prices = dict(PRICES)
        self._groups = 0
        self._waiting: set[asyncio.Future[Any]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Begin to send ticks, and orders a moment later."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=PATIENCE_MS,
            linger_ms=5,
        )
        await self._producer.start()
        self._tasks = [asyncio.create_task(self._ticks()), asyncio.create_task(self._orders())]

    async def stop(self) -> None:
        """Send nothing more, and return when Kafka has everything."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # what went wrong with the load is no finding
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._waiting:
            await asyncio.wait(list(self._waiting))
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    @property
    def orders(self) -> int:
        """Return how many new orders were sent."""
        return len(self.expected)

    async def poison(self, many: int) -> None:
        """Put records in between that nobody can use: each is to become one dead letter."""
        topics = (ORDERS_REQUESTED, ORDERS_REQUESTED, MARKET_QUOTES, MARKET_TRADES)
        for number in range(many):
            key = self._random.choice((b"", b"poison", b"\xff\xfe", None))
            await self._send(self._random.choice(topics).name, Raw(self._poison(number), key))
            self.kinds["poison"] += 1
            if number % 100 == 99:
                await asyncio.sleep(0)

    def _poison(self, number: int) -> bytes:
        if number % 500 == 0:
            return b"[" * 300_000
        good = b'{"command": "submit", "order_id": "p", "account": "P", "side": "buy"}'
        made = (
            self._random.randbytes(self._random.randint(0, 60)),
            self._random.choice(GARBAGE)(good),
            b"[" * 5_000,
            b"9" * 3_000,
            b'{"symbol": "AIG", "price": NaN}',
        )
        return self._random.choice(made)

    async def _orders(self) -> None:
        await asyncio.sleep(2 * TICKS_EVERY_S)  # the first ticks come first
        began, count = time.monotonic(), 0
        while True:
            for record in self._group():
                await self._take(record)
                count += 1
                due = began + count / self._rate
                if (left := due - time.monotonic()) > BEAT_S:
                    await asyncio.sleep(left)
                elif left < -1.0:  # Kafka was away; what it missed is not sent in one heap
                    began -= left

    def _group(self) -> list[LoadRecord]:
        number = self._seed % 1_000 * GROUPS + self._groups
        self._groups += 1
        accounts = [f"F{number}-{one:02}" for one in range(ACCOUNTS)]
        return mixed_orders(number, GROUP, accounts, tuple(self._prices), self._prices)

    async def _take(self, record: LoadRecord) -> None:
        self.kinds[record.expected.kind] += 1
        raw = Raw(record.value, record.key)
        await self._send(ORDERS_REQUESTED.name, raw, record.expected)

    async def _ticks(self) -> None:
        while True:
            for symbol in self._prices:
                await self._tick(symbol)
            await asyncio.sleep(TICKS_EVERY_S)

    async def _tick(self, symbol: str) -> None:
        step = Decimal(self._random.randint(-8, 8)) / 10_000
        price = (self._prices[symbol] * (1 + step)).quantize(CENT)
        start = PRICES[symbol]
        price = min(max(price, start * Decimal("0.97")), start * Decimal("1.03")).quantize(CENT)
        self._prices[symbol] = price
        sizes = {"bid_size": "600", "ask_size": "600"}
        quote = tick_of(symbol, bid=str(price - CENT), ask=str(price + CENT), **sizes)
        await self._send(MARKET_QUOTES.name, quote)
        if self._random.random() < 0.3:
            await self._send(MARKET_TRADES.name, tick_of(symbol, price=str(price), size="300"))

    async def _send(self, name: str, raw: Raw, wanted: Expected | None = None) -> None:
        assert self._producer is not None
        future = await self._producer.send(
            f"{self._settings.namespace}.{name}", raw.value, key=raw.key
        )
        self._waiting.add(future)
        future.add_done_callback(lambda done: self._acknowledged(name, raw, wanted, done))

    def _acknowledged(
        self, name: str, raw: Raw, wanted: Expected | None, done: "asyncio.Future[Any]"
    ) -> None:
        self._waiting.discard(done)
        if done.cancelled() or done.exception() is not None:
            self.failed += 1  # it may lie in Kafka or not; nobody was told that it does
            return
        at = done.result()
        self.sent.append(Sent((name, at.partition, at.offset), raw.value))
        if wanted is not None and wanted.new_order and wanted.order_id is not None:
            self.expected[wanted.account, wanted.order_id] = wanted.kind
