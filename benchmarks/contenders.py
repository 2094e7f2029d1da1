"""Who takes part in `hop` and `latency`, and how one is started on fresh topics.

Each contender is a process of its own that runs a `Chain` until it is told to stop. Topics,
changelogs, groups and folders are new for every run and are removed after it.
"""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiokafka.admin import NewTopic

from benchmarks import rivals
from benchmarks.harness import OURS, ROOT, Plan
from benchmarks.job import PARTITIONS, Chain
from benchmarks.workers import ours, raw_aiokafka, stock_faust
from connectors.kafka.client import admin
from streams.dev.children import ROLE_RANK, Child, Children
from streams.dev.ports import free_ports
from streams.errors import ServiceFailedError
from streams.settings import Settings
from streams.topics import MAX_CHANGES_BYTES, ORDERS_REQUESTED

STOP_S = 15.0
#: A worker of ours asks this topic how many partitions there are; nothing is put on it.
COUNTED_BY_OURS = ORDERS_REQUESTED.name
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Contender:
    """One contender: the command that runs a chain, and the changelog topics it wants made.

    `settings` are those of a worker of ours; the others are told everything by the chain.
    """

    name: str
    command: Sequence[str]
    changelogs: Callable[[Chain], list[str]] = lambda _chain: []
    settings: dict[str, str] = field(default_factory=dict)


def of_product() -> list[Contender]:
    """Return those that run on the product's own packages."""
    return [
        Contender(OURS, _module("ours"), ours.changelogs),
        Contender("stock_faust", _module("stock_faust"), stock_faust.changelogs),
        Contender("raw_aiokafka", _module("raw_aiokafka"), raw_aiokafka.changelogs),
    ]


def threaded() -> Contender:
    """Return ours with its consumer in a thread of its own."""
    in_thread = {"ORDERFLOW_CONSUMER_THREAD": "true"}
    return Contender("ours_consumer_thread", _module("ours"), ours.changelogs, in_thread)


def of_rivals(plan: Plan, names: Sequence[str]) -> list[Contender]:
    """Return those that need the rivals' environment, which is made where it is missing."""
    commands: dict[str, Callable[[], Sequence[str]]] = {
        "quix_streams": lambda: _rival_module(plan, "quix_streams"),
        "bytewax": lambda: _rival_module(plan, "bytewax"),
        "kafka_streams": lambda: rivals.kafka_streams(plan.settings, plan.say),
    }
    return [Contender(name, commands[name]()) for name in names]


def _module(name: str, python: str = sys.executable) -> list[str]:
    return [python, "-m", f"benchmarks.workers.{name}"]


def _rival_module(plan: Plan, name: str) -> list[str]:
    return _module(name, str(rivals.python(plan.settings, plan.say)))


@dataclass(frozen=True)
class Running:
    """A contender at work on a chain."""

    contender: Contender
    chain: Chain
    child: Child
    log: Path

    def check(self) -> None:
        """Raise ServiceFailedError if it has ended by itself."""
        if self.child.exit_code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise ServiceFailedError(
                f"{self.contender.name} ended with status {self.child.exit_code}:\n"
                + "\n".join(lines)
            )

    def cpu_s(self) -> float:
        """Return the seconds of processor that it has used; 0 when it has ended."""
        try:
            times = psutil.Process(self.child.process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def kill(self) -> None:
        """End it at once, as a power cut does to a process."""
        self.child.process.kill()
        self.child.process.wait()

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL if that is not enough."""
        if self.child.exit_code is None:
            self.child.process.send_signal(signal.SIGTERM)
        try:
            self.child.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def fresh_chain(
    plan: Plan,
    contender: Contender,
    hops: int,
    source: str | None = None,
    *,
    state: bool = True,
    eager: bool = False,
    session_s: float = 0.0,
) -> Iterator[Chain]:
    """Yield a chain with topics of its own, but for `source` where it is given; remove them."""
    group = f"{contender.name.replace('_', '-')}-{next(_numbers)}"
    topics = tuple(f"{group}-{number}" for number in range(hops + 1))
    topics = topics if source is None else (source, *topics[1:])
    folder = plan.settings.data_dir / "contenders" / group
    chain = Chain(
        plan.settings.kafka_bootstrap, group, topics, str(folder), state, eager, session_s
    )
    made = [topic for topic in topics if topic != source]
    changelogs = contender.changelogs(chain) if state else []
    asyncio.run(create_topics(plan.settings, made, changelogs))
    try:
        yield chain
    finally:
        asyncio.run(_delete_topics(plan.settings, group, [*made, *changelogs]))
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(
    plan: Plan, contender: Contender, chain: Chain, port: int | None = None
) -> Iterator[Running]:
    """Yield a contender at work; it has ended when the context is left.

    One that is started again on its chain comes back to its group if it gets its `port` again.
    """
    folder = Path(chain.folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"data_dir": folder, "web_port": port or free_ports(1)[0], "log_level": "warning"}
    if chain.session_s:
        own["session_timeout_s"] = chain.session_s
    settings = plan.settings.model_copy(update=own)
    log = plan.settings.data_dir / "logs" / f"{chain.group}.log"
    with Children() as children:
        child = children.start(
            chain.group,
            contender.command,
            env={**settings.environment(), **contender.settings, **chain.environment()},
            log=log,
            rank=ROLE_RANK,
            grace_s=STOP_S,
        )
        one = Running(contender, chain, child, log)
        try:
            yield one
        finally:
            one.stop()


def environment() -> dict[str, str]:
    """Return the environment of a program of `benchmarks` on the product's packages."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


async def create_topics(
    settings: Settings, topics: Sequence[str], changelogs: Sequence[str] = ()
) -> None:
    """Create topics whose records get the broker's time of arrival, and compacted changelogs.

    The broker's time is the same clock for all, whatever a client would write.
    """
    arrival = {"message.timestamp.type": "LogAppendTime"}
    compact = {"cleanup.policy": "compact", "max.message.bytes": str(MAX_CHANGES_BYTES)}
    new = [NewTopic(name, PARTITIONS, 1, topic_configs=arrival) for name in topics]
    new += [NewTopic(name, PARTITIONS, 1, topic_configs=compact) for name in changelogs]
    async with admin(settings) as client:
        await client.create_topics(new)
        wanted = {one.name for one in new}
        deadline = time.monotonic() + 30
        while wanted and time.monotonic() < deadline:
            found = await client.describe_topics(sorted(wanted))
            wanted -= {
                topic["topic"]
                for topic in found
                if topic["partitions"] and all(part["leader"] >= 0 for part in topic["partitions"])
            }
            await asyncio.sleep(0.05)
    if wanted:
        raise ServiceFailedError(f"no leaders for {', '.join(sorted(wanted))}")


async def _delete_topics(settings: Settings, group: str, topics: Sequence[str]) -> None:
    """Delete a run's topics, with those that a rival has made under its group's name."""
    async with admin(settings) as client:
        own = [name for name in await client.list_topics() if f"{group}-" in name]
        await client.delete_topics(sorted({*topics, *own}))
