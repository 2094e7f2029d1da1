"""Runs our agents as Faust agents: batch in, unit of work out.

One lock per agent makes its world sequential: batches, and what the timer brings. A step that
raises is taken back and its record sent to the dead letters; anything else that fails ends the
process, because a Faust agent that lets an exception out acknowledges what it did not do.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import faust
import structlog

from streams import clock
from streams.ports import Agent, AsyncAgent, BulkAgent, Malformed, Record
from streams.transport.codec import Batch
from streams.transport.consumer import Consumer
from streams.transport.driver import Producer
from streams.transport.fatal import die
from streams.transport.publisher import Publisher
from streams.transport.store import TablePartition
from streams.transport.table import Table
from streams.transport.unit import UnitOfWork, describe
from streams.wiring import AgentSpec

log = structlog.get_logger(__name__)

TIMER_S = 1.0
#: How long an agent works before others get their turn.
SLICE_S = 0.01
#: How long it works before what it has done is published. Every unit costs about as much as ten
#: records, here and in Kafka, so cutting a batch finer makes everything slower, latency too.
UNIT_S = 0.05
#: Records that a bulk agent is given at once: some milliseconds of work.
FOLD = 2_000
#: Batches that one agent that awaits works on at once.
MAX_AWAITING = 64
#: How long batches under way at such an agent are waited for when partitions are given up.
AWAIT_TIMEOUT_S = 5.0


class BatchSchema(faust.Schema[Any, Any]):
    """Passes the batch through; decoding is done where it can fail for one record alone."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return Faust's decode function."""

        async def decode(message: Any, **_: Any) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode


