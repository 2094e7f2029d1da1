"""How much memory an `orders` worker needs with a million orders in its state: resident megabytes.

The worker is the real one with its four agents. A few accounts trade for real, with gateway and
market workers beside, until all but two of a hundred orders are over; what the agents then
remember is written to the changelogs under other names until it is a million orders, with their
risk, routes, executions, positions and accounts.
The worker is started again and restores all of it. Its resident set is sampled each second,
first idle, then for ten minutes under a load of orders from accounts all over the state.

`ours` is the largest sample under load. Reported beside it: `empty_mb` before there was any state,
`idle_mb` after the restore, `slope_mb_per_min` over the second half of the load (least squares:
near 0 says that it does not grow), and `ready_s`, from the worker's start to its readiness.
Afterwards the table `orders` must hold every order, restored and sent.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import psutil

from benchmarks.changelog import stored
from benchmarks.harness import Plan, outcome
from benchmarks.memory_load import quotes, send
from benchmarks.memory_state import Original, accounts, is_placed, orders, read_original
from benchmarks.processes import Measured, Processes, processes
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import publish_controls, seed_controls
from connectors.views import view
from streams.errors import IncompleteError
from streams.load import LoadRecord
from streams.models.controls import SessionShift
from streams.settings import Settings
from tables.orders import ORDERS
from tables.registry import TABLES

GOAL_MB = 500.0
HELD, QUICK_HELD = 1_000_000, 20_000
TRADED, QUICK_TRADED = 2_000, 200
LOAD_S, QUICK_LOAD_S = 600.0, 4.0
IDLE_S, QUICK_IDLE_S = 10.0, 1.0
#: One in so many resting orders is left open: about two of a hundred orders.
LEFT_OPEN = 20
RATE = 200
ORDERS_PER_ACCOUNT = 5
READY_S = 420.0
QUIET_S = 1.0
MB = 1_000_000
#: Wednesday 2026-11-18, 10:30 in New York: market time, so that sessions are open at any hour.
SESSION_NS = 1_795_015_800_000_000_000


def run(plan: Plan) -> dict[str, Any]:
    """Fill, restore, load; one round, however many repeats are asked for."""
    settings = plan.settings.model_copy(update={"data_dir": plan.settings.data_dir / "memory"})
    with processes() as started:
        loaded, extra = asyncio.run(_Run(plan, settings, started).run())
    samples = {"ours": [max(loaded)]}
    return outcome("memory", "MB", samples, better="less", goals={"goal": GOAL_MB}, extra=extra)


class _Run:
    """One run of the benchmark."""

    def __init__(self, plan: Plan, settings: Settings, started: Processes) -> None:
        self._say = plan.say
        self._settings = settings
        self._started = started
        self._held = QUICK_HELD if plan.quick else HELD
        self._traded = QUICK_TRADED if plan.quick else TRADED
        self._load_s = QUICK_LOAD_S if plan.quick else LOAD_S
        self._idle_s = QUICK_IDLE_S if plan.quick else IDLE_S
        self._sent = 0

    async def run(self) -> tuple[list[float], dict[str, Any]]:
        """Return the samples under load, and what is reported beside them."""
        await apply_topics(self._settings, TABLES)
        await seed_controls(self._settings)
        shift = SessionShift(shift_ns=time.time_ns() - SESSION_NS)
        await publish_controls(self._settings, [shift])
        for role in ("gateway", "market"):
            self._started.worker(self._settings, role)
        worker = await self._start()
        empty = _rss_mb(worker)
        async with quotes(self._settings):
            original = await self._trade(worker)
            copies = -(-self._held // original.orders) - 1
            self._say(f"writing {original.keys * copies:,} keys of {copies:,} copies")
            await original.clone(self._settings, copies)
            began = time.monotonic()
            worker = await self._start()
            ready_s = time.monotonic() - began
            idle = await self._sample(worker, self._idle_s)
            self._say(f"ready in {ready_s:.0f} s, idle {idle[-1]:.0f} MB; {RATE} commands/s now")
            loaded = await self._load(worker, copies)
        worker.stop()
        placed = original.placed * copies + self._sent
        self._check(placed)
        return loaded, {
            "empty_mb": round(empty, 1),
            "idle_mb": round(statistics.median(idle), 1),
            "slope_mb_per_min": round(_slope(loaded[len(loaded) // 2 :]) * 60, 2),
            "ready_s": round(ready_s, 1),
            "orders": original.orders * (copies + 1),
            "resting": original.resting * (copies + 1),
            "keys": original.keys * (copies + 1),
            "state_mb": round(original.size * (copies + 1) / MB),
            "commands_per_s": RATE,
            "samples_mb": [round(mb, 1) for mb in loaded[:: max(1, len(loaded) // 60)]],
        }

    async def _start(self) -> Measured:
        worker = self._started.worker(self._settings, "orders")
        await asyncio.to_thread(worker.ready, READY_S)
        return worker

    async def _trade(self, worker: Measured) -> Original:
        """Let the original accounts trade, stop the worker, and return what it remembers."""
        among = accounts(0, self._traded // ORDERS_PER_ACCOUNT)
        self._sent += await send(self._settings, orders(0, self._traded, among), RATE)
        await self._quiet(worker, self._traded)
        # Most orders of a day are over; of what would rest here only some stay open.
        cancels = (await read_original(self._settings)).cancels(LEFT_OPEN)
        await send(self._settings, cancels, RATE)
        await self._quiet(worker, self._traded + len(cancels))
        worker.stop()
        return await read_original(self._settings)

    async def _quiet(self, worker: Measured, sent: int) -> None:
        """Return when every command was judged and no agent has taken a record for a second."""
        before, since = None, time.monotonic()
        while True:
            report = await asyncio.to_thread(
                view, self._settings, "health", "ready", port=worker.port
            )
            taken = {name: agent["records"] for name, agent in report["agents"].items()}
            if taken != before:
                before, since = taken, time.monotonic()
            elif taken["validator"] >= sent and time.monotonic() - since > QUIET_S:
                return
            await asyncio.sleep(0.1)

    async def _load(self, worker: Measured, copies: int) -> list[float]:
        """Send commands and sample until the time is over and all are answered."""
        commands = self._commands(copies)
        sending = asyncio.create_task(send(self._settings, commands, RATE))
        samples = await self._sample(worker, self._load_s)
        self._sent += await sending
        await self._quiet(worker, round(RATE * self._load_s))
        return samples

    def _commands(self, copies: int) -> Iterator[LoadRecord]:
        """Yield the load: every second's commands come from other accounts of the state."""
        left = round(RATE * self._load_s)
        for seed in count(1):
            if left <= 0:
                return
            clone = seed * 7919 % copies + 1
            among = accounts(clone, self._traded // ORDERS_PER_ACCOUNT)
            yield from orders(seed, min(left, RATE), among)
            left -= RATE

    async def _sample(self, worker: Measured, seconds: float) -> list[float]:
        """Return the resident set of each second."""
        samples: list[float] = []
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            if samples and int(passed) % 60 == 0:
                self._say(f"{passed:4.0f} s  {samples[-1]:.0f} MB")
            samples.append(_rss_mb(worker))
            await asyncio.sleep(1 - (time.monotonic() - began) % 1)
        return samples

    def _check(self, expected: int) -> None:
        """Raise unless the worker's table holds every order that was sent or restored."""
        folder = self._settings.data_dir / "workers" / "orders-0" / "tables" / ORDERS.name
        held = sum(is_placed(key) for store in folder.iterdir() for key, _ in stored(store))
        if held != expected:
            raise IncompleteError(
                f"the table holds {held} orders; {expected} were sent or restored"
            )


def _rss_mb(worker: Measured) -> float:
    return float(psutil.Process(worker.pid).memory_info().rss) / MB


def _slope(samples: list[float]) -> float:
    """Return the slope of the line through the samples, per sample."""
    if len(samples) < 2:
        return 0.0
    return statistics.linear_regression(range(len(samples)), samples).slope
