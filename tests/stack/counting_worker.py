"""A worker with one small agent: what the transport promises can be counted on it.

Started as `python -m tests.stack.counting_worker ROLE`. The agent counts the orders of each
account and adds up their numbers, so that a record that was lost cannot be made up for by one
that came twice. What an order is to do besides counting stands in its `strategy`:

    raise      the step raises, after it has changed the table and published something
    end        the end of the batch raises
    large      it publishes a record that its topic refuses
    forget     it deletes its account's key
    key        it keeps a key of its own

With ORDERFLOW_TEST_HOLD set to a file, an agent that awaits runs instead: it is held up on
partition 0 while the file exists.
"""

import asyncio
import base64
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import faust

import streams.app
import streams.transport.publisher
from streams.domain.build import make
from streams.main import configure_logging
from streams.models.base import Message
from streams.models.orders import Submit
from streams.ports import Agent, AsyncAgent, Record, Unit
from streams.services import Services
from streams.settings import Settings
from streams.topics import ORDERS_APPROVED, ORDERS_REQUESTED
from streams.wiring import AgentSpec
from tests.transport import COUNTS, Count

HOLD = "ORDERFLOW_TEST_HOLD"
#: More than a topic takes in one record, compressed or not.
LARGE = base64.b85encode(random.Random(1).randbytes(1_200_000)).decode()


class Counted(Message):
    """What the agent publishes of each order."""

    order_id: str
    n: int
    text: str = ""


class Counter(Agent[Count]):
    """Counts orders per account."""

    def __init__(self) -> None:
        self._ends_badly = False
        self.known: dict[int, int] = {}

    def step(self, unit: Unit[Count], record: Record) -> None:
        """Count one order; a redelivered one is published again as it was counted."""
        order: Submit = record.value
        key = f"{order.account}|{order.order_id}" if order.strategy == "key" else order.account
        count = unit.get(key) or make(Count, n=0)
        if not record.redelivered:
            number = int(order.order_id.rpartition("-")[2])
            count = make(Count, n=count.n + 1, total=count.total + number)
            unit.put(key, count)
        text = LARGE if order.strategy == "large" else ""
        counted = Counted(order_id=order.order_id, n=count.n, text=text)
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
            await asyncio.to_thread(_wait_while_held)
        for record in records:
            order: Submit = record.value
            unit.emit(ORDERS_APPROVED, order.account, Counted(order_id=order.order_id, n=1))

    async def on_partitions(self, partitions: set[tuple[str, int]]) -> None:
        """Need nothing."""


def _wait_while_held() -> None:
    while Path(os.environ[HOLD]).exists():
        time.sleep(0.05)


class NoServices:
    """Services of a worker that needs none."""

    role = "orders"
    started = True
    controls = type("Controls", (), {"version": 0})
    cache = type("Cache", (), {"away": False})

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def start(self, _partitions: int) -> None:
        """Start nothing."""

    async def stop(self) -> None:
        """Stop nothing."""

    def copying(self) -> Callable[[], Any] | None:
        """Return no task."""
        return None

    def agent(self, _spec: AgentSpec) -> Agent[Any] | AsyncAgent[Any]:
        """Build the agent."""
        return Held() if HOLD in os.environ else Counter()


def main() -> None:
    """Run the worker until a signal ends it."""
    table = None if HOLD in os.environ else COUNTS
    spec = AgentSpec("counter", "orders", "Counts.", (ORDERS_REQUESTED,), (ORDERS_APPROVED,), table)
    # The root as it is, with another graph, and less patience than the tests have.
    streams.app.agents_of = lambda _role: (spec,)  # type: ignore[assignment]
    streams.app.reported_by = lambda _spec: frozenset({ORDERS_REQUESTED.name})  # type: ignore[assignment]
    streams.transport.publisher.PUBLISH_TIMEOUT_S = 10.0
    settings = Settings()
    configure_logging(settings.log_level)
    app = streams.app.build_app(settings, "orders", cast(Services, NoServices(settings)))
    sys.argv = sys.argv[:1]
    faust.Worker(
        app, loglevel="WARNING", quiet=True, redirect_stdouts=False
    ).execute_from_commandline()


if __name__ == "__main__":
    main()
