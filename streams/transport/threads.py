"""Where Kafka's client runs: in the worker's own event loop, or in a thread beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.utils.futures import maybe_async


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in a thread of its own, with our settings."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf, fetching = self.app.conf, transport.options.fetching
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
            fetch_min_bytes=fetching.min_bytes,
            fetch_max_wait_ms=fetching.max_wait_ms,
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
