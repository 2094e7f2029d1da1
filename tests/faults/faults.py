"""What can go wrong, one small context each: entering it does the harm, leaving it mends it.

A fault takes the harness and a seeded source of chance, and lasts for as long as its caller
stays inside. `ALL` has them by name with how long that should be; `schedule` puts them in an
order that follows from the seed.
"""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil

from streams.wiring import ROLES, Role
from tests.faults.awaits import PLACES, places
from tests.faults.harness import SESSION_TIMEOUT_S, Harness
from tests.faults.proxy import Mode
from tests.faults.worker import AT, EXIT_CRASH
from tests.stack.workers import Worker

Context = Callable[[Harness, Random], AbstractAsyncContextManager[None]]

#: Roles whose partitions several workers share; each may have any number of them.
SHARED: tuple[Role, ...] = ("orders", "gateway", "market", "history")
#: A worker passes a dozen steps for each unit of work.
STEPS_APART = 7
#: A worker has so many tenths of a second to start and to come to its step.
STEP_TENTHS = 200
NOTHING_MORE = 1  # byte: a file may not grow beyond it
#: After a worker stood still for longer than its session, others have its partitions.
STILL_S = SESSION_TIMEOUT_S + 4.0


class Fault(NamedTuple):
    """One fault: what it does, and for how many seconds, at least and at most."""

    name: str
    does: Context
    holds_s: tuple[float, float] = (0.5, 2.0)


def _one(h: Harness, random: Random, role: Role | None = None) -> Worker | None:
    running = h.keeper.running(role)
    return random.choice(running) if running else None


@asynccontextmanager
async def kill_worker(h: Harness, random: Random, role: Role) -> AsyncIterator[None]:
    """Kill a worker of a role; it is started again."""
    if (worker := _one(h, random, role)) is not None:
        worker.child.process.kill()
        h.counts["kills"] += 1
    yield


@asynccontextmanager
async def kill_several(h: Harness, random: Random) -> AsyncIterator[None]:
    """Kill workers in quick succession, also while they start."""
    for _ in range(random.randint(3, 5)):
        if (worker := _one(h, random)) is not None:
            worker.child.process.kill()
            h.counts["kills"] += 1
        await asyncio.sleep(random.uniform(0.05, 1.0))
    yield


@asynccontextmanager
async def crash_at_steps(h: Harness, random: Random, role: Role, times: int) -> AsyncIterator[None]:
    """End a worker at one step after another of its work; see `tests.faults.worker`."""
    first = random.randint(1, STEPS_APART)
    numbers = itertools.count(first, STEPS_APART)
    begun = h.keeper.ends[EXIT_CRASH]
    h.keeper.want(role, 0, lambda: {AT: str(next(numbers))})
    if (worker := next(iter(h.keeper.running(role)), None)) is not None:
        worker.child.process.kill()
        h.counts["kills"] += 1
    try:
        for _ in range(times * STEP_TENTHS):
            if h.keeper.ends[EXIT_CRASH] - begun >= times:
                break
            await asyncio.sleep(0.1)
        h.counts["crash_steps"] += h.keeper.ends[EXIT_CRASH] - begun
        yield
    finally:
        h.keeper.want(role, 0)


@asynccontextmanager
async def crash_at_awaits(
    h: Harness, random: Random, role: Role, times: int
) -> AsyncIterator[None]:
    """Kill a worker at one await after another, at each once; see `tests.faults.awaits`."""
    file = h.settings.data_dir / f"places-{role}"
    h.keeper.want(role, 0, lambda: {PLACES: str(file)})
    if (worker := next(iter(h.keeper.running(role)), None)) is not None:
        worker.child.process.kill()
        h.counts["kills"] += 1
    try:
        for _ in range(times):
            if not await _grows(file):
                break  # it has met no other await for a while
            h.counts["kills"] += 1
            h.counts["await_kills"] += 1
        yield
    finally:
        h.keeper.want(role, 0)


async def _grows(file: Path) -> bool:
    """Wait for as long as a worker has for its next step; return whether a place was added."""
    before = len(places(file))
    for _ in range(STEP_TENTHS):
        if len(places(file)) > before:
            return True
        await asyncio.sleep(0.1)
    return False


