"""Record batches to Kafka: in order per partition, acknowledged by all replicas, bounded.

A call of `send` turns its records into as few record batches as fit, usually one, and Kafka
appends a record batch whole or not at all. Batches of one partition are sent in the order of
the calls. A send that fails for good ends the process: what it carried must not vanish.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from streams.topics import MAX_CHANGES_BYTES

Headers = list[tuple[str, bytes]]

#: Bytes handed to the producer and not yet acknowledged; more waits.
MAX_OUTSTANDING_BYTES = 32 * 1024 * 1024
#: Outputs in one record batch; topics refuse a batch above a megabyte, compressed or not.
OUTPUT_BATCH_BYTES = 900_000
#: A table's changes stay one record batch; changelogs take larger ones than this.
CHANGES_BATCH_BYTES = MAX_CHANGES_BYTES - 64 * 1024
#: What Kafka adds to a record, and to each of its headers, at most.
FRAMING_BYTES = 32


class Out(NamedTuple):
    """A record to be produced."""

    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012 - never changed


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return how large a record is in a record batch, at most."""
    size = FRAMING_BYTES + len(key or b"") + len(value or b"")
    for name, content in headers:
        size += FRAMING_BYTES + len(name) + len(content or b"")
    return size


class Sender:
    """Sends record batches through one idempotent producer."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        guard: Callable[[], None],
        max_outstanding: int = MAX_OUTSTANDING_BYTES,
    ) -> None:
        """`guard` is called before anything is sent; it ends the process if that must not be."""
        self._guard = guard
        self._producer = producer
        self._locks: dict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._max_outstanding = max_outstanding
        self._outstanding = 0
        self._ebb = asyncio.Event()

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def send(
        self,
        topic: str,
        partition: int,
        records: Sequence[Out],
        timestamp_ms: int,
        max_bytes: int = OUTPUT_BATCH_BYTES,
    ) -> list[asyncio.Future[object]]:
        """Send records to one partition; return a future per record batch.

        A record batch has at most `max_bytes` before compression, or a single record. Each
        future's result is the record batch's base offset and time; it raises what Kafka refused
        it with. The call itself waits while too much is unacknowledged.
        """
        futures = []
        async with self._locks[topic, partition]:
            index = 0
            while index < len(records):
                index, future = await self._send_some(
                    topic, partition, records, index, timestamp_ms, max_bytes
                )
                futures.append(future)
        return futures

    async def _send_some(
        self,
        topic: str,
        partition: int,
        records: Sequence[Out],
        index: int,
        timestamp_ms: int,
        max_bytes: int,
    ) -> tuple[int, asyncio.Future[object]]:
        while self._outstanding > self._max_outstanding:
            self._ebb.clear()
            await self._ebb.wait()
        batch = self._producer.create_batch()
        start = index
        while index < len(records):
            key, value, headers = records[index]
            if index > start and batch.size() + size_of(key, value, headers) > max_bytes:
                break
            if not batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers):
                break
            index += 1
        if index == start:
            raise ValueError(
                f"a record of {len(records[start].value or b'')} bytes for {topic} is larger than "
                "a record batch may be; raise the producer's max_batch_size"
            )
        batch.close()
        size = batch.size()
        self._outstanding += size
        self._guard()
        future = await self._producer.send_batch(batch, topic, partition=partition)
        future.add_done_callback(lambda _: self._acknowledged(size))
        return index, future

    def _acknowledged(self, size: int) -> None:
        self._outstanding -= size
        if self._outstanding <= self._max_outstanding:
            self._ebb.set()
