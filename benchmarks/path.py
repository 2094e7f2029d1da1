"""The whole order path: orders a second from the first topic to ClickHouse, and who spends what.

All four roles run with Kafka, ClickHouse and Valkey on this machine, and so does the generator.
It keeps so many orders under way and sends another for each that ends, for 60 seconds: the rate
is what the path sustains, with queues that cannot grow. It is counted from the first order sent
to the last one ended; each has ended filled, canceled or rejected. Then all of them must be in
ClickHouse, with the same endings, or the run fails. Five such runs follow each other on the same
pipeline. `roles` are milliseconds of CPU per order for every process.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any

import orjson
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from clickhouse_connect.driver.asyncclient import AsyncClient

from benchmarks import path_load
from benchmarks.harness import GOAL, OURS, Plan, interleaved, outcome
from benchmarks.processes import Processes, processes
from connectors.clickhouse.client import connect, history_database
from connectors.clickhouse.migrate import migrate
from connectors.kafka.admin import apply_topics
from connectors.kafka.client import consumer, partitions_of
from connectors.kafka.controls import publish_controls, seed_controls
from connectors.kafka.producer import BatchProducer, batch_producer
from streams.clock import now_ns
from streams.errors import IncompleteError
from streams.settings import Settings
from streams.topics import MARKET_QUOTES, ORDERS_REQUESTED, ORDERS_UPDATES, topic_name
from streams.wiring import ROLES
from tables.registry import TABLES

WANTED_PER_S = 5_000.0
WINDOW_S, QUICK_S = 60.0, 3.0
#: Orders under way: what a second of the wanted rate brings.
UNDER_WAY, QUICK_UNDER_WAY = 5_000, 200
ENDED = {"filled", "canceled", "rejected", "expired"}
#: A run is given up when no order has ended for so long.
STUCK_S = 60.0
QUOTE_EVERY_S = 1.0
COUNTS = "select status, count() from orders_now where startsWith(order_id, 'p-') group by status"


def run(plan: Plan) -> dict[str, Any]:
    """Measure the path; the settings are those of a stack without workers."""
    with processes() as started:
        path = Path(plan, started)
        asyncio.run(path.set_up())
        samples = interleaved({OURS: lambda: asyncio.run(path.measure())}, plan.repeats, plan.say)
        last: Any = samples[OURS][-1]
        extra = {"last_run": last, "under_way": path.under_way, "window_s": path.window_s}
        return outcome("path", "orders/s", samples, goals={GOAL: WANTED_PER_S}, extra=extra)


class Path:
    """One pipeline, and what was sent through it."""

    def __init__(self, plan: Plan, started: Processes) -> None:
        self._plan = plan
        self._settings = plan.settings
        self._started = started
        self._orders = path_load.orders()
        self._pids: dict[str, int] = {}
        self._endings: Counter[str] = Counter()
        self._seq = 0
        self.window_s = QUICK_S if plan.quick else WINDOW_S
        self.under_way = QUICK_UNDER_WAY if plan.quick else UNDER_WAY

    async def set_up(self) -> None:
        """Make topics, rules and tables, and start a worker of each role."""
        await apply_topics(self._settings, TABLES)
        await seed_controls(self._settings)
        await publish_controls(self._settings, path_load.controls(now_ns()))
        await migrate(self._settings)
        self._plan.say("starting a worker of each role")
        workers = [self._started.worker(self._settings, role) for role in ROLES]
        for role, worker in zip(ROLES, workers, strict=True):
            worker.ready()
            self._pids[role] = worker.pid

    async def measure(self) -> dict[str, Any]:
        """Send for one window, account for every order, and return rate and CPU per order."""
        sent: dict[str, float] = {}
        waits: list[float] = []
        async with batch_producer(self._settings) as out, _updates(self._settings) as updates:
            quoting = asyncio.create_task(self._quote())
            await asyncio.sleep(QUOTE_EVERY_S)
            cpu, began = self._cpu(), time.monotonic()
            following = asyncio.create_task(self._follow(updates, sent, waits))
            count = await self._send(out, sent, began + self.window_s)
            await following
            took = time.monotonic() - began
            spent = self._cpu()
            quoting.cancel()
            with suppress(asyncio.CancelledError):
                await quoting
        caught_up = await self._history()
        waits.sort()
        return {
            "figure": count / took,
            "orders": count,
            "seconds": round(took, 2),
            "history_after_s": round(caught_up, 2),
            "roles": {
                name: round((spent[name] - cpu[name]) * 1_000 / count, 3) for name in sorted(spent)
            },
            "under_way_ms": {f"p{p}": round(waits[len(waits) * p // 100] * 1e3) for p in (50, 99)},
        }

    async def _send(self, out: BatchProducer, sent: dict[str, float], until: float) -> int:
        """Keep orders under way until the time has come; return how many were sent."""
        topic, count = topic_name(ORDERS_REQUESTED, self._settings.namespace), 0
        while time.monotonic() < until:
            room = self.under_way - len(sent)
            for order in islice(self._orders, max(room, 0)):
                sent[order.order_id] = time.monotonic()
                await out.send(topic, order.key, order.value)
                count += 1
            await out.flush()
            await asyncio.sleep(0.005)
        sent[""] = 0.0  # the end: nothing more is sent
        return count

    async def _follow(
        self, updates: AIOKafkaConsumer, sent: dict[str, float], waits: list[float]
    ) -> None:
        """Take every order that has ended from those under way, until all have."""
        heard = time.monotonic()
        while sent.keys() != {""}:
            for records in (await updates.getmany(timeout_ms=20)).values():
                for record in records:
                    order = orjson.loads(record.value)
                    if order["status"] in ENDED and order["order_id"] in sent:
                        heard = time.monotonic()
                        waits.append(heard - sent.pop(order["order_id"]))
                        self._endings[order["status"]] += 1
            if time.monotonic() - heard > STUCK_S:
                raise IncompleteError(f"{len(sent)} orders have not ended; none in {STUCK_S:g} s")

    async def _quote(self) -> None:
        """Keep prices fresh."""
        topic = topic_name(MARKET_QUOTES, self._settings.namespace)
        async with batch_producer(self._settings) as out:
            while True:
                self._seq += 1
                for key, value in path_load.quotes(now_ns(), self._seq):
                    await out.send(topic, key, value)
                await out.flush()
                await asyncio.sleep(QUOTE_EVERY_S)

    async def _history(self) -> float:
        """Return after how long ClickHouse held every order with its ending."""
        began, wanted = time.monotonic(), dict(self._endings)
        client = await connect(self._settings, history_database(self._settings))
        try:
            while (found := await _counts(client)) != wanted:
                if time.monotonic() - began > STUCK_S:
                    raise IncompleteError(f"ClickHouse holds {found}, there were {wanted}")
                await asyncio.sleep(0.1)
        finally:
            await client.close()
        return time.monotonic() - began

    def _cpu(self) -> dict[str, float]:
        """Return the CPU seconds of every process so far."""
        found = {"generator": sum(psutil.Process().cpu_times()[:2])}
        roles = {pid: role for role, pid in self._pids.items()}
        for process in psutil.Process(os.getpid()).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                name = roles.get(process.pid) or _service(process.cmdline())
                found[name] = found.get(name, 0.0) + sum(process.cpu_times()[:2])
        return found


async def _counts(client: AsyncClient) -> dict[str, int]:
    rows = (await client.query(COUNTS)).result_rows
    return {status: count for status, count in rows}  # noqa: C416 - typed so


def _service(cmdline: list[str]) -> str:
    text = " ".join(cmdline)
    names = {"kafka.Kafka": "kafka", "clickhouse": "clickhouse", "valkey": "valkey"}
    return next((name for part, name in names.items() if part in text), "other")


@asynccontextmanager
async def _updates(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer of the order updates from now on."""
    topic = topic_name(ORDERS_UPDATES, settings.namespace)
    async with consumer(settings) as client:
        numbers = await partitions_of(client._client, topic)  # noqa: SLF001
        tps = [TopicPartition(topic, number) for number in numbers]
        client.assign(tps)
        await client.seek_to_end(*tps)
        yield client
