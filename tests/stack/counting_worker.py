"""A worker with one small agent: what the transport promises can be counted on it.

Started as `python -m tests.stack.counting_worker ROLE`. The agent counts the orders of each
account and adds up their numbers, so that a record that was lost cannot be made up for by one
that came twice. What an order is to do besides counting stands in its `strategy`:

    raise      the step raises, after it has changed the table and published something
    end        the end of the batch raises
    large      it publishes a record that its topic refuses
    forget     it deletes its account's key
    key        it keeps a key of its own
    state      it changes the table, to a large value, and publishes nothing

With ORDERFLOW_TEST_HOLD set to a file, an agent that awaits runs instead: it is held up on
partition 0 while the file exists. With ORDERFLOW_TEST_LOOP set to a file, that file says for how
long the event loop has been blocked at most since the first order. For a broker that is slow or
does not answer see `tests.stack.guarantees.faults`.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import streams.app
import streams.main
import streams.transport.publisher
from streams.domain.build import make
from streams.models.base import Message
from streams.models.orders import Submit
from streams.ports import Agent, AsyncAgent, Record, Unit
from streams.settings import Settings
from streams.topics import ORDERS_APPROVED, ORDERS_REQUESTED
from streams.wiring import AgentSpec
from tests.stack.guarantees import faults
from tests.stack.guarantees.faults import FAT, LARGE, wait_while_held
from tests.transport import COUNTS, Count

HOLD = faults.HOLD
LOOP = "ORDERFLOW_TEST_LOOP"
TICK_S = 0.005


class Counted(Message):
    """What the agent publishes of each order."""

    order_id: str
    n: int
    text: str = ""


class Counter(Agent[Count]):
    """Counts orders per account."""

    def __init__(self) -> None:
        self._ends_badly = self.has_begun = False
        self.known: dict[int, int] = {}

    def step(self, unit: Unit[Count], record: Record) -> None:
        """Count one order; a redelivered one is published again as it was counted."""
        self.has_begun = True
        order: Submit = record.value
        key = f"{order.account}|{order.order_id}" if order.strategy == "key" else order.account
        count = unit.get(key) or make(Count, n=0)
        if not record.redelivered:
            number = int(order.order_id.rpartition("-")[2])
            text = FAT if order.strategy == "state" else ""
            count = make(Count, n=count.n + 1, total=count.total + number, text=text)
            unit.put(key, count)
        text = LARGE if order.strategy == "large" else ""
        counted = Counted(order_id=order.order_id, n=count.n, text=text)
        if order.strategy != "state":
            unit.emit(ORDERS_APPROVED, order.account, counted)
        if order.strategy == "forget" and not record.redelivered:
            unit.delete(order.account)
        if order.strategy == "raise":
            raise ArithmeticError("as the order asked")
        self._ends_badly = self._ends_badly or order.strategy == "end"

    def on_batch_end(self, unit: Unit[Count]) -> None:
        """Raise if an order asked for it."""
        if self._ends_badly:
            raise ArithmeticError(f"at the end of a batch of partition {unit.partition}")

    def on_assigned(self, partition: int, state: Iterable[tuple[str, Count]]) -> None:
        """Count the keys that were restored."""
        self.known[partition] = sum(1 for _ in state)


class Held(AsyncAgent[Count]):
    """Publishes each order; held up on partition 0 while a file exists."""

    async def handle(self, unit: Unit[Count], records: Sequence[Record]) -> None:
        """Wait, then publish."""
        if records and records[0].partition == 0:
            await asyncio.to_thread(wait_while_held)
        for record in records:
            order: Submit = record.value
            unit.emit(ORDERS_APPROVED, order.account, Counted(order_id=order.order_id, n=1))

    async def on_partitions(self, partitions: set[tuple[str, int]]) -> None:
        """Need nothing."""


async def _watch_loop(counter: Counter, report: Path) -> None:
    """Tick, and write down by how much a tick came too late at most while there is work.

    What the kernel let this thread wait for a processor does not count: it is other programs'.
    """
    longest, loop = -1.0, type(asyncio.get_running_loop()).__module__
    stat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    while True:
        began, queued = time.monotonic(), _queued_s(stat)
        await asyncio.sleep(TICK_S)
        late = time.monotonic() - began - TICK_S - (_queued_s(stat) - queued)
        if counter.has_begun and late > longest:
            longest = late
            await asyncio.to_thread(_replace, report, {"longest_s": longest, "loop": loop})


def _queued_s(stat: Path) -> float:
    return int(stat.read_text().split()[1]) / 1e9 if stat.exists() else 0.0


def _replace(file: Path, content: dict[str, Any]) -> None:
    file.with_suffix(".new").write_text(json.dumps(content))
    file.with_suffix(".new").replace(file)


class NoServices:
    """Services of a worker that needs none."""

    role = "orders"
    started = True
    controls = type("Controls", (), {"version": 0})
    cache = type("Cache", (), {"away": False})

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counter = Counter()
        self._watching: asyncio.Task[None] | None = None

    async def start(self, _partitions: int) -> None:
        """Watch the loop if asked to."""
        if LOOP in os.environ:
            self._watching = asyncio.create_task(_watch_loop(self.counter, Path(os.environ[LOOP])))

    async def stop(self) -> None:
        """Watch no longer."""
        if self._watching is not None:
            self._watching.cancel()

    def copying(self) -> Callable[[], Any] | None:
        """Return no task."""
        return None

    def agent(self, _spec: AgentSpec) -> Agent[Any] | AsyncAgent[Any]:
        """Build the agent."""
        return Held() if HOLD in os.environ else self.counter


def main() -> None:
    """Run the worker until a signal ends it."""
    table = None if HOLD in os.environ else COUNTS
    spec = AgentSpec("counter", "orders", "Counts.", (ORDERS_REQUESTED,), (ORDERS_APPROVED,), table)
    # The root as it is, with another graph, and less patience than the tests have.
    streams.app.agents_of = lambda _role: (spec,)  # type: ignore[attr-defined, assignment]
    streams.app.reported_by = lambda _spec: frozenset({ORDERS_REQUESTED.name})  # type: ignore[attr-defined, assignment]
    streams.transport.publisher.PUBLISH_TIMEOUT_S = 10.0
    streams.main.Services = lambda settings, _role: NoServices(settings)  # type: ignore[attr-defined, assignment, return-value]
    faults.install()
    streams.main.run(Settings(log_level="warning"), "orders")


if __name__ == "__main__":
    main()