@asynccontextmanager
async def restart_kafka(h: Harness, random: Random, *, kill: bool) -> AsyncIterator[None]:
    """End Kafka, at once or in order, and start it again."""
    await (h.kill_service if kill else h.stop_service)("kafka")
    h.counts["broker_restarts"] += 1
    try:
        yield
    finally:
        await h.start_service("kafka")


@asynccontextmanager
async def restart_service(h: Harness, random: Random, name: str) -> AsyncIterator[None]:
    """Kill ClickHouse or Valkey, and start it again."""
    await h.kill_service(name)
    h.counts["service_restarts"] += 1
    try:
        yield
    finally:
        await h.start_service(name)


@asynccontextmanager
async def bad_line(h: Harness, random: Random, name: str, mode: Mode) -> AsyncIterator[None]:
    """Make ClickHouse or Valkey slow, refuse, break off, or answer nothing."""
    proxy = h.clickhouse if name == "clickhouse" else h.valkey
    await proxy.set(mode)
    try:
        yield
    finally:
        await proxy.set("pass")


@asynccontextmanager
async def stand_still(h: Harness, random: Random, role: Role) -> AsyncIterator[None]:
    """Stop a worker's process for longer than its session, while another takes its place."""
    h.keeper.want(role, 1)
    h.counts["rebalances"] += 1
    await h.keeper.ready()
    worker = h.keeper.running(role)[0]
    process = worker.child.process
    process.send_signal(signal.SIGSTOP)
    h.counts["standstills"] += 1
    try:
        await asyncio.sleep(STILL_S)
        h.counts["rebalances"] += 1
        yield
    finally:
        process.send_signal(signal.SIGCONT)
    await asyncio.sleep(1.0)
    await leave(h, role, 1)


@asynccontextmanager
async def storm(h: Harness, random: Random, rounds: int) -> AsyncIterator[None]:
    """Have workers join and leave in quick succession."""
    extra: set[tuple[Role, int]] = set()
    for _ in range(rounds):
        role, index = random.choice(SHARED), random.randint(1, 2)
        if (role, index) in extra:
            extra.discard((role, index))
            await leave(h, role, index)
        else:
            extra.add((role, index))
            h.keeper.want(role, index)
            h.counts["rebalances"] += 1
        await asyncio.sleep(random.uniform(0.5, 3.0))
    try:
        yield
    finally:
        for role, index in sorted(extra):
            await leave(h, role, index)


async def leave(h: Harness, role: Role, index: int) -> None:
    """Let a worker leave for good, in order or, when it has not begun, at once."""
    if f"{role}-{index}" in h.keeper.workers.running:
        await h.keeper.leave(role, index)
        h.counts["rebalances"] += 1


@asynccontextmanager
async def disk_full(h: Harness, random: Random, role: Role) -> AsyncIterator[None]:
    """Let no file of a worker grow any more: it ends, and is started again with room."""
    if (worker := _one(h, random, role)) is not None:
        _limit_files(worker.child.process.pid)
        h.counts["disk_full"] += 1
    yield


@asynccontextmanager
async def kafka_disk_full(h: Harness, random: Random) -> AsyncIterator[None]:
    """Let no file of Kafka's grow any more: it gives up, and is started again with room."""
    _limit_files(h.services.pid("kafka"))
    h.counts["disk_full"] += 1
    h.counts["broker_restarts"] += 1
    try:
        yield
    finally:
        await h.kill_service("kafka")
        await h.start_service("kafka")


@asynccontextmanager
async def poison(h: Harness, random: Random, many: int) -> AsyncIterator[None]:
    """Put records between the good ones that nobody can use."""
    await h.load.poison(many)
    h.counts["poison"] += many
    yield


@asynccontextmanager
async def broker_errs(h: Harness, random: Random, fault: str) -> AsyncIterator[None]:
    """Arm a fault of the broker across the network for its next few calls or events."""
    await h.harm_broker(
        fault, count=random.randint(1, 6), **({"seconds": 3} if fault == "slow" else {})
    )
    try:
        yield
    finally:
        await h.harm_broker("disarm")


