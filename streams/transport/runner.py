"""Runs our agents as Faust agents: batch in, unit of work out.

One lock per agent makes its world sequential: batches, and what the timer brings. A step that
raises is taken back and its record sent to the dead letters; anything else that fails ends the
process, because a Faust agent that lets an exception out acknowledges what it did not do.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import structlog

from streams import clock, defences
from streams.ports import Agent, AsyncAgent, BulkAgent, Malformed, Record
from streams.transport.attending import Attendance
from streams.transport.bulk import Bulk
from streams.transport.codec import Batch
from streams.transport.consumer import Consumer
from streams.transport.driver import Producer
from streams.transport.fatal import die
from streams.transport.journal import CRASHED_WORKER, Journal
from streams.transport.publisher import Publisher
from streams.transport.schema import BatchSchema
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
#: Batches that one agent that awaits works on at once.
MAX_AWAITING = 64
#: How long batches under way at such an agent are waited for when partitions are given up.
AWAIT_TIMEOUT_S = 5.0


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
        self.journal = Journal()  # the root gives all agents of a worker the same one
        self._lock = asyncio.Lock()
        self._publisher: Publisher | None = None
        self._letters_before = 0
        self._applied: dict[tuple[str, int], int] = {}
        self._worked: dict[tuple[str, int], int] = {}
        self._slots = asyncio.Semaphore(MAX_AWAITING)
        self._tails: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._prepared: set[tuple[str, int]] = set()
        self._attendance: Attendance | None = None
        self._bulk = Bulk(self, agent) if isinstance(agent, BulkAgent) else None
        if isinstance(agent, Agent) and type(agent).attend is not Agent.attend:
            self._attendance = Attendance(agent, self, self._lock)
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
        if self._attendance is not None:
            self.app.task(self._attendance.run)

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
    def dead_letters(self) -> int:
        """Return how many dead letters the agent has sent."""
        return self._letters_before + (self._publisher.dead_letters if self._publisher else 0)

    @property
    def waits_for(self) -> str:
        """Return what the agent says it waits for, far away; empty for nothing."""
        return self.agent.waits_for if isinstance(self.agent, AsyncAgent) else ""

    def in_flight(self, partitions: set[int] | None = None) -> int:
        """Return how many units are with Kafka, of some partitions or of all."""
        return self._publisher.in_flight(partitions) if self._publisher else 0

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
        self.ledger.begun((batch.source, batch.partition), batch.first)
        agent = cast(Agent[Any], self.agent)
        state = self._state(batch.partition)
        applied = self._applied_below(batch, state)
        unit = self._unit(batch.partition, state)
        lane = self.journal.lane(self.name, batch.topic, batch.partition)
        began = turn = clock.monotonic()
        records = batch.decoded(self.journal)
        for portion in records if self._bulk is None else self._bulk.portions(records):
            self._take(unit, portion, applied, lane)
            now = clock.monotonic()
            if unit.is_full() or now - began > UNIT_S:
                self.journal.idle()
                agent.on_batch_end(unit)
                await self.publisher.publish(unit, _nothing)
                unit, began = self._unit(batch.partition, state), now
            if now - turn > SLICE_S:
                self.journal.idle()
                await asyncio.sleep(0)
                turn = clock.monotonic()
        self.journal.idle()
        agent.on_batch_end(unit)
        await self.publisher.publish(unit, lambda: self._done(batch))

    def _done(self, batch: Batch) -> None:
        """Note that all of a batch is durable; nobody died of it."""
        self.ledger.done((batch.source, batch.partition), batch.first)
        self.journal.done(self.name, batch.topic, batch.partition, batch.end)

    def _take(self, unit: UnitOfWork, portion: Any, applied: int, lane: int) -> None:
        """Give the agent a record, or many of them."""
        if self._bulk is None:
            self.apply(cast(Agent[Any], self.agent), unit, portion, applied, lane)
        else:
            self._bulk.take(unit, portion, applied, lane)

    def _check_order(self, batch: Batch) -> None:
        """End the process if a delivery went missing: state must never jump over records."""
        tp = batch.source, batch.partition
        worked = self._worked.get(tp)
        if worked is not None and worked != batch.follows:
            die(f"agent {self.name} got {tp} after {batch.follows}, but worked to {worked}")
        self._worked[tp] = batch.end

    def apply(
        self, agent: Agent[Any], unit: UnitOfWork, record: Record, applied: int, lane: int
    ) -> None:
        """Step one record; those with offsets below `applied` are in the table already."""
        unit.begin()
        self.journal.stepping(lane, record.offset)
        self.records += 1
        if record.offset >= applied:
            self._step(agent, unit, record)
            unit.finish(record)  # the mark never goes back
            return
        self.redelivered += 1
        if defences.on(defences.Defence.REEMIT):
            self._step(agent, unit, replace(record, redelivered=True))

    def _step(self, agent: Agent[Any], unit: UnitOfWork, record: Record) -> None:
        if self.undecodable(unit, record) or self._condemned(unit, record):
            return
        try:
            agent.step(unit, record)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit, and what native code panics with
            log.exception("step_failed", agent=self.name, topic=record.topic, offset=record.offset)
            unit.roll_back()
            self.rebuild(agent, unit)
            if defences.on(defences.Defence.SET_ASIDE):
                unit.set_aside(record, "AGENT_ERROR", describe(error))
        self.journal.lived_through(self.name, record)

    def _condemned(self, unit: UnitOfWork, record: Record) -> bool:
        """Set a record aside that the worker died of too often; return whether it was one."""
        reason = self.journal.condemned(self.name, record)
        if reason:
            self.rejected += 1
            unit.set_aside(record, CRASHED_WORKER, reason)
        return bool(reason)

    def undecodable(self, unit: UnitOfWork, record: Record) -> bool:
        """Return whether a record is no message; say so if that is this agent's to say."""
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

    def rebuild(self, agent: Agent[Any], unit: UnitOfWork) -> None:
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
                for partition in self.owned():
                    await self._tick(agent, partition)
            except Exception as error:
                die(f"agent {self.name} failed on its timer", error)

    async def _tick(self, agent: Agent[Any], partition: int) -> None:
        async with self._lock:
            if partition not in self.owned():
                return
            unit = self._unit(partition, self._state(partition))
            agent.on_timer(unit)
            if unit.changed or unit.outputs:
                await self.publisher.publish(unit, _nothing)

    def owned(self) -> list[int]:
        """Return the partitions that may be worked on now."""
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

    # Agents that do something beside their records: see `attending`.

    def unit_of(self, partition: int) -> UnitOfWork:
        """Return a new unit of work of a partition, with its state."""
        return self._unit(partition, self._state(partition))

    def fence(self) -> None:
        """End the process if it stood still for too long."""
        cast(Consumer, self.app.consumer).lease.check()

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
            self.ledger.begun((batch.source, batch.partition), batch.first)
            await self._prepare(agent, (batch.topic, batch.partition))
            unit = self._unit(batch.partition, None)
            good = [r for r in batch.decoded(self.journal) if not self.undecodable(unit, r)]
            self.records += len(batch.records)
            for part in self.journal.parts(self.name, good):
                await self._handle_part(agent, unit, part)
            await self.publisher.publish(unit, lambda: self._done(batch))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"agent {self.name} failed on a batch", error)
        finally:
            self._slots.release()

    async def _handle_part(
        self, agent: AsyncAgent[Any], unit: UnitOfWork, part: Sequence[Record]
    ) -> None:
        async with self.journal.handling(self.name, part):
            if not (part and self._condemned(unit, part[0])):
                await agent.handle(unit, part)
                if part:
                    self.journal.lived_through(self.name, part[-1])

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
        if self._attendance is not None:
            await self._attendance.stop()
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
        self._letters_before = self.dead_letters
        self._publisher = None
        if self._attendance is not None:
            self._attendance.resume()


def _nothing() -> None:
    """Do nothing when a unit is finished that does not end its batch."""
