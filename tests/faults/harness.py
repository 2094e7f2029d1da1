"""A pipeline of its own that may be broken: services, proxies, workers, load, and a verdict.

Everything is on loopback, in one folder, and a child of this process: it ends with the context,
and also when this process is killed. Services come back at the same ports with the same data.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from connectors.kafka.controls import publish_controls
from streams.app import group_id
from streams.demo.follow import behind, committed, ends_of
from streams.dev.children import SERVICE_RANK, Children
from streams.dev.lock import data_lock
from streams.dev.ports import HOST, free_ports
from streams.dev.stack import Running, Stack, check_machine
from streams.dev.testing import settings_on_free_ports
from streams.errors import OrderflowError
from streams.models.controls import Instrument, Route, Routing
from streams.settings import Settings
from streams.topics import RECONCILIATIONS, STATEMENTS, TOPICS
from streams.wiring import ROLES, agents_of
from tests.faults.collect import collect
from tests.faults.facts import Seen
from tests.faults.findings import Verdict
from tests.faults.keeper import Keeper
from tests.faults.load import PRICES, REST_SYMBOLS, Load
from tests.faults.proxy import Proxy
from tests.faults.verify import verify
from tests.stack.pipeline.running import set_up
from tests.stack.workers import Workers

NAMESPACE = "faults"
#: Kafka takes no less than 6; a worker that is stopped for good is given up after it.
SESSION_TIMEOUT_S = 6.0
QUIET_S = 1.5
POLL_S = 0.3
#: A pipeline in which nothing has moved for so long, and something is left, has lost it.
STUCK_S = 45.0
REST_S = 300.0
#: For so long what is wrong may come right by itself: brokers are compared with us every 5 s.
SETTLE_S, SETTLE_STEP_S = 45.0, 6.0
#: Comparisons with brokers never rest: each partition makes one every few seconds.
TO_REST = tuple(spec for spec in TOPICS if spec not in (RECONCILIATIONS, STATEMENTS))
RECONCILE_S = 5.0
BROKER_TIMEOUT_S = 1.5
WORKER = ("-m", "tests.faults.worker")

Say = Callable[[str], None]
#: Where the topics end, and how many records are not through.
Standing = tuple[Mapping[str, Sequence[int]], int]


class Services(Protocol):
    """Kafka, ClickHouse and Valkey, each of which can be ended and started by its name."""

    def start_all(self) -> None:
        """Start all; return when they answer."""

    def kill(self, name: str) -> None:
        """End one at once."""

    def stop(self, name: str) -> None:
        """End one in order."""

    def start(self, name: str) -> None:
        """Start one that has ended, at its port with its data; return when it answers."""

    def pid(self, name: str) -> int:
        """Return the process id of one that runs."""


class SingleServices:
    """One process per service, those of `./orderflow up`."""

    def __init__(self, settings: Settings, children: Children) -> None:
        self._stack = Stack(settings, children, lambda _progress: None)
        self._running: dict[str, Running] = {}

    def start_all(self) -> None:
        """Start all three at once."""
        self._running = self._stack.start()

    def kill(self, name: str) -> None:
        """End one as a power cut does to a process."""
        process = self._running[name].child.process
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """End one in order, with time to do so."""
        process = self._running[name].child.process
        process.terminate()
        process.wait(timeout=30.0)

    def start(self, name: str) -> None:
        """Start one again."""
        if self._running[name].child.exit_code is None:
            return
        self._running[name] = self._stack.start_one(name)

    def pid(self, name: str) -> int:
        """Return the process id of one."""
        return self._running[name].child.process.pid


@dataclass
class Harness:
    """A running pipeline under load. `counts` says what was done to it."""

    settings: Settings
    services: Services
    clickhouse: Proxy
    valkey: Proxy
    keeper: Keeper
    load: Load
    say: Say
    counts: Counter[str] = field(default_factory=Counter)
    amended: set[str] = field(default_factory=set)  # orders at the broker, once each

    async def harm_broker(self, fault: str, **given: object) -> None:
        """Arm a fault of the scripted broker; see its docstring."""
        await self.broker_says("POST", "/faults", {"fault": fault, **given})

    async def broker_says(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the scripted broker, past its faults."""
        url = f"{self.settings.rest_broker_url}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()

    async def kill_service(self, name: str) -> None:
        """End a service at once."""
        await asyncio.to_thread(self.services.kill, name)

    async def stop_service(self, name: str) -> None:
        """End a service in order."""
        await asyncio.to_thread(self.services.stop, name)

    async def start_service(self, name: str) -> None:
        """Start a service that has ended."""
        await asyncio.to_thread(self.services.start, name)

    async def rest(self) -> list[str]:
        """Stop the load and return when all is done; else say what is left.

        Given up when nothing has moved for `STUCK_S`, and after `REST_S` in any case.
        """
        await self.load.stop()
        late = await self.keeper.ready()
        began = moved = time.monotonic()
        before: Standing = ({}, -1)
        while time.monotonic() - moved < STUCK_S and time.monotonic() - began < REST_S:
            now = await self._standing()
            if now != before:
                before, moved = now, time.monotonic()
            elif now[1] == 0 and time.monotonic() - moved >= QUIET_S:
                return late + self.keeper.strange_ends()
            await asyncio.sleep(POLL_S)
        late.append(f"not at rest after {time.monotonic() - began:.0f} s: {before[1]} records left")
        return late + self.keeper.strange_ends()

    async def verdict(self) -> tuple[Seen, Verdict]:
        """Bring everything to rest, and judge it."""
        seen, verdict = await self._judged(await self.rest())
        until = time.monotonic() + SETTLE_S
        while verdict.violations and time.monotonic() < until:
            # What a broker did not say is asked for again after a while, not at once.
            await asyncio.sleep(SETTLE_STEP_S)
            seen, verdict = await self._judged(await self.rest())
        return seen, verdict

    async def _judged(self, late: list[str]) -> tuple[Seen, Verdict]:
        ports = [worker.port for worker in self.keeper.running("orders")]
        seen = await collect(self.settings, ports, self.load.orders)
        at_broker = (await self.broker_says("GET", "/state"))["orders"]
        seen.at_broker = {
            name: (one["status"], Decimal(one["cum_qty"])) for name, one in at_broker.items()
        }
        seen.sent, seen.expected, seen.late = list(self.load.sent), dict(self.load.expected), late
        return seen, await asyncio.to_thread(verify, seen)

    async def _standing(self) -> Standing:
        """Return where the topics end, and how many records are not through; -1: unknown."""
        try:
            ends = await ends_of(self.settings, TO_REST)
            left = 0
            for role in ROLES:
                reads = (spec for agent in agents_of(role) for spec in agent.reads)
                read = {spec.name: spec for spec in reads if spec in TO_REST}
                names = {name: ends[name] for name in read}
                group = group_id(self.settings, role)
                reached = await committed(self.settings, group, tuple(read.values()))
                left += behind(reached, names)
        except OrderflowError as error:
            self.say(f"not at rest: {error}")
            return {}, -1
        return dict(ends), left


