"""Produce many records fast: whole batches per partition, with back-pressure.

`send` waits where Kafka is slower than the caller, so memory stays bounded: one batch being
filled, one waiting and one on its way per partition. A record is safe once `flush` has returned;
it raises if any batch was not acknowledged by all replicas.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from connectors.kafka.client import partitions_of, producer
from streams.errors import ServiceUnavailableError, UsageError
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES

Headers = Sequence[tuple[str, bytes]]


class BatchProducer:
    """Fills one batch per (topic, partition) and sends it when full; made by `batch_producer`."""

    def __init__(self, client: AIOKafkaProducer) -> None:
        self._client = client
        self._partitions: dict[str, int] = {}
        self._open: dict[tuple[str, int], BatchBuilder] = {}
        self._sent: set[asyncio.Future[Any]] = set()
        self._failed: BaseException | None = None

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> None:
        """Add a record to its partition's batch; a record without key goes by its value."""
        if len(value or b"") + len(key or b"") >= MAX_RECORD_BYTES:
            raise UsageError(f"a record of {len(value or b'')} bytes is too large for {topic}")
        at = (topic, await self._partition(topic, key if key is not None else value or b""))
        while True:
            batch = self._open.get(at)
            if batch is None:
                batch = self._open[at] = self._client.create_batch()
            added = batch.append(
                timestamp=timestamp_ms, key=key, value=value, headers=list(headers)
            )
            if added is not None:
                return
            await self._dispatch(at)

    async def flush(self) -> None:
        """Send what is open and wait until every record has been acknowledged."""
        for at in list(self._open):
            await self._dispatch(at)
        if self._sent:
            await asyncio.wait(list(self._sent))
        self._raise_failure()

    async def _partition(self, topic: str, by: bytes) -> int:
        if topic not in self._partitions:
            self._partitions[topic] = len(await partitions_of(self._client.client, topic))
        return partition_of(by, self._partitions[topic])

    async def _dispatch(self, at: tuple[str, int]) -> None:
        """Hand one batch over; waits while the one before it has not left."""
        self._raise_failure()
        batch = self._open[at]
        batch.close()
        try:
            future = await self._client.send_batch(batch, at[0], partition=at[1])
        except KafkaError as error:
            raise _not_produced(error) from error
        # Only now: a caller that is cancelled while waiting can still flush the batch.
        del self._open[at]
        self._sent.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._sent.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._failed = future.exception()

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise _not_produced(self._failed) from self._failed


@asynccontextmanager
async def batch_producer(settings: Settings) -> AsyncIterator[BatchProducer]:
    """Open a `BatchProducer`; leaving the block without an error flushes it."""
    async with producer(settings) as client:
        batches = BatchProducer(client)
        yield batches
        await batches.flush()


def _not_produced(error: BaseException) -> ServiceUnavailableError:
    why = str(error) or type(error).__name__
    return ServiceUnavailableError(f"Kafka did not acknowledge a batch: {why}")