class Runner:
    """One agent in a worker."""

    def __init__(
        self,
        app: Any,
        spec: AgentSpec,
        agent: Agent[Any] | AsyncAgent[Any],
        reports: frozenset[str],
        namespaced: Callable[[str], str],
        table: Table | None,
    ) -> None:
        """`reports` are the topics whose undecodable records this agent sends to the dead letters.

        Each topic has one such agent, so that a bad record becomes one dead letter.
        """
        self.app = app
        self.spec = spec
        self.name = spec.name
        self.agent = agent
        self.reports = reports
        self.silent_on = frozenset(topic.name for topic in spec.silent_on)
        self.namespaced = namespaced
        self.table = table
        self.records = self.rejected = self.redelivered = 0
        self._lock = asyncio.Lock()
        self._publisher: Publisher | None = None
        self._applied: dict[tuple[str, int], int] = {}
        self._worked: dict[tuple[str, int], int] = {}
        self._slots = asyncio.Semaphore(MAX_AWAITING)
        self._tails: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._prepared: set[tuple[str, int]] = set()
        if table is not None and isinstance(agent, Agent):
            table.local.on_opened = self._opened
            table.local.on_closed = self._closed

    def attach(self) -> None:
        """Register the agent, and its timer if it has one, with Faust."""
        topic = self.app.topic(
            *(self.namespaced(topic.name) for topic in self.spec.reads),
            schema=BatchSchema(key_type=bytes, value_type=bytes),
        )
        self.app.agent(topic, name=self.name, concurrency=1)(self._consume)
        if isinstance(self.agent, Agent) and type(self.agent).on_timer is not Agent.on_timer:
            self.app.task(self._timer)

    @property
    def publisher(self) -> Publisher:
        """Return the publisher, made when the producer is there."""
        if self._publisher is None:
            changelog = self.table.changelog_topic_name if self.table is not None else None
            self._publisher = Publisher(
                cast(Producer, self.app.producer).sender,
                self.namespaced,
                changelog,
                state_first=self.spec.state_first,
            )
        return self._publisher

    @property
    def ledger(self) -> Any:
        """Return the consumer's ledger."""
        return cast(Consumer, self.app.consumer).ledger

    async def _consume(self, stream: Any) -> None:
        async for event in stream.events():
            try:
                if isinstance(self.agent, AsyncAgent):
                    await self._start_handling(event.value)
                else:
                    async with self._lock:
                        await self._work_through(event.value)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                die(f"agent {self.name} failed on a batch", error)

    # Agents that step.

    def _is_stale(self, batch: Batch) -> bool:
        """Return whether the batch's partition has been given up since it was delivered."""
        return batch.epoch != cast(Consumer, self.app.consumer).epoch

    async def _work_through(self, batch: Batch) -> None:
        if self._is_stale(batch):
            return
        self._check_order(batch)
        tp, first = (batch.source, batch.partition), batch.first
        self.ledger.begun(tp, first)
        agent = cast(Agent[Any], self.agent)
        state = self._state(batch.partition)
        applied = self._applied_below(batch, state)
        unit = self._unit(batch.partition, state)
        began = turn = clock.monotonic()
        apply: Any = self._fold if isinstance(agent, BulkAgent) else self._apply
        for portion in self._portions(batch):
            apply(agent, unit, portion, applied)
            now = clock.monotonic()
            if unit.is_full() or now - began > UNIT_S:
                agent.on_batch_end(unit)
                await self.publisher.publish(unit, _nothing)
                unit, began = self._unit(batch.partition, state), now
            if now - turn > SLICE_S:
                await asyncio.sleep(0)
                turn = clock.monotonic()
        agent.on_batch_end(unit)
        await self.publisher.publish(unit, lambda: self.ledger.done(tp, first))

    def _portions(self, batch: Batch) -> Sequence[Any]:
        """Return what the agent is given at a time: a record, or many of them."""
        records = batch.records
        if not isinstance(self.agent, BulkAgent):
            return records
        return [records[first : first + FOLD] for first in range(0, len(records), FOLD)]

    def _check_order(self, batch: Batch) -> None:
        """End the process if a delivery went missing: state must never jump over records."""
        tp = batch.source, batch.partition
        worked = self._worked.get(tp)
        if worked is not None and worked != batch.follows:
            die(f"agent {self.name} got {tp} after {batch.follows}, but worked to {worked}")
        self._worked[tp] = batch.end

    def _apply(self, agent: Agent[Any], unit: UnitOfWork, record: Record, applied: int) -> None:
        unit.begin()
        self.records += 1
        if record.offset < applied:
            self.redelivered += 1
            record = _marked(record)
        if not self._undecodable(unit, record):
            self._step(agent, unit, record)
        unit.finish(record)

    def _step(self, agent: Agent[Any], unit: UnitOfWork, record: Record) -> None:
        try:
            agent.step(unit, record)
        except Exception as error:
            log.exception("step_failed", agent=self.name, topic=record.topic, offset=record.offset)
            unit.roll_back()
            self._rebuild(agent, unit)
            unit.set_aside(record, "AGENT_ERROR", describe(error))

    def _fold(
        self, agent: BulkAgent[Any], unit: UnitOfWork, records: Sequence[Record], applied: int
    ) -> None:
        """Give a bulk agent its records at once, or one by one where something is in the way."""
        if records[0].offset < applied or not self._folded(agent, unit, records):
            for record in records:
                self._apply(agent, unit, record, applied)

    def _folded(self, agent: BulkAgent[Any], unit: UnitOfWork, records: Sequence[Record]) -> bool:
        unit.begin()
        rejected = self.rejected
        try:
            agent.fold(unit, [one for one in records if not self._undecodable(unit, one)])
        except Exception:
            log.exception("fold_failed", agent=self.name, offset=records[0].offset)
            unit.roll_back()
            self._rebuild(agent, unit)
            self.rejected = rejected
            return False
        self.records += len(records)
        unit.finish(records[-1])
        return True

    def _undecodable(self, unit: UnitOfWork, record: Record) -> bool:
        if isinstance(record.value, Malformed):
            code, error = record.value.code, record.value.error
        elif record.value is None:
            code, error = "TOMBSTONE", "a record without a value; nothing is ever deleted so"
        else:
            return False
        if record.topic in self.reports:
            self.rejected += 1
            unit.dead_letter(record, code, error)
        return True

    def _rebuild(self, agent: Agent[Any], unit: UnitOfWork) -> None:
        """Derive anew what a step that was taken back may have left half changed."""
        agent.on_revoked(unit.partition)
        if unit.state is not None:
            agent.on_assigned(unit.partition, unit.state.scan(needs=agent.needs))

    def _unit(self, partition: int, state: TablePartition | None) -> UnitOfWork:
        return UnitOfWork(self.name, partition, clock.now_ns(), state, self.silent_on)

    def _state(self, partition: int) -> TablePartition | None:
        return None if self.table is None else self.table.local.open(partition)

    def _applied_below(self, batch: Batch, state: TablePartition | None) -> int:
        if state is None:
            return 0
        key = batch.topic, batch.partition
        if key not in self._applied:
            self._applied[key] = state.applied(batch.topic)
        return self._applied[key]

    async def _timer(self) -> None:
        agent = cast(Agent[Any], self.agent)
        while not self.app.should_stop:
            await asyncio.sleep(TIMER_S)
            try:
                for partition in self._owned():
                    await self._tick(agent, partition)
            except Exception as error:
                die(f"agent {self.name} failed on its timer", error)

    async def _tick(self, agent: Agent[Any], partition: int) -> None:
        async with self._lock:
            if partition not in self._owned():
                return
            unit = self._unit(partition, self._state(partition))
            agent.on_timer(unit)
            if unit.changed or unit.outputs:
                await self.publisher.publish(unit, _nothing)

    def _owned(self) -> list[int]:
        if self.app.should_stop or self.app.rebalancing:
            return []
        if not self.app.tables.recovery.completed.is_set():
            return []
        if self.table is not None:
            return sorted(self.table.local.taken)
        topic = self.namespaced(self.spec.reads[0].name)
        return sorted(tp.partition for tp in self.app.consumer.assignment() if tp.topic == topic)

    def _opened(self, partition: int) -> None:
        agent = cast(Agent[Any], self.agent)
        agent.on_assigned(partition, cast(Table, self.table).local.rows(partition, agent.needs))

    def _closed(self, partition: int) -> None:
        cast(Agent[Any], self.agent).on_revoked(partition)

    # Agents that await.

    async def _start_handling(self, batch: Batch) -> None:
        await self._slots.acquire()
        if self._is_stale(batch):
            self._slots.release()
            return
        tp = (batch.source, batch.partition)
        task = asyncio.get_running_loop().create_task(self._handle(batch, self._tails.get(tp)))
        self._tails[tp] = task

    async def _handle(self, batch: Batch, before: asyncio.Task[None] | None) -> None:
        agent = cast(AsyncAgent[Any], self.agent)
        try:
            if before is not None:
                await before
            if self._is_stale(batch):
                return
            tp, first = (batch.source, batch.partition), batch.first
            self.ledger.begun(tp, first)
            await self._prepare(agent, (batch.topic, batch.partition))
            unit = self._unit(batch.partition, None)
            good = [r for r in batch.records if not self._undecodable(unit, r)]
            self.records += len(batch.records)
            await agent.handle(unit, good)
            await self.publisher.publish(unit, lambda: self.ledger.done(tp, first))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"agent {self.name} failed on a batch", error)
        finally:
            self._slots.release()

    async def _prepare(self, agent: AsyncAgent[Any], tp: tuple[str, int]) -> None:
        if tp not in self._prepared:
            await agent.on_partitions({tp})
            self._prepared.add(tp)

    # Giving partitions up.

    async def drain(self) -> None:
        """Wait until nothing of this agent is under way.

        An agent that awaits something far away is not waited for longer than a few seconds:
        what it did not finish was not published, and is delivered again.
        """
        async with self._lock:
            tasks = [task for task in self._tails.values() if not task.done()]
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=AWAIT_TIMEOUT_S)
                for task in late:
                    task.cancel()
            if self._publisher is not None:
                await self._publisher.drain()

    def revoked(self) -> None:
        """Forget what belonged to partitions that were given up."""
        self._applied.clear()
        self._worked.clear()
        self._tails.clear()
        self._prepared.clear()
        if self.table is not None:
            self.table.local.close_all()
        self._publisher = None


def _marked(record: Record) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.raw,
        record.timestamp_ms,
        record.headers,
        redelivered=True,
    )


def _nothing() -> None:
    """Do nothing when a unit is finished that does not end its batch."""