@asynccontextmanager
async def harness(
    folder: Path,
    *,
    seed: int,
    rate: float,
    say: Say,
    make_services: Callable[[Settings, Children], Services] = SingleServices,
    without: str = "",
    **overrides: Any,
) -> AsyncIterator[Harness]:
    """Start a pipeline in a folder, a worker of each role ready; the load is not started.

    `without` names defences the workers do without; `overrides` are further settings.
    """
    chosen: dict[str, Any] = {"kafka_heap": "384m", "namespace": NAMESPACE, **overrides}
    port = free_ports(1)[0]
    chosen |= {
        "rest_broker_url": f"http://{HOST}:{port}",
        "broker_timeout_s": BROKER_TIMEOUT_S,
        "broker_calls_per_minute": 60_000,
        "reconcile_every_s": RECONCILE_S,
    }
    settings = settings_on_free_ports(folder, session_timeout_s=SESSION_TIMEOUT_S, **chosen)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(data_lock(folder, wait_s=10.0))
        children = stack.enter_context(Children([lock]))
        check_machine(settings)
        services = make_services(settings, children)
        await asyncio.to_thread(services.start_all)
        journal, script = folder / "broker.jsonl", "tests.faults.scripted_broker"
        given = ("--port", str(port), "--seed", str(seed), "--journal", str(journal))
        children.start(
            "broker",
            (sys.executable, "-m", script, *given),
            env={},
            log=folder / "logs" / "broker.log",
            rank=SERVICE_RANK,
            grace_s=5.0,
        )
        clickhouse = await stack.enter_async_context(Proxy(settings.clickhouse_port))
        redis_port = int(settings.redis_url.get_secret_value().rpartition(":")[2].split("/")[0])
        valkey = await stack.enter_async_context(Proxy(redis_port))
        await set_up(settings)
        await publish_controls(
            settings,
            [
                Instrument(scope=symbol, symbol=symbol, reference_price=price)
                for symbol, price in PRICES.items()
            ]
            + [Routing(routes=(Route(name="rest", broker="rest", symbols=REST_SYMBOLS),))],
        )
        theirs = {
            "clickhouse_port": clickhouse.port,
            "redis_url": f"redis://{HOST}:{valkey.port}/0",
            "data_dir": folder / "workers",
            "test_without": without,
        }
        through = Settings(**{**settings.model_dump(), **theirs})
        through.data_dir.mkdir(parents=True, exist_ok=True)
        keeper = Keeper(Workers(through, children, WORKER))
        for role in ROLES:
            keeper.want(role, 0)
        keeper.start()
        stack.push_async_callback(keeper.stop)
        problems = await keeper.ready()
        assert not problems, "\n".join(problems)
        load = Load(settings, seed, rate)
        stack.push_async_callback(load.stop)
        yield Harness(settings, services, clickhouse, valkey, keeper, load, say)
