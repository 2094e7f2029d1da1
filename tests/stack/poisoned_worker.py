"""A worker that certain records end: what the journal promises can be seen on it.

Started as `python -m tests.stack.poisoned_worker ROLE`. What an order does is its `strategy`:

    exit       os._exit(1), as a library that gives up may do
    segfault   native code reads where nothing is
    panic      a BaseException that is no Exception, as Rust code raises
    linger     the order takes a tenth of a second

    decode     os._exit(1) while it is decoded

With ORDERFLOW_TEST_AWAITS set the agent awaits, and gets whole batches.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Sequence
from typing import Any

import streams.app
import streams.main
import streams.transport.codec
from streams.models.orders import Submit
from streams.ports import Agent, AsyncAgent, BulkAgent, Record, Unit
from streams.settings import Settings
from streams.topics import ORDERS_APPROVED, ORDERS_REQUESTED
from streams.transport.codec import decode
from streams.wiring import AgentSpec
from tests.stack.counting_worker import Counted, NoServices
from tests.transport import Count

AWAITS = "ORDERFLOW_TEST_AWAITS"
FOLDS = "ORDERFLOW_TEST_FOLDS"
#: So long a batch is under way at the agent that awaits.
AWAIT_S = 0.02


class Panic(BaseException):
    """What is not caught by those who catch what can be expected."""


def take(unit: Unit[Count], record: Record) -> None:
    """Publish an order, or do to the process what it asks for."""
    order: Submit = record.value
    if order.strategy == "exit":
        os._exit(1)
    if order.strategy == "segfault":
        ctypes.string_at(0)
    if order.strategy == "panic":
        raise Panic
    if order.strategy == "linger":
        time.sleep(0.1)
    unit.emit(ORDERS_APPROVED, order.account, Counted(order_id=order.order_id, n=1))


class Stepping(Agent[Count]):
    """Takes one order at a time."""

    def step(self, unit: Unit[Count], record: Record) -> None:
        """Take an order."""
        take(unit, record)


class Folding(BulkAgent[Count]):
    """Takes many orders at once."""

    def fold(self, unit: Unit[Count], records: Sequence[Record]) -> None:
        """Take each order."""
        for record in records:
            take(unit, record)


class Awaiting(AsyncAgent[Count]):
    """Takes whole batches, several partitions' at the same time."""

    async def handle(self, unit: Unit[Count], records: Sequence[Record]) -> None:
        """Wait, then take each order."""
        await asyncio.sleep(AWAIT_S)
        for record in records:
            take(unit, record)
        await asyncio.sleep(AWAIT_S)


class Services(NoServices):
    """Services of a worker that needs none."""

    def agent(self, _spec: AgentSpec) -> Agent[Count] | AsyncAgent[Count]:
        """Build the agent."""
        if FOLDS in os.environ:
            return Folding()
        return Awaiting() if AWAITS in os.environ else Stepping()


def decode_or_exit(adapter: Any, raw: bytes) -> Any:
    """Decode a value, as native code does that breaks on some."""
    if b'"decode"' in raw:
        os._exit(1)
    return decode(adapter, raw)


def main() -> None:
    """Run the worker until a signal or a record ends it."""
    streams.transport.codec.decode = decode_or_exit
    spec = AgentSpec("taker", "orders", "Takes.", (ORDERS_REQUESTED,), (ORDERS_APPROVED,))
    streams.app.agents_of = lambda _role: (spec,)  # type: ignore[attr-defined, assignment]
    streams.app.reported_by = lambda _spec: frozenset({ORDERS_REQUESTED.name})  # type: ignore[attr-defined, assignment]
    streams.main.Services = lambda settings, _role: Services(settings)  # type: ignore[attr-defined, assignment, return-value]
    streams.main.run(Settings(log_level="warning"), "orders")


if __name__ == "__main__":
    main()
