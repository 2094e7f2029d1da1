"""A counting worker that can be made to fail while it runs, in ways that raise nothing.

Started as `python -m tests.stack.failing_worker ROLE`. While the file that ORDERFLOW_TEST_FAIL
names exists, what it says goes wrong:

    await       an agent never comes back from what it awaits
    leave       Faust's task of an agent ends
    block       a step never returns
    commit      commits are refused, as after a rebalance that nobody noticed
    fetch       the client's fetching ends without a word; only Kafka knows of the lag then
    clock       the wall clock is five seconds behind
    restore     tables are never restored

A step never returns for an order whose `strategy` is `block` either, whatever the file says. An
orderly end has a bound of `STOP_S` here, and a restore that does not go on of `NOT_READY_S`.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import streams.app
import streams.clock
from streams.transport.consumer import Consumer
from streams.transport.judge import Limits, limits
from streams.transport.runner import Runner
from streams.transport.table import TableRecovery
from tests.stack import counting_worker
from tests.stack.counting_worker import Counter

FAIL = "ORDERFLOW_TEST_FAIL"
STOP_S = 8.0
NOT_READY_S = 8.0
EVER_S = 3_600.0


def _fails(how: str) -> bool:
    file = Path(os.environ[FAIL])
    return file.exists() and file.read_text() == how


def _let_agents_fail() -> None:
    consume, work, step = Runner._consume, Runner._work_through, Counter.step

    async def until_it_leaves(stream: Any) -> AsyncIterator[Any]:
        async for event in stream.events():
            if _fails("leave"):
                return
            yield event

    async def consume_or_leave(self: Runner, stream: Any) -> None:
        await consume(self, SimpleNamespace(events=lambda: until_it_leaves(stream)))

    async def work_or_await(self: Runner, batch: Any) -> None:
        if _fails("await"):
            await asyncio.sleep(EVER_S)
        await work(self, batch)

    def step_or_block(self: Counter, unit: Any, record: Any) -> None:
        if _fails("block") or record.value.strategy == "block":
            time.sleep(EVER_S)
        step(self, unit, record)

    Runner._consume = consume_or_leave  # type: ignore[method-assign]
    Runner._work_through = work_or_await  # type: ignore[method-assign]
    Counter.step = step_or_block  # type: ignore[method-assign]


def _let_kafka_fail() -> None:
    commit, fetch = Consumer._commit, Consumer._fetch

    async def commit_or_not(self: Consumer, offsets: Any) -> bool:
        return not _fails("commit") and await commit(self, offsets)

    async def fetch_or_not(self: Consumer) -> Any:
        if _fails("fetch"):
            self._client()._fetcher._fetch_task.cancel()
        return await fetch(self)

    Consumer._commit = commit_or_not  # type: ignore[assignment, method-assign]
    Consumer._fetch = fetch_or_not  # type: ignore[method-assign]


def _let_restores_fail() -> None:
    restore = TableRecovery._restore

    async def restore_or_not(self: TableRecovery, targets: Any) -> None:
        if _fails("restore"):
            await asyncio.sleep(EVER_S)
        await restore(self, targets)

    TableRecovery._restore = restore_or_not  # type: ignore[method-assign]


def _let_the_clock_fail() -> None:
    now_ns = streams.clock.now_ns
    streams.clock.now_ns = lambda: now_ns() - (5_000_000_000 if _fails("clock") else 0)


def _with_short_ends(*args: float) -> Limits:
    return replace(limits(*args), stop_s=STOP_S, not_ready_s=NOT_READY_S)


def main() -> None:
    """Run the worker until a signal or a watchdog ends it."""
    streams.app.limits = _with_short_ends  # type: ignore[attr-defined, assignment]
    _let_agents_fail()
    _let_kafka_fail()
    _let_restores_fail()
    _let_the_clock_fail()
    counting_worker.main()


if __name__ == "__main__":
    main()
