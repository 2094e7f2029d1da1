"""Fill the changelog of a table, and read what a worker's store has of it afterwards.

Filling goes in whole record batches, each key on the partition of its account.
"""

import time
from asyncio import Future
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast
from zlib import crc32

from rocksdict import Options, Rdict

from connectors.kafka.client import producer
from streams.partitioner import partition_of
from streams.settings import Settings
from streams.transport.sender import Out, Sender

#: Records that are handed over at once, per partition.
CHUNK = 1_000


class Row(NamedTuple):
    """One record of a changelog; `account` decides on the partition."""

    account: bytes
    key: bytes
    value: bytes


class Content(NamedTuple):
    """How many keys there are, and a sum over all keys and values that needs no order."""

    keys: int
    checksum: int


async def fill(settings: Settings, topic: str, rows: Iterable[Row]) -> int:
    """Write rows to a topic; return how many they were when Kafka holds them all."""
    waiting: dict[int, list[Out]] = defaultdict(list)
    acks: list[Future[object]] = []
    count, now_ms = 0, time.time_ns() // 1_000_000
    async with producer(settings) as client:
        sender = Sender(client, lambda: None)
        partitions = await sender.partitions(topic)
        for row in rows:
            place = partition_of(row.account, partitions)
            waiting[place].append(Out(row.key, row.value))
            count += 1
            if len(waiting[place]) == CHUNK:
                acks += await sender.send(topic, place, waiting.pop(place), now_ms)
        for place, chunk in waiting.items():
            acks += await sender.send(topic, place, chunk, now_ms)
        for ack in acks:
            await ack
    return count


def content_of(pairs: Iterable[tuple[bytes, bytes]]) -> Content:
    """Return the count and checksum of keys and values."""
    keys = checksum = 0
    for key, value in pairs:
        keys += 1
        checksum += crc32(value, crc32(key))
    return Content(keys, checksum)


def stored(store: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield all keys and values of a RocksDB folder; the worker that wrote it has ended."""
    opened = Rdict(str(store), options=Options(raw_mode=True))
    try:
        yield from cast(Iterator[tuple[bytes, bytes]], opened.items())
    finally:
        opened.close()