@asynccontextmanager
async def broker_amends(h: Harness, random: Random, many: int) -> AsyncIterator[None]:
    """Let the broker take executions back, and give others another price."""
    orders = (await h.broker_says("GET", "/state"))["orders"]
    filled = [name for name, order in orders.items() if float(order["cum_qty"]) > 0]
    fresh = sorted(set(filled) - h.amended)
    chosen = random.sample(fresh, min(2 * many, len(fresh)))
    h.amended.update(chosen)
    for name in chosen[:many]:
        await h.harm_broker("bust", client_order_id=name)
        h.counts["busts"] += 1
    for name in chosen[many:]:
        await h.harm_broker("correct", client_order_id=name, last_px="50.02")
        h.counts["corrections"] += 1
    yield


@asynccontextmanager
async def broker_down(h: Harness, random: Random) -> AsyncIterator[None]:
    """Let the broker across the network refuse every call for a while."""
    await h.harm_broker("down")
    try:
        yield
    finally:
        await h.harm_broker("up")


def _limit_files(pid: int) -> None:
    _, most = psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE)
    psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (NOTHING_MORE, most))


def crash(role: Role, times: int) -> Fault:
    """Return the fault that ends a worker at so many steps of its work."""
    return Fault(f"crash {role} at steps", partial(crash_at_steps, role=role, times=times))


def crash_awaits(role: Role, times: int) -> Fault:
    """Return the fault that kills a worker at so many awaits, each where it never was killed."""
    return Fault(f"crash {role} at awaits", partial(crash_at_awaits, role=role, times=times))


#: See tests/faults/scripted_broker.py.
BROKER_FAULTS = (
    "timeout_before",
    "timeout_after",
    "error_before",
    "error_after",
    "throttle",
    "reset_after",
    "slow",
    "lost",
    "drop_stream",
    "duplicate",
    "reorder",
    "mute",
)

_AWAY: tuple[tuple[str, Mode], ...] = tuple(
    (name, mode) for name in ("clickhouse", "valkey") for mode in ("slow", "refuse", "cut", "hole")
)

ALL: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        *(Fault(f"kill {role}", partial(kill_worker, role=role)) for role in ROLES),
        Fault("kill several", kill_several),
        crash("orders", 4),
        crash("gateway", 4),
        crash("history", 3),
        *(crash_awaits(role, 12) for role in ("orders", "gateway", "history")),
        Fault("restart kafka", partial(restart_kafka, kill=False)),
        Fault("kill kafka", partial(restart_kafka, kill=True)),
        Fault("kafka away", partial(restart_kafka, kill=True), (8.0, 15.0)),
        Fault("kill clickhouse", partial(restart_service, name="clickhouse"), (1.0, 5.0)),
        Fault("kill valkey", partial(restart_service, name="valkey"), (1.0, 5.0)),
        *(
            Fault(f"{name} {mode}", partial(bad_line, name=name, mode=mode), (4.0, 8.0))
            for name, mode in _AWAY
        ),
        Fault("gateway stands still", partial(stand_still, role="gateway")),
        Fault("orders stands still", partial(stand_still, role="orders")),
        Fault("rebalance storm", partial(storm, rounds=10)),
        Fault("rebalance squall", partial(storm, rounds=2)),
        Fault("orders disk full", partial(disk_full, role="orders"), (2.0, 4.0)),
        Fault("gateway disk full", partial(disk_full, role="gateway"), (2.0, 4.0)),
        Fault("kafka disk full", kafka_disk_full, (3.0, 5.0)),
        *(
            Fault(f"broker {fault}", partial(broker_errs, fault=fault), (2.0, 4.0))
            for fault in BROKER_FAULTS
        ),
        Fault("broker down", broker_down, (3.0, 6.0)),
        Fault("broker amends", partial(broker_amends, many=3)),
        Fault("poison", partial(poison, many=2_000)),
        Fault("poison a little", partial(poison, many=500)),
    )
}


def schedule(random: Random, names: list[str]) -> Iterator[str]:
    """Yield names for ever: each once in an order of chance, then each once again."""
    while True:
        yield from random.sample(names, len(names))


async def inflict(h: Harness, fault: Fault, random: Random) -> None:
    """Do one fault from beginning to end."""
    h.counts[fault.name] += 1
    async with fault.does(h, random):
        await asyncio.sleep(random.uniform(*fault.holds_s))
