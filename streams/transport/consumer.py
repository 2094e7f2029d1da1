"""The consumer hands Faust one event per partition and delivery, a `Batch`.

It commits what the ledger says is durable, and nothing else; Faust's own acknowledgements only
tell it that an agent took the batch.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, cast

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.transports import TPorTopicSet
from mode import Service

from streams.transport.backlog import Backlog
from streams.transport.codec import Batch
from streams.transport.fatal import die
from streams.transport.lease import Lease
from streams.transport.ledger import Ledger
from streams.transport.options import Options
from streams.transport.threads import ConsumerThread, InlineConsumer

#: How long a fetch waits for a record; a seek waits for the fetch before it.
FETCH_TIMEOUT_S = 0.25
#: Of a partition of which so much waits nothing is fetched until half of it is delivered.
MAX_WAITING_BYTES = 1024 * 1024
#: How often a worker looks whether it still takes part in its group.
WATCH_S = 2.0
#: How long what is under way may take when partitions are given up.
DRAIN_TIMEOUT_S = 12.0


class Consumer(driver.Consumer):
    """Delivers batches, commits the ledger's floor."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due = asyncio.Event()
        self.backlog = Backlog()
        self._full: set[TP] = set()
        self.ledger = Ledger(on_room=self._due.set)
        self.epoch = 0
        conf = self.app.conf
        self.lease = Lease(conf.broker_session_timeout - conf.broker_heartbeat_interval)

    @property
    def options(self) -> Options:
        """Return what the root told the transport."""
        return cast(Options, cast(Any, self.transport).options)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        kind = ConsumerThread if self.options.consumer_thread else InlineConsumer
        return kind(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        delivering = asyncio.get_running_loop().create_task(self._deliver_all())
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)  # type: ignore[arg-type]
                # What is fetched across a rebalance is dropped; a seek to the committed offsets
                # comes before the flow is resumed. The epoch has to be read after the wait:
                # records of the new epoch must not be taken for those of the old one.
                epoch = self.epoch
                records = await self._fetch()
                if not records:
                    await asyncio.sleep(0)
                elif self.flow_active and epoch == self.epoch:
                    await self._take_in(records)
        except asyncio.CancelledError:
            # Faust takes this for a crash if it comes amid a rebalance; an end was asked for.
            if not self.app.should_stop:
                raise
        finally:
            delivering.cancel()

    async def _fetch(self) -> Any:
        self.not_waiting_next_records.clear()
        try:
            active = self._get_active_partitions()
            if active:
                return await self._getmany(active_partitions=active, timeout=FETCH_TIMEOUT_S)
            await asyncio.sleep(FETCH_TIMEOUT_S)
            return {}
        finally:
            self.not_waiting_next_records.set()

    async def _take_in(self, records: Mapping[Any, list[Any]]) -> None:
        for fetched_of, fetched in records.items():
            tp = TP(*fetched_of)
            self.backlog.add(tp, fetched, self._read_offset[tp] or 0)
        self._due.set()
        for tp in {TP(*one) for one in records} - self._full:
            if self.backlog.bytes_of(tp) >= MAX_WAITING_BYTES:
                self._full.add(tp)
                await self._tell_client("pause", tp)

    async def _tell_client(self, what: Literal["pause", "resume"], tp: TP) -> None:
        """Have the client pause or resume a partition, in the thread where it lives."""
        thread, place = cast(ConsumerThread, self._thread), aiokafka.TopicPartition(*tp)
        if tp in self.assignment():
            await thread.call_thread(getattr(self._client(), what), place)

    def _client(self) -> aiokafka.AIOKafkaConsumer:
        return self._thread._ensure_consumer()

    async def _deliver_all(self) -> None:
        """Deliver what waits wherever there is room for it, until cancelled."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                for tp in self.backlog.waiting():
                    await self._deliver(tp)
        except Exception as error:
            die("fetched records could not be delivered", error)

    def stop_flow(self) -> None:
        """Deliver nothing until partitions are taken and restored, which may take its time."""
        self.lease.pause()
        super().stop_flow()

    def resume_flow(self) -> None:
        """Deliver again."""
        self.lease.renew()
        super().resume_flow()

    async def perform_seek(self) -> None:
        """Seek to the committed offsets, when no fetch of before can move the position again.

        A fetch that was under way when the partitions were given up may come back after they
        are assigned anew, with records from where the seek went; they would be dropped, and
        the position would stand behind them. It may bring records of partitions that nobody has
        committed, too, and the client's own seek leaves those where they are: they begin anew.
        """
        await self.not_waiting_next_records.wait()
        self.backlog.clear()
        for tp in tuple(self._full):
            await self._tell_client("resume", tp)
        self._full.clear()
        await super().perform_seek()
        never = [
            aiokafka.TopicPartition(*tp)
            for tp in self.assignment()
            if not self._is_changelog_tp(tp) and not self._read_offset.get(tp)
        ]
        if never:
            thread = cast(ConsumerThread, self._thread)
            await thread.call_thread(thread._ensure_consumer().seek_to_beginning, *never)

    async def _deliver(self, tp: TP) -> None:
        at_most = self.options.fetching.max_records
        while self.flow_active and self.ledger.has_room(tp):
            records = self.backlog.take(tp, at_most)
            if not records:
                return
            batch = self.options.batch(tp, records, self.epoch, self._read_offset[tp] or 0)
            agents = len(cast(Any, self.app.topics)._tp_index[tp])
            self.ledger.opened(tp, batch.first, batch.end, agents, batch.size)
            self._read_offset[tp] = batch.end
            if tp in self._full and self.backlog.bytes_of(tp) < MAX_WAITING_BYTES // 2:
                self._full.discard(tp)
                await self._tell_client("resume", tp)
            await self.callback(self._batch_message(tp, batch, records[-1].timestamp))

    def _batch_message(self, tp: TP, batch: Batch, timestamp_ms: int) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.first,
            timestamp_ms / 1000,
            0,
            [],
            None,
            cast(Any, batch),  # Faust passes it through untouched
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Any) -> bool:
        """Note that an agent is done with the event; the ledger decides what is committed."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def force_commit(
        self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True
    ) -> bool:
        """Commit the floors that rose since the last commit."""
        if self._thread._consumer is None:
            return False
        assigned = self.assignment()
        rise = {
            TP(*tp): floor
            for tp, floor in self.ledger.floors().items()
            if tp in assigned and (self._committed_offset[TP(*tp)] or 0) < floor
        }
        if not rise:
            return False
        did_commit = await self._commit(rise)
        if did_commit:
            self._committed_offset.update(rise)
            self.app.monitor.on_tp_commit(cast(Any, rise))
        return did_commit

    async def wait_empty(self) -> None:
        """Wait until all that is under way is durable, and commit it.

        From here on no batch that was delivered before is begun.
        """
        self.epoch += 1
        self.backlog.clear()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self.options.drain()
        except TimeoutError:
            die(f"work under way was not finished within {DRAIN_TIMEOUT_S} s", cause="slow-drain")
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit before the partitions are given up."""
        try:
            await self._on_partitions_revoked(revoked)
        finally:
            self.ledger.forget(set(revoked))
            self.options.revoked()
            self._active_partitions.difference_update(revoked)
            self._paused_partitions.difference_update(revoked)
            for tp in revoked:
                self._read_offset.pop(tp, None)
                self._committed_offset.pop(tp, None)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take partitions; changelogs are read by the recovery's own consumer."""
        self.lease.pause()
        changelogs = {tp for tp in assigned if self._is_changelog_tp(tp)}
        self._client().pause(*(aiokafka.TopicPartition(*tp) for tp in changelogs))
        await super().on_partitions_assigned(assigned, generation_id)

    @Service.task
    async def _watch_membership(self) -> None:
        """End the process when its part in the group has ended: it would sit there for ever."""
        self.lease.start()
        while not self.should_stop:
            await self.sleep(WATCH_S)
            client = self._thread._consumer
            coordinator = client._coordinator if client is not None else None
            task = coordinator._coordination_task if coordinator is not None else None
            if task is not None and task.done() and not self.should_stop:
                error = None if task.cancelled() else task.exception()
                die(
                    "the worker's membership in its consumer group has ended",
                    error,
                    cause="left-group",
                )

    async def on_stop(self) -> None:
        """Let go of the timer."""
        self.lease.stop()
        await super().on_stop()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave it to Kafka's session: a worker that hangs loses its partitions."""
