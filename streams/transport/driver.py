"""Faust's plug-in point: `batched://` brokers are served by this transport.

The consumer hands Faust one event per partition and fetch, a `Batch`. It commits what the
ledger says is durable, and nothing else; Faust's own acknowledgements only tell it that an agent
took the batch. The producer is idempotent with all acknowledgements.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, cast

import aiokafka
import structlog
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.transports import TPorTopicSet
from mode import Service
from mode.utils.futures import maybe_async

from streams.transport.codec import Batch
from streams.transport.fatal import die
from streams.transport.lease import Lease
from streams.transport.ledger import Ledger
from streams.transport.sender import CHANGES_BATCH_BYTES, Sender

log = structlog.get_logger(__name__)

SCHEME = "batched"
#: Records in one batch at most; larger fetches are cut.
MAX_BATCH_RECORDS = 500
#: Idle partitions delay others of the same broker by this long at most.
FETCH_MAX_WAIT_MS = 20
#: How long a fetch waits for a record; a seek waits for the fetch before it.
FETCH_TIMEOUT_S = 0.25
#: How often a worker looks whether it still takes part in its group.
WATCH_S = 2.0
#: How long what is under way may take when partitions are given up.
DRAIN_TIMEOUT_S = 12.0


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in a thread of its own, with our settings."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=3_600_000,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )

    def topic_partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None while the cluster is not known yet.

        From the cluster's metadata, which every member has. Faust asks what the group's leader
        keeps for its assignments, so all but one worker would never know.
        """
        if self._consumer is None:
            return None
        found = self._consumer._client.cluster.partitions_for_topic(topic)
        return len(found) if found else None


class InlineConsumer(ConsumerThread):
    """The same consumer in the worker's own event loop: half the latency of a thread."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, thread_loop=asyncio.get_event_loop(), **kwargs)

    async def start(self) -> None:
        """Start the client; there is no thread."""
        self._thread_started.set()
        await self.on_start()

    async def stop(self) -> None:
        """Leave the group and close the connections."""
        if not self._stopped.is_set():
            self._stopped.set()
            if self._consumer is not None:
                await self._consumer.stop()

    async def call_thread(
        self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Call in place."""
        return await maybe_async(fun(*args, **kwargs))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Pass on in place."""
        await self.consumer.on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Pass on in place."""
        await self.consumer.on_partitions_assigned(assigned, generation_id)


class Consumer(driver.Consumer):
    """Delivers batches, commits the ledger's floor."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()
        self.epoch = 0
        conf = self.app.conf
        self.lease = Lease(conf.broker_session_timeout - conf.broker_heartbeat_interval)
        self.transport_options = cast(Transport, self.transport).options

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        threaded = cast(Transport, self.transport).options.consumer_thread
        kind = ConsumerThread if threaded else InlineConsumer
        return kind(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)  # type: ignore[arg-type]
            # What is fetched across a rebalance is dropped; a seek to the committed offsets
            # comes before the flow is resumed. The epoch has to be read after the wait: fetched
            # records of the new epoch must not be taken for those of the old one.
            epoch = self.epoch
            records = await self._fetch()
            if not records:
                await asyncio.sleep(0)
            for tp, fetched in records.items():
                await self._deliver(TP(*tp), fetched, epoch)

    async def _fetch(self) -> Any:
        self.not_waiting_next_records.clear()
        try:
            active = self._get_active_partitions()
            if active:
                return await self._getmany(active_partitions=active, timeout=FETCH_TIMEOUT_S)
            await self.sleep(0.1)
            return {}
        finally:
            self.not_waiting_next_records.set()

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
        await super().perform_seek()
        never = [
            aiokafka.TopicPartition(tp.topic, tp.partition)
            for tp in self.assignment()
            if not self._is_changelog_tp(tp) and not self._read_offset.get(tp)
        ]
        if never:
            thread = cast(ConsumerThread, self._thread)
            await thread.call_thread(thread._ensure_consumer().seek_to_beginning, *never)

    async def _deliver(self, tp: TP, fetched: list[Any], epoch: int) -> None:
        due = self._read_offset[tp] or 0
        if fetched[0].offset < due:
            fetched = [record for record in fetched if record.offset >= due]
        for index in range(0, len(fetched), MAX_BATCH_RECORDS):
            if not self.flow_active or epoch != self.epoch:
                return
            part = fetched[index : index + MAX_BATCH_RECORDS]
            batch = self.transport_options.batch(tp, part, epoch, self._read_offset[tp] or 0)
            agents = len(cast(Any, self.app.topics)._tp_index[tp])
            self.ledger.opened(tp, batch.first, batch.end, agents)
            self._read_offset[tp] = batch.end
            await self.callback(self._batch_message(tp, batch, part[-1].timestamp))

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
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await self.transport_options.drain()
        except TimeoutError:
            die(f"work under way was not finished within {DRAIN_TIMEOUT_S} s")
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit before the partitions are given up."""
        try:
            await self._on_partitions_revoked(revoked)
        finally:
            self.ledger.forget(set(revoked))
            self.transport_options.revoked()
            self._active_partitions.difference_update(revoked)
            self._paused_partitions.difference_update(revoked)
            for tp in revoked:
                self._read_offset.pop(tp, None)
                self._committed_offset.pop(tp, None)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take partitions; changelogs are read by the recovery's own consumer."""
        self.lease.pause()
        changelogs = {tp for tp in assigned if self._is_changelog_tp(tp)}
        client = self._thread._ensure_consumer()
        client.pause(*(aiokafka.TopicPartition(tp.topic, tp.partition) for tp in changelogs))
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
                die("the worker's membership in its consumer group has ended", error)

    async def on_stop(self) -> None:
        """Let go of the timer."""
        self.lease.stop()
        await super().on_stop()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Leave it to Kafka's session: a worker that hangs loses its partitions."""


class Producer(driver.Producer):
    """Idempotent, acknowledged by all replicas; `sender` takes whole record batches."""

    _sender: Sender | None = None

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _settings_default(self) -> Mapping[str, Any]:
        return {
            **super()._settings_default(),
            "max_batch_size": CHANGES_BATCH_BYTES,
            "max_request_size": CHANGES_BATCH_BYTES,
        }

    @property
    def sender(self) -> Sender:
        """Return the sender over this producer's client."""
        if self._sender is None:
            lease = cast(Consumer, self.app.consumer).lease
            self._sender = Sender(self._ensure_producer(), lease.check)
        return self._sender

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Leave topics to `topics apply`, which knows their settings."""


class Options(ABC):
    """What the root tells the transport; one per app, found through `Transport.options`."""

    consumer_thread = False

    @abstractmethod
    def batch(self, tp: TP, records: list[Any], epoch: int, follows: int) -> Batch:
        """Return fetched records as the batch that agents get."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until all units of work are finished."""

    @abstractmethod
    def revoked(self) -> None:
        """Forget what belonged to partitions that were given up."""


class Transport(driver.Transport):
    """The batched transport."""

    Consumer: ClassVar[type[Any]] = Consumer
    Producer: ClassVar[type[Any]] = Producer
    driver_version = f"orderflow batched on aiokafka={aiokafka.__version__}"

    @property
    def options(self) -> Options:
        """Return the root's options, which it keeps on the app."""
        return cast(Options, self.app.batched)  # type: ignore[attr-defined]


def register() -> None:
    """Enter the transport in Faust's registry, for a checkout that is not installed."""
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
