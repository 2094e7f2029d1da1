"""Publishes units of work in order, pipelined.

A unit goes out in three steps: its table changes, as one record batch on the table's changelog
partition; its outputs; and, when all of it is acknowledged, the local store and the ledger. The
next unit starts its first step while this one waits for acknowledgements. Outputs of a
`state_first` agent wait for the changelog's acknowledgement, so that no output exists whose
reason could be lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from streams import defences
from streams.defences import Defence
from streams.partitioner import partition_of
from streams.transport.fatal import die
from streams.transport.sender import CHANGES_BATCH_BYTES, Out, Sender
from streams.transport.store import Change, source_key
from streams.transport.unit import UnitOfWork

#: Units of one agent and partition under way at once; the records of the next one wait for each
#: other meanwhile. Kafka's client sends one batch per partition at a time, so more units would be
#: no faster, only smaller: with eight, half full load took three times as long.
MAX_IN_FLIGHT = 3
#: A unit that Kafka has not acknowledged by then ends the process; the client itself would try
#: for ever, also to reach a topic that is gone.
PUBLISH_TIMEOUT_S = 60.0

Done = Callable[[], None]


class _Changes:
    """The table changes of a unit, encoded while they are still those of this unit alone."""

    def __init__(self, unit: UnitOfWork, *, state_first: bool = False) -> None:
        self._state = unit.state
        self._staged: list[tuple[str, object]] = []
        self.records: list[Change] = []
        # Without a change the mark of how far the source was applied can wait: records that
        # changed nothing change nothing again. But what was said can be another answer by then,
        # where it depends on more than the record; so the mark comes before it.
        said = state_first and bool(unit.outputs)
        if unit.state is not None and (unit.changed or said):
            self._staged = unit.state.staged(unit.changed)
            self.records = unit.state.encoded(self._staged)
            self.records += [(source_key(t), b"%d" % end) for t, end in unit.applied.items()]

    def settle(self, acks: list[object]) -> None:
        """Write the changes to the disk. `acks` are the record batches' base offsets.

        A unit is one record batch unless it is larger than one may be; then only the start of
        the last one is known to be complete, and a restart reads the rest of it again.
        """
        if self._state is None or not self.records:
            return
        last = acks[-1].offset  # type: ignore[attr-defined]
        end = last + len(self.records) if len(acks) == 1 else last
        self._state.settle(self._staged, self.records, end)


class _Lane:
    """The order of units of one agent and partition."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.sent: asyncio.Future[None] | None = None
        self.finished: asyncio.Future[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        #: Time of the newest unit that is finished; all before it are.
        self.settled_ns = 0


class Publisher:
    """Publishes the units of one agent."""

    def __init__(
        self,
        sender: Sender,
        namespaced: Callable[[str], str],
        changelog: str | None,
        *,
        state_first: bool,
    ) -> None:
        """`namespaced` turns a registry name into the topic's name in Kafka."""
        self._sender = sender
        self._namespaced = namespaced
        self._changelog = changelog
        self._state_first = state_first and defences.on(Defence.STATE_FIRST)
        self._lanes: dict[int, _Lane] = defaultdict(_Lane)
        self.dead_letters = 0

    async def publish(self, unit: UnitOfWork, done: Done) -> None:
        """Start publishing a unit; return when there is room for the next one."""
        self.dead_letters += unit.dead_letters
        lane = self._lanes[unit.partition]
        changes = _Changes(unit, state_first=self._state_first)
        await lane.slots.acquire()
        loop = asyncio.get_running_loop()
        before = lane.sent, lane.finished
        lane.sent, lane.finished = loop.create_future(), loop.create_future()
        task = loop.create_task(
            self._run(lane, unit, changes, done, before, (lane.sent, lane.finished))
        )
        lane.tasks.add(task)
        task.add_done_callback(lane.tasks.discard)

    async def _run(
        self,
        lane: _Lane,
        unit: UnitOfWork,
        changes: "_Changes",
        done: Done,
        before: tuple[asyncio.Future[None] | None, asyncio.Future[None] | None],
        mine: tuple[asyncio.Future[None], asyncio.Future[None]],
    ) -> None:
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._publish(unit, changes, before, mine[0])
            done()
            lane.settled_ns = unit.now_ns
            mine[1].set_result(None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            die(f"agent {unit.agent} could not publish its unit of work", error)
        finally:
            lane.slots.release()

    async def _publish(
        self,
        unit: UnitOfWork,
        changes: "_Changes",
        before: tuple[asyncio.Future[None] | None, asyncio.Future[None] | None],
        sent: asyncio.Future[None],
    ) -> None:
        previous_sent, previous_finished = before
        now_ms = unit.now_ns // 1_000_000
        acks = await self._send_changes(unit, changes.records, now_ms)
        if self._state_first and acks:
            await asyncio.gather(*acks)
        if previous_sent is not None:
            await previous_sent
        outputs = await self._send_outputs(unit, now_ms)
        sent.set_result(None)
        if not defences.on(Defence.ACKS):
            return
        ends = await asyncio.gather(*acks)
        await asyncio.gather(*outputs)
        if previous_finished is not None:
            await previous_finished
        changes.settle(ends)

    async def _send_changes(
        self, unit: UnitOfWork, changes: list[Change], now_ms: int
    ) -> list[asyncio.Future[object]]:
        if not changes or self._changelog is None:
            return []
        records = [Out(key, value) for key, value in changes]
        return await self._sender.send(
            self._changelog, unit.partition, records, now_ms, CHANGES_BATCH_BYTES
        )

    async def _send_outputs(self, unit: UnitOfWork, now_ms: int) -> list[asyncio.Future[object]]:
        by_target: dict[tuple[str, int], list[Out]] = defaultdict(list)
        counts: dict[str, int] = {}
        for topic, key, out in unit.outputs:
            name = self._namespaced(topic.name)
            if name not in counts:
                counts[name] = await self._sender.partitions(name)
            by_target[name, partition_of(key, counts[name])].append(out)
        futures: list[asyncio.Future[object]] = []
        for (name, partition), records in by_target.items():
            futures += await self._sender.send(name, partition, records, now_ms)
        return futures

    async def finished(self, partition: int) -> None:
        """Wait until the units of a partition that were given so far are finished."""
        last = self._lanes[partition].finished
        if last is not None:
            await asyncio.shield(last)

    def settled_ns(self, partition: int) -> int:
        """Return the time of the newest unit that is finished, as are all before it; 0: none."""
        return self._lanes[partition].settled_ns

    def in_flight(self, partitions: set[int] | None = None) -> int:
        """Return how many units are not finished."""
        return sum(
            len(lane.tasks)
            for partition, lane in self._lanes.items()
            if partitions is None or partition in partitions
        )

    async def drain(self) -> None:
        """Wait until every unit is finished."""
        while tasks := [task for lane in self._lanes.values() for task in lane.tasks]:
            await asyncio.wait(tasks)

    def forget(self, partition: int) -> None:
        """Drop the lane of a partition that was given up."""
        lane = self._lanes.pop(partition, None)
        for task in lane.tasks if lane else ():
            task.cancel()
