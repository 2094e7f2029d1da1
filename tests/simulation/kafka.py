"""Kafka in memory: topics and changelogs with partitions, committed offsets."""

from collections import defaultdict
from typing import Any

from streams.partitioner import partition_of
from streams.ports import Record
from streams.topics import BY_NAME, DEAD_LETTERS
from streams.transport.codec import decode
from streams.transport.sender import Out
from tests.simulation.store import Changes

#: Of every topic and table; accounts and symbols of the load are on both.
PARTITIONS = 2

Partition = tuple[str, int]


class Kafka:
    """What is durable. `encoded`: values of topics are bytes on the way."""

    def __init__(self, *, encoded: bool = False) -> None:
        self.encoded = encoded
        self.logs: dict[Partition, list[Record]] = defaultdict(list)
        self.changelogs: dict[Partition, list[Changes]] = defaultdict(list)
        self.committed: dict[tuple[str, Partition], int] = defaultdict(int)

    def append(self, topic: str, partition: int, out: Out, timestamp_ms: int) -> None:
        """Append one record; its offset is its place."""
        log = self.logs[topic, partition]
        value: Any = out.value
        raw: bytes | None = None
        if isinstance(value, bytes) and topic != DEAD_LETTERS.name:
            raw, value = value, decode(BY_NAME[topic].adapter, value)
        log.append(
            Record(topic, partition, len(log), out.key, value, raw, timestamp_ms, out.headers)
        )

    def all_of(self, topic: str) -> list[Record]:
        """Return a topic's records, partition by partition."""
        return [one for number in range(PARTITIONS) for one in self.logs[topic, number]]


def partition(key: str) -> int:
    """Return the partition of an account or symbol."""
    return partition_of(key.encode(), PARTITIONS)
